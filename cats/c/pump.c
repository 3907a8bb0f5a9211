#include "pump.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include "standard.h"

/* Ignored by default, so a stray one does no harm. */
#define INTERRUPT SIGURG
/* Bounds of the bytes per system call, a quarter of the ring so that one side can fill while the other drains.
 * Below, system calls cost more than copies; above, the peer waits long for the first byte. */
#define LEAST ((size_t)8 << 10)
#define MOST ((size_t)128 << 10)

static size_t portion(const struct libxenvchan_ring *ring)
{
    size_t quarter = ((size_t)1 << ring->order) / 4;

    return quarter < LEAST ? LEAST : quarter > MOST ? MOST : quarter;
}

static void nothing(int number)
{
    (void)number;
}

int prepare_to_interrupt(void)
{
    struct sigaction action = { .sa_handler = nothing };

    return sigaction(INTERRUPT, &action, NULL) == 0 ? 0 : errno;
}

void course_stop(struct course *course)
{
    uint64_t one = 1;

    atomic_store(&course->stopped, true);
    /* Fails only if the counter overflows. */
    if (write(course->wake, &one, sizeof(one)) < 0)
        return;
}

/* Waits until fd is ready. Returns 1, 0 if stopped first, or -1 with errno. */
static int wait_for(const struct course *course, int fd, short events)
{
    struct pollfd fds[] = { { course->wake, POLLIN, 0 }, { fd, events, 0 } };

    while (poll(fds, 2, -1) < 0)
        if (errno != EINTR)
            return -1;
    return fds[0].revents == 0;
}

/* Sends standard input up to EOF. */
static enum send_end send_all(struct course *course, struct failure *failure)
{
    size_t at_once = portion(&course->ctrl->write);

    while (course->input >= 0) {
        /* A stop could not end a blocking read. */
        int error, ready = wait_for(course, course->input, POLLIN);
        ssize_t count;

        if (ready == 0)
            return SEND_STOPPED;
        if (ready < 0) {
            *failure = stream_failure("standard input", errno);
            return SEND_FAILED;
        }
        count = vchan_rs_write_from_fd(course->ctrl, course->input, at_once, -1);
        if (count == 0)
            return SEND_END_OF_INPUT;
        if (count > 0) {
            meter_sent(&course->meter, (size_t)count);
            continue;
        }
        switch (vchan_rs_last_error_kind()) {
        case VCHAN_RS_ERROR_INTERRUPTED:
        case VCHAN_RS_ERROR_WOULD_BLOCK:
            break;
        case VCHAN_RS_ERROR_PEER_CLOSED:
        case VCHAN_RS_ERROR_PEER_DIED:
        case VCHAN_RS_ERROR_PEER_ABORTED:
            return SEND_PEER_GONE;
        case VCHAN_RS_ERROR_CLOSED:
            return SEND_STOPPED;
        case VCHAN_RS_ERROR_SYSTEM:
            error = errno;
            if (!is_no_input(course->input, error)) {
                *failure = stream_failure("standard input", error);
                return SEND_FAILED;
            }
            if (course->receives) {
                course->news.no_input = error;
                return SEND_NO_INPUT;
            }
            *failure = stream_failure("standard input", error);
            return SEND_FAILED;
        default:
            *failure = library_failure("conversation");
            return SEND_FAILED;
        }
    }
    return SEND_NO_INPUT;
}

/* Waits until the peer has consumed everything; returns `end`, or why it never will. */
static enum send_end drain(struct course *course, enum send_end end, struct failure *failure)
{
    ssize_t before = -1;

    while (vchan_rs_wait_drained(course->ctrl, course->look_ms) < 0) {
        ssize_t pending;

        switch (vchan_rs_last_error_kind()) {
        case VCHAN_RS_ERROR_TIMED_OUT:
            pending = vchan_rs_pending(course->ctrl);
            if (pending != before)
                meter_moved(&course->meter);
            before = pending;
            break;
        case VCHAN_RS_ERROR_INTERRUPTED:
            break;
        case VCHAN_RS_ERROR_CLOSED:
            return SEND_STOPPED;
        case VCHAN_RS_ERROR_PEER_CLOSED:
        case VCHAN_RS_ERROR_PEER_DIED:
        case VCHAN_RS_ERROR_PEER_ABORTED:
            return SEND_PEER_GONE;
        default:
            *failure = library_failure("conversation");
            return SEND_FAILED;
        }
    }
    return end;
}

bool reads_terminal(const struct course *course)
{
    return course->input >= 0 && isatty(course->input);
}

bool has_more_input(const struct course *course, int grace)
{
    struct pollfd input = { course->input, POLLIN, 0 };
    bool terminal = reads_terminal(course);
    ssize_t count;
    char byte;

    if (course->input < 0)
        return false;
    if (poll(&input, 1, terminal ? 0 : grace) < 1)
        return !terminal;
    count = read(course->input, &byte, 1);
    return count > 0 || (count < 0 && errno == EAGAIN && !terminal);
}

/* The peer has half-closed. Reports that once, and waits for a change of the peer's state. */
static void await_end(struct course *course)
{
    pthread_mutex_lock(&course->news.lock);
    course->news.finished = true;
    pthread_cond_signal(&course->news.changed);
    pthread_mutex_unlock(&course->news.lock);
    /* An error here is reported by the next read. */
    libxenvchan_wait(course->ctrl);
}

static enum receive_end receive_all(struct course *course, struct failure *failure)
{
    size_t at_once = portion(&course->ctrl->read);

    for (;;) {
        ssize_t count = vchan_rs_read_to_fd(course->ctrl, course->output, at_once, -1);

        if (count == 0)
            return RECEIVE_PEER_LEFT;
        if (count > 0) {
            meter_received(&course->meter, (size_t)count);
            continue;
        }
        switch (vchan_rs_last_error_kind()) {
        case VCHAN_RS_ERROR_PEER_FINISHED:
            await_end(course);
            break;
        case VCHAN_RS_ERROR_PEER_CLOSED:
            return RECEIVE_PEER_LEFT;
        case VCHAN_RS_ERROR_CLOSED:
            return RECEIVE_STOPPED;
        case VCHAN_RS_ERROR_INTERRUPTED:
        case VCHAN_RS_ERROR_WOULD_BLOCK:
            /* The write was interrupted, or the descriptor is non-blocking. */
            if (wait_for(course, course->output, POLLOUT) < 0) {
                *failure = stream_failure("standard output", errno);
                return RECEIVE_FAILED;
            }
            if (atomic_load(&course->stopped))
                return RECEIVE_STOPPED;
            break;
        case VCHAN_RS_ERROR_SYSTEM:
            *failure = stream_failure("standard output", errno);
            return RECEIVE_FAILED;
        default:
            *failure = library_failure("conversation");
            return RECEIVE_FAILED;
        }
    }
}

/* Half-closes: nothing more will be sent. */
static void finish(struct course *course, enum send_end *end, struct failure *failure)
{
    if (vchan_rs_shutdown(course->ctrl) == 0)
        return;
    *end = vchan_rs_last_error_kind() == VCHAN_RS_ERROR_CLOSED ? SEND_STOPPED : SEND_FAILED;
    if (*end == SEND_FAILED)
        *failure = library_failure("conversation");
}

static void *send_body(void *arg)
{
    struct course *course = arg;
    struct failure failure = NO_FAILURE;
    enum send_end end = send_all(course, &failure);
    bool input_over = end == SEND_END_OF_INPUT || end == SEND_NO_INPUT;

    if (input_over && course->half_closes)
        finish(course, &end, &failure);
    if (end == SEND_END_OF_INPUT || end == SEND_NO_INPUT || end == SEND_STOPPED)
        end = drain(course, end, &failure);
    pthread_mutex_lock(&course->news.lock);
    course->news.send_end = end;
    course->news.input_over = input_over;
    course->news.send_failure = failure;
    course->news.sent = true;
    pthread_cond_signal(&course->news.changed);
    pthread_mutex_unlock(&course->news.lock);
    return NULL;
}

static void *receive_body(void *arg)
{
    struct course *course = arg;
    struct failure failure = NO_FAILURE;
    enum receive_end end = receive_all(course, &failure);

    pthread_mutex_lock(&course->news.lock);
    course->news.receive_end = end;
    course->news.receive_failure = failure;
    course->news.received = true;
    pthread_cond_signal(&course->news.changed);
    pthread_mutex_unlock(&course->news.lock);
    return NULL;
}

int pumps_start(struct pumps *pumps, struct course *course)
{
    int error = pthread_create(&pumps->receive, NULL, receive_body, course);

    pumps->receiving = !error;
    pumps->sending = false;
    if (!error) {
        error = pthread_create(&pumps->send, NULL, send_body, course);
        pumps->sending = !error;
    }
    return error;
}

/* Running pumps: bit 0 for sending, bit 1 for receiving. */
static int running(const struct pumps *pumps, struct course *course)
{
    int which;

    pthread_mutex_lock(&course->news.lock);
    which = (pumps->sending && !course->news.sent) | (pumps->receiving && !course->news.received) << 1;
    pthread_mutex_unlock(&course->news.lock);
    return which;
}

bool pumps_have_ended(const struct pumps *pumps, struct course *course)
{
    return running(pumps, course) == 0;
}

void pumps_interrupt(const struct pumps *pumps, struct course *course)
{
    int which = running(pumps, course);

    /* A thread that has ended has not been joined yet, so its ID is still valid. */
    if (which & 1)
        pthread_kill(pumps->send, INTERRUPT);
    if (which & 2)
        pthread_kill(pumps->receive, INTERRUPT);
}

void pumps_join(const struct pumps *pumps)
{
    if (pumps->sending)
        pthread_join(pumps->send, NULL);
    if (pumps->receiving)
        pthread_join(pumps->receive, NULL);
}

void pumps_abandon(const struct pumps *pumps)
{
    if (pumps->sending)
        pthread_detach(pumps->send);
    if (pumps->receiving)
        pthread_detach(pumps->receive);
}
