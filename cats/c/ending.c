#include "ending.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "pump.h"
#include "signals.h"
#include "size.h"

/* After EOF on standard input, a peer without half-close is received from until it has been silent for this long.
 * Recent data suggests that it has more to send. */
#define QUIET_LIMIT (500 * MILLISECOND)
/* The same if the peer has not sent anything. */
#define QUIET_LIMIT_NONE_RECEIVED (100 * MILLISECOND)
/* The same if this side has not sent anything (standard input is /dev/null, as in background jobs of a shell) and
 * so exists to receive. */
#define QUIET_LIMIT_NONE_SENT (2 * SECOND)
/* Upper limit of lingering with a peer that keeps sending, unless the conversation lasted longer before. */
#define LINGER_LIMIT (45 * SECOND)
/* How long to wait for the peer to leave after this side has left. Data already in the ring is still received. */
#define LEAVE_TIMEOUT (1 * SECOND)
/* Time limit after a signal. */
#define SIGNAL_TIMEOUT (1 * SECOND)
/* Refresh interval of the progress line. */
#define PROGRESS_INTERVAL (100 * MILLISECOND)
/* How long a pump may take to stop. */
#define STOP_TIMEOUT (2 * SECOND)
/* Poll interval for conditions without an event. */
#define POLL_INTERVAL (10 * MILLISECOND)

enum phase {
    TALKING,
    /* One stream has ended; the other continues for a limited time. */
    LINGERING,
    /* This side has left, the peer has not. */
    LEFT,
};

/* Which silence ends lingering early. */
enum quiet {
    NOTHING,
    /* Nothing received for a while. */
    NOTHING_RECEIVED,
    /* Nothing sent or received for a while. */
    NOTHING_MOVED,
};

struct talk {
    const struct terms *terms;
    struct pump_context *context;
    enum phase phase;
    /* When the phase ends, unless it is the first; and what ends it early. */
    int64_t until;
    enum quiet quiet;
    /* The deadline set by a signal; 0 if none. */
    int64_t signal_deadline;
    /* Which events have been handled. */
    unsigned int known_signals;
    bool known_sent;
    bool input_over;
    /* Standard input has ended and the peer has consumed all of it. */
    bool delivered;
    /* The peer has half-closed and all its data has been delivered; it still receives. */
    bool peer_finished;
    /* The peer has left cleanly and all its data has been delivered. */
    bool peer_left;
    /* A failure, perhaps reported after the remaining data has been received. */
    struct failure failure;
};

static int64_t earlier(int64_t a, int64_t b)
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

static void events_init(struct events *events)
{
    pthread_condattr_t monotonic;

    pthread_mutex_init(&events->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&events->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

/* Sleeps until there may be an event or the deadline passes, 0 for none. The lock is held. */
static void await_event(struct events *events, int64_t until)
{
    struct timespec time = { until / SECOND, until % SECOND };

    if (until)
        pthread_cond_timedwait(&events->changed, &events->lock, &time);
    else
        pthread_cond_wait(&events->changed, &events->lock);
}

static void on_reason(void *arg, enum reason reason)
{
    struct events *events = arg;

    pthread_mutex_lock(&events->lock);
    if (reason == REASON_SIGNAL)
        events->signals++;
    else
        events->output_lost = true;
    pthread_cond_signal(&events->changed);
    pthread_mutex_unlock(&events->lock);
}

/* Whether a signal arrived before EOF on standard input. The sending pump may not have noticed. A terminal has
 * already delivered everything typed. */
static bool is_cut_off(const struct talk *talk)
{
    bool may_send = !talk->input_over && !reads_terminal(talk->context);

    return talk->signal_deadline && may_send && has_more_input(talk->context, 0);
}

/* Notifies the peer, once nothing more will be sent, that this side leaves or aborts. */
static void notify_peer(const struct talk *talk)
{
    if (!talk->known_sent)
        return;
    if (talk->failure.exit != EXIT_DONE || is_cut_off(talk))
        vchan_rs_abort(talk->context->ctrl);
    else
        vchan_rs_leave(talk->context->ctrl);
}

/* Leaves once all data read has been handed over. Data in the receive ring is still delivered. */
static void leave(struct talk *talk)
{
    if (talk->phase == LEFT)
        return;
    talk->phase = LEFT;
    talk->until = now() + LEAVE_TIMEOUT;
    if (!talk->known_sent)
        pumps_stop(talk->context);
    notify_peer(talk);
}

/* Whether the peer is known to support half-close. */
static bool peer_half_closes(const struct talk *talk)
{
    return vchan_rs_peer_half_closes(talk->context->ctrl) == 1;
}

/* Lingers for the time given by the user, otherwise until silence. */
static void linger(struct talk *talk, enum quiet quiet)
{
    int64_t lasted = now() - talk->context->meter.start, time = lasted > LINGER_LIMIT ? lasted : LINGER_LIMIT;

    if (talk->phase == LEFT)
        return;
    talk->phase = LINGERING;
    talk->until = now() + (talk->terms->linger >= 0 ? talk->terms->linger : time);
    talk->quiet = talk->terms->linger >= 0 ? NOTHING : quiet;
}

/* How long the peer may be silent after the end of input. */
static int64_t quiet_time(const struct meter *meter)
{
    if (atomic_load(&meter->sent) == 0)
        return QUIET_LIMIT_NONE_SENT;
    return atomic_load(&meter->received) == 0 ? QUIET_LIMIT_NONE_RECEIVED : QUIET_LIMIT;
}

static int64_t end_of_quiet(const struct talk *talk)
{
    const struct meter *meter = &talk->context->meter;

    return talk->quiet == NOTHING_RECEIVED ? atomic_load(&meter->last_received) + quiet_time(meter)
                                       : atomic_load(&meter->last_moved) + QUIET_LIMIT;
}

/* Handles expired deadlines and sets *wake to the next one, 0 for none. Returns whether the conversation is
 * over. */
static bool due(struct talk *talk, int64_t *wake)
{
    const struct meter *meter = &talk->context->meter;
    int64_t moment = now(), end = 0, out_of_time = 0;

    if (talk->signal_deadline && talk->signal_deadline <= moment)
        return true;
    if (talk->phase == LINGERING)
        end = talk->quiet == NOTHING ? talk->until : earlier(talk->until, end_of_quiet(talk));
    else if (talk->phase == LEFT)
        end = talk->until;
    if (end && end <= moment) {
        if (talk->phase == LEFT)
            return true;
        /* The peer announced half-close late: wait for its EOF. */
        if (talk->quiet == NOTHING_RECEIVED && peer_half_closes(talk))
            talk->phase = TALKING;
        else
            leave(talk);
        end = talk->phase == LEFT ? talk->until : 0;
    }
    *wake = earlier(talk->signal_deadline, end);
    if (talk->phase == LEFT || !talk->terms->timeout)
        return false;
    out_of_time = atomic_load(&meter->last_moved) + talk->terms->timeout;
    if (out_of_time <= moment) {
        forget(&talk->failure);
        talk->failure = idle_failure(talk->terms->timeout);
        return true;
    }
    *wake = earlier(*wake, out_of_time);
    return false;
}

static void on_sent(struct talk *talk, struct events *events)
{
    talk->known_sent = true;
    talk->input_over = events->input_over;
    switch (events->send_end) {
    case SEND_PEER_GONE:
        /* The receiving pump reports the same, and whether the peer left cleanly. */
        break;
    case SEND_STOPPED:
        leave(talk);
        break;
    case SEND_NO_INPUT:
        if (events->no_input)
            warn_of_no_input(talk->terms->report, events->no_input);
        talk->delivered = true;
        break;
    case SEND_FAILED:
        talk->failure = events->send_failure;
        events->send_failure = NO_FAILURE;
        leave(talk);
        break;
    case SEND_END_OF_INPUT:
        talk->delivered = true;
        if (!talk->terms->ends_with_input)
            break;
        if (!talk->terms->lingers)
            leave(talk);
        else if (talk->terms->linger >= 0 || !peer_half_closes(talk))
            /* Ends at once if the silence has already lasted long enough. */
            linger(talk, NOTHING_RECEIVED);
        break;
    }
    if (talk->phase == LEFT)
        notify_peer(talk);
}

/* Handles new events. Returns whether the conversation is over. The lock is held. */
static bool on_event(struct talk *talk, struct events *events)
{
    while (talk->known_signals < events->signals) {
        talk->known_signals++;
        if (talk->signal_deadline)
            return true;
        talk->signal_deadline = now() + SIGNAL_TIMEOUT;
        pumps_stop(talk->context);
        leave(talk);
    }
    if (events->output_lost) {
        forget(&talk->failure);
        talk->failure = stream_failure("standard output", EPIPE);
        return true;
    }
    if (events->sent && !talk->known_sent)
        on_sent(talk, events);
    if (events->finished && !talk->peer_finished) {
        talk->peer_finished = true;
        /* With --keep-listening the client ends the conversation. */
        if (!talk->terms->ends_with_input && !talk->input_over)
            linger(talk, NOTHING_MOVED);
    }
    if (talk->peer_finished && talk->delivered)
        return true;
    if (!events->received)
        return false;
    if (events->receive_end == RECEIVE_PEER_LEFT) {
        /* The sending pump's progress is known only when it has ended. */
        if (!talk->peer_left && !talk->known_sent)
            leave(talk);
        talk->peer_left = true;
        return talk->known_sent;
    }
    if (events->receive_end == RECEIVE_FAILED && talk->failure.exit == EXIT_DONE) {
        talk->failure = events->receive_failure;
        events->receive_failure = NO_FAILURE;
    }
    return true;
}

/* Bytes that a departed peer has not consumed. It may still drain the ring for as long as this side would. */
static size_t count_unconsumed(struct libxenvchan *ctrl)
{
    const struct timespec again = { 0, POLL_INTERVAL };
    int64_t limit = now() + LEAVE_TIMEOUT;
    ssize_t count;

    /* A peer with half-close waits for this. */
    vchan_rs_leave(ctrl);
    while ((count = vchan_rs_pending(ctrl)) > 0 && now() < limit)
        nanosleep(&again, NULL);
    return count > 0 ? (size_t)count : 0;
}

/* Reports what a peer that left by itself has not consumed. With --keep-listening the rest of standard input is
 * for the next client; after a signal it need not be sent. */
static void check_undelivered(struct talk *talk)
{
    bool rest;

    if (!talk->peer_left || talk->signal_deadline || talk->failure.exit != EXIT_DONE)
        return;
    rest = talk->terms->ends_with_input && !talk->input_over && has_more_input(talk->context, GRACE);
    talk->failure = undelivered_failure(rest, talk->known_sent ? count_unconsumed(talk->context->ctrl) : 0);
}

/* Returns when the conversation is over. */
static void run_talk(struct talk *talk, struct progress *progress)
{
    struct events *events = &talk->context->events;
    bool over = false;

    pthread_mutex_lock(&events->lock);
    while (!over) {
        int64_t wake = 0;

        progress_show(progress, &talk->context->meter);
        over = on_event(talk, events) || due(talk, &wake);
        if (progress->shows)
            wake = earlier(wake, now() + PROGRESS_INTERVAL);
        if (!over)
            await_event(events, wake);
    }
    pthread_mutex_unlock(&events->lock);
    check_undelivered(talk);
}

/* Notifies the peer if necessary and stops both pumps, whatever they are blocked on. */
static void shut_down(struct pump_context *context, struct vchan_rs_closer *closer, const struct pumps *pumps)
{
    int64_t limit = now() + STOP_TIMEOUT;

    set_signal_listener(NULL, NULL);
    vchan_rs_closer_close(closer);
    pumps_stop(context);
    while (!pumps_have_ended(pumps, context)) {
        if (now() >= limit) {
            /* The thread is stuck in a system call and keeps its resources. */
            close_xs_srv(context->ctrl);
            pumps_abandon(pumps);
            return;
        }
        pumps_interrupt(pumps, context);
        pthread_mutex_lock(&context->events.lock);
        await_event(&context->events, now() + POLL_INTERVAL);
        pthread_mutex_unlock(&context->events.lock);
    }
    pumps_join(pumps);
    libxenvchan_close(context->ctrl);
    close(context->wake);
    forget(&context->events.send_failure);
    forget(&context->events.receive_failure);
    pthread_cond_destroy(&context->events.changed);
    pthread_mutex_destroy(&context->events.lock);
    free(context);
}

struct failure converse(struct libxenvchan *ctrl, struct vchan_rs_closer *closer, const struct terms *terms,
                        struct progress *progress, struct ended *ended)
{
    struct pump_context *context = calloc(1, sizeof(*context));
    struct talk talk = { .terms = terms, .context = context, .failure = NO_FAILURE };
    struct pumps pumps = { .sending = false };
    int error, wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    if (!context || wake < 0) {
        error = errno;
        free(context);
        if (wake >= 0)
            close(wake);
        set_signal_listener(NULL, NULL);
        libxenvchan_close(ctrl);
        return system_failure("conversation: prepare it", error);
    }
    context->ctrl = ctrl;
    context->input = terms->input;
    context->output = terms->output;
    context->receives = terms->lingers;
    /* A client may not know its server's extensions yet. */
    context->half_closes = !ctrl->is_server || peer_half_closes(&talk);
    context->drain_poll_ms = terms->timeout ? milliseconds(terms->timeout / 4) : -1;
    context->wake = wake;
    meter_start(&context->meter);
    events_init(&context->events);
    set_signal_listener(on_reason, &context->events);
    error = pumps_start(&pumps, context);
    if (error)
        talk.failure = system_failure("conversation: start a thread", error);
    else
        run_talk(&talk, progress);
    ended->input_over = talk.input_over;
    ended->sent = atomic_load(&context->meter.sent);
    ended->received = atomic_load(&context->meter.received);
    ended->lasted = now() - context->meter.start;
    /* A peer that has left needs no notification. */
    if ((talk.failure.exit != EXIT_DONE && talk.failure.exit != EXIT_PEER_FAILED) || is_cut_off(&talk))
        vchan_rs_abort(ctrl);
    shut_down(context, closer, &pumps);
    return talk.failure;
}
