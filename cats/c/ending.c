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

/* A peer that can't say where its stream ends is listened to, after the end of input, until nothing has come for this long.
 * Data that came in recently means that it is in the middle of something. */
#define RECENT (500 * MILLISECOND)
/* The same where nothing has come yet at all. */
#define YOUNG (100 * MILLISECOND)
/* The same for who had nothing to say (standard input from /dev/null, as a shell gives it to background jobs) and so
 * came to listen. */
#define PATIENCE (2 * SECOND)
/* For how long a peer that doesn't stop sending is listened to after the end of input, if the conversation was
 * shorter. */
#define LINGER (45 * SECOND)
/* How long a peer that has been left gets to leave, too; what it has put into the ring is received meanwhile. */
#define FAREWELL (1 * SECOND)
/* How long everything may take after a signal. */
#define IN_TIME (1 * SECOND)
/* How often the progress is shown. */
#define TICK (100 * MILLISECOND)
/* How long a pump may need to end after it was told to. */
#define STOPPING (2 * SECOND)
/* How often to look for what no event tells of. */
#define AGAIN (10 * MILLISECOND)

enum phase {
    TALKING,
    /* One of the two streams is over. The other one goes on for a while. */
    LINGERING,
    /* We have left; the peer hasn't. */
    LEFT,
};

/* What ends the lingering before its time. */
enum quiet {
    NOTHING,
    /* Nothing has come in for a while. */
    NOTHING_CAME,
    /* Nothing has moved for a while. */
    NOTHING_MOVED,
};

struct talk {
    const struct terms *terms;
    struct course *course;
    enum phase phase;
    /* When the phase ends, where it is not the first; and what ends it before. */
    int64_t until;
    enum quiet quiet;
    /* When to go at the latest, once a signal has come; 0 before. */
    int64_t asked;
    /* Which of the news are known. */
    unsigned int known_asked;
    bool known_sent;
    bool input_over;
    /* And the peer has taken all of it. */
    bool delivered;
    /* The peer has ended its stream, all of which has been delivered, and listens. */
    bool peer_finished;
    /* The peer has left in order, and everything that it wrote has been delivered. */
    bool peer_left;
    /* What went wrong, perhaps while the rest is still being received. */
    struct failure failure;
};

static int64_t earlier(int64_t a, int64_t b)
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

static void news_init(struct news *news)
{
    pthread_condattr_t monotonic;

    pthread_mutex_init(&news->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&news->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

/* Sleeps until there may be news, or until then, if that is not 0. The lock is held. */
static void await_news(struct news *news, int64_t until)
{
    struct timespec time = { until / SECOND, until % SECOND };

    if (until)
        pthread_cond_timedwait(&news->changed, &news->lock, &time);
    else
        pthread_cond_wait(&news->changed, &news->lock);
}

static void ask(void *arg, enum reason reason)
{
    struct news *news = arg;

    pthread_mutex_lock(&news->lock);
    if (reason == ASKED)
        news->asked++;
    else
        news->output_lost = true;
    pthread_cond_signal(&news->changed);
    pthread_mutex_unlock(&news->lock);
}

/* Whether a signal came before the end of standard input, which the sending pump need not have seen. A terminal has sent all
 * that was typed. */
static bool is_cut_off(const struct talk *talk)
{
    bool may_send = !talk->input_over && !reads_terminal(talk->course);

    return talk->asked && may_send && has_more_input(talk->course, 0);
}

/* Tells the peer that we go, once nothing more is sent; and whether that is too early. */
static void tell(const struct talk *talk)
{
    if (!talk->known_sent)
        return;
    if (talk->failure.exit != EXIT_DONE || is_cut_off(talk))
        vchan_rs_abort(talk->course->ctrl);
    else
        vchan_rs_leave(talk->course->ctrl);
}

/* Goes, as soon as what has been read is handed over. What the peer has put into the ring still arrives. */
static void leave(struct talk *talk)
{
    if (talk->phase == LEFT)
        return;
    talk->phase = LEFT;
    talk->until = now() + FAREWELL;
    if (!talk->known_sent)
        course_stop(talk->course);
    tell(talk);
}

/* Whether the peer says where its stream ends, as far as is known. */
static bool peer_half_closes(const struct talk *talk)
{
    return vchan_rs_peer_half_closes(talk->course->ctrl) == 1;
}

/* Goes on for as long as the user says, or else until it has become quiet. */
static void linger(struct talk *talk, enum quiet quiet)
{
    int64_t lasted = now() - talk->course->meter.start, time = lasted > LINGER ? lasted : LINGER;

    if (talk->phase == LEFT)
        return;
    talk->phase = LINGERING;
    talk->until = now() + (talk->terms->linger >= 0 ? talk->terms->linger : time);
    talk->quiet = talk->terms->linger >= 0 ? NOTHING : quiet;
}

/* For how long nothing may come after the end of input. */
static int64_t quiet_time(const struct meter *meter)
{
    if (atomic_load(&meter->sent) == 0)
        return PATIENCE;
    return atomic_load(&meter->received) == 0 ? YOUNG : RECENT;
}

static int64_t end_of_quiet(const struct talk *talk)
{
    const struct meter *meter = &talk->course->meter;

    return talk->quiet == NOTHING_CAME ? atomic_load(&meter->last_received) + quiet_time(meter)
                                       : atomic_load(&meter->last_moved) + RECENT;
}

/* Does what is due, and says in *wake when to come back, 0 for never. Returns whether it is over. */
static bool due(struct talk *talk, int64_t *wake)
{
    const struct meter *meter = &talk->course->meter;
    int64_t moment = now(), end = 0, out_of_time = 0;

    if (talk->asked && talk->asked <= moment)
        return true;
    if (talk->phase == LINGERING)
        end = talk->quiet == NOTHING ? talk->until : earlier(talk->until, end_of_quiet(talk));
    else if (talk->phase == LEFT)
        end = talk->until;
    if (end && end <= moment) {
        if (talk->phase == LEFT)
            return true;
        /* The news may have come late: then the peer will say where its stream ends. */
        if (talk->quiet == NOTHING_CAME && peer_half_closes(talk))
            talk->phase = TALKING;
        else
            leave(talk);
        end = talk->phase == LEFT ? talk->until : 0;
    }
    *wake = earlier(talk->asked, end);
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

static void on_sent(struct talk *talk, struct news *news)
{
    talk->known_sent = true;
    talk->input_over = news->input_over;
    switch (news->send_end) {
    case SEND_PEER_GONE:
        /* The receiving pump will report the same, and whether it was in order. */
        break;
    case SEND_STOPPED:
        leave(talk);
        break;
    case SEND_NO_INPUT:
        if (news->no_input)
            warn_of_no_input(talk->terms->report, news->no_input);
        talk->delivered = true;
        break;
    case SEND_FAILED:
        talk->failure = news->send_failure;
        news->send_failure = NO_FAILURE;
        leave(talk);
        break;
    case SEND_END_OF_INPUT:
        talk->delivered = true;
        if (!talk->terms->ends_with_input)
            break;
        if (!talk->terms->lingers)
            leave(talk);
        else if (talk->terms->linger >= 0 || !peer_half_closes(talk))
            /* Where nothing has come for long enough already, that is over at once. */
            linger(talk, NOTHING_CAME);
        break;
    }
    if (talk->phase == LEFT)
        tell(talk);
}

/* Takes in what is new. Returns whether it is over. The lock is held. */
static bool on_news(struct talk *talk, struct news *news)
{
    while (talk->known_asked < news->asked) {
        talk->known_asked++;
        if (talk->asked)
            return true;
        talk->asked = now() + IN_TIME;
        course_stop(talk->course);
        leave(talk);
    }
    if (news->output_lost) {
        forget(&talk->failure);
        talk->failure = stream_failure("standard output", EPIPE);
        return true;
    }
    if (news->sent && !talk->known_sent)
        on_sent(talk, news);
    if (news->finished && !talk->peer_finished) {
        talk->peer_finished = true;
        /* Where clients come one after the other, each ends the conversation. */
        if (!talk->terms->ends_with_input && !talk->input_over)
            linger(talk, NOTHING_MOVED);
    }
    if (talk->peer_finished && talk->delivered)
        return true;
    if (!news->received)
        return false;
    if (news->receive_end == RECEIVE_PEER_LEFT) {
        /* How far the sending pump came is known when it has ended. */
        if (!talk->peer_left && !talk->known_sent)
            leave(talk);
        talk->peer_left = true;
        return talk->known_sent;
    }
    if (news->receive_end == RECEIVE_FAILED && talk->failure.exit == EXIT_DONE) {
        talk->failure = news->receive_failure;
        news->receive_failure = NO_FAILURE;
    }
    return true;
}

/* How much a peer that has left has not taken. What is in the ring it takes after that, for as long as this side would. */
static size_t count_untaken(struct libxenvchan *ctrl)
{
    const struct timespec again = { 0, AGAIN };
    int64_t limit = now() + FAREWELL;
    ssize_t count;

    /* A peer of this kind waits for that. */
    vchan_rs_leave(ctrl);
    while ((count = vchan_rs_pending(ctrl)) > 0 && now() < limit)
        nanosleep(&again, NULL);
    return count > 0 ? (size_t)count : 0;
}

/* Tells what a peer that left by itself has not got. Where clients come one after the other, what is left of standard input
 * is for the next one; and who was told to go need not have sent it. */
static void look_for_undelivered(struct talk *talk)
{
    bool rest;

    if (!talk->peer_left || talk->asked || talk->failure.exit != EXIT_DONE)
        return;
    rest = talk->terms->ends_with_input && !talk->input_over && has_more_input(talk->course, GRACE);
    talk->failure = undelivered_failure(rest, talk->known_sent ? count_untaken(talk->course->ctrl) : 0);
}

/* Returns when the conversation is over. */
static void run_talk(struct talk *talk, struct progress *progress)
{
    struct news *news = &talk->course->news;
    bool over = false;

    pthread_mutex_lock(&news->lock);
    while (!over) {
        int64_t wake = 0;

        progress_show(progress, &talk->course->meter);
        over = on_news(talk, news) || due(talk, &wake);
        if (progress->shows)
            wake = earlier(wake, now() + TICK);
        if (!over)
            await_news(news, wake);
    }
    pthread_mutex_unlock(&news->lock);
    look_for_undelivered(talk);
}

/* Tells the peer, if it doesn't know yet, and ends the pumps, whatever they wait for. */
static void part(struct course *course, struct vchan_rs_closer *closer, const struct pumps *pumps)
{
    int64_t limit = now() + STOPPING;

    direct_signals(NULL, NULL);
    vchan_rs_closer_close(closer);
    course_stop(course);
    while (!pumps_have_ended(pumps, course)) {
        if (now() >= limit) {
            /* It is in a system call that nothing ends, and keeps what it uses. */
            close_xs_srv(course->ctrl);
            pumps_abandon(pumps);
            return;
        }
        pumps_interrupt(pumps, course);
        pthread_mutex_lock(&course->news.lock);
        await_news(&course->news, now() + AGAIN);
        pthread_mutex_unlock(&course->news.lock);
    }
    pumps_join(pumps);
    libxenvchan_close(course->ctrl);
    close(course->wake);
    forget(&course->news.send_failure);
    forget(&course->news.receive_failure);
    pthread_cond_destroy(&course->news.changed);
    pthread_mutex_destroy(&course->news.lock);
    free(course);
}

struct failure converse(struct libxenvchan *ctrl, struct vchan_rs_closer *closer, const struct terms *terms,
                        struct progress *progress, struct ended *ended)
{
    struct course *course = calloc(1, sizeof(*course));
    struct talk talk = { .terms = terms, .course = course, .failure = NO_FAILURE };
    struct pumps pumps = { .sending = false };
    int error, wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    if (!course || wake < 0) {
        error = errno;
        free(course);
        if (wake >= 0)
            close(wake);
        direct_signals(NULL, NULL);
        libxenvchan_close(ctrl);
        return system_failure("conversation: prepare it", error);
    }
    course->ctrl = ctrl;
    course->input = terms->input;
    course->output = terms->output;
    course->receives = terms->lingers;
    /* A client may not have heard yet of what its server is. */
    course->half_closes = !ctrl->is_server || peer_half_closes(&talk);
    course->look_ms = terms->timeout ? milliseconds(terms->timeout / 4) : -1;
    course->wake = wake;
    meter_start(&course->meter);
    news_init(&course->news);
    direct_signals(ask, &course->news);
    error = pumps_start(&pumps, course);
    if (error)
        talk.failure = system_failure("conversation: start a thread", error);
    else
        run_talk(&talk, progress);
    ended->input_over = talk.input_over;
    ended->sent = atomic_load(&course->meter.sent);
    ended->received = atomic_load(&course->meter.received);
    ended->lasted = now() - course->meter.start;
    /* A peer that has left by itself, for whatever reason, has nothing to learn. */
    if ((talk.failure.exit != EXIT_DONE && talk.failure.exit != EXIT_PEER_FAILED) || is_cut_off(&talk))
        vchan_rs_abort(ctrl);
    part(course, closer, &pumps);
    return talk.failure;
}
