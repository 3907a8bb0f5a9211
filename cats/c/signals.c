#include "signals.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "size.h"

/* When a signal ends a whole pipeline, it arrives before the reader's exit is seen, but its thread may run
 * later. */
#define SIGNAL_GRACE (50 * MILLISECOND)

static struct {
    pthread_mutex_t lock;
    bool came, output_lost;
    void (*listener)(void *, enum reason);
    void *arg;
} state = { .lock = PTHREAD_MUTEX_INITIALIZER };

static sigset_t caught;

static void tell(enum reason reason)
{
    pthread_mutex_lock(&state.lock);
    if (reason == REASON_SIGNAL)
        state.came = true;
    else if (!state.came)
        state.output_lost = true;
    /* After a signal the exit is clean. */
    if (state.listener && (reason == REASON_SIGNAL || !state.came))
        state.listener(state.arg, reason);
    pthread_mutex_unlock(&state.lock);
}

static void *signal_thread(void *unused)
{
    int number;

    (void)unused;
    while (sigwait(&caught, &number) == 0)
        tell(REASON_SIGNAL);
    return NULL;
}

static void *watch(void *output)
{
    /* poll always reports errors and hang-ups. */
    struct pollfd fd = { (int)(intptr_t)output, 0, 0 };
    const struct timespec slower = { 0, SIGNAL_GRACE };

    if (poll(&fd, 1, -1) > 0) {
        nanosleep(&slower, NULL);
        tell(REASON_OUTPUT_LOST);
    }
    return NULL;
}

/* Starts a detached thread. */
static int start(void *(*body)(void *), void *arg)
{
    pthread_t thread;
    int error = pthread_create(&thread, NULL, body, arg);

    return error ? error : pthread_detach(thread);
}

int watch_output(int output)
{
    return start(watch, (void *)(intptr_t)output);
}

static int give_default(int number)
{
    struct sigaction action = { .sa_handler = SIG_DFL };

    return sigaction(number, &action, NULL);
}

int catch_signals(void)
{
    struct sigaction hangup;
    int error;

    sigemptyset(&caught);
    /* SIGINT is caught even if ignored, as in background jobs of a shell: `kill -INT` must end those, too. An
     * ignored SIGHUP means nohup. */
    sigaddset(&caught, SIGINT);
    sigaddset(&caught, SIGTERM);
    give_default(SIGINT);
    give_default(SIGTERM);
    if (sigaction(SIGHUP, NULL, &hangup) == 0 && hangup.sa_handler != SIG_IGN)
        sigaddset(&caught, SIGHUP);
    /* In all threads, so that their calls don't fail with EINTR. */
    error = pthread_sigmask(SIG_BLOCK, &caught, NULL);
    return error ? error : start(signal_thread, NULL);
}

bool signal_received(void)
{
    bool came;

    pthread_mutex_lock(&state.lock);
    came = state.came;
    pthread_mutex_unlock(&state.lock);
    return came;
}

bool output_is_lost(void)
{
    bool lost;

    pthread_mutex_lock(&state.lock);
    lost = state.output_lost;
    pthread_mutex_unlock(&state.lock);
    return lost;
}

void set_signal_listener(void (*listener)(void *, enum reason), void *arg)
{
    pthread_mutex_lock(&state.lock);
    state.listener = listener;
    state.arg = arg;
    if (state.came && listener)
        listener(arg, REASON_SIGNAL);
    if (state.output_lost && listener)
        listener(arg, REASON_OUTPUT_LOST);
    pthread_mutex_unlock(&state.lock);
}
