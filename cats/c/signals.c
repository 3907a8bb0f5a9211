#include "signals.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "size.h"

/* A signal that ends a whole pipeline ends the reader, too. It has come before the reader's end, but its thread may be
 * slower. */
#define SLOWER (50 * MILLISECOND)

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
    if (reason == ASKED)
        state.came = true;
    else if (!state.came)
        state.output_lost = true;
    /* Who was asked to end ends in order. */
    if (state.listener && (reason == ASKED || !state.came))
        state.listener(state.arg, reason);
    pthread_mutex_unlock(&state.lock);
}

static void *take_signals(void *unused)
{
    int number;

    (void)unused;
    while (sigwait(&caught, &number) == 0)
        tell(ASKED);
    return NULL;
}

static void *watch(void *output)
{
    /* poll reports errors and hang-ups without being asked for them. */
    struct pollfd fd = { (int)(intptr_t)output, 0, 0 };
    const struct timespec slower = { 0, SLOWER };

    if (poll(&fd, 1, -1) > 0) {
        nanosleep(&slower, NULL);
        tell(OUTPUT_LOST);
    }
    return NULL;
}

/* Starts a thread that nobody waits for. */
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
    /* SIGINT is caught even where it was ignored, which is how a shell starts jobs in the background: `kill -INT`
     * shall end those, too. Who started this by nohup means it. */
    sigaddset(&caught, SIGINT);
    sigaddset(&caught, SIGTERM);
    give_default(SIGINT);
    give_default(SIGTERM);
    if (sigaction(SIGHUP, NULL, &hangup) == 0 && hangup.sa_handler != SIG_IGN)
        sigaddset(&caught, SIGHUP);
    /* In all threads, so that nobody's calls fail with EINTR. */
    error = pthread_sigmask(SIG_BLOCK, &caught, NULL);
    return error ? error : start(take_signals, NULL);
}

bool signal_came(void)
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

void direct_signals(void (*listener)(void *, enum reason), void *arg)
{
    pthread_mutex_lock(&state.lock);
    state.listener = listener;
    state.arg = arg;
    if (state.came && listener)
        listener(arg, ASKED);
    if (state.output_lost && listener)
        listener(arg, OUTPUT_LOST);
    pthread_mutex_unlock(&state.lock);
}
