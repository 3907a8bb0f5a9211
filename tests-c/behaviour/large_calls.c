/* Non-blocking calls for more than the ring holds, while the peer moves data, too: each is short, and then an
 * event must come when more is possible, for a program that polls and for one that waits. */
#include "suite.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum rest { BY_POLL, BY_WAIT, RESTS };
static const char *const rest_names[] = { "poll", "wait" };

/* Larger than the ring, and not a multiple of it. */
#define LARGE 10000
#define TOTAL (4u << 20)

struct large {
    enum rest rest;
    bool writes;
    enum role role;
};

/* Waits until the state may have changed; false on timeout. */
static bool rest(struct end *e, enum rest how)
{
    if (how == BY_POLL && !fd_readable(libxenvchan_fd_for_select(e->ctrl), 10000))
        return false;
    return libxenvchan_wait(e->ctrl) == 0;
}

/* Reports the progress. */
static uint64_t move(struct end *e, enum rest how, bool writes)
{
    static uint8_t data[LARGE];
    uint64_t *moved = writes ? &e->sent : &e->got;
    int count;

    while (*moved < TOTAL) {
        size_t size = TOTAL - *moved < LARGE ? TOTAL - *moved : LARGE;

        if (writes) {
            fill_pattern(data, size, e->sent);
            count = libxenvchan_write(e->ctrl, data, size);
        } else {
            count = libxenvchan_read(e->ctrl, data, size);
            check(count <= 0 || is_pattern(data, (size_t)count, e->got), "wrong bytes after %llu", (unsigned long long)e->got);
        }
        if (count < 0)
            break;
        *moved += (uint64_t)count;
        if ((size_t)count < size && !rest(e, how))
            break;
    }
    return *moved;
}

static void tested_side(struct end *e, const void *arg)
{
    const struct large *l = arg;
    uint64_t moved;

    open_both(e, 4096, 4096);
    meet(e);
    enter_call(e);
    moved = move(e, l->rest, l->writes);
    leave_call(e);
    result("end", "moved=%s", moved == TOTAL ? "all" : "not all: no event came");
    tell(e, 0);
    close_end(e);
}

static void peer_side(struct end *e, const void *arg)
{
    const struct large *l = arg;

    open_both(e, 4096, 4096);
    meet(e);
    /* The peer waits in the same way: each side may leave the other asleep. */
    move(e, l->rest, !l->writes);
    hear(e);
    close_end(e);
}

static void run_large(const void *arg)
{
    const struct large *l = arg;
    with_peer(l->role, tested_side, peer_side, l);
}

void add_large_call_tests(void)
{
    static struct large all[RESTS * 2 * 2];
    int count = 0;

    for (int rest = 0; rest < RESTS; rest++) {
        for (int writes = 0; writes < 2; writes++) {
            for (int role = SERVER; role <= CLIENT; role++) {
                all[count] = (struct large){ rest, writes, role };
                add_test(run_large, &all[count++], "large.%s.%s.%s", writes ? "write" : "read", rest_names[rest], role_names[role]);
            }
        }
    }
}
