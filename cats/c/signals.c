#include "signals.h"

#include <pthread.h>
#include <signal.h>
#include <stddef.h>

static struct {
    pthread_mutex_t lock;
    bool came;
    void (*listener)(void *);
    void *arg;
} state = { .lock = PTHREAD_MUTEX_INITIALIZER };

static sigset_t caught;

static void *take_signals(void *unused)
{
    int number;

    (void)unused;
    while (sigwait(&caught, &number) == 0) {
        pthread_mutex_lock(&state.lock);
        state.came = true;
        if (state.listener)
            state.listener(state.arg);
        pthread_mutex_unlock(&state.lock);
    }
    return NULL;
}

static int give_default(int number)
{
    struct sigaction action = { .sa_handler = SIG_DFL };

    return sigaction(number, &action, NULL);
}

int catch_signals(void)
{
    struct sigaction hangup;
    pthread_t thread;
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
    if (!error)
        error = pthread_create(&thread, NULL, take_signals, NULL);
    if (!error)
        error = pthread_detach(thread);
    return error;
}

bool signal_came(void)
{
    bool came;

    pthread_mutex_lock(&state.lock);
    came = state.came;
    pthread_mutex_unlock(&state.lock);
    return came;
}

void direct_signals(void (*listener)(void *), void *arg)
{
    pthread_mutex_lock(&state.lock);
    state.listener = listener;
    state.arg = arg;
    if (state.came && listener)
        listener(arg);
    pthread_mutex_unlock(&state.lock);
}
