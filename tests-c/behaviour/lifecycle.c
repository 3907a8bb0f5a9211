/* A channel's life: its fields, is_open, clients in turn, fields written by the program itself. */
#include "suite.h"

#include <dlfcn.h>
#include <errno.h>
#include <string.h>

static bool within(const void *at, const void *page)
{
    return (const uint8_t *)at >= (const uint8_t *)page && (const uint8_t *)at < (const uint8_t *)page + 4096;
}

static void show_fields(const struct end *e)
{
    const struct libxenvchan *c = e->ctrl;
    const struct ring_shared *left = &c->ring->left, *right = &c->ring->right;
    bool server = e->role == SERVER;

    result("fields", "is_server=%d persist=%d event=%s port=%s read=%s write=%s", c->is_server != 0,
           server ? c->server_persist != 0 : 0, c->event ? "set" : "null", c->event_port ? "set" : "zero",
           c->read.shr == (server ? left : right) ? "own-indices" : "wrong", c->write.shr == (server ? right : left) ? "own-indices" : "wrong");
    result("buffers", "read=%s write=%s handle=%s", !c->read.buffer ? "null" : within(c->read.buffer, c->ring) ? "in-page" : "own-pages",
           !c->write.buffer ? "null" : within(c->write.buffer, c->ring) ? "in-page" : "own-pages", c->gntshr ? "set" : "null");
    result("page", "left_order=%d right_order=%d cli_live=%d srv_live=%d orders=%s", c->ring->left_order, c->ring->right_order,
           c->ring->cli_live, c->ring->srv_live,
           c->read.order == (server ? c->ring->left_order : c->ring->right_order) &&
                   c->write.order == (server ? c->ring->right_order : c->ring->left_order)
               ? "same"
               : "differ");
    if (server)
        result("xs_path", "value=%s", c->xs_path && !strcmp(c->xs_path, e->path) ? "as-given" : "other");
}

static void fields_side(struct end *e, const void *arg)
{
    const size_t *sizes = arg;

    open_both(e, sizes[0], sizes[1]);
    if (!e->is_peer)
        show_fields(e);
    meet(e);
    close_end(e);
}

static const size_t small_sizes[] = { 1000, 2000 }, large_sizes[] = { 5000, 70000 };

static void fields_server_small(const void *arg) { with_peer(SERVER, fields_side, fields_side, arg); }
static void fields_client_small(const void *arg) { with_peer(CLIENT, fields_side, fields_side, arg); }

static void no_client(const void *arg)
{
    struct end e = { .role = SERVER };

    (void)arg;
    new_path(e.path, sizeof(e.path));
    open_server(&e, 1024, 1024);
    show_fields(&e);
    result("notify", "cli_notify=%d", e.ctrl->ring->cli_notify);
    close_end(&e);
}

/* One byte, without blocking. */
static const char *try_read(struct end *e)
{
    char byte;
    int ret;

    errno = 0;
    ret = libxenvchan_read(e->ctrl, &byte, 1);
    return outcome(ret, errno);
}

static const char *try_write(struct end *e)
{
    int ret;

    errno = 0;
    ret = libxenvchan_write(e->ctrl, "x", 1);
    return outcome(ret, errno);
}

/* is_open at each stage; the other side waits. */
static void stages_server(struct end *e, const void *arg)
{
    int persist = *(const int *)arg;

    open_server(e, 4096, 4096);
    e->ctrl->server_persist = persist;
    result("no-client", "open=%d fd=%s", libxenvchan_is_open(e->ctrl), libxenvchan_fd_for_select(e->ctrl) >= 0 ? "valid" : "bad");
    meet(e); /* published */
    meet(e); /* connected */
    result("both", "open=%d", libxenvchan_is_open(e->ctrl));
    meet(e);
    meet(e); /* closed */
    result("client-closed", "open=%d", libxenvchan_is_open(e->ctrl));
    result("client-closed-write", "%s", try_write(e));
    close_end(e);
}

static void stages_server_peer(struct end *e, const void *arg)
{
    (void)arg;
    meet(e);
    open_client(e);
    meet(e);
    meet(e);
    close_end(e);
    meet(e);
}

static void stages_client(struct end *e, const void *arg)
{
    (void)arg;
    open_both(e, 4096, 4096);
    result("both", "open=%d fd=%s", libxenvchan_is_open(e->ctrl), libxenvchan_fd_for_select(e->ctrl) >= 0 ? "valid" : "bad");
    meet(e);
    meet(e);
    result("server-closed", "open=%d", libxenvchan_is_open(e->ctrl));
    close_end(e);
}

static void stages_client_peer(struct end *e, const void *arg)
{
    (void)arg;
    open_both(e, 4096, 4096);
    meet(e);
    close_end(e);
    meet(e);
}

static void run_stages(const void *arg) { with_peer(SERVER, stages_server, stages_server_peer, arg); }
static void run_stages_client(const void *arg) { with_peer(CLIENT, stages_client, stages_client_peer, arg); }

/* What an ordinary server writes before its client connects. */
static void early_server(struct end *e, const void *arg)
{
    size_t first, second;

    (void)arg;
    open_server(e, 4096, 4096);
    first = put_some(e, 3000);
    second = put_some(e, 3000);
    result("alone", "wrote=%zu then=%zu space=%d open=%d", first, second, libxenvchan_buffer_space(e->ctrl), libxenvchan_is_open(e->ctrl));
    meet(e);
    result("client", "got=%d", hear(e));
    close_end(e);
}

static void late_client(struct end *e, const void *arg)
{
    (void)arg;
    meet(e);
    open_client(e);
    tell(e, (int)take_some(e, RING_MAX));
    close_end(e);
}

static void run_early(const void *arg) { with_peer(SERVER, early_server, late_client, arg); }

/* A persistent server, three clients in turn, data before, between and after them. */
static void persistent_server(struct end *e, const void *arg)
{
    (void)arg;
    open_server(e, 4096, 4096);
    e->ctrl->server_persist = 1;
    meet(e);
    for (int n = 1; n <= 3; n++) {
        size_t wrote = put_some(e, 1500);
        int ready;
        meet(e); /* data is there for the client */
        meet(e); /* the client has read, written and closed */
        ready = libxenvchan_data_ready(e->ctrl);
        size_t took = take_some(e, RING_MAX);
        result(n == 1 ? "first" : n == 2 ? "second" : "third", "wrote=%zu ready=%d got=%zu empty-%s open=%d cli_live=%d", wrote, ready, took,
               try_read(e), libxenvchan_is_open(e->ctrl), e->ctrl->ring->cli_live);
    }
    close_end(e);
}

static void client_after_client(struct end *e, const void *arg)
{
    (void)arg;
    meet(e);
    for (int n = 1; n <= 3; n++) {
        meet(e);
        open_client(e);
        check(take_some(e, RING_MAX) == 1500, "client %d did not get what the server wrote before it came", n);
        check(put_some(e, 1000 * (unsigned int)n) == 1000u * (unsigned int)n, "client %d had no room", n);
        close_end(e);
        meet(e);
    }
}

static void run_persist(const void *arg) { with_peer(SERVER, persistent_server, client_after_client, arg); }

/* The same with a client that waits for each message, so that events reach every client. */
static void persistent_blocking(struct end *e, const void *arg)
{
    (void)arg;
    open_server(e, 4096, 4096);
    e->ctrl->server_persist = 1;
    meet(e);
    for (int n = 1; n <= 3; n++) {
        uint8_t byte = 0;
        int ret;
        await_asleep(e->other, e->other); /* the client sleeps in its recv */
        e->ctrl->blocking = 1;
        ret = libxenvchan_write(e->ctrl, "q", 1);
        ret += libxenvchan_recv(e->ctrl, &byte, 1);
        result(n == 1 ? "first" : n == 2 ? "second" : "third", "moved=%d answer=%c", ret, byte);
        meet(e);
    }
    close_end(e);
}

static void blocking_clients(struct end *e, const void *arg)
{
    (void)arg;
    meet(e);
    for (int n = 1; n <= 3; n++) {
        uint8_t byte = 0;
        open_client(e);
        e->ctrl->blocking = 1;
        check(libxenvchan_recv(e->ctrl, &byte, 1) == 1 && byte == 'q', "client %d got no question", n);
        check(libxenvchan_send(e->ctrl, "abc" + n - 1, 1) == 1, "client %d could not answer", n);
        close_end(e);
        meet(e);
    }
}

static void run_persist_blocking(const void *arg) { with_peer(SERVER, persistent_blocking, blocking_clients, arg); }

/* The program itself writes srv_live = 0, as Qubes does: the client must notice. */
static void srv_live_zero(struct end *e, const void *arg)
{
    (void)arg;
    open_both(e, 4096, 4096);
    meet(e);
    result("client", "open=%d", libxenvchan_is_open(e->ctrl));
    result("client-data", "%s", try_read(e));
    result("client-empty", "%s", try_read(e));
    result("client-write", "%s", try_write(e));
    tell(e, 0);
    result("server", "open=%d", hear(e));
    close_end(e);
}

static void srv_live_zero_peer(struct end *e, const void *arg)
{
    (void)arg;
    open_both(e, 4096, 4096);
    check(put_some(e, 1) == 1, "no room");
    e->ctrl->ring->srv_live = 0;
    meet(e);
    hear(e);
    tell(e, libxenvchan_is_open(e->ctrl));
    close_end(e);
}

static void run_srv_live(const void *arg) { with_peer(CLIENT, srv_live_zero, srv_live_zero_peer, arg); }

/* A server closed with data in the ring: all of it must stay readable, in pieces. */
static void leftovers(struct end *e, const void *arg)
{
    size_t total = 0, piece;

    (void)arg;
    open_both(e, 65536, 4096);
    meet(e);
    while ((piece = take_some(e, 777)))
        total += piece;
    result("all", "bytes=%zu then-%s", total, try_read(e));
    close_end(e);
}

static void leftovers_peer(struct end *e, const void *arg)
{
    (void)arg;
    open_both(e, 65536, 4096);
    check(put_some(e, 60000) == 60000, "no room");
    close_end(e);
    meet(e);
}

static void run_leftovers_client(const void *arg) { with_peer(CLIENT, leftovers, leftovers_peer, arg); }
static void run_leftovers_server(const void *arg) { with_peer(SERVER, leftovers, leftovers_peer, arg); }

static void exported(const void *arg)
{
    (void)arg;
    result("close_xs_srv", "exported=%s", dlsym(RTLD_DEFAULT, "close_xs_srv") ? "yes" : "no");
}

void add_lifecycle_tests(void)
{
    static const int no = 0, yes = 1;

    add_test(exported, NULL, "exported");
    add_test(no_client, NULL, "fields.server-alone");
    add_test(fields_server_small, small_sizes, "fields.server-small");
    add_test(fields_server_small, large_sizes, "fields.server-large");
    add_test(fields_client_small, small_sizes, "fields.client-small");
    add_test(fields_client_small, large_sizes, "fields.client-large");
    add_test(run_stages, &no, "is-open.server");
    add_test(run_stages, &yes, "is-open.server-persist");
    add_test(run_stages_client, NULL, "is-open.client");
    add_test(run_early, NULL, "early-write");
    add_test(run_persist, NULL, "persist.data");
    add_test(run_persist_blocking, NULL, "persist.blocking");
    add_test(run_srv_live, NULL, "srv-live-zero");
    add_test(run_leftovers_client, NULL, "leftovers.client");
    add_test(run_leftovers_server, NULL, "leftovers.server");
}
