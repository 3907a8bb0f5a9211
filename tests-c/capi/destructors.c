/* Calls from destructors of thread-local variables, and from atexit handlers: a Rust library's thread-locals are
 * gone by then. */
#include <vchan-rs.h>

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXPECT(what) expect((what) != 0, #what, __LINE__)

/* How a C++ compiler registers the destructor of a thread_local variable. */
extern int __cxa_thread_atexit_impl(void (*destructor)(void *), void *object, void *library);
extern void *__dso_handle;

static struct libxenvchan *ends[2];
static int ran;

static void expect(int holds, const char *what, int line)
{
    if (!holds) {
        fprintf(stderr, "destructors.c:%d: failed: %s (errno %s, \"%s\")\n", line, what, strerror(errno),
                vchan_rs_last_error());
        _exit(1);
    }
}

static void make_calls(void)
{
    char data[16];

    EXPECT(libxenvchan_write(ends[0], "hello", 5) == 5);
    EXPECT(libxenvchan_data_ready(ends[1]) == 5 && libxenvchan_buffer_space(ends[0]) == 4096 - 5);
    EXPECT(libxenvchan_read(ends[1], data, sizeof(data)) == 5 && !memcmp(data, "hello", 5));
    EXPECT(libxenvchan_read(ends[1], data, sizeof(data)) == 0);
    EXPECT(libxenvchan_is_open(ends[0]) == 1 && libxenvchan_is_open(ends[1]) == 1);
    errno = 0;
    EXPECT(vchan_rs_read(ends[1], data, sizeof(data), 1) == -1 && errno == ETIMEDOUT);
    EXPECT(vchan_rs_last_error_kind() == VCHAN_RS_ERROR_TIMED_OUT && strstr(vchan_rs_last_error(), "timed out"));
    errno = 0;
    EXPECT(libxenvchan_read(NULL, data, sizeof(data)) == -1 && errno == EINVAL);
    EXPECT(!strcmp(vchan_rs_last_error(), "libxenvchan_read: the channel is NULL"));
    EXPECT(libxenvchan_client_init(NULL, 0, "/vchan/nobody") == NULL && errno == ENOENT);
    ran++;
}

static void open_pair(void)
{
    ends[0] = libxenvchan_server_init(NULL, 0, "/vchan/destructors", 4096, 4096);
    EXPECT(ends[0] != NULL);
    ends[1] = libxenvchan_client_init(NULL, 0, "/vchan/destructors");
    EXPECT(ends[1] != NULL && vchan_rs_accept(ends[0], -1) == 0);
}

static void close_pair(void)
{
    libxenvchan_close(ends[0]);
    libxenvchan_close(ends[1]);
}

static void in_destructor(void *unused)
{
    (void)unused;
    make_calls();
}

/* Registered first, so it runs last: after the library's own destructors, if it registers them with its first
 * call. */
static void *ending_thread(void *key)
{
    EXPECT(__cxa_thread_atexit_impl(in_destructor, NULL, &__dso_handle) == 0);
    EXPECT(pthread_setspecific(*(pthread_key_t *)key, "set") == 0);
    make_calls();
    EXPECT(__cxa_thread_atexit_impl(in_destructor, NULL, &__dso_handle) == 0);
    return NULL;
}

/* A thread that makes its first calls in its destructors. */
static void *ending_at_once(void *key)
{
    EXPECT(__cxa_thread_atexit_impl(in_destructor, NULL, &__dso_handle) == 0);
    EXPECT(pthread_setspecific(*(pthread_key_t *)key, "set") == 0);
    return NULL;
}

static void run(void *(*body)(void *), pthread_key_t *key, int passes)
{
    pthread_t thread;

    ran = 0;
    EXPECT(pthread_create(&thread, NULL, body, key) == 0 && pthread_join(thread, NULL) == 0);
    EXPECT(ran == passes);
}

/* The first one registered in the process, so the last one to run. */
static void at_the_end(void)
{
    EXPECT(ran == 2);
    make_calls();
    close_pair();
    /* A channel can also be opened and closed here. */
    open_pair();
    make_calls();
    close_pair();
    fflush(stdout);
}

int main(void)
{
    pthread_key_t key;

    alarm(60);
    EXPECT(atexit(at_the_end) == 0 && pthread_key_create(&key, in_destructor) == 0);
    open_pair();
    run(ending_thread, &key, 4);
    run(ending_at_once, &key, 2);
    ran = 0;
    EXPECT(__cxa_thread_atexit_impl(in_destructor, NULL, &__dso_handle) == 0);
    make_calls();
    puts("destructors: passed");
    return 0;
}
