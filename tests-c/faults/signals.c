/* Storms of signals without SA_RESTART, and temporarily stopped peers: slower, without other effects. */
#include "faults.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t signals;
static long interruptions;

static void count_signal(int sig)
{
    (void)sig;
    signals++;
}

/* One signal every 100 microseconds. */
static void storm(bool begin)
{
    struct sigaction action = { .sa_handler = count_signal };
    struct itimerval every = { { 0, begin ? 100 : 0 }, { 0, begin ? 100 : 0 } };

    if (begin)
        must_do(sigaction(SIGALRM, &action, NULL), "sigaction");
    must_do(setitimer(ITIMER_REAL, &every, NULL), "setitimer");
}

/* As programs do: bytes moved count, and -1 with EINTR is retried. */
static bool move(struct libxenvchan *ctrl, uint8_t *data, size_t size, bool writes)
{
    for (size_t done = 0; done < size;) {
        int ret = writes ? libxenvchan_write(ctrl, data + done, size - done) : libxenvchan_read(ctrl, data + done, size - done);
        if (ret < 0 && errno == EINTR) {
            interruptions++;
            continue;
        }
        if (ret <= 0)
            return false;
        done += (size_t)ret;
    }
    return true;
}

/* Echoes until EOF. */
static int echo(const char *path, bool stormy)
{
    struct vchan_rs_options options = waiting(LONG_MS);
    struct libxenvchan *ctrl = must(vchan_rs_client_init(0, path, &options), "the echo's client_init");
    uint8_t data[5000];
    int ret, before = failed_checks();

    ctrl->blocking = 1;
    if (stormy)
        storm(true);
    for (;;) {
        ret = libxenvchan_read(ctrl, data, sizeof(data));
        if (ret < 0 && errno == EINTR)
            continue;
        if (ret < 0)
            break;
        CHECK(move(ctrl, data, (size_t)ret, true), "echo: %s", vchan_rs_last_error());
    }
    CHECK(errno == EPIPE, "echo: %s", vchan_rs_last_error());
    storm(false);
    libxenvchan_close(ctrl);
    return failed_checks() > before;
}

static void transfer(struct libxenvchan *ctrl, size_t total, const char *what)
{
    uint8_t sent[5000], got[5000];

    ctrl->blocking = 1;
    for (size_t done = 0; done < total;) {
        size_t size = 1 + random_number(sizeof(sent));
        fill(sent, size, done, 3);
        if (!move(ctrl, sent, size, true) || !move(ctrl, got, size, false) || memcmp(sent, got, size)) {
            fail_check("%s: after %zu bytes: %s", what, done, vchan_rs_last_error());
            return;
        }
        done += size;
    }
}

static void storms(void)
{
    enum { ENOUGH = 10000 };
    const char *path = new_path();
    struct libxenvchan *ctrl;
    int total = 0, before = failed_checks();
    pid_t child = must_do(fork(), "forking");

    if (child == 0)
        _exit(echo(path, true));
    ctrl = must(libxenvchan_server_init(NULL, 0, path, 4096, 4096), "server_init");
    /* Waiting clients are not tested here. */
    must_do(vchan_rs_accept(ctrl, LONG_MS), "accept");
    storm(true);
    for (; signals < ENOUGH && failed_checks() == before; total++)
        transfer(ctrl, 1 << 20, "in a storm of signals");
    storm(false);
    libxenvchan_close(ctrl);
    child_ended_well(child);
    printf("signals: %d MiB there and back, %d signals on each side, %ld calls interrupted\n", total, (int)signals, interruptions);
}

static void storms_over_init(void)
{
    struct census before = take_census(), now;
    int cycles = 300;

    signals = 0;
    storm(true);
    for (int n = 0; n < cycles; n++) {
        const char *path = new_path();
        struct libxenvchan *server = libxenvchan_server_init(NULL, 0, path, 4096, 4096);
        struct libxenvchan *client = server ? libxenvchan_client_init(NULL, 0, path) : NULL;
        if (!client) {
            fail_check("init no. %d in a storm of signals: %s", n, vchan_rs_last_error());
        } else {
            CHECK(vchan_rs_accept(server, LONG_MS) == 0, "accept no. %d in a storm of signals: %s", n, vchan_rs_last_error());
            libxenvchan_close(client);
        }
        if (server)
            libxenvchan_close(server);
    }
    storm(false);
    now = take_census();
    CHECK(same_census(&before, &now), "storms leave descriptors or mappings");
    CHECK(count_files(getenv("XEN_ROOT")) == 0, "storms leave files");
    printf("signals: %d times init, accept and close of both sides, %d signals\n", cycles, (int)signals);
}

static double cpu_seconds(void)
{
    struct rusage used;

    getrusage(RUSAGE_SELF, &used);
    return (double)used.ru_utime.tv_sec + (double)used.ru_utime.tv_usec / 1e6 + (double)used.ru_stime.tv_sec +
           (double)used.ru_stime.tv_usec / 1e6;
}

/* Stops and continues a process at random until it is signalled to end. */
static void stop_and_go(pid_t victim, int times)
{
    for (int n = 0; n < times; n++) {
        struct timespec pause = { 0, (long)random_number(3000000) };
        kill(victim, SIGSTOP);
        nanosleep(&pause, NULL);
        kill(victim, SIGCONT);
        pause.tv_nsec = (long)random_number(1000000);
        nanosleep(&pause, NULL);
    }
}

static void stopped_peer(void)
{
    enum { STOPS = 200, PAUSE_MS = 300 };
    const char *path = new_path();
    struct libxenvchan *ctrl;
    double used;
    char byte;
    pid_t child = must_do(fork(), "forking"), stopper;

    if (child == 0)
        _exit(echo(path, false));
    ctrl = must(libxenvchan_server_init(NULL, 0, path, 4096, 4096), "server_init");
    must_do(vchan_rs_accept(ctrl, LONG_MS), "accept");
    stopper = must_do(fork(), "forking");
    if (stopper == 0) {
        stop_and_go(child, STOPS);
        _exit(0);
    }
    int status = 0, before = failed_checks();
    size_t total = 0;
    do {
        transfer(ctrl, 1 << 20, "while the peer is stopped repeatedly");
        total += 1 << 20;
    } while (failed_checks() == before && waitpid(stopper, &status, WNOHANG) == 0);
    printf("signals: %zu MiB there and back, the peer stopped %d times\n", total >> 20, STOPS);

    kill(child, SIGSTOP);
    used = cpu_seconds();
    CHECK(vchan_rs_read(ctrl, &byte, 1, PAUSE_MS) == -1 && errno == ETIMEDOUT, "a stopped peer: %s", vchan_rs_last_error());
    used = cpu_seconds() - used;
    CHECK(used < PAUSE_MS / 1000.0 / 3, "waiting used %.0f of %d ms of CPU", used * 1000, PAUSE_MS);
    CHECK(libxenvchan_is_open(ctrl) == 1, "a stopped peer is reported as dead");
    kill(child, SIGCONT);
    libxenvchan_close(ctrl);
    child_ended_well(child);
}

void run_signals(int argc, char **argv)
{
    (void)argc, (void)argv;
    /* Makes calls sleep, so that they can be interrupted. */
    setenv("VCHAN_SPIN", "off", 1);
    storms();
    unsetenv("VCHAN_SPIN");
    storms_over_init();
    stopped_peer();
    CHECK(count_files(getenv("XEN_ROOT")) == 0, "files are left");
}
