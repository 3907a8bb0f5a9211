/* Every call in every state of a channel, by either side, for each size, blocking or not. Each cell has its own
 * channel. When the call blocks, the peer sees that and does what should release it. */
#include "suite.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum call { READ, RECV, WRITE, SEND, WAIT, CALLS };
enum state { WAITING, WAITING_FULL, OPEN_EMPTY, OPEN_DATA, OPEN_FULL, CLOSED_EMPTY, CLOSED_DATA, CLOSED_FULL, STATES };
enum size { NOTHING, ONE, RING_LESS_1, RING, RING_AND_1, SIZES };
enum release { NONE, CONNECTED, WROTE, DRAINED, CLOSED };

static const char *const call_names[] = { "read", "recv", "write", "send", "wait" };
static const char *const state_names[] = { "waiting",   "waiting-full", "open-empty",  "open-data",
                                           "open-full", "closed-empty", "closed-data", "closed-full" };
static const char *const size_names[] = { "0", "1", "ring-1", "ring", "ring+1" };
static const char *const release_names[] = { "none", "peer-connected", "peer-wrote", "peer-read", "peer-closed" };

#define READ_MIN 4096
#define WRITE_MIN 8192
#define SOME_DATA 100

struct cell {
    enum call call;
    enum state state;
    enum role role;
    int blocking;
    enum size size;
};

static struct cell groups[CALLS * STATES * 2 * 3];

static size_t size_of(const struct cell *c)
{
    size_t ring = c->call == READ || c->call == RECV ? READ_MIN : WRITE_MIN;
    const size_t sizes[] = { 0, 1, ring - 1, ring, ring + 1 };
    return sizes[c->size];
}

static bool has_client(enum state s)
{
    return s != WAITING && s != WAITING_FULL;
}

static bool peer_closed(enum state s)
{
    return s >= CLOSED_EMPTY;
}

static bool rings_full(enum state s)
{
    return s == WAITING_FULL || s == OPEN_FULL || s == CLOSED_FULL;
}

static int do_call(struct end *e, const struct cell *c, uint8_t *data, size_t size)
{
    switch (c->call) {
    case READ: return libxenvchan_read(e->ctrl, data, size);
    case RECV: return libxenvchan_recv(e->ctrl, data, size);
    case WRITE: return libxenvchan_write(e->ctrl, data, size);
    case SEND: return libxenvchan_send(e->ctrl, data, size);
    default: return libxenvchan_wait(e->ctrl);
    }
}

static void prepare(struct end *e, const struct cell *c)
{
    if (!has_client(c->state)) {
        if (e->role == SERVER)
            open_server(e, READ_MIN, WRITE_MIN);
        meet(e);
    } else {
        open_both(e, READ_MIN, WRITE_MIN);
    }
    if (e->is_peer && (c->state == OPEN_DATA || c->state == CLOSED_DATA))
        check(put_some(e, SOME_DATA) == SOME_DATA, "no room for the prepared data");
    if (rings_full(c->state) && e->ctrl)
        check(put_some(e, RING_MAX) == write_ring(e), "the empty ring did not take all");
    meet(e);
    if (e->is_peer && peer_closed(c->state))
        close_end(e);
    meet(e);
}

static void account(struct end *e, const struct cell *c, const uint8_t *data, int ret)
{
    if (ret <= 0)
        return;
    if (c->call == READ || c->call == RECV) {
        check(is_pattern(data, (size_t)ret, e->got), "%s gave wrong data", call_names[c->call]);
        e->got += (unsigned int)ret;
    } else if (c->call == WRITE || c->call == SEND) {
        e->sent += (unsigned int)ret;
    }
}

static void show(struct end *e, const struct cell *c, enum release release, int ret, int error)
{
    const char *at = c->call == WAIT ? "call" : size_names[c->size];

    if (release != NONE)
        result(at, "%s blocked=yes released-by=%s", outcome(ret, error), release_names[release]);
    else if (c->call == WAIT)
        result(at, "%s blocked=no", outcome(ret, error));
    else
        result(at, "%s blocked=no left=%d space=%d open=%d", outcome(ret, error), libxenvchan_data_ready(e->ctrl),
               libxenvchan_buffer_space(e->ctrl), libxenvchan_is_open(e->ctrl));
}

static void tested_side(struct end *e, const void *arg)
{
    static uint8_t data[RING_MAX];
    const struct cell *c = arg;
    int ret, error;

    prepare(e, c);
    if (c->call == WRITE || c->call == SEND)
        fill_pattern(data, size_of(c), e->sent);
    if (c->call == WAIT && !peer_closed(c->state)) {
        drain_events(e->ctrl);
        libxenvchan_data_ready(e->ctrl);
    }
    e->ctrl->blocking = c->blocking & 1;
    if (c->blocking < 0)
        e->ctrl->blocking = -1;
    meet(e);
    errno = 0;
    enter_call(e);
    ret = do_call(e, c, data, size_of(c));
    error = errno;
    leave_call(e);
    tell(e, 0);
    account(e, c, data, ret);
    show(e, c, hear(e), ret, error);
    tell(e, ret < 0);
    tell(e, (int)e->sent);
    hear(e);
    close_end(e);
}

/* What should wake the blocked call, or end it if that has not helped. */
static enum release release(struct end *e, const struct cell *c, enum release before)
{
    bool reading = c->call == READ || c->call == RECV;
    size_t wanted = c->call == RECV ? size_of(c) - (c->state == OPEN_DATA ? SOME_DATA : 0) : 1;

    if (!e->ctrl && !peer_closed(c->state) && before == NONE) {
        open_client(e);
        return CONNECTED;
    }
    if (!e->ctrl)
        return CLOSED;
    if ((reading || c->call == WAIT) && before < WROTE && put_some(e, wanted))
        return WROTE;
    if (!reading && take_some(e, RING_MAX))
        return DRAINED;
    close_end(e);
    return CLOSED;
}

static void peer_side(struct end *e, const void *arg)
{
    const struct cell *c = arg;
    enum release by = NONE;
    bool may_have_left;

    prepare(e, c);
    meet(e);
    while (watch(e, e->other) == ASLEEP && by != CLOSED)
        by = release(e, c, by);
    hear(e);
    tell(e, by);
    may_have_left = hear(e); /* a write that failed half-way has sent something */
    while (e->ctrl && take_some(e, RING_MAX))
        ;
    if (e->ctrl && !may_have_left)
        check(e->got == (uint64_t)hear(e), "the peer did not get as much as was sent");
    else
        hear(e);
    if (e->ctrl)
        close_end(e);
    tell(e, 0);
}

static void run_group(const void *arg)
{
    struct cell c = *(const struct cell *)arg;

    for (c.size = NOTHING; c.size < (c.call == WAIT ? ONE : SIZES); c.size++)
        with_peer(c.role, tested_side, peer_side, &c);
}

void add_cell_tests(void)
{
    int count = 0;

    for (int call = 0; call < CALLS; call++) {
        for (int state = 0; state < STATES; state++) {
            for (int role = SERVER; role <= CLIENT; role++) {
                if (role == CLIENT && !has_client(state))
                    continue;
                for (int blocking = -1; blocking <= 1; blocking++) {
                    struct cell *c = &groups[count++];
                    *c = (struct cell){ call, state, role, blocking, NOTHING };
                    add_test(run_group, c, "%s.%s.%s.b%d", call_names[call], state_names[state], role_names[role], blocking);
                }
            }
        }
    }
}
