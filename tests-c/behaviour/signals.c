/* Effects of a signal, a stop and a restarting timer on a blocked call: only a handler without SA_RESTART ends
 * it. */
#include "suite.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum call { READ, RECV, WAIT, WRITE, SEND, CALLS };
static const char *const call_names[] = { "read", "recv", "wait", "write", "send" };

enum disturbance { STOPPED, RESTARTING, PLAIN, BOTH_RESTARTING, BOTH_PLAIN, BOTH_STOPPED, TRACED, DISTURBANCES };
static const char *const disturbance_names[] = {
    "stopped", "restarting", "plain", "both-restarting", "both-plain", "both-stopped", "traced",
};

struct plan {
    enum call call;
    enum disturbance disturbance;
};
static struct plan plans[CALLS * DISTURBANCES];

static const size_t large = 1 << 20;
static volatile sig_atomic_t handled;

static void handler(int signal)
{
    (void)signal;
    handled++;
}

static void install(int signal, int flags)
{
    struct sigaction action = { .sa_handler = handler, .sa_flags = flags };

    sigemptyset(&action.sa_mask);
    if (sigaction(signal, &action, NULL)) {
        perror("behaviour: sigaction");
        exit(2);
    }
}

/* SIGUSR1 restarts, SIGUSR2 doesn't. */
static void install_for(enum disturbance d)
{
    if (d != STOPPED && d != TRACED && d != PLAIN)
        install(SIGUSR1, SA_RESTART);
    if (d != STOPPED && d != TRACED && d != RESTARTING)
        install(SIGUSR2, 0);
}

static int block_in(struct end *e, enum call call, uint8_t *data)
{
    switch (call) {
    case READ:
        return libxenvchan_read(e->ctrl, data, 100);
    case RECV:
        return libxenvchan_recv(e->ctrl, data, 100);
    case WAIT:
        return libxenvchan_wait(e->ctrl);
    case WRITE:
        fill_pattern(data, large, e->sent);
        return libxenvchan_write(e->ctrl, data, large);
    default:
        fill_pattern(data, 100, e->sent);
        return libxenvchan_send(e->ctrl, data, 100);
    }
}

static void disturbed(struct end *e, const void *arg)
{
    const struct plan *plan = arg;
    uint8_t *data = malloc(large);
    int ret, error;

    open_both(e, 4096, 4096);
    /* Nothing to read and no space to write: the next call blocks. */
    if (plan->call == SEND)
        put_some(e, write_ring(e));
    if (plan->call == WAIT) {
        take_some(e, 1);
        drain_events(e->ctrl);
    }
    install_for(plan->disturbance);
    e->ctrl->blocking = 1;
    enter_call(e);
    errno = 0;
    ret = block_in(e, plan->call, data);
    error = errno;
    leave_call(e);
    tell(e, ret);
    result("returned", "%s handled=%d", outcome(ret, error), (int)handled);
    hear(e);
    close_end(e);
    free(data);
}

static bool is_stopped(pid_t process)
{
    char path[64], text[256] = "";
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)process);
    file = fopen(path, "r");
    if (file) {
        if (!fgets(text, sizeof(text), file))
            text[0] = 0;
        fclose(file);
    }
    return strstr(text, ") T ") != NULL;
}

/* Like strace -p. */
static void trace(pid_t process)
{
    if (ptrace(PTRACE_SEIZE, process, NULL, NULL)) {
        fprintf(stderr, "behaviour: NOT TESTED: tracing a process that sleeps: %s\n", strerror(errno));
        return;
    }
    ptrace(PTRACE_INTERRUPT, process, NULL, NULL);
    waitpid(process, NULL, __WALL);
    ptrace(PTRACE_DETACH, process, NULL, NULL);
}

static void disturb(struct end *e, enum disturbance d)
{
    if (d == TRACED) {
        trace(e->other);
    } else if (d == STOPPED || d == BOTH_STOPPED) {
        kill(e->other, SIGSTOP);
        while (!is_stopped(e->other))
            poll(NULL, 0, 1);
        kill(e->other, SIGCONT);
    } else {
        kill(e->other, d == PLAIN || d == BOTH_PLAIN ? SIGUSR2 : SIGUSR1);
    }
}

static void disturbing(struct end *e, const void *arg)
{
    const struct plan *plan = arg;
    const int times = plan->disturbance == PLAIN || plan->disturbance == BOTH_PLAIN ? 1 : 3;
    enum watched seen = ASLEEP;

    open_both(e, 4096, 4096);
    for (int i = 0; i < times && seen == ASLEEP; i++) {
        seen = watch(e, e->other);
        if (seen == ASLEEP)
            disturb(e, plan->disturbance);
    }
    if (seen == ASLEEP)
        seen = watch(e, e->other);
    result("disturbed", "%s", seen == ASLEEP ? "sleeps-on" : "returned");
    if (seen == ASLEEP && (plan->call == WRITE || plan->call == SEND)) {
        while (!fd_readable(e->sock, 0))
            take_some(e, 4096);
    } else if (seen == ASLEEP) {
        put_some(e, 100);
    }
    hear(e);
    tell(e, 0);
    close_end(e);
}

static void run(const void *arg)
{
    with_peer(CLIENT, disturbed, disturbing, arg);
}

/* A stream under a timer. */
static void ticking(struct end *e, const void *arg)
{
    const struct itimerval often = { { 0, 2000 }, { 0, 2000 } }, never = { 0 };
    uint8_t *data = malloc(large);
    int ret;

    (void)arg;
    open_both(e, 4096, 4096);
    install(SIGALRM, SA_RESTART);
    e->ctrl->blocking = 1;
    fill_pattern(data, large, 0);
    setitimer(ITIMER_REAL, &often, NULL);
    ret = libxenvchan_write(e->ctrl, data, large);
    setitimer(ITIMER_REAL, &never, NULL);
    result("wrote", "%s", outcome(ret, errno));
    tell(e, ret);
    hear(e);
    close_end(e);
    free(data);
}

static void slow(struct end *e, const void *arg)
{
    size_t count = 0;

    (void)arg;
    open_both(e, 4096, 4096);
    for (int pauses = 0; !fd_readable(e->sock, 0); pauses++) {
        if (pauses < 60)
            nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
        count += take_some(e, 4096);
    }
    count += take_some(e, 4096);
    check(count == (size_t)hear(e), "other than what was written came");
    result("came", "count=%zu", count);
    tell(e, 0);
    close_end(e);
}

static void run_ticking(const void *arg)
{
    with_peer(CLIENT, ticking, slow, arg);
}

/* Two threads asleep on one channel: a signal to one ends only its call. */
struct sleeper {
    struct end *e;
    bool writes;
    pthread_t thread;
    _Atomic pid_t tid;
    int ret, error;
};

struct pair_plan {
    bool writer_first, to_writer;
};
static const struct pair_plan pair_plans[] = {
    { false, false }, { false, true }, { true, false }, { true, true },
};

static void *sleep_in_call(void *arg)
{
    struct sleeper *s = arg;
    uint8_t data[100];

    atomic_store(&s->tid, gettid());
    fill_pattern(data, sizeof(data), s->e->sent);
    errno = 0;
    s->ret = s->writes ? libxenvchan_write(s->e->ctrl, data, sizeof(data))
                       : libxenvchan_read(s->e->ctrl, data, sizeof(data));
    s->error = errno;
    return NULL;
}

static void put_to_sleep(struct sleeper *s)
{
    if (pthread_create(&s->thread, NULL, sleep_in_call, s)) {
        perror("behaviour: making a thread");
        exit(2);
    }
    while (!atomic_load(&s->tid))
        poll(NULL, 0, 1);
    await_asleep(getpid(), s->tid);
}

static void two_asleep(struct end *e, const void *arg)
{
    const struct pair_plan *plan = arg;
    struct sleeper sleepers[2] = { { .e = e }, { .e = e, .writes = true } };
    struct sleeper *victim = &sleepers[plan->to_writer], *other = &sleepers[!plan->to_writer];

    open_both(e, 4096, 4096);
    put_some(e, write_ring(e));
    install(SIGUSR2, 0);
    e->ctrl->blocking = 1;
    put_to_sleep(&sleepers[plan->writer_first]);
    put_to_sleep(&sleepers[!plan->writer_first]);
    pthread_kill(victim->thread, SIGUSR2);
    pthread_join(victim->thread, NULL);
    result("interrupted", "%s", outcome(victim->ret, victim->error));
    await_asleep(getpid(), other->tid);
    tell(e, 0);
    pthread_join(other->thread, NULL);
    result("other", "%s", outcome(other->ret, other->error));
    tell(e, 0);
    hear(e);
    close_end(e);
}

static void release_both(struct end *e, const void *arg)
{
    (void)arg;
    open_both(e, 4096, 4096);
    hear(e);
    put_some(e, 100);
    while (!fd_readable(e->sock, 1))
        take_some(e, 4096);
    hear(e);
    tell(e, 0);
    close_end(e);
}

static void run_two(const void *arg)
{
    with_peer(CLIENT, two_asleep, release_both, arg);
}

void add_signal_tests(void)
{
    for (int call = 0; call < CALLS; call++) {
        for (int d = 0; d < DISTURBANCES; d++) {
            struct plan *plan = &plans[call * DISTURBANCES + d];

            *plan = (struct plan){ call, d };
            add_test(run, plan, "signals.%s.%s", call_names[call], disturbance_names[d]);
        }
    }
    for (size_t i = 0; i < sizeof(pair_plans) / sizeof(*pair_plans); i++) {
        const struct pair_plan *plan = &pair_plans[i];

        add_test(run_two, plan, "signals.two.%s-first.to-%s", plan->writer_first ? "writer" : "reader",
                 plan->to_writer ? "writer" : "reader");
    }
    add_test(run_ticking, NULL, "signals.ticking");
}
