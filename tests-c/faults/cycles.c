/* Thousands of channels in sequence: no growth. */
#include "cycles.h"

#include "faults.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void exchange(struct libxenvchan *from, struct libxenvchan *to, int number)
{
    uint8_t data[512], back[512];
    size_t size = 1 + (size_t)number % sizeof(data);

    fill(data, size, 0, (uint32_t)number);
    if (from)
        CHECK(libxenvchan_send(from, data, size) == (int)size, "life %d: send: %s", number, vchan_rs_last_error());
    if (to)
        CHECK(libxenvchan_recv(to, back, size) == (int)size && !memcmp(back, data, size), "life %d: recv: %s", number,
              vchan_rs_last_error());
}

/* Waiting for a server watches directories, and removing a watch takes the kernel ten milliseconds. */
static struct libxenvchan *open_end(bool serves, bool waits, const char *path, int number)
{
    struct vchan_rs_options options = waiting(LONG_MS);
    struct libxenvchan *ctrl;

    if (serves)
        ctrl = libxenvchan_server_init(NULL, 0, path, 1 + (size_t)number * 7 % 80000, 1 + (size_t)number * 13 % 90000);
    else if (waits)
        ctrl = vchan_rs_client_init(0, path, &options);
    else
        ctrl = libxenvchan_client_init(NULL, 0, path);
    must(ctrl, "opening one of thousands");
    ctrl->blocking = 1;
    return ctrl;
}

static void no_growth(const char *what, const struct census *before)
{
    struct census now = take_census();

    printf("load: %s: %d descriptors, %d mappings, %ld KiB; before: %d, %d, %ld KiB\n", what, now.fds, now.maps, now.rss_kib,
           before->fds, before->maps, before->rss_kib);
    CHECK(now.fds == before->fds && now.shared == before->shared, "%s: descriptors or shared mappings remain", what);
    /* malloc may allocate another arena, once. */
    CHECK(abs(now.maps - before->maps) <= 2, "%s: %d mappings became %d", what, before->maps, now.maps);
    CHECK(now.rss_kib < before->rss_kib + 512, "%s: %ld KiB became %ld", what, before->rss_kib, now.rss_kib);
}

void live_once(int number)
{
    const char *path = new_path();
    struct libxenvchan *server = open_end(true, false, path, number);
    struct libxenvchan *client = open_end(false, number % 50 == 49, path, number);

    exchange(client, server, number);
    exchange(server, client, number);
    libxenvchan_close(number % 2 ? server : client);
    libxenvchan_close(number % 2 ? client : server);
}

/* The part of this process, or of the other one. */
static void live_half(const char *path, bool serves, bool first, int number)
{
    struct libxenvchan *ctrl = open_end(serves, true, path, number);

    exchange(first ? ctrl : NULL, first ? NULL : ctrl, number);
    exchange(first ? NULL : ctrl, first ? ctrl : NULL, number);
    libxenvchan_close(ctrl);
}

void live_once_of_two(int number)
{
    const char *path = new_path();
    pid_t child = must_do(fork(), "forking");

    live_half(path, (child != 0) == (number % 2 == 0), child != 0, number);
    if (child == 0)
        _exit(failed_checks() > 0);
    child_ended_well(child);
}

/* Until then libc and the library allocate what they keep. */
#define WARM 200

void cycles(int count)
{
    struct census before = { 0 };

    for (int n = 0; n < count + WARM; n++) {
        if (n == WARM)
            before = take_census();
        live_once(n);
    }
    no_growth("both ends in one process", &before);
    CHECK(count_files(getenv("XEN_ROOT")) == 0, "cycles: files are left");
    printf("load: %d channels in sequence: opened, used both ways, closed\n", count);
}

void cycles_of_two(int count)
{
    /* Each process serves under its own name: the previous server may still be closing. */
    char paths[2][64];
    struct census before = { 0 };
    pid_t child;

    strcpy(paths[0], new_path());
    strcpy(paths[1], new_path());
    child = must_do(fork(), "forking");
    for (int n = 0; n < count + WARM; n++) {
        if (n == WARM)
            before = take_census();
        live_half(paths[n % 2], (child != 0) == (n % 2 == 0), child != 0, n);
    }
    no_growth(child ? "one process" : "the other process", &before);
    if (child == 0) {
        fflush(stdout);
        _exit(failed_checks() > 0);
    }
    child_ended_well(child);
    CHECK(count_files(getenv("XEN_ROOT")) == 0, "cycles: files are left");
    printf("load: %d channels between two processes in sequence, the roles exchanged each time\n", count);
}
