/* Load: many channels at once between two processes, thousands of channels in sequence (see cycles.c), millions of
 * small messages, more bytes than an index can count. Contents are checked, and that resource usage is
 * constant. */
#include "cycles.h"
#include "faults.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- many channels at once --- */

#define MOST 64
#define EACH_WAY (256u << 10)

static struct libxenvchan *channels[MOST];
static size_t sent[MOST], got[MOST];

/* Moves as much as possible at once on one channel; returns whether there is more to come. */
static bool advance(int n, uint32_t out, uint32_t in)
{
    uint8_t data[8192];
    int ret;

    do {
        size_t size = 1 + random_number(sizeof(data));
        if (size > EACH_WAY - sent[n])
            size = EACH_WAY - sent[n];
        fill(data, size, sent[n], out + (uint32_t)n);
        ret = size ? libxenvchan_write(channels[n], data, size) : 0;
        if (ret > 0)
            sent[n] += (size_t)ret;
    } while (ret > 0);
    CHECK(ret == 0, "channel %d: write: %s", n, vchan_rs_last_error());
    while (got[n] < EACH_WAY && (ret = libxenvchan_read(channels[n], data, 1 + random_number(sizeof(data)))) > 0) {
        CHECK(right(data, (size_t)ret, got[n], in + (uint32_t)n) == (size_t)ret, "channel %d: wrong bytes", n);
        got[n] += (size_t)ret;
    }
    CHECK(ret >= 0, "channel %d: read: %s", n, vchan_rs_last_error());
    return ret >= 0 && (sent[n] < EACH_WAY || got[n] < EACH_WAY);
}

static void serve_all(int count, uint32_t out, uint32_t in)
{
    struct pollfd fds[MOST];
    int open = count;

    memset(sent, 0, sizeof(sent));
    memset(got, 0, sizeof(got));
    for (int n = 0; n < count; n++) {
        channels[n]->blocking = 0;
        fds[n] = (struct pollfd){ .fd = libxenvchan_fd_for_select(channels[n]), .events = POLLIN };
    }
    for (int n = 0; n < count; n++)
        fds[n].revents = POLLIN;
    while (open > 0) {
        for (int n = 0; n < count; n++) {
            if (fds[n].fd >= 0 && fds[n].revents && !advance(n, out, in)) {
                fds[n].fd = -1;
                open--;
            }
        }
        if (open > 0 && poll(fds, (nfds_t)count, LONG_MS) <= 0) {
            fail_check("%d of %d channels stall", open, count);
            return;
        }
    }
}

void load_many(int count)
{
    struct census before = take_census(), now;
    char paths[MOST][64];
    pid_t child;

    for (int n = 0; n < count; n++)
        strcpy(paths[n], new_path());
    child = must_do(fork(), "forking");
    for (int n = 0; n < count; n++) {
        struct vchan_rs_options options = waiting(LONG_MS);
        channels[n] = child ? libxenvchan_server_init(NULL, 0, paths[n], random_number(100000), random_number(100000))
                            : vchan_rs_client_init(0, paths[n], &options);
        must(channels[n], "opening one of many");
    }
    serve_all(count, child ? 100 : 200, child ? 200 : 100);
    /* The bytes in flight to the peer stay readable. */
    for (int n = 0; n < count; n++)
        libxenvchan_close(channels[n]);
    if (child == 0)
        _exit(failed_checks() > 0);
    child_ended_well(child);
    now = take_census();
    CHECK(same_census(&before, &now), "many: %d descriptors, %d mappings remain", now.fds - before.fds, now.shared - before.shared);
    CHECK(count_files(getenv("XEN_ROOT")) == 0, "many: files are left");
    if (!quiet)
        printf("load: %d channels at once between two processes, %u KiB each way on each\n", count, EACH_WAY >> 10);
}

/* --- small messages --- */

struct stream {
    struct libxenvchan *ctrl;
    uint32_t seed;
    int count;
};

/* Sizes come from the stream's own random numbers, as both sides must know them. */
static size_t next_size(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return 1 + (*state >> 26);
}

static void *send_stream(void *arg)
{
    const struct stream *s = arg;
    uint32_t state = s->seed;
    uint64_t position = 0;
    uint8_t data[64];

    for (int n = 0; n < s->count; n++) {
        size_t size = next_size(&state);
        fill(data, size, position, s->seed);
        if (libxenvchan_send(s->ctrl, data, size) != (int)size) {
            fail_check("message %d can't be sent: %s", n, vchan_rs_last_error());
            break;
        }
        position += size;
    }
    return NULL;
}

static void receive_stream(const struct stream *s)
{
    uint32_t state = s->seed;
    uint64_t position = 0;
    uint8_t data[64];

    for (int n = 0; n < s->count; n++) {
        size_t size = next_size(&state);
        if (libxenvchan_recv(s->ctrl, data, size) != (int)size || right(data, size, position, s->seed) != size) {
            fail_check("message %d is wrong or missing: %s", n, vchan_rs_last_error());
            return;
        }
        position += size;
    }
}

void load_messages(int count)
{
    struct vchan_rs_options options = waiting(LONG_MS);
    const char *path = new_path();
    struct libxenvchan *ctrl;
    struct stream out = { .seed = 71, .count = count }, in = { .seed = 72, .count = count };
    pthread_t sender;
    double begun = seconds();
    pid_t child = must_do(fork(), "forking");

    ctrl = must(child ? vchan_rs_server_init(0, path, 4096, 4096, &options) : vchan_rs_client_init(0, path, &options),
                "opening a channel for messages");
    ctrl->blocking = 1;
    out.ctrl = in.ctrl = ctrl;
    if (child == 0)
        out.seed = 72, in.seed = 71;
    pthread_create(&sender, NULL, send_stream, &out);
    receive_stream(&in);
    pthread_join(sender, NULL);
    if (child == 0)
        vchan_rs_wait_drained(ctrl, LONG_MS);
    libxenvchan_close(ctrl);
    if (child == 0)
        _exit(failed_checks() > 0);
    child_ended_well(child);
    if (!quiet)
        printf("load: %d messages of 1 to 64 bytes each way at once, %.1f s\n", count, seconds() - begun);
}

/* --- more than 2^32 bytes --- */

/* A block whose length is unrelated to that of a ring. */
#define BLOCK 1000003

static void beyond_32_bits(uint64_t total)
{
    struct vchan_rs_options options = waiting(LONG_MS);
    const char *path = new_path();
    uint8_t *block = must(malloc(BLOCK), "memory"), *back = must(malloc(BLOCK), "memory");
    pid_t child = must_do(fork(), "forking");
    struct libxenvchan *ctrl = must(child ? vchan_rs_server_init(0, path, 1 << 20, 1 << 20, &options)
                                          : vchan_rs_client_init(0, path, &options),
                                    "opening a channel for many bytes");

    ctrl->blocking = 1;
    fill(block, BLOCK, 0, 5);
    for (uint64_t done = 0; done < total && failed_checks() == 0; done += BLOCK) {
        if (child) {
            CHECK(libxenvchan_write(ctrl, block, BLOCK) == BLOCK, "after %llu bytes: %s", (unsigned long long)done,
                  vchan_rs_last_error());
        } else {
            CHECK(libxenvchan_recv(ctrl, back, BLOCK) == BLOCK && !memcmp(block, back, BLOCK), "after %llu bytes: %s",
                  (unsigned long long)done, vchan_rs_last_error());
        }
    }
    if (child)
        vchan_rs_wait_drained(ctrl, LONG_MS);
    libxenvchan_close(ctrl);
    free(block);
    free(back);
    if (child == 0)
        _exit(failed_checks() > 0);
    child_ended_well(child);
    printf("load: %llu bytes on one channel, through 2^32\n", (unsigned long long)total);
}

void run_load(int argc, char **argv)
{
    const char *what = argc > 0 ? argv[0] : "all";
    bool all = !strcmp(what, "all");
    int count = argc > 1 ? atoi(argv[1]) : 0;

    /* Far longer than anything here takes: ends hangs. */
    alarm(600);
    if (all || !strcmp(what, "many"))
        load_many(count && count < MOST ? count : MOST);
    if (all || !strcmp(what, "cycles"))
        cycles(count ? count : 10000);
    if (all || !strcmp(what, "cycles-of-two"))
        cycles_of_two(count ? count : 500);
    if (all || !strcmp(what, "messages"))
        load_messages(count ? count : 2000000);
    if (all || !strcmp(what, "wrap"))
        beyond_32_bits(count ? (uint64_t)count << 20 : (1ull << 32) + (64 << 20));
}
