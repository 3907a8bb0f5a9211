/* Calls allowed in a signal handler that has interrupted malloc: they don't allocate, once each end has received
 * the other's first events, which negotiate extensions. This program counts calls of malloc. */
#include <vchan-rs.h>

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXPECT(what) expect((what) != 0, #what, __LINE__)
/* The same, and without allocation. */
#define WITHOUT(what) (allocations = 0, EXPECT(what), expect(allocations == 0, "no allocation in " #what, __LINE__))

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);
extern void __libc_free(void *old);

static volatile unsigned long allocations;

void *malloc(size_t size)
{
    allocations++;
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    allocations++;
    return __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
    allocations++;
    return __libc_realloc(old, size);
}

int posix_memalign(void **place, size_t alignment, size_t size)
{
    allocations++;
    *place = __libc_memalign(alignment, size);
    return *place ? 0 : ENOMEM;
}

/* free takes the same locks. */
void free(void *old)
{
    allocations += old != NULL;
    __libc_free(old);
}

static void expect(int holds, const char *what, int line)
{
    if (!holds) {
        fprintf(stderr, "allocations.c:%d: failed: %s (errno %s, \"%s\", %lu allocations)\n", line, what, strerror(errno),
                vchan_rs_last_error(), allocations);
        exit(1);
    }
}

static int fails(int result, int error)
{
    return result == -1 && errno == error;
}

static void get_to_know(struct libxenvchan *one, struct libxenvchan *other)
{
    struct pollfd readable = {.fd = libxenvchan_fd_for_select(other), .events = POLLIN};
    char byte;

    EXPECT(libxenvchan_read(other, &byte, 1) == 0 && libxenvchan_write(one, "x", 1) == 1);
    EXPECT(poll(&readable, 1, -1) == 1);
    while (poll(&readable, 1, 0) == 1)
        EXPECT(libxenvchan_wait(other) == 0);
    EXPECT(libxenvchan_read(other, &byte, 1) == 1);
}

static void calls(struct libxenvchan *one, struct libxenvchan *other)
{
    static char data[8192];

    WITHOUT(libxenvchan_read(other, data, sizeof(data)) == 0);
    WITHOUT(libxenvchan_data_ready(other) == 0);
    WITHOUT(libxenvchan_write(one, data, 100) == 100);
    WITHOUT(libxenvchan_send(one, data, 100) == 100);
    WITHOUT(libxenvchan_buffer_space(one) == 4096 - 200);
    WITHOUT(libxenvchan_write(one, data, sizeof(data)) == 4096 - 200);
    WITHOUT(libxenvchan_send(one, data, 1) == 0);
    WITHOUT(libxenvchan_is_open(one) == 1 && libxenvchan_is_open(other) == 1);
    WITHOUT(libxenvchan_fd_for_select(other) >= 0);
    WITHOUT(libxenvchan_wait(other) == 0);
    WITHOUT(libxenvchan_recv(other, data, 4000) == 4000);
    WITHOUT(libxenvchan_read(other, data, sizeof(data)) == 96);
    WITHOUT(libxenvchan_send(one, data, sizeof(data)) == 0);
    WITHOUT(fails(vchan_rs_read(other, data, sizeof(data), 1), ETIMEDOUT));
}

int main(void)
{
    struct libxenvchan *ends[2];
    char data[16];

    alarm(60);
    ends[0] = libxenvchan_server_init(NULL, 0, "/vchan/allocations", 4096, 4096);
    EXPECT(ends[0] != NULL);
    WITHOUT(libxenvchan_is_open(ends[0]) == 2);
    ends[1] = libxenvchan_client_init(NULL, 0, "/vchan/allocations");
    EXPECT(ends[1] != NULL && vchan_rs_accept(ends[0], -1) == 0);
    get_to_know(ends[0], ends[1]);
    get_to_know(ends[1], ends[0]);
    get_to_know(ends[0], ends[1]);
    calls(ends[0], ends[1]);
    calls(ends[1], ends[0]);
    libxenvchan_close(ends[0]);
    WITHOUT(libxenvchan_is_open(ends[1]) == 0);
    WITHOUT(fails(libxenvchan_read(ends[1], data, sizeof(data)), EPIPE));
    WITHOUT(fails(libxenvchan_recv(ends[1], data, sizeof(data)), EPIPE));
    WITHOUT(fails(libxenvchan_write(ends[1], data, sizeof(data)), EPIPE));
    WITHOUT(fails(libxenvchan_send(ends[1], data, sizeof(data)), EPIPE));
    libxenvchan_close(ends[1]);
    puts("allocations: passed");
    return 0;
}
