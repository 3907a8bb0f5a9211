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
#define MIN_CHUNK ((size_t)8 << 10)
#define MAX_CHUNK ((size_t)128 << 10)

static size_t chunk_size(const struct libxenvchan_ring *ring)
{
    size_t quarter = ((size_t)1 << ring->order) / 4;

    return quarter < MIN_CHUNK ? MIN_CHUNK : quarter > MAX_CHUNK ? MAX_CHUNK : quarter;
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

void pumps_stop(struct pump_context *context)
{
    uint64_t one = 1;

    atomic_store(&context->stopped, true);
    /* Fails only if the counter overflows. */
    if (write(context->wake, &one, sizeof(one)) < 0)
        return;
}

/* Waits until fd is ready. Returns 1, 0 if stopped first, or -1 with errno. */
static int wait_for(const struct pump_context *context, int fd, short events)
{
    struct pollfd fds[] = { { context->wake, POLLIN, 0 }, { fd, events, 0 } };

    while (poll(fds, 2, -1) < 0)
        if (errno != EINTR)
            return -1;
    return fds[0].revents == 0;
}

/* Sends standard input up to EOF. */
static enum send_end send_all(struct pump_context *context, struct failure *failure)
{
    size_t at_once = chunk_size(&context->ctrl->write);

    while (context->input >= 0) {
        /* A stop could not end a blocking read. */
        int error, ready = wait_for(context, context->input, POLLIN);
        ssize_t count;

        if (ready == 0)
            return SEND_STOPPED;
        if (ready < 0) {
            *failure = stream_failure("standard input", errno);
            return SEND_FAILED;
        }
        count = vchan_rs_write_from_fd(context->ctrl, context->input, at_once, -1);
        if (count == 0)
            return SEND_END_OF_INPUT;
        if (count > 0) {
            meter_sent(&context->meter, (size_t)count);
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
            if (!is_no_input(context->input, error)) {
                *failure = stream_failure("standard input", error);
                return SEND_FAILED;
            }
            if (context->receives) {
                context->events.no_input = error;
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
static enum send_end drain(struct pump_context *context, enum send_end end, struct failure *failure)
{
    ssize_t before = -1;

    while (vchan_rs_wait_drained(context->ctrl, context->drain_poll_ms) < 0) {
        ssize_t pending;

        switch (vchan_rs_last_error_kind()) {
        case VCHAN_RS_ERROR_TIMED_OUT:
            pending = vchan_rs_pending(context->ctrl);
            if (pending != before)
                meter_moved(&context->meter);
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

bool reads_terminal(const struct pump_context *context)
{
    return context->input >= 0 && isatty(context->input);
}

bool has_more_input(const struct pump_context *context, int grace)
{
    struct pollfd input = { context->input, POLLIN, 0 };
    bool terminal = reads_terminal(context);
    ssize_t count;
    char byte;

    if (context->input < 0)
        return false;
    if (poll(&input, 1, terminal ? 0 : grace) < 1)
        return !terminal;
    count = read(context->input, &byte, 1);
    return count > 0 || (count < 0 && errno == EAGAIN && !terminal);
}

/* The peer has half-closed. Reports that once, and waits for a change of the peer's state. */
static void await_end(struct pump_context *context)
{
    pthread_mutex_lock(&context->events.lock);
    context->events.finished = true;
    pthread_cond_signal(&context->events.changed);
    pthread_mutex_unlock(&context->events.lock);
    /* An error here is reported by the next read. */
    libxenvchan_wait(context->ctrl);
}

static enum receive_end receive_all(struct pump_context *context, struct failure *failure)
{
    size_t at_once = chunk_size(&context->ctrl->read);

    for (;;) {
        ssize_t count = vchan_rs_read_to_fd(context->ctrl, context->output, at_once, -1);

        if (count == 0)
            return RECEIVE_PEER_LEFT;
        if (count > 0) {
            meter_received(&context->meter, (size_t)count);
            continue;
        }
        switch (vchan_rs_last_error_kind()) {
        case VCHAN_RS_ERROR_PEER_FINISHED:
            await_end(context);
            break;
        case VCHAN_RS_ERROR_PEER_CLOSED:
            return RECEIVE_PEER_LEFT;
        case VCHAN_RS_ERROR_CLOSED:
            return RECEIVE_STOPPED;
        case VCHAN_RS_ERROR_INTERRUPTED:
        case VCHAN_RS_ERROR_WOULD_BLOCK:
            /* The write was interrupted, or the descriptor is non-blocking. */
            if (wait_for(context, context->output, POLLOUT) < 0) {
                *failure = stream_failure("standard output", errno);
                return RECEIVE_FAILED;
            }
            if (atomic_load(&context->stopped))
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
static void finish(struct pump_context *context, enum send_end *end, struct failure *failure)
{
    if (vchan_rs_shutdown(context->ctrl) == 0)
        return;
    *end = vchan_rs_last_error_kind() == VCHAN_RS_ERROR_CLOSED ? SEND_STOPPED : SEND_FAILED;
    if (*end == SEND_FAILED)
        *failure = library_failure("conversation");
}

static void *send_body(void *arg)
{
    struct pump_context *context = arg;
    struct failure failure = NO_FAILURE;
    enum send_end end = send_all(context, &failure);
    bool input_over = end == SEND_END_OF_INPUT || end == SEND_NO_INPUT;

    if (input_over && context->half_closes)
        finish(context, &end, &failure);
    if (end == SEND_END_OF_INPUT || end == SEND_NO_INPUT || end == SEND_STOPPED)
        end = drain(context, end, &failure);
    pthread_mutex_lock(&context->events.lock);
    context->events.send_end = end;
    context->events.input_over = input_over;
    context->events.send_failure = failure;
    context->events.sent = true;
    pthread_cond_signal(&context->events.changed);
    pthread_mutex_unlock(&context->events.lock);
    return NULL;
}

static void *receive_body(void *arg)
{
    struct pump_context *context = arg;
    struct failure failure = NO_FAILURE;
    enum receive_end end = receive_all(context, &failure);

    pthread_mutex_lock(&context->events.lock);
    context->events.receive_end = end;
    context->events.receive_failure = failure;
    context->events.received = true;
    pthread_cond_signal(&context->events.changed);
    pthread_mutex_unlock(&context->events.lock);
    return NULL;
}

int pumps_start(struct pumps *pumps, struct pump_context *context)
{
    int error = pthread_create(&pumps->receive, NULL, receive_body, context);

    pumps->receiving = !error;
    pumps->sending = false;
    if (!error) {
        error = pthread_create(&pumps->send, NULL, send_body, context);
        pumps->sending = !error;
    }
    return error;
}

/* Running pumps: bit 0 for sending, bit 1 for receiving. */
static int running(const struct pumps *pumps, struct pump_context *context)
{
    int which;

    pthread_mutex_lock(&context->events.lock);
    which = (pumps->sending && !context->events.sent) | (pumps->receiving && !context->events.received) << 1;
    pthread_mutex_unlock(&context->events.lock);
    return which;
}

bool pumps_have_ended(const struct pumps *pumps, struct pump_context *context)
{
    return running(pumps, context) == 0;
}

void pumps_interrupt(const struct pumps *pumps, struct pump_context *context)
{
    int which = running(pumps, context);

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
