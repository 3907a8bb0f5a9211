/* Calls that don't continue normally: a signal handler closes their channel, or leaves them by siglongjmp, or a
 * fork leaves their threads behind. Both ends live in this process. An alarm ends the program if anything
 * hangs. */
#include <vchan-rs.h>

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define EXPECT(what) expect((what) != 0, #what, __LINE__)

static struct libxenvchan *server, *client;
static const char *at = "";
static sigjmp_buf before;
static atomic_int handled, go;

static void expect(int holds, const char *what, int line)
{
    if (!holds) {
        fprintf(stderr, "interrupted.c:%d, %s: failed: %s (errno %s, \"%s\")\n", line, at, what, strerror(errno),
                vchan_rs_last_error());
        exit(1);
    }
}

static void on_alarm(int signal)
{
    (void)signal;
    (void)!write(2, at, strlen(at));
    (void)!write(2, ": hangs\n", 8);
    _exit(1);
}

static void handle(int signal, void (*handler)(int), int flags)
{
    struct sigaction action = { .sa_handler = handler, .sa_flags = flags };

    EXPECT(sigaction(signal, &action, NULL) == 0);
}

static void part(const char *name)
{
    at = name;
    handled = go = 0;
    alarm(20);
    server = libxenvchan_server_init(NULL, 0, "/vchan/interrupted", 4096, 4096);
    EXPECT(server != NULL);
    client = libxenvchan_client_init(NULL, 0, "/vchan/interrupted");
    EXPECT(client != NULL);
    server->blocking = client->blocking = 1;
}

/* The state of a thread of this process, 'S' while it sleeps. */
static char state_of(pid_t thread)
{
    char name[64], text[256] = "";
    FILE *file;

    snprintf(name, sizeof(name), "/proc/self/task/%d/stat", (int)thread);
    file = fopen(name, "r");
    if (file) {
        (void)!fread(text, 1, sizeof(text) - 1, file);
        fclose(file);
    }
    return strrchr(text, ')') ? strrchr(text, ')')[2] : 0;
}

static void wait_until_asleep(pid_t thread)
{
    /* Asleep ten times in a row: not for a lock or a page. */
    for (int asleep = 0; asleep < 10; asleep = state_of(thread) == 'S' ? asleep + 1 : 0)
        usleep(1000);
}

static pid_t sleeper;

/* Signals the thread once it sleeps. */
static void *interrupt(void *unused)
{
    (void)unused;
    wait_until_asleep(sleeper);
    syscall(SYS_tgkill, getpid(), sleeper, SIGUSR1);
    return NULL;
}

static pthread_t interrupt_this(void)
{
    pthread_t thread;

    sleeper = (pid_t)syscall(SYS_gettid);
    EXPECT(pthread_create(&thread, NULL, interrupt, NULL) == 0);
    return thread;
}

static void close_client(int signal)
{
    (void)signal;
    libxenvchan_close(client);
    handled = 1;
}

static void leave(int signal)
{
    (void)signal;
    handled = 1;
    siglongjmp(before, 1);
}

/* Interrupted by a handler that closes. */
static void call_and_close(int signal)
{
    (void)signal;
    EXPECT(libxenvchan_is_open(client) == 1);
    handle(SIGUSR1, close_client, SA_RESTART | SA_NODEFER);
    raise(SIGUSR1);
}

static void closed_in_a_handler(int flags)
{
    char data[10];
    pthread_t other;
    int (*const calls[])(struct libxenvchan *, void *, size_t) = { libxenvchan_read, libxenvchan_recv };

    for (int call = 0; call < 3; call++) {
        part(flags ? "close in a handler that restarts" : "close in a handler that doesn't restart");
        handle(SIGUSR1, close_client, flags);
        other = interrupt_this();
        errno = 0;
        if (call < 2)
            EXPECT(calls[call](client, data, sizeof(data)) == -1 && errno == ESHUTDOWN);
        else
            EXPECT(libxenvchan_wait(client) == -1 && errno == ESHUTDOWN);
        EXPECT(handled);
        pthread_join(other, NULL);
        EXPECT(libxenvchan_is_open(server) == 0);
        libxenvchan_close(server);
    }
}

static void closed_in_a_nested_handler(void)
{
    char data[10];
    pthread_t other;

    part("close in a handler in a handler");
    handle(SIGUSR1, call_and_close, SA_RESTART | SA_NODEFER);
    other = interrupt_this();
    EXPECT(libxenvchan_read(client, data, sizeof(data)) == -1 && errno == ESHUTDOWN && handled);
    pthread_join(other, NULL);
    libxenvchan_close(server);
}

static void *read_and_leave(void *unused)
{
    char data[10];

    (void)unused;
    handle(SIGUSR1, leave, 0);
    sleeper = (pid_t)syscall(SYS_gettid);
    go = 1;
    if (sigsetjmp(before, 1) == 0)
        libxenvchan_read(client, data, sizeof(data));
    return NULL;
}

static void left_by_longjmp(void)
{
    static char text[] = "0123456789", data[10];
    pthread_t other;

    part("close after siglongjmp");
    handle(SIGUSR1, leave, 0);
    other = interrupt_this();
    if (sigsetjmp(before, 1) == 0)
        libxenvchan_read(client, data, sizeof(data));
    EXPECT(handled);
    pthread_join(other, NULL);
    libxenvchan_close(client);
    EXPECT(libxenvchan_is_open(server) == 0);
    libxenvchan_close(server);

    part("calls after siglongjmp");
    other = interrupt_this();
    if (sigsetjmp(before, 1) == 0)
        libxenvchan_read(client, data, sizeof(data));
    EXPECT(handled);
    pthread_join(other, NULL);
    EXPECT(libxenvchan_write(client, text, 10) == 10 && libxenvchan_write(server, text, 10) == 10);
    EXPECT(libxenvchan_is_open(client) == 1 && libxenvchan_recv(client, data, 10) == 10 && !memcmp(text, data, 10));
    EXPECT(libxenvchan_recv(server, data, 10) == 10);
    libxenvchan_close(client);
    libxenvchan_close(server);

    part("close after siglongjmp in a thread that has ended");
    EXPECT(pthread_create(&other, NULL, read_and_leave, NULL) == 0);
    while (!go)
        usleep(1000);
    interrupt(NULL);
    pthread_join(other, NULL);
    libxenvchan_close(client);
    libxenvchan_close(server);
}

static void *read_until_closed(void *unused)
{
    char data[10];

    (void)unused;
    sleeper = (pid_t)syscall(SYS_gettid);
    go = 1;
    EXPECT(libxenvchan_read(client, data, sizeof(data)) == -1);
    return NULL;
}

static void close_both(void)
{
    libxenvchan_close(client);
}

static void forked(int by_exit)
{
    pthread_t other;
    int status;
    pid_t child;

    part(by_exit ? "exit in a child" : "close in a child");
    EXPECT(pthread_create(&other, NULL, read_until_closed, NULL) == 0);
    while (!go)
        usleep(1000);
    wait_until_asleep(sleeper);
    child = fork();
    EXPECT(child >= 0);
    if (child == 0) {
        alarm(10);
        if (by_exit)
            atexit(close_both);
        else
            close_both();
        exit(0);
    }
    EXPECT(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    /* The child was this end of the channel, like its parent. */
    EXPECT(libxenvchan_is_open(server) == 0);
    libxenvchan_close(client);
    pthread_join(other, NULL);
    libxenvchan_close(server);
}

/* interrupted [PART]: one part, or all. */
int main(int argc, char **argv)
{
    int only = argc > 1 ? atoi(argv[1]) : -1;

    handle(SIGALRM, on_alarm, SA_RESTART);
    for (int i = 0; i < 6; i++) {
        if (only >= 0 && only != i)
            continue;
        switch (i) {
        case 0: closed_in_a_handler(SA_RESTART); break;
        case 1: closed_in_a_handler(0); break;
        case 2: closed_in_a_nested_handler(); break;
        case 3: left_by_longjmp(); break;
        case 4: forked(0); break;
        default: forked(1);
        }
    }
    return 0;
}
