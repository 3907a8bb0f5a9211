/*
 * Each system call of each call fails in turn, with each of its possible errors. One trial is one process with both
 * ends; the tested end's calls fail, the other end is another thread and unaffected.
 *
 * After a failed call: errno is that of the system, there is an error text, nothing is left open or mapped. Then the
 * conversation continues as far as it can: init and accept are called again, reads are repeated and must lose nothing.
 * At the end both sides close, and nothing is left; no file either, at the latest after the next server.
 */
#include "conversation.h"
#include "faults.h"
#include "inject.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* The system calls, and their errors. */
static const struct kind {
    int nr;
    const char *name;
    int errors[6];
} kinds[] = {
    { SYS_open, "open", { EACCES, EMFILE, ENFILE, ENOMEM } },
    { SYS_openat, "openat", { EACCES, EMFILE, ENFILE, EIO, ENOSPC } },
    { SYS_mkdir, "mkdir", { EACCES, ENOSPC, EROFS } },
    { SYS_mkdirat, "mkdirat", { EACCES, ENOSPC, EROFS } },
    { SYS_unlink, "unlink", { EACCES, EROFS, EIO } },
    { SYS_rmdir, "rmdir", { EACCES, EROFS, EIO } },
    { SYS_unlinkat, "unlinkat", { EACCES, EROFS, EIO } },
    { SYS_rename, "rename", { EACCES, ENOSPC } },
    { SYS_renameat, "renameat", { EACCES, ENOSPC, EROFS } },
    { SYS_renameat2, "renameat2", { EACCES, ENOSPC, EROFS } },
    { SYS_linkat, "linkat", { EACCES, EPERM, ENOSPC, EMLINK } },
    { SYS_fallocate, "fallocate", { ENOSPC, EINTR, EIO } },
    { SYS_ftruncate, "ftruncate", { ENOSPC, EINTR, EIO } },
    { SYS_utimensat, "utimensat", { EACCES, EROFS } },
    { SYS_fchmodat, "fchmodat", { EACCES, EROFS } },
    { SYS_flock, "flock", { ENOLCK, EINTR, EIO } },
    { SYS_fcntl, "fcntl", { EMFILE, ENOMEM } },
    { SYS_dup3, "dup3", { EMFILE, EBUSY, EINTR } },
    { SYS_close, "close", { EIO, EINTR } },
    { SYS_fstat, "fstat", { ENOMEM, EIO } },
    { SYS_lstat, "lstat", { ENOMEM, EIO } },
    { SYS_newfstatat, "newfstatat", { ENOMEM, EIO, EACCES } },
    { SYS_statx, "statx", { ENOMEM, EIO } },
    { SYS_readlink, "readlink", { ENOMEM, EACCES } },
    { SYS_readlinkat, "readlinkat", { ENOMEM, EACCES } },
    { SYS_getdents64, "getdents64", { EIO, ENOMEM } },
    { SYS_lseek, "lseek", { EINVAL } },
    { SYS_read, "read", { EIO, EINTR, ENOMEM } },
    { SYS_write, "write", { EIO, ENOSPC, EINTR } },
    { SYS_preadv2, "preadv2", { EAGAIN, EINTR, EOPNOTSUPP, EPERM, EIO } },
    { SYS_rt_sigaction, "rt_sigaction", { EINVAL } },
    { SYS_rt_sigpending, "rt_sigpending", { EFAULT } },
    { SYS_pwrite64, "pwrite64", { EIO, ENOSPC, EINTR } },
    { SYS_mmap, "mmap (of files)", { ENOMEM, ENODEV, EAGAIN } },
    { SYS_socket, "socket", { EMFILE, ENFILE, ENOBUFS, ENOMEM } },
    { SYS_bind, "bind", { EADDRINUSE, EACCES, ENOSPC } },
    { SYS_listen, "listen", { EOPNOTSUPP, ENOBUFS } },
    { SYS_connect, "connect", { ECONNREFUSED, EACCES, EINTR, EAGAIN } },
    { SYS_accept4, "accept4", { EMFILE, ENFILE, ENOMEM, EINTR, ECONNABORTED } },
    { SYS_getsockopt, "getsockopt", { ENOBUFS } },
    { SYS_sendto, "sendto", { ENOBUFS, ENOMEM, EINTR, EPIPE, EAGAIN } },
    { SYS_sendmsg, "sendmsg", { ENOBUFS, ENOMEM, EINTR, ETOOMANYREFS, EAGAIN } },
    { SYS_recvmsg, "recvmsg", { ENOMEM, EINTR, ECONNRESET, EAGAIN } },
    { SYS_eventfd2, "eventfd2", { EMFILE, ENFILE, ENOMEM } },
    { SYS_epoll_create1, "epoll_create1", { EMFILE, ENFILE, ENOMEM } },
    { SYS_epoll_ctl, "epoll_ctl", { ENOMEM, ENOSPC } },
    { SYS_epoll_wait, "epoll_wait", { EINTR, EINVAL } },
    { SYS_epoll_pwait, "epoll_pwait", { EINTR, EINVAL } },
    { SYS_epoll_pwait2, "epoll_pwait2", { EINTR, EINVAL } },
    { SYS_poll, "poll", { EINTR, ENOMEM } },
    { SYS_ppoll, "ppoll", { EINTR, ENOMEM } },
    { SYS_membarrier, "membarrier", { ENOSYS, EPERM, EINVAL } },
    { SYS_inotify_init1, "inotify_init1", { EMFILE, ENFILE } },
    { SYS_inotify_add_watch, "inotify_add_watch", { ENOSPC, EACCES } },
};
#define KINDS (sizeof(kinds) / sizeof(*kinds))

/* Errors that mean something else than "the system refused", and their translation. */
static const struct {
    int nr, error, reported;
    const char *why;
} meanings[] = {
    { SYS_connect, ECONNREFUSED, ENOENT, "not listening: no server" },
    { SYS_connect, EAGAIN, EBUSY, "the queue is full: another client came first" },
    { SYS_recvmsg, ECONNRESET, EPIPE, "the peer has gone" },
    { SYS_sendto, EPIPE, EPIPE, "the peer has gone" },
};

static struct tally {
    int tried, reported, tolerated, translated, wrong;
} tallies[KINDS];

static bool right_errno(const struct trial *t, int reported)
{
    for (size_t n = 0; n < sizeof(meanings) / sizeof(*meanings); n++)
        if (meanings[n].nr == t->nr && meanings[n].error == t->error)
            return reported == meanings[n].reported;
    return reported == t->error;
}

/* Runs one trial in a separate process. */
static void run_trial(const struct trial *t, struct verdict *v)
{
    static int count;
    char name[32];
    pid_t child;
    int status;

    memset(v, 0, sizeof(*v));
    count++;
    child = must_do(fork(), "forking");
    if (child == 0) {
        alarm(LONG_MS / 1000);
        snprintf(name, sizeof(name), "trial%d", count);
        use_root(name);
        converse(t, v);
        _exit(0);
    }
    must_do(waitpid(child, &status, 0), "waiting for a trial");
    if (WIFSIGNALED(status))
        snprintf(v->message, sizeof(v->message), "%s", WTERMSIG(status) == SIGALRM ? "it hangs" : strsignal(WTERMSIG(status)));
    else if (status)
        snprintf(v->message, sizeof(v->message), "it ended with status %d", WEXITSTATUS(status));
}

static void judge(const struct trial *t, const struct verdict *v, struct tally *tally, const char *name)
{
    bool wrong = v->message[0] || (v->reported && !right_errno(t, v->reported));

    if (!v->happened)
        return;
    tally->tried++;
    tally->wrong += wrong;
    tally->tolerated += !v->reported;
    tally->reported += v->reported == t->error;
    tally->translated += v->reported && v->reported != t->error;
    if (wrong)
        fail_check("%s %s: %s no. %d fails with %s: reported as %s \"%s\"; %s", role_names[t->role], phase_names[t->phase], name,
                 t->nth, errno_name(t->error), errno_name(v->reported), v->text, v->message[0] ? v->message : "the wrong errno");
}

/* A call missing in the table above would never be made to fail. */
static void all_known(const struct trial *t, const struct verdict *v)
{
    for (int nr = 0; nr < INJECT_CALLS; nr++) {
        bool known = v->counts[nr] == 0 || nr == SYS_clock_nanosleep || nr == SYS_getrandom || nr == SYS_sched_getaffinity;
        for (size_t n = 0; n < KINDS && !known; n++)
            known = kinds[n].nr == nr;
        CHECK(known, "%s %s: makes system call %d, for which no errors are listed", role_names[t->role],
              phase_names[t->phase], nr);
    }
}

static void run_phase(struct trial t, struct verdict *v)
{
    int counts[INJECT_CALLS], calls = 0;

    t.nr = -2;
    run_trial(&t, v);
    CHECK(!v->message[0], "%s %s without any fault: %s", role_names[t.role], phase_names[t.phase], v->message);
    all_known(&t, v);
    memcpy(counts, v->counts, sizeof(counts));
    for (size_t n = 0; n < KINDS; n++) {
        calls += counts[kinds[n].nr];
        t.nr = kinds[n].nr;
        for (t.nth = 1; t.nth <= counts[t.nr]; t.nth++) {
            for (int e = 0; e < 6 && kinds[n].errors[e]; e++) {
                t.error = kinds[n].errors[e];
                run_trial(&t, v);
                judge(&t, v, &tallies[n], kinds[n].name);
            }
        }
    }
    printf("syscalls: %s %s makes %d system calls\n", role_names[t.role], phase_names[t.phase], calls);
}

void run_syscalls(int argc, char **argv)
{
    struct tally sum = { 0 };
    struct verdict *v;

    (void)argc, (void)argv;
    if (!inject_prepare()) {
        printf("syscalls: SKIPPED: the system can't let a program catch its own system calls (x86-64 and Linux 5.11 can): %s\n",
               strerror(errno));
        return;
    }
    /* Makes every wait use system calls. */
    setenv("VCHAN_SPIN", "off", 1);
    v = must_map(sizeof(*v));
    for (int role = SERVER; role <= CLIENT; role++)
        for (int phase = 0; phase < PHASES; phase++)
            run_phase((struct trial){ .role = (enum role)role, .phase = (enum phase)phase }, v);

    printf("\n%-20s %6s %10s %12s %9s   errors\n", "system call", "failed", "same errno", "other, valid", "tolerated");
    for (size_t n = 0; n < KINDS; n++) {
        const struct tally *t = &tallies[n];
        if (t->tried == 0)
            continue;
        printf("%-20s %6d %10d %12d %9d  ", kinds[n].name, t->tried, t->reported, t->translated, t->tolerated);
        for (int e = 0; e < 6 && kinds[n].errors[e]; e++)
            printf(" %s", errno_name(kinds[n].errors[e]));
        putchar('\n');
        sum.tried += t->tried, sum.reported += t->reported, sum.translated += t->translated, sum.tolerated += t->tolerated, sum.wrong += t->wrong;
    }
    printf("%-20s %6d %10d %12d %9d   %d wrong\n\n", "all", sum.tried, sum.reported, sum.translated, sum.tolerated, sum.wrong);
    CHECK(sum.tried > 500, "only %d system calls were made to fail: do these trials still work?", sum.tried);
}
