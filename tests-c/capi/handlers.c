/* A signal handler that queries and writes continually while its thread reads; and sleeping after a call left by
 * siglongjmp. */
#include <vchan-rs.h>

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define EXPECT(what) expect((what) != 0, #what, __LINE__)
#define TOTAL (16u << 20)

static struct libxenvchan *ctrl;
static volatile sig_atomic_t wrong;
static volatile unsigned long asked, written;
static sigjmp_buf out;

static void expect(int holds, const char *what, int line)
{
    if (!holds) {
        fprintf(stderr, "handlers.c:%d: failed: %s (errno %s, \"%s\")\n", line, what, strerror(errno), vchan_rs_last_error());
        exit(1);
    }
}

static void ask_and_write(int signal)
{
    int error = errno;

    (void)signal;
    if (libxenvchan_is_open(ctrl) != 1 || libxenvchan_data_ready(ctrl) < 0 || libxenvchan_buffer_space(ctrl) < 0)
        wrong = 1;
    asked++;
    if (vchan_rs_write(ctrl, "x", 1, 0) == 1)
        written++;
    else if (errno != EAGAIN)
        wrong = 1;
    errno = error;
}

static void tick(void (*handler)(int), int flags, long first, long then)
{
    struct sigaction action = { .sa_handler = handler, .sa_flags = flags };
    struct itimerval timer = { { 0, then }, { 0, first } };

    EXPECT(sigaction(SIGALRM, &action, NULL) == 0);
    EXPECT(setitimer(ITIMER_REAL, &timer, NULL) == 0);
}

static unsigned char pattern(unsigned long at)
{
    return (unsigned char)(at * 167 + (at >> 8) * 13);
}

/* Sends a stream, then receives what the handler has written. */
static void peer(void)
{
    static unsigned char data[7000];
    unsigned long sent = 0, came = 0;
    ssize_t count;

    ctrl = vchan_rs_client_init(0, "/vchan/handlers", NULL);
    EXPECT(ctrl != NULL);
    ctrl->blocking = 1;
    while (sent < TOTAL) {
        for (size_t n = 0; n < sizeof(data); n++)
            data[n] = pattern(sent + n);
        EXPECT(libxenvchan_write(ctrl, data, sizeof(data)) == (int)sizeof(data));
        sent += sizeof(data);
        /* Keeps the ring from filling up, and makes the reader sleep occasionally. */
        while ((count = vchan_rs_read(ctrl, data, sizeof(data), 0)) > 0)
            came += (unsigned long)count;
    }
    EXPECT(vchan_rs_shutdown(ctrl) == 0);
    while ((count = vchan_rs_read(ctrl, data, sizeof(data), -1)) > 0)
        came += (unsigned long)count;
    EXPECT(vchan_rs_last_error_kind() == VCHAN_RS_ERROR_PEER_FINISHED);
    libxenvchan_close(ctrl);
    printf("came %lu\n", came);
    fflush(stdout);
    _exit(0);
}

static void asking_while_it_reads(void)
{
    static unsigned char data[5000];
    unsigned long got = 0, came = 0;
    int count, status, line[2];
    pid_t child;
    FILE *said;

    EXPECT(pipe(line) == 0);
    ctrl = vchan_rs_server_init(0, "/vchan/handlers", 4096, 4096, NULL);
    EXPECT(ctrl != NULL);
    child = fork();
    if (child == 0) {
        dup2(line[1], 1);
        peer();
    }
    close(line[1]);
    EXPECT(vchan_rs_accept(ctrl, 10000) == 0);
    ctrl->blocking = 1;
    tick(ask_and_write, SA_RESTART, 1000, 500);
    while ((count = libxenvchan_read(ctrl, data, sizeof(data))) > 0) {
        for (int n = 0; n < count; n++)
            EXPECT(data[n] == pattern(got + (unsigned long)n));
        got += (unsigned long)count;
    }
    EXPECT(vchan_rs_last_error_kind() == VCHAN_RS_ERROR_PEER_FINISHED && got >= TOTAL);
    tick(SIG_IGN, 0, 0, 0);
    EXPECT(!wrong && asked > 0);
    EXPECT(vchan_rs_shutdown(ctrl) == 0);
    said = fdopen(line[0], "r");
    EXPECT(said && fscanf(said, "came %lu", &came) == 1 && came == written);
    EXPECT(waitpid(child, &status, 0) == child && status == 0);
    fclose(said);
    libxenvchan_close(ctrl);
}

static void jump(int signal)
{
    (void)signal;
    siglongjmp(out, 1);
}

/* A call is left while it sleeps. Later ones of the same thread sleep and are woken. */
static void sleeping_after_a_jump(void)
{
    struct libxenvchan *client;
    char data[8];
    pid_t child;
    int status;

    ctrl = vchan_rs_server_init(0, "/vchan/jumps", 4096, 4096, NULL);
    EXPECT(ctrl != NULL);
    client = vchan_rs_client_init(0, "/vchan/jumps", NULL);
    EXPECT(client != NULL && vchan_rs_accept(ctrl, 10000) == 0);
    ctrl->blocking = 1;
    if (sigsetjmp(out, 1) == 0) {
        tick(jump, 0, 20000, 0);
        libxenvchan_read(ctrl, data, sizeof(data));
        EXPECT(!"the read returned");
    }
    child = fork();
    if (child == 0) {
        usleep(50000);
        _exit(vchan_rs_write(client, "later", 5, 5000) != 5);
    }
    EXPECT(vchan_rs_read(ctrl, data, sizeof(data), 10000) == 5 && !memcmp(data, "later", 5));
    EXPECT(waitpid(child, &status, 0) == child && status == 0);
    libxenvchan_close(ctrl);
    libxenvchan_close(client);
}

int main(void)
{
    asking_while_it_reads();
    sleeping_after_a_jump();
    printf("handlers: asked %lu times, wrote %lu\n", asked, written);
    return 0;
}
