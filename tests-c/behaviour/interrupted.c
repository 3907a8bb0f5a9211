/* Calls that don't return normally: a handler makes other calls meanwhile, or leaves by siglongjmp; the thread is
 * cancelled; a fork copies the channel without the thread. */
#include "suite.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum call { READ, RECV, WAIT, WRITE, CALLS };
static const char *const call_names[] = { "read", "recv", "wait", "write" };
static const enum call calls[] = { READ, RECV, WAIT, WRITE };

#define FEW 100

/* --- a call that blocks until its peer acts --- */
static int block_in(struct end *e, enum call call)
{
    uint8_t data[FEW];

    switch (call) {
    case READ:
        return libxenvchan_read(e->ctrl, data, sizeof(data));
    case RECV:
        return libxenvchan_recv(e->ctrl, data, sizeof(data));
    case WAIT:
        return libxenvchan_wait(e->ctrl);
    default:
        fill_pattern(data, sizeof(data), e->sent);
        return libxenvchan_write(e->ctrl, data, sizeof(data));
    }
}

static void open_so_that_it_blocks(struct end *e, enum call call)
{
    open_both(e, 4096, 4096);
    if (call == WRITE)
        put_some(e, write_ring(e));
    if (call == WAIT) {
        take_some(e, 1);
        drain_events(e->ctrl);
    }
    e->ctrl->blocking = 1;
}

static void install(void (*handler)(int))
{
    struct sigaction action = { .sa_handler = handler, .sa_flags = SA_RESTART };

    if (sigaction(SIGUSR1, &action, NULL)) {
        perror("behaviour: sigaction");
        exit(2);
    }
}

/* The handler uses the channel of the interrupted call. */
static struct end *interrupted;
static sigjmp_buf before;

/* --- handler actions --- */
static void ask(int signal)
{
    (void)signal;
    result("handler", "open=%d ready=%d space=%d", libxenvchan_is_open(interrupted->ctrl),
           libxenvchan_data_ready(interrupted->ctrl), libxenvchan_buffer_space(interrupted->ctrl));
}

static void write_some(int signal)
{
    static const uint8_t data[FEW];

    (void)signal;
    result("handler", "wrote=%d", libxenvchan_write(interrupted->ctrl, data, sizeof(data)));
}

/* Returns when the peer, which sees this thread asleep again, acts. */
static void wait_too(int signal)
{
    (void)signal;
    result("handler", "waited=%d", libxenvchan_wait(interrupted->ctrl));
}

static void leave(int signal)
{
    (void)signal;
    siglongjmp(before, 1);
}

static const struct action {
    const char *name;
    void (*handler)(int);
} actions[] = { { "asks", ask }, { "writes", write_some }, { "waits", wait_too } };

static void acting(struct end *e, const void *arg)
{
    const struct action *action = arg;
    int ret;

    open_so_that_it_blocks(e, READ);
    interrupted = e;
    install(action->handler);
    enter_call(e);
    errno = 0;
    ret = block_in(e, READ);
    leave_call(e);
    result("returned", "%s", outcome(ret, errno));
    tell(e, ret);
    hear(e);
    close_end(e);
}

static void act_in_a_handler(struct end *e, const void *arg)
{
    enum watched seen;

    (void)arg;
    open_both(e, 4096, 4096);
    watch(e, e->other);
    kill(e->other, SIGUSR1);
    seen = watch(e, e->other);
    result("interrupted", "%s", seen == ASLEEP ? "sleeps-on" : "returned");
    put_some(e, FEW);
    hear(e);
    tell(e, 0);
    close_end(e);
}

static void run_acting(const void *arg)
{
    with_peer(CLIENT, acting, act_in_a_handler, arg);
}

/* --- siglongjmp --- */
static void leaving(struct end *e, const void *arg)
{
    const enum call call = *(const enum call *)arg;
    volatile bool left = false;
    int ret;

    open_so_that_it_blocks(e, call);
    install(leave);
    enter_call(e);
    if (sigsetjmp(before, 1) == 0)
        block_in(e, call);
    else
        left = true;
    leave_call(e);
    result("left", "%d open=%d", left, libxenvchan_is_open(e->ctrl));
    tell(e, 0);
    errno = 0;
    ret = block_in(e, call);
    result("again", "%s", outcome(ret, errno));
    meet(e);
    close_end(e);
}

/* Releases the call that the other side repeats. */
static void release(struct end *e, enum call call)
{
    hear(e);
    if (call == WRITE)
        take_some(e, 4096);
    else
        put_some(e, FEW);
    meet(e);
    close_end(e);
}

static void interrupt_and_release(struct end *e, const void *arg)
{
    open_both(e, 4096, 4096);
    watch(e, e->other);
    kill(e->other, SIGUSR1);
    release(e, *(const enum call *)arg);
}

static void run_leaving(const void *arg)
{
    with_peer(CLIENT, leaving, interrupt_and_release, arg);
}

/* --- pthread_cancel --- */
struct worker {
    struct end *e;
    enum call call;
    pthread_t thread;
    _Atomic pid_t tid;
};

static void *block(void *arg)
{
    struct worker *w = arg;

    atomic_store(&w->tid, gettid());
    block_in(w->e, w->call);
    return NULL;
}

static void start(struct worker *w)
{
    if (pthread_create(&w->thread, NULL, block, w)) {
        perror("behaviour: making a thread");
        exit(2);
    }
    while (!atomic_load(&w->tid))
        poll(NULL, 0, 1);
    await_asleep(getpid(), w->tid);
}

static void cancelled(struct end *e, const void *arg)
{
    struct worker w = { .e = e, .call = *(const enum call *)arg };
    void *value;
    int ret;

    open_so_that_it_blocks(e, w.call);
    start(&w);
    pthread_cancel(w.thread);
    pthread_join(w.thread, &value);
    result("cancelled", "%d open=%d", value == PTHREAD_CANCELED, libxenvchan_is_open(e->ctrl));
    tell(e, 0);
    errno = 0;
    ret = block_in(e, w.call);
    result("again", "%s", outcome(ret, errno));
    meet(e);
    close_end(e);
}

static void open_and_release(struct end *e, const void *arg)
{
    open_both(e, 4096, 4096);
    release(e, *(const enum call *)arg);
}

static void run_cancelled(const void *arg)
{
    with_peer(CLIENT, cancelled, open_and_release, arg);
}

/* --- fork while another thread is in a call --- */
enum ending { CLOSES, EXITS, GOES_ON };
static const char *const ending_names[] = { "closes", "exits", "goes-on" };
static const enum ending endings[] = { CLOSES, EXITS, GOES_ON };

static struct end *inherited;

static void close_inherited(void)
{
    libxenvchan_close(inherited->ctrl);
}

static void child(struct end *e, enum ending ending)
{
    static const uint8_t data[FEW];

    inherited = e;
    if (ending == EXITS)
        atexit(close_inherited);
    else if (ending == CLOSES)
        close_inherited();
    else if (libxenvchan_write(e->ctrl, data, sizeof(data)) != FEW)
        exit(1);
    exit(0);
}

static void forking(struct end *e, const void *arg)
{
    const enum ending ending = *(const enum ending *)arg;
    struct worker w = { .e = e, .call = READ };
    int status = -1;
    pid_t pid;

    open_so_that_it_blocks(e, READ);
    start(&w);
    fflush(stdout);
    pid = fork();
    if (pid == 0)
        child(e, ending);
    waitpid(pid, &status, 0);
    result("child", "status=%d", status);
    tell(e, 0);
    pthread_join(w.thread, NULL);
    tell(e, 0);
    hear(e);
    close_end(e);
}

static void serve_the_fork(struct end *e, const void *arg)
{
    const enum ending ending = *(const enum ending *)arg;

    open_both(e, 4096, 4096);
    hear(e);
    result("peer", "open=%d ready=%d", libxenvchan_is_open(e->ctrl), libxenvchan_data_ready(e->ctrl));
    if (ending == GOES_ON)
        put_some(e, FEW);
    else
        libxenvchan_close(e->ctrl);
    hear(e);
    tell(e, 0);
    if (ending == GOES_ON)
        close_end(e);
}

static void run_forking(const void *arg)
{
    with_peer(CLIENT, forking, serve_the_fork, arg);
}

void add_interrupted_tests(void)
{
    for (size_t i = 0; i < sizeof(actions) / sizeof(*actions); i++)
        add_test(run_acting, &actions[i], "in-handler.%s", actions[i].name);
    for (int call = 0; call < CALLS; call++) {
        add_test(run_leaving, &calls[call], "left-by-longjmp.%s", call_names[call]);
        add_test(run_cancelled, &calls[call], "cancelled.%s", call_names[call]);
    }
    for (size_t i = 0; i < sizeof(endings) / sizeof(*endings); i++)
        add_test(run_forking, &endings[i], "fork-child.%s", ending_names[i]);
}
