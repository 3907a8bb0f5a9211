/* A peer that writes garbage into the shared page. */
#include "suite.h"

#include <errno.h>
#include <stdio.h>

enum damage { PROD_AHEAD, PROD_BEHIND, CONS_AHEAD, CONS_FAR, LIVE_7, LIVE_2, NOTIFY_ALL, ORDERS, GRANTS, DAMAGES };
enum call { READ, RECV, WRITE, SEND, CALLS };

static const char *const damage_names[] = { "prod-ahead", "prod-behind", "cons-ahead", "cons-far", "live-7",
                                            "live-2",     "notify-ff",   "orders",     "grants" };
static const char *const call_names[] = { "read", "recv", "write", "send" };

struct corrupt {
    enum damage damage;
    enum role role;
    int blocking;
    enum call call;
};

/* Runs in the peer: its write ring is the tested side's read ring. */
static void damage(struct end *e, enum damage d)
{
    volatile struct vchan_interface *page = e->ctrl->ring;
    volatile struct ring_shared *out = e->ctrl->write.shr, *in = e->ctrl->read.shr;
    volatile uint8_t *live = e->role == SERVER ? &page->srv_live : &page->cli_live;

    switch (d) {
    case PROD_AHEAD: out->prod = out->cons + write_ring(e) + 1; break;
    case PROD_BEHIND: out->prod = out->cons - 1; break;
    case CONS_AHEAD: in->cons = in->prod + 1; break;
    case CONS_FAR: in->cons = in->prod - read_ring(e) - 1; break;
    case LIVE_7: *live = 7; break;
    case LIVE_2: *live = 2; break;
    case NOTIFY_ALL: page->cli_notify = page->srv_notify = 0xff; break;
    case ORDERS: page->left_order = page->right_order = 31; break;
    default:
        for (int n = 0; n < 8; n++)
            page->grants[n] = 0xffffffff;
    }
}

static int do_call(struct end *e, enum call call)
{
    static uint8_t data[100];

    if (call == WRITE || call == SEND)
        fill_pattern(data, sizeof(data), e->sent);
    switch (call) {
    case READ: return libxenvchan_read(e->ctrl, data, sizeof(data));
    case RECV: return libxenvchan_recv(e->ctrl, data, sizeof(data));
    case WRITE: return libxenvchan_write(e->ctrl, data, sizeof(data));
    default: return libxenvchan_send(e->ctrl, data, sizeof(data));
    }
}

static void tested_side(struct end *e, const void *arg)
{
    const struct corrupt *c = arg;
    int ret, error;

    open_both(e, 4096, 4096);
    meet(e);
    e->ctrl->blocking = c->blocking;
    errno = 0;
    enter_call(e);
    ret = do_call(e, c->call);
    error = errno;
    leave_call(e);
    tell(e, 0);
    if (hear(e))
        result(call_names[c->call], "%s blocked=yes released-by=peer-closed", outcome(ret, error));
    else
        result(call_names[c->call], "%s blocked=no open=%d ready=%d space=%d", outcome(ret, error), libxenvchan_is_open(e->ctrl),
               libxenvchan_data_ready(e->ctrl), libxenvchan_buffer_space(e->ctrl));
    tell(e, 0);
    close_end(e);
}

static void peer_side(struct end *e, const void *arg)
{
    const struct corrupt *c = arg;
    bool closed = false;

    open_both(e, 4096, 4096);
    damage(e, c->damage);
    meet(e);
    if (watch(e, e->other) == ASLEEP) {
        close_end(e);
        closed = true;
    }
    hear(e);
    tell(e, closed);
    hear(e);
    if (!closed)
        close_end(e);
}

static void run_corrupt(const void *arg)
{
    struct corrupt c = *(const struct corrupt *)arg;

    for (c.call = READ; c.call < CALLS; c.call++)
        with_peer(c.role, tested_side, peer_side, &c);
}

/* Ring orders in the page that every client must reject. */
struct orders {
    uint16_t left, right;
};

static void orders_client(struct end *e, const void *arg)
{
    const struct orders *o = arg;
    struct libxenvchan *ctrl;
    char at[32];
    int error;

    meet(e);
    errno = 0;
    ctrl = libxenvchan_client_init(NULL, 0, e->path);
    error = errno;
    snprintf(at, sizeof(at), "%d,%d", o->left, o->right);
    if (ctrl)
        result(at, "channel=yes");
    else
        result(at, "channel=no errno=%s", errno_name(error));
    libxenvchan_close(ctrl);
    meet(e);
}

static void orders_server(struct end *e, const void *arg)
{
    const struct orders *o = arg;

    open_server(e, 4096, 4096);
    e->ctrl->ring->left_order = o->left;
    e->ctrl->ring->right_order = o->right;
    meet(e);
    meet(e);
    close_end(e);
}

static void bad_orders(const void *arg)
{
    static const struct orders all[] = { { 9, 12 },  { 12, 9 },     { 21, 12 }, { 12, 21 }, { 10, 10 },
                                         { 11, 11 }, { 65535, 12 }, { 0, 0 },   { 12, 13 } };

    (void)arg;
    for (size_t n = 0; n < sizeof(all) / sizeof(*all); n++)
        with_peer(CLIENT, orders_client, orders_server, &all[n]);
}

void add_corrupt_tests(void)
{
    static struct corrupt all[DAMAGES * 2 * 2];
    int count = 0;

    for (int d = 0; d < DAMAGES; d++) {
        for (int role = SERVER; role <= CLIENT; role++) {
            for (int blocking = 0; blocking < 2; blocking++) {
                all[count] = (struct corrupt){ d, role, blocking, READ };
                add_test(run_corrupt, &all[count++], "corrupt.%s.%s.b%d", damage_names[d], role_names[role], blocking);
            }
        }
    }
    add_test(bad_orders, NULL, "corrupt.orders-before-client");
}
