/* A peer that writes anything into the shared memory and sends events all the time, against every call of both
 * interfaces. Both ends live in this process; the peer's is used for its pointers into the memory. Each buffer is
 * allocated with its exact size, so that valgrind and the address sanitizer see what goes beyond it. */
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

enum { CALLS = 40, SECONDS = 240, TIMEOUT_MS = 2 };

static struct libxenvchan *victim, *peer;
static atomic_int stop;
static unsigned counts[16], failures[16];
static const int known[] = { 0, EAGAIN, ETIMEDOUT, EPIPE, ECONNRESET, EPROTO, EMSGSIZE, EINVAL, ESHUTDOWN };

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

/* One call; gives what it returned. */
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
        if (parts[0].iov_len + parts[1].iov_len != (size_t)there || there > 4096)
            fail("borrowed", there);
        free(memcpy(malloc(parts[0].iov_len), parts[0].iov_base, parts[0].iov_len));
        return vchan_rs_consume(victim, next(r) % (there + 1));
    default:
        there = vchan_rs_reserve(victim, parts, 1 + size % 5000, TIMEOUT_MS);
        if (there <= 0)
            return there;
        if (parts[0].iov_len + parts[1].iov_len != (size_t)there || there > 4096)
            fail("reserved", there);
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
        if (result > (long)(size > 4096 ? size : 4096) || result < -1)
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

/* Asleep without a time-out, the victim must be released by what can't be. */
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

int main(int count, char **arguments)
{
    int rounds = count > 1 ? atoi(arguments[1]) : 40, file = open("/dev/zero", O_RDWR);

    alarm(SECONDS);
    for (int round = 0; round < rounds; round++) {
        struct random mine = { round * 2 + 1 }, theirs = { round * 2 + 1000001 };
        struct libxenvchan *server = libxenvchan_server_init(NULL, 0, "/vchan/hostile", 4096, 4096);
        struct libxenvchan *client = libxenvchan_client_init(NULL, 0, "/vchan/hostile");
        pthread_t thread;
        char byte;

        if (!server || !client)
            fail("open", round);
        victim = round % 2 ? server : client;
        peer = round % 2 ? client : server;
        stop = 0;
        pthread_create(&thread, NULL, spoil, &theirs);
        calls(&mine, file);
        stop = 1;
        pthread_join(thread, NULL);

        stop = 0;
        victim->blocking = 1;
        pthread_create(&thread, NULL, release, NULL);
        errno = 0;
        if (libxenvchan_recv(victim, &byte, 1) != -1 || (errno != EPROTO && errno != EPIPE && errno != ECONNRESET))
            fail("not released as it should", 0);
        stop = 1;
        pthread_join(thread, NULL);
        libxenvchan_close(victim);
        libxenvchan_close(peer);
    }
    close(file);
    for (int n = 0; n < 16; n++) {
        if (!counts[n] && rounds > 5)
            fail("never called", n);
    }
    printf("hostile.c: %d rounds of %d calls\n", rounds, CALLS);
    return 0;
}
