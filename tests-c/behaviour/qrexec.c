/* Programs that behave like Qubes OS' qrexec: an agent serves a control channel and forks, without exec, for each
 * request; the child is the client of its own channel. The daemon, client of the control channel, serves all these
 * channels in one process and polls. Both have children that exit continually. The agent restarts, and the daemon
 * reconnects. */
#include "suite.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { REQUESTS = 8, LINGERS = REQUESTS, ROUNDS = 3, BYTES = 20000, PIECE = 1000, RING = 4096 };

static volatile sig_atomic_t reaped;

static void reap(int number)
{
    int error = errno;

    (void)number;
    while (waitpid(-1, NULL, WNOHANG) > 0)
        reaped++;
    errno = error;
}

static void reap_children(void)
{
    struct sigaction action = { .sa_handler = reap, .sa_flags = SA_RESTART | SA_NOCLDSTOP };

    reaped = 0;
    sigaction(SIGCHLD, &action, NULL);
}

static void await_reaped(int count)
{
    sigset_t child, before;

    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child, &before);
    while (reaped < count)
        sigsuspend(&before);
    sigprocmask(SIG_SETMASK, &before, NULL);
}

static struct libxenvchan *find_server(const char *path)
{
    struct libxenvchan *ctrl;

    while (!(ctrl = libxenvchan_client_init(NULL, 0, path)))
        poll(NULL, 0, 5);
    ctrl->blocking = 0;
    return ctrl;
}

static void data_path(const struct end *e, int number, char path[80])
{
    snprintf(path, 80, "%s/d%d", e->path, number);
}

/* Receives a word despite signals; false if the peer has gone. */
static bool hear_word(struct libxenvchan *ctrl, int *word)
{
    struct pollfd fd = { libxenvchan_fd_for_select(ctrl), POLLIN, 0 };
    int ret;

    while ((ret = libxenvchan_recv(ctrl, word, sizeof(*word))) == 0) {
        if (poll(&fd, 1, -1) == 1)
            libxenvchan_wait(ctrl);
    }
    return ret == sizeof(*word);
}

/* --- the agent --- */

/* The child of a request; it inherits everything from the agent and doesn't use it. */
static _Noreturn void serve_request(const struct end *e, int number, int until_closed)
{
    uint8_t data[PIECE];
    char path[80], answer[2];
    struct libxenvchan *ctrl;
    bool good = true;

    if (number == LINGERS)
        _exit((int)read(until_closed, data, 1));
    data_path(e, number, path);
    ctrl = find_server(path);
    ctrl->blocking = 1;
    for (int at = 0; at < BYTES; at += PIECE) {
        fill_pattern(data, PIECE, (uint64_t)(number + at));
        good &= libxenvchan_write(ctrl, data, PIECE) == PIECE;
    }
    good &= libxenvchan_recv(ctrl, answer, 2) == 2 && !memcmp(answer, "ok", 2);
    libxenvchan_close(ctrl);
    _exit(!good);
}

static _Noreturn void be_agent(struct end *e, int until_closed)
{
    int number, asked = 0;

    reap_children();
    open_server(e, RING, RING);
    while (hear_word(e->ctrl, &number) && number >= 0) {
        pid_t child = fork();

        if (child == 0)
            serve_request(e, number, until_closed);
        check(child > 0, "fork");
        asked += number != LINGERS;
    }
    await_reaped(asked);
    check(libxenvchan_send(e->ctrl, &asked, sizeof(asked)) == sizeof(asked), "the agent can't answer");
    close_end(e);
    _exit(any_check_failed());
}

/* Starts agents in turn. */
static void agents(struct end *e, const void *arg)
{
    int ends[2], status;

    (void)arg;
    check(pipe(ends) == 0, "pipe");
    for (int round = 0; round < ROUNDS; round++) {
        pid_t agent = fork();

        if (agent == 0) {
            close(ends[1]);
            be_agent(e, ends[0]);
        }
        check(waitpid(agent, &status, 0) == agent && status == 0, "the agent ended with status %#x", (unsigned int)status);
        meet(e);
    }
    close(ends[1]);
    close(ends[0]);
}

/* --- the daemon --- */

struct data {
    struct libxenvchan *ctrl;
    int got;
    bool answered;
};

/* Receives available data; true once the child has its answer and has gone. */
static bool advance(struct data *data, int number)
{
    uint8_t bytes[PIECE * 3];
    int ret;

    while ((ret = libxenvchan_read(data->ctrl, bytes, sizeof(bytes))) > 0) {
        for (int at = 0; at < ret; at++) {
            int position = data->got + at;
            uint8_t want;

            fill_pattern(&want, 1, (uint64_t)(number + position / PIECE * PIECE + position % PIECE));
            check(bytes[at] == want, "byte %d of request %d is wrong", position, number);
        }
        data->got += ret;
    }
    if (data->got == BYTES && !data->answered) {
        check(libxenvchan_send(data->ctrl, "ok", 2) == 2, "request %d gets no answer", number);
        data->answered = true;
    }
    if (ret == 0)
        return false;
    check(data->answered, "request %d ended early", number);
    libxenvchan_close(data->ctrl);
    data->ctrl = NULL;
    return true;
}

/* All channels in one process. */
static int serve_data(struct data *data)
{
    struct pollfd fds[REQUESTS];
    int done = 0;

    while (done < REQUESTS) {
        for (int n = 0; n < REQUESTS; n++)
            fds[n] = (struct pollfd){ data[n].ctrl ? libxenvchan_fd_for_select(data[n].ctrl) : -1, POLLIN, 0 };
        if (poll(fds, REQUESTS, -1) < 0) {
            check(errno == EINTR, "poll: %s", errno_name(errno));
            continue;
        }
        for (int n = 0; n < REQUESTS; n++) {
            if (fds[n].revents) {
                libxenvchan_wait(data[n].ctrl);
                done += advance(&data[n], n);
            }
        }
    }
    return done;
}

static void daemon_side(struct end *e, const void *arg)
{
    bool lingers = *(const bool *)arg;

    reap_children();
    for (int round = 0; round < ROUNDS; round++) {
        struct data data[REQUESTS] = { 0 };
        int last = LINGERS, end = -1, answer = 0, done, after;
        char label[24], path[80];

        e->ctrl = find_server(e->path);
        if (lingers)
            check(libxenvchan_send(e->ctrl, &last, sizeof(last)) == sizeof(last), "the daemon can't ask");
        for (int n = 0; n < REQUESTS; n++) {
            /* Its own children start and exit meanwhile. */
            if (fork() == 0)
                _exit(0);
            data_path(e, n, path);
            data[n].ctrl = libxenvchan_server_init(NULL, 0, path, RING, RING);
            check(data[n].ctrl, "no server for request %d", n);
            if (!data[n].ctrl)
                exit(1);
            data[n].ctrl->blocking = 0;
            check(libxenvchan_send(e->ctrl, &n, sizeof(n)) == sizeof(n), "the daemon can't ask");
        }
        done = serve_data(data);
        check(libxenvchan_send(e->ctrl, &end, sizeof(end)) == sizeof(end), "the daemon can't ask");
        check(hear_word(e->ctrl, &answer), "no answer");
        e->ctrl->blocking = 1;
        after = libxenvchan_read(e->ctrl, path, 1);
        snprintf(label, sizeof(label), "round%d", round);
        result(label, "done=%d answer=%d after=%d open=%d", done, answer, after, libxenvchan_is_open(e->ctrl));
        close_end(e);
        await_reaped((round + 1) * REQUESTS);
        /* The peer is reaped like any other child. */
        if (round == ROUNDS - 1)
            signal(SIGCHLD, SIG_DFL);
        /* The agent has exited: while it closes, it may still be found. */
        meet(e);
    }
}

static const bool no = false, yes = true;

static void requests(const void *arg) { with_peer(CLIENT, daemon_side, agents, arg); }

void add_qrexec_tests(void)
{
    add_test(requests, &no, "qrexec.restart");
    /* Children of earlier agents live on, with all inherited descriptors. */
    add_test(requests, &yes, "qrexec.restart-beside-children");
}
