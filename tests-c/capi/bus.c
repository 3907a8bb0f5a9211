/* SIGBUS: a peer truncates the memory files, in programs with handlers of their own, with two copies of the
 * library, or after unloading one. Each case is a process, which must survive, or be killed by a SIGBUS that the
 * library must not catch. The argument is another copy of the library. */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libxenvchan.h"

#define PAGE 4096

static const char *copy;

static void fail(const char *what)
{
    fprintf(stderr, "bus: %s: %s\n", what, strerror(errno));
    exit(1);
}

struct library {
    struct libxenvchan *(*server_init)(struct xentoollog_logger *, int, const char *, size_t, size_t);
    struct libxenvchan *(*client_init)(struct xentoollog_logger *, int, const char *);
    int (*write)(struct libxenvchan *, const void *, size_t);
    int (*read)(struct libxenvchan *, void *, size_t);
    void (*close)(struct libxenvchan *);
};

static const struct library linked = { libxenvchan_server_init, libxenvchan_client_init, libxenvchan_write,
                                       libxenvchan_read, libxenvchan_close };

static void *symbol(void *handle, const char *name)
{
    void *found = dlsym(handle, name);

    if (!found)
        fail(name);
    return found;
}

static void *load(struct library *library)
{
    void *handle = dlopen(copy, RTLD_NOW | RTLD_LOCAL);

    if (!handle)
        fail(dlerror());
    *(void **)&library->server_init = symbol(handle, "libxenvchan_server_init");
    *(void **)&library->client_init = symbol(handle, "libxenvchan_client_init");
    *(void **)&library->write = symbol(handle, "libxenvchan_write");
    *(void **)&library->read = symbol(handle, "libxenvchan_read");
    *(void **)&library->close = symbol(handle, "libxenvchan_close");
    return handle;
}

/* Both ends of a channel. */
struct pair {
    const struct library *library;
    struct libxenvchan *server, *client;
};

static struct pair open_pair(const struct library *library, const char *path)
{
    struct pair pair = { library, library->server_init(NULL, 0, path, 16384, 16384), NULL };

    if (!pair.server || !(pair.client = library->client_init(NULL, 0, path)))
        fail(path);
    return pair;
}

static void close_pair(struct pair pair)
{
    pair.library->close(pair.client);
    pair.library->close(pair.server);
}

/* Truncates all memory files. */
static void cut_off(void)
{
    char path[4096];
    struct dirent *entry;
    DIR *directory;

    snprintf(path, sizeof path, "%s/memory", getenv("XEN_ROOT"));
    if (!(directory = opendir(path)))
        fail(path);
    while ((entry = readdir(directory)))
        if (entry->d_name[0] != '.') {
            snprintf(path, sizeof path, "%s/memory/%s", getenv("XEN_ROOT"), entry->d_name);
            if (truncate(path, 0))
                fail(path);
        }
    closedir(directory);
}

/* Touches the truncated memory. The results don't matter, but the calls must return. */
static void use(struct pair pair)
{
    char byte = 0;

    pair.library->write(pair.server, &byte, 1);
    pair.library->read(pair.client, &byte, 1);
}

/* A bus error unrelated to any channel. */
static void other_bus_error(void)
{
    FILE *file = tmpfile();
    volatile char *page;

    if (!file || ftruncate(fileno(file), PAGE))
        fail("a file");
    page = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fileno(file), 0);
    if (page == MAP_FAILED || ftruncate(fileno(file), 0))
        fail("a mapping");
    (void)*page;
}

static struct sigaction earlier;

static void install(void (*handler)(int, siginfo_t *, void *))
{
    struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_NODEFER };

    if (sigaction(SIGBUS, &action, &earlier))
        fail("sigaction");
}

/* Handles nothing itself and calls the previous handler. */
static void chaining(int signal, siginfo_t *info, void *context)
{
    if (earlier.sa_flags & SA_SIGINFO) {
        earlier.sa_sigaction(signal, info, context);
    } else if (earlier.sa_handler != SIG_DFL && earlier.sa_handler != SIG_IGN) {
        earlier.sa_handler(signal);
    } else {
        struct sigaction action = { .sa_handler = SIG_DFL };
        sigaction(SIGBUS, &action, NULL);
    }
}

static void a_handler_that_chains(void)
{
    struct pair pair = open_pair(&linked, "data/bus-1");

    install(chaining);
    close_pair(pair);
    pair = open_pair(&linked, "data/bus-2");
    cut_off();
    use(pair);
    close_pair(pair);
}

static void another_bus_error_under_a_handler_that_chains(void)
{
    a_handler_that_chains();
    other_bus_error();
}

static void the_default_action_between_two_channels(void)
{
    struct pair pair = open_pair(&linked, "data/bus-1");

    signal(SIGBUS, SIG_DFL);
    close_pair(pair);
    pair = open_pair(&linked, "data/bus-2");
    cut_off();
    use(pair);
    close_pair(pair);
}

static sigjmp_buf back;

static void jumping(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)info, (void)context;
    siglongjmp(back, 1);
}

static void a_handler_that_jumps(void)
{
    struct pair pair;

    install(jumping);
    pair = open_pair(&linked, "data/bus-1");
    for (volatile int round = 0; round < 3; round++)
        if (!sigsetjmp(back, 1)) {
            other_bus_error();
            errno = 0;
            fail("the program's handler was not called");
        }
    cut_off();
    use(pair);
    close_pair(pair);
}

static void two_copies(void)
{
    struct library other;
    struct pair first, second;

    load(&other);
    for (int round = 0; round < 3; round++) {
        first = open_pair(&linked, "data/bus-1");
        second = open_pair(&other, "data/bus-2");
        close_pair(first);
        first = open_pair(&linked, "data/bus-3");
        cut_off();
        use(first);
        use(second);
        close_pair(second);
        close_pair(first);
    }
}

static void another_bus_error_with_two_copies(void)
{
    struct library other;
    struct pair first, second;

    load(&other);
    first = open_pair(&linked, "data/bus-1");
    second = open_pair(&other, "data/bus-2");
    close_pair(first);
    first = open_pair(&linked, "data/bus-3");
    close_pair(first);
    close_pair(second);
    other_bus_error();
}

static void *use_and_unload(void *unused)
{
    struct library other;
    void *handle = load(&other);
    struct pair pair = open_pair(&other, "data/bus-1");

    install(chaining);
    close_pair(pair);
    dlclose(handle);
    return unused;
}

static void a_copy_that_is_unloaded(void)
{
    pthread_t thread;

    /* In a separate thread, since thread-local data keeps the library loaded. */
    if (pthread_create(&thread, NULL, use_and_unload, NULL) || pthread_join(thread, NULL))
        fail("a thread");
    other_bus_error();
}

static int failed;

static void check(const char *what, void (*body)(void), int expected)
{
    int status;
    pid_t child = fork();

    if (child < 0)
        fail("fork");
    if (child == 0) {
        alarm(20);
        body();
        exit(0);
    }
    if (waitpid(child, &status, 0) != child)
        fail("waitpid");
    if (expected ? !WIFSIGNALED(status) || WTERMSIG(status) != expected : status != 0) {
        fprintf(stderr, "bus: %s: status 0x%x\n", what, status);
        failed = 1;
    }
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    copy = argv[1];
    check("a handler that chains", a_handler_that_chains, 0);
    check("another bus error under a handler that chains", another_bus_error_under_a_handler_that_chains, SIGBUS);
    check("the default action between two channels", the_default_action_between_two_channels, 0);
    check("a handler that jumps", a_handler_that_jumps, 0);
    check("two copies", two_copies, 0);
    check("another bus error with two copies", another_bus_error_with_two_copies, SIGBUS);
    check("a copy that is unloaded", a_copy_that_is_unloaded, SIGBUS);
    return failed;
}
