/* A peer that writes arbitrary data into the shared memory and sends events continually, against every call of
 * both interfaces; before that, one false value at a time, with the expected report. Both ends live in this
 * process; the peer's end provides the pointers into the memory. Each buffer is allocated with its exact size, so
 * that valgrind and the address sanitizer detect overruns. */
#include <vchan-rs.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

enum { CALLS = 40, SECONDS = 240, TIMEOUT_MS = 2, RING = 4096 };

static struct libxenvchan *victim, *peer;
static atomic_int stop;
static unsigned counts[16], failures[16];
static const int known[] = { 0, EAGAIN, ETIMEDOUT, EPIPE, ECONNABORTED, ECONNRESET, EPROTO, EMSGSIZE, EINVAL, ESHUTDOWN };

struct random {
    uint64_t state;
};

static uint32_t next(struct random *r)
{
    r->state ^= r->state >> 12;
    r->state ^= r->state << 25;
    r->state ^= r->state >> 27;
    return (uint32_t)(r->state * 0x2545F4914F6CDD1DULL >> 32);
}

static void fail(const char *what, long detail)
{
    fprintf(stderr, "hostile.c: %s: %ld (errno %s, \"%s\")\n", what, detail, strerror(errno), vchan_rs_last_error());
    exit(1);
}

/* The peer's thread. */
static void *spoil(void *argument)
{
    struct random *r = argument;
    volatile struct vchan_interface *page = peer->ring;
    volatile uint8_t *bytes = (volatile uint8_t *)peer->ring;

    while (!stop) {
        volatile struct ring_shared *out = peer->write.shr, *in = peer->read.shr;
        uint32_t value = next(r);

        switch (next(r) % 16) {
        case 0: out->prod = out->cons + value % 5000; break;
        case 1: in->cons = in->prod - value % 5000; break;
        case 2: out->cons = value; break;
        case 3: in->prod = value; break;
        case 4: page->cli_notify = value; break;
        case 5: page->srv_notify = value; break;
        case 6: page->left_order = page->right_order = value; break;
        case 7: page->grants[value % 200] = value; break;
        case 8: ((volatile uint8_t *)peer->write.buffer)[value % 4096] = value; break;
        case 9: ((volatile uint8_t *)peer->read.buffer)[value % 4096] = value; break;
        case 10:
            if (value % 64 == 0)
                bytes[value / 64 % 4096] = value;
            break;
        case 11:
            if (value % 64 == 0)
                *(victim->is_server ? &page->cli_live : &page->srv_live) = value / 64 % 4;
            break;
        default: vchan_rs_notify(peer);
        }
    }
    return NULL;
}

/* Reserved or borrowed memory: the promised number of bytes, all within the ring. */
static void check_parts(const char *what, const struct iovec parts[2], long there, const struct libxenvchan_ring *ring)
{
    if (parts[0].iov_len + parts[1].iov_len != (size_t)there || there > RING)
        fail(what, there);
    for (int n = 0; n < 2; n++) {
        size_t offset = (uintptr_t)parts[n].iov_base - (uintptr_t)ring->buffer;

        if (parts[n].iov_len && (offset >= RING || parts[n].iov_len > RING - offset))
            fail("outside the ring", (long)offset);
    }
}

/* Makes one call; returns its result. */
static long call(struct random *r, unsigned which, size_t size, char *buffer, int file)
{
    struct iovec parts[2];
    ssize_t there;

    switch (which) {
    case 0: return libxenvchan_read(victim, buffer, size);
    case 1: return libxenvchan_recv(victim, buffer, size);
    case 2: return libxenvchan_write(victim, buffer, size);
    case 3: return libxenvchan_send(victim, buffer, size);
    case 4: return libxenvchan_data_ready(victim);
    case 5: return libxenvchan_buffer_space(victim);
    case 6: return libxenvchan_is_open(victim);
    case 7: return vchan_rs_read(victim, buffer, size, TIMEOUT_MS);
    case 8: return vchan_rs_write(victim, buffer, size, TIMEOUT_MS);
    case 9: return vchan_rs_wait(victim, TIMEOUT_MS);
    case 10: return vchan_rs_wait_drained(victim, TIMEOUT_MS);
    case 11: return vchan_rs_pending(victim);
    case 12: return vchan_rs_read_to_fd(victim, file, size, TIMEOUT_MS);
    case 13: return vchan_rs_write_from_fd(victim, file, size, TIMEOUT_MS);
    case 14:
        there = vchan_rs_borrow(victim, parts, 1 + size % 5000, TIMEOUT_MS);
        if (there <= 0)
            return there;
        check_parts("borrowed", parts, there, &victim->read);
        free(memcpy(malloc(parts[0].iov_len), parts[0].iov_base, parts[0].iov_len));
        return vchan_rs_consume(victim, next(r) % (there + 1));
    default:
        there = vchan_rs_reserve(victim, parts, 1 + size % 5000, TIMEOUT_MS);
        if (there <= 0)
            return there;
        check_parts("reserved", parts, there, &victim->write);
        memset(parts[0].iov_base, 1, parts[0].iov_len);
        memset(parts[1].iov_base, 2, parts[1].iov_len);
        return vchan_rs_commit(victim, next(r) % (there + 1));
    }
}

static void calls(struct random *r, int file)
{
    for (int n = 0; n < CALLS; n++) {
        unsigned which = next(r) % 16, error;
        size_t size = next(r) % (n % 4 ? 200 : 9000);
        char *buffer = calloc(1, size ? size : 1);
        long result;

        errno = 0;
        result = call(r, which, size, buffer, file);
        if (result > (long)(size > RING ? size : RING) || result < -1)
            fail("impossible result", result);
        for (error = 0; error < sizeof(known) / sizeof(*known) && known[error] != errno;)
            error++;
        if (result == -1 && error == sizeof(known) / sizeof(*known))
            fail("undocumented errno of call", which);
        counts[which]++;
        failures[which] += result == -1;
        free(buffer);
    }
}

/* Asleep without a timeout, the victim must be released by an impossible value. */
static void *release(void *argument)
{
    (void)argument;
    peer->write.shr->prod = peer->write.shr->cons + 100000;
    while (!stop) {
        vchan_rs_notify(peer);
        usleep(1000);
    }
    return NULL;
}

/* Connects; the victim is the server in odd rounds, the client in even ones. */
static void open_both(int round)
{
    struct libxenvchan *server = libxenvchan_server_init(NULL, 0, "/vchan/hostile", RING, RING);
    struct libxenvchan *client = libxenvchan_client_init(NULL, 0, "/vchan/hostile");

    if (!server || !client)
        fail("open", round);
    victim = round % 2 ? server : client;
    peer = round % 2 ? client : server;
}

static void close_both(void)
{
    libxenvchan_close(victim);
    libxenvchan_close(peer);
}

enum { PIECE = 3000, BEGUN = 3 * PIECE, MOVED = 100, TAKEN = 10, LEFT = MOVED - TAKEN, HARMLESS = 6, FALSE_VALUES = 13 };

static volatile uint8_t *live_byte(const struct libxenvchan *end)
{
    return end->is_server ? &end->ring->srv_live : &end->ring->cli_live;
}

/* Fields overwritten when BEGUN bytes have gone each way, MOVED after these, and all but LEFT have been consumed.
 * The first HARMLESS are fields that a victim never reads again. */
static void plant(int which)
{
    volatile struct ring_shared *out = peer->write.shr, *in = peer->read.shr;

    switch (which) {
    case 0: out->cons = 77777; break;
    case 1: in->prod = 77777; break;
    case 2: peer->ring->left_order = 20; break;
    case 3: peer->ring->right_order = 9; break;
    case 4: peer->ring->grants[0] = peer->ring->grants[1] = 0xFFFFFFF0; break;
    case 5: peer->ring->cli_notify = peer->ring->srv_notify = 0xFC; break;
    case 6: out->prod = BEGUN + TAKEN + RING + 1; break;
    case 7: out->prod = BEGUN + TAKEN - 1; break;
    case 8: out->prod = BEGUN + MOVED - 1; break;
    case 9: in->cons = BEGUN + MOVED + 1; break;
    case 10: in->cons = BEGUN + TAKEN - 1; break;
    case 11: in->cons = BEGUN + MOVED - RING - 1; break;
    default: *live_byte(peer) = 2;
    }
}

/* Data across the end of each ring, borrowed in two parts, and back to its beginning. */
static void move_bytes(void)
{
    for (int n = 0; n < BEGUN / PIECE; n++) {
        char sent[PIECE], got[PIECE];
        struct iovec parts[2];
        size_t first;

        for (int at = 0; at < PIECE; at++)
            sent[at] = (char)(at % 251 + n);
        check_parts("reserved", parts, vchan_rs_reserve(victim, parts, PIECE, TIMEOUT_MS), &victim->write);
        first = parts[0].iov_len < PIECE ? parts[0].iov_len : PIECE;
        memcpy(parts[0].iov_base, sent, first);
        memcpy(parts[1].iov_base, sent + first, PIECE - first);
        if (vchan_rs_commit(victim, PIECE) || libxenvchan_recv(peer, got, PIECE) != PIECE || memcmp(sent, got, PIECE))
            fail("bytes from the victim", n);
        if (libxenvchan_send(peer, sent, PIECE) != PIECE)
            fail("bytes to the victim", n);
        check_parts("borrowed", parts, vchan_rs_borrow(victim, parts, PIECE, TIMEOUT_MS), &victim->read);
        first = parts[0].iov_len;
        memcpy(got, parts[0].iov_base, first);
        memcpy(got + first, parts[1].iov_base, PIECE - first);
        if (vchan_rs_consume(victim, PIECE) || memcmp(sent, got, PIECE))
            fail("bytes for the victim", n);
    }
}

static int says(long result, int error)
{
    return result == -1 && errno == error;
}

/* One false value at a time: relevant ones are reported by every later call, also after they are restored; the
 * others change nothing. */
static void tell_lies(void)
{
    for (int n = 0; n < 2 * FALSE_VALUES; n++) {
        int which = n / 2;
        char bytes[MOVED] = { 0 };
        struct vchan_interface correct;

        open_both(n);
        move_bytes();
        if (libxenvchan_send(peer, bytes, MOVED) != MOVED || libxenvchan_recv(victim, bytes, TAKEN) != TAKEN ||
            libxenvchan_send(victim, bytes, MOVED) != MOVED || libxenvchan_recv(peer, bytes, TAKEN) != TAKEN ||
            libxenvchan_data_ready(victim) != LEFT || libxenvchan_buffer_space(victim) != RING - LEFT)
            fail("correct bytes", which);
        memcpy(&correct, peer->ring, sizeof(correct));
        plant(which);
        if (which < HARMLESS) {
            if (libxenvchan_data_ready(victim) != LEFT || libxenvchan_buffer_space(victim) != RING - LEFT ||
                libxenvchan_recv(victim, bytes, LEFT) != LEFT || libxenvchan_send(victim, bytes, MOVED) != MOVED)
                fail("changed by a field that is never read", which);
        } else {
            /* One of them checks what was written. */
            if (!says(libxenvchan_data_ready(victim), EPROTO) & !says(libxenvchan_buffer_space(victim), EPROTO) &
                !says(libxenvchan_write(victim, bytes, 1), EPROTO))
                fail("not reported", which);
            memcpy(peer->ring, &correct, sizeof(correct));
            if (!says(libxenvchan_data_ready(victim), EPROTO) || !says(libxenvchan_buffer_space(victim), EPROTO) ||
                !says(libxenvchan_recv(victim, bytes, 1), EPROTO) || !says(libxenvchan_send(victim, bytes, 1), EPROTO) ||
                !says(vchan_rs_read(victim, bytes, 1, TIMEOUT_MS), EPROTO) ||
                !says(vchan_rs_wait(victim, TIMEOUT_MS), EPROTO) || libxenvchan_is_open(victim) != 0)
                fail("not reported after it was restored", which);
        }
        close_both();
    }
}

/* Impossible orders from a server. */
static void publish_rubbish(void)
{
    static const uint16_t orders[][2] = { { 9, 12 }, { 12, 21 }, { 0, 0 }, { 10, 10 }, { 11, 11 }, { 0xFFFF, 12 }, { 12, 0x800C } };

    for (size_t n = 0; n < sizeof(orders) / sizeof(*orders); n++) {
        struct libxenvchan *server = libxenvchan_server_init(NULL, 0, "/vchan/hostile", RING, RING);

        if (!server)
            fail("serve", (long)n);
        server->ring->left_order = orders[n][0];
        server->ring->right_order = orders[n][1];
        errno = 0;
        if (libxenvchan_client_init(NULL, 0, "/vchan/hostile") || errno != EPROTO)
            fail("accepted impossible orders", (long)n);
        libxenvchan_close(server);
    }
}

int main(int count, char **arguments)
{
    int rounds = count > 1 ? atoi(arguments[1]) : 40, file = open("/dev/zero", O_RDWR);

    alarm(SECONDS);
    tell_lies();
    publish_rubbish();
    for (int round = 0; round < rounds; round++) {
        struct random mine = { round * 2 + 1 }, theirs = { round * 2 + 1000001 };
        pthread_t thread;
        char byte;
        int left, result = 0;

        open_both(round);
        stop = 0;
        pthread_create(&thread, NULL, spoil, &theirs);
        calls(&mine, file);
        stop = 1;
        pthread_join(thread, NULL);

        stop = 0;
        victim->blocking = 1;
        pthread_create(&thread, NULL, release, NULL);
        errno = 0;
        /* Data seen before, while the value was possible, may still be consumed. */
        for (left = RING; left > 0 && (result = libxenvchan_recv(victim, &byte, 1)) == 1;)
            left--;
        if (result != -1 || (errno != EPROTO && errno != EPIPE && errno != ECONNRESET))
            fail("not released as it should", result);
        stop = 1;
        pthread_join(thread, NULL);
        close_both();
    }
    close(file);
    for (int n = 0; n < 16; n++) {
        if (!counts[n] && rounds > 5)
            fail("never called", n);
    }
    printf("hostile.c: %d false values, %d rounds of %d calls\n", FALSE_VALUES, rounds, CALLS);
    return 0;
}
