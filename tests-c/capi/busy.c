/* With data to read and space to write, no call makes a system call or allocates memory. A child makes the calls
 * on both ends, opened by its parent, under a filter that reports every other system call and stops it. */
#include <vchan-rs.h>

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { RING = 65536, LARGEST = 20000, ROUNDS = 3000, WAYS = 5, SECONDS = 60 };

static struct libxenvchan *ends[2];
static const char *volatile doing = "nothing yet";
static volatile int busy;

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *block, size_t size);

static void say(const char *text)
{
    if (write(2, text, strlen(text)) < 0)
        _exit(2);
}

static void stop(const char *what)
{
    say("busy: ");
    say(doing);
    say(what);
    _exit(1);
}

static void allocates(void)
{
    if (busy)
        stop(": allocates memory\n");
}

void *malloc(size_t size)
{
    allocates();
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    allocates();
    return __libc_calloc(count, size);
}

void *realloc(void *block, size_t size)
{
    allocates();
    return __libc_realloc(block, size);
}

static void caught(int signal, siginfo_t *info, void *context)
{
    char digits[] = ": makes system call 0000\n";
    int number = info->si_syscall;

    (void)signal;
    (void)context;
    for (int at = (int)sizeof(digits) - 3; at >= (int)sizeof(digits) - 6; at--, number /= 10)
        digits[at] = (char)('0' + number % 10);
    stop(digits);
}

/* From now on only exit_group(), and write() to standard error, are allowed. */
static void filter(void)
{
    struct sock_filter steps[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 3, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_write, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 2, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
    };
    struct sock_fprog program = { sizeof(steps) / sizeof(*steps), steps };
    struct sigaction action = { .sa_sigaction = caught, .sa_flags = SA_SIGINFO };

    if (sigaction(SIGSYS, &action, NULL) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) {
        perror("busy: filter");
        _exit(2);
    }
}

#define MUST(call, expected) (doing = #call, must(call, expected))

static void must(long result, long expected)
{
    if (result != expected)
        stop(": fails\n");
}

/* The memory shown by vchan_rs_reserve() or vchan_rs_borrow(), and how much is moved there. */
static void copy(const struct iovec parts[2], char *buffer, size_t size, int out)
{
    size_t first = parts[0].iov_len < size ? parts[0].iov_len : size;

    memcpy(out ? buffer : parts[0].iov_base, out ? parts[0].iov_base : buffer, first);
    memcpy(out ? buffer + first : parts[1].iov_base, out ? parts[1].iov_base : buffer + first, size - first);
}

static void put(struct libxenvchan *from, int way, char *bytes, size_t size)
{
    struct iovec parts[2];

    from->blocking = way == 0;
    switch (way) {
    case 0:
    case 1:
        MUST(libxenvchan_write(from, bytes, size), (long)size);
        break;
    case 2:
        MUST(libxenvchan_send(from, bytes, size), (long)size);
        break;
    case 3:
        MUST(vchan_rs_write(from, bytes, size, -1), (long)size);
        break;
    default:
        MUST(vchan_rs_reserve(from, parts, size, -1) >= (long)size, 1);
        copy(parts, bytes, size, 0);
        MUST(vchan_rs_commit(from, size), 0);
    }
}

static void take(struct libxenvchan *to, int way, char *bytes, size_t size)
{
    struct iovec parts[2];

    to->blocking = way == 0;
    switch (way) {
    case 0:
    case 1:
        MUST(libxenvchan_read(to, bytes, size), (long)size);
        break;
    case 2:
        MUST(libxenvchan_recv(to, bytes, size), (long)size);
        break;
    case 3:
        MUST(vchan_rs_read(to, bytes, size, -1), (long)size);
        break;
    default:
        MUST(vchan_rs_borrow(to, parts, size, -1) >= (long)size, 1);
        copy(parts, bytes, size, 1);
        MUST(vchan_rs_consume(to, size), 0);
    }
}

/* Each way of writing with each of reading, in both directions; two messages at a time, so that the ring does not
 * become empty in between. */
static void talk(int rounds)
{
    static char sent[LARGEST], got[LARGEST];

    for (int round = 0; round < rounds; round++) {
        size_t size = 1 + (size_t)round * 37 % LARGEST;
        struct libxenvchan *from = ends[round % 2], *to = ends[1 - round % 2];

        memset(sent, round, size);
        put(from, round % WAYS, sent, size);
        put(from, round / WAYS % WAYS, sent, size);
        for (int n = 0; n < 2; n++) {
            memset(got, ~round, size);
            take(to, (round / WAYS + n) % WAYS, got, size);
            if (memcmp(sent, got, size))
                stop(": the wrong bytes\n");
        }
    }
}

int main(void)
{
    int status;
    pid_t child;

    alarm(SECONDS);
    ends[0] = libxenvchan_server_init(NULL, 0, "/vchan/busy", RING, RING);
    ends[1] = libxenvchan_client_init(NULL, 0, "/vchan/busy");
    if (!ends[0] || !ends[1]) {
        perror("busy: open");
        return 1;
    }
    /* The events that each side requests at the start. */
    talk(10);
    child = fork();
    if (child == 0) {
        filter();
        busy = 1;
        talk(ROUNDS);
        busy = 0;
        _exit(0);
    }
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0) {
        fprintf(stderr, "busy: the child failed, status 0x%x\n", status);
        return 1;
    }
    libxenvchan_close(ends[1]);
    libxenvchan_close(ends[0]);
    printf("busy.c: %d rounds without a system call\n", ROUNDS);
    return 0;
}
