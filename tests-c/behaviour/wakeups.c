/* The descriptor of fd_for_select: after a call that requests an event, select, poll and epoll must wake on a
 * change. */
#include "suite.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <unistd.h>

enum how { SELECT, POLL, EPOLL, HOWS };
enum ask { READ_EMPTY, READ_SHORT, BLOCKING_READ_SHORT, RECV_SHORT, RECV_TOO_LARGE, WRITE_SHORT, SEND_SHORT, SEND_TOO_LARGE, DATA_READY, BUFFER_SPACE, ASKS };
enum change { MOVES, CLOSES, CHANGES };

static const char *const how_names[] = { "select", "poll", "epoll" };
static const char *const ask_names[] = { "read-empty", "read-short", "blocking-read-short", "recv-short", "recv-too-large", "write-short", "send-short", "send-too-large", "data_ready", "buffer_space" };
static const char *const change_names[] = { "moves", "closes" };

struct wakeup {
    enum how how;
    enum ask ask;
    enum change change;
    enum role role;
};

static bool wants_space(enum ask a)
{
    return a == WRITE_SHORT || a == SEND_SHORT || a == SEND_TOO_LARGE || a == BUFFER_SPACE;
}

static int wait_readable(int fd, enum how how)
{
    struct timeval selecting = { 15, 0 };
    struct pollfd polled = { .fd = fd, .events = POLLIN };
    struct epoll_event event = { .events = EPOLLIN }, out;
    fd_set set;
    int epfd, ret;

    switch (how) {
    case SELECT:
        FD_ZERO(&set);
        FD_SET(fd, &set);
        return select(fd + 1, &set, NULL, NULL, &selecting);
    case POLL:
        return poll(&polled, 1, 15000);
    default:
        epfd = epoll_create1(EPOLL_CLOEXEC);
        if (epfd < 0 || epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event)) {
            perror("behaviour: epoll");
            exit(2);
        }
        ret = epoll_wait(epfd, &out, 1, 15000);
        close(epfd);
        return ret;
    }
}

/* The call before the program sleeps on the descriptor; returns its result. */
static int ask(struct end *e, enum ask a)
{
    static uint8_t data[8192];
    int ret;

    switch (a) {
    case READ_EMPTY: return (int)take_some(e, 10);
    case READ_SHORT: return (int)take_some(e, 100);
    case BLOCKING_READ_SHORT:
        e->ctrl->blocking = 1;
        ret = libxenvchan_read(e->ctrl, data, 100);
        e->ctrl->blocking = 0;
        e->got += ret > 0 ? (unsigned int)ret : 0;
        return ret;
    case RECV_SHORT: return libxenvchan_recv(e->ctrl, data, 100);
    case RECV_TOO_LARGE: return libxenvchan_recv(e->ctrl, data, 5000);
    case SEND_TOO_LARGE: return libxenvchan_send(e->ctrl, data, 5000);
    case WRITE_SHORT: return (int)put_some(e, 8192);
    case SEND_SHORT:
        fill_pattern(data, 4096, e->sent);
        ret = libxenvchan_send(e->ctrl, data, 4096);
        e->sent += ret > 0 ? (unsigned int)ret : 0;
        return ret;
    case DATA_READY: return libxenvchan_data_ready(e->ctrl);
    default: return libxenvchan_buffer_space(e->ctrl);
    }
}

static void tested_side(struct end *e, const void *arg)
{
    const struct wakeup *w = arg;
    int first, woken, waited, fd;

    open_both(e, 4096, 4096);
    if (wants_space(w->ask))
        check(put_some(e, 4000) == 4000, "the empty ring did not take 4000 bytes");
    meet(e);
    meet(e); /* the peer has written the initial data */
    drain_events(e->ctrl);
    fd = libxenvchan_fd_for_select(e->ctrl);
    first = ask(e, w->ask);
    drain_events(e->ctrl); /* an event caused by the request itself */
    meet(e);
    enter_call(e);
    woken = wait_readable(fd, w->how);
    leave_call(e);
    waited = woken > 0 ? libxenvchan_wait(e->ctrl) : -2;
    result("event", "asked=%d woken=%s wait=%d then-ready=%d then-space=%d open=%d", first, woken > 0 ? "yes" : "no", waited,
           libxenvchan_data_ready(e->ctrl), libxenvchan_buffer_space(e->ctrl), libxenvchan_is_open(e->ctrl));
    tell(e, 0);
    close_end(e);
}

static void peer_side(struct end *e, const void *arg)
{
    const struct wakeup *w = arg;

    open_both(e, 4096, 4096);
    meet(e);
    if (w->ask == READ_SHORT || w->ask == BLOCKING_READ_SHORT || w->ask == RECV_SHORT || w->ask == RECV_TOO_LARGE)
        check(put_some(e, 40) == 40, "no room");
    meet(e);
    meet(e);
    watch(e, e->other);
    if (w->change == CLOSES)
        close_end(e);
    else if (wants_space(w->ask))
        check(take_some(e, 1000) == 1000, "the data is not there");
    else
        check(put_some(e, 7) == 7, "no room");
    hear(e);
    if (e->ctrl)
        close_end(e);
}

static void run_wakeup(const void *arg)
{
    const struct wakeup *w = arg;
    with_peer(w->role, tested_side, peer_side, w);
}

/* A server with no client: the descriptor becomes readable when one connects. */
static void client_comes(struct end *e, const void *arg)
{
    const struct wakeup *w = arg;
    int woken, waited;

    open_server(e, 4096, 4096);
    meet(e);
    enter_call(e);
    woken = wait_readable(libxenvchan_fd_for_select(e->ctrl), w->how);
    leave_call(e);
    waited = woken > 0 ? libxenvchan_wait(e->ctrl) : -2;
    result("event", "woken=%s wait=%d open=%d", woken > 0 ? "yes" : "no", waited, libxenvchan_is_open(e->ctrl));
    tell(e, 0);
    close_end(e);
}

static void coming_client(struct end *e, const void *arg)
{
    (void)arg;
    meet(e);
    watch(e, e->other);
    open_client(e);
    hear(e);
    close_end(e);
}

static void run_client_comes(const void *arg) { with_peer(SERVER, client_comes, coming_client, arg); }

void add_wakeup_tests(void)
{
    static struct wakeup all[HOWS * ASKS * CHANGES * 2 + HOWS];
    int count = 0;

    for (int how = 0; how < HOWS; how++) {
        all[count] = (struct wakeup){ how, DATA_READY, MOVES, SERVER };
        add_test(run_client_comes, &all[count++], "wake.%s.client-comes", how_names[how]);
        for (int a = 0; a < ASKS; a++) {
            for (int change = 0; change < CHANGES; change++) {
                for (int role = SERVER; role <= CLIENT; role++) {
                    all[count] = (struct wakeup){ how, a, change, role };
                    add_test(run_wakeup, &all[count++], "wake.%s.%s.%s.%s", how_names[how], ask_names[a], change_names[change], role_names[role]);
                }
            }
        }
    }
}
