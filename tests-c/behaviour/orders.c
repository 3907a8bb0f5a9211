/* Which ring sizes a server selects, whether both sides agree on them, and whether data survives many
 * wraparounds. */
#include "suite.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>

static const size_t minima[] = { 0, 1, 1024, 1025, 2048, 2049, 4096, 4097, 65536, 1048576 };
#define MINIMA (sizeof(minima) / sizeof(*minima))

struct pair {
    size_t read_min, write_min;
};

static void orders_side(struct end *e, const void *arg)
{
    const struct pair *p = arg;
    char at[64];

    open_both(e, p->read_min, p->write_min);
    if (!e->is_peer) {
        int peer_read, peer_write;
        snprintf(at, sizeof(at), "%zu,%zu", p->read_min, p->write_min);
        peer_read = hear(e);
        peer_write = hear(e);
        result(at, "read=%d write=%d client-read=%d client-write=%d space=%d", e->ctrl->read.order, e->ctrl->write.order, peer_read,
               peer_write, libxenvchan_buffer_space(e->ctrl));
    } else {
        tell(e, e->ctrl->read.order);
        tell(e, e->ctrl->write.order);
    }
    meet(e);
    close_end(e);
}

static void orders(const void *arg)
{
    const size_t *read_min = arg;

    for (size_t n = 0; n < MINIMA; n++) {
        struct pair p = { *read_min, minima[n] };
        with_peer(SERVER, orders_side, orders_side, &p);
    }
}

/* Both directions at once, non-blocking, in pieces of odd sizes, many ring lengths. */
static void stream_side(struct end *e, const void *arg)
{
    const struct pair *p = arg;
    uint64_t to_send, to_get;
    size_t piece = 1;

    open_both(e, p->read_min, p->write_min);
    to_send = 5 * (uint64_t)write_ring(e) + 4321;
    to_get = 5 * (uint64_t)read_ring(e) + 4321;
    while (e->sent < to_send || e->got < to_get) {
        size_t moved = 0;
        piece = piece * 7 % 70001 + 1;
        if (e->sent < to_send)
            moved += put_some(e, piece < to_send - e->sent ? piece : to_send - e->sent);
        if (e->got < to_get)
            moved += take_some(e, piece);
        if (!moved)
            libxenvchan_wait(e->ctrl);
    }
    if (!e->is_peer)
        result("both-ways", "sent=%llu got=%llu", (unsigned long long)e->sent, (unsigned long long)e->got);
    meet(e);
    if (!e->is_peer)
        result("after", "left=%d space=%d", libxenvchan_data_ready(e->ctrl), libxenvchan_buffer_space(e->ctrl));
    meet(e);
    close_end(e);
}

static void stream_server(const void *arg) { with_peer(SERVER, stream_side, stream_side, arg); }
static void stream_client(const void *arg) { with_peer(CLIENT, stream_side, stream_side, arg); }

/* Blocking send and recv of whole messages of odd length: all or nothing, also across the wraparound. */
static void messages_side(struct end *e, const void *arg)
{
    static uint8_t data[4096];
    const struct pair *p = arg;
    int count = 0;

    open_both(e, p->read_min, p->write_min);
    e->ctrl->blocking = 1;
    for (size_t round = 0; round < 200; round++) {
        size_t size = round * 37 % 1000 + 1;
        int ret;
        if (e->is_peer) {
            fill_pattern(data, size, e->sent);
            ret = libxenvchan_send(e->ctrl, data, size);
            e->sent += size;
        } else {
            ret = libxenvchan_recv(e->ctrl, data, size);
            check(ret == (int)size && is_pattern(data, size, e->got), "message %zu is damaged", round);
            e->got += size;
        }
        count += ret == (int)size;
    }
    if (!e->is_peer)
        result("messages", "whole=%d bytes=%llu", count, (unsigned long long)e->got);
    meet(e);
    close_end(e);
}

static void messages(const void *arg) { with_peer(SERVER, messages_side, messages_side, arg); }

/* Blocking writes larger than the ring against blocking reads. */
static void bulk_side(struct end *e, const void *arg)
{
    static uint8_t data[RING_MAX * 4];
    const struct pair *p = arg;
    int ret;

    open_both(e, p->read_min, p->write_min);
    e->ctrl->blocking = 1;
    if (e->is_peer) {
        fill_pattern(data, sizeof(data), 0);
        ret = libxenvchan_write(e->ctrl, data, sizeof(data));
        check(ret == (int)sizeof(data), "the blocking write returned %d", ret);
    } else {
        size_t got = 0;
        while (got < sizeof(data) && (ret = libxenvchan_read(e->ctrl, data + got, sizeof(data) - got)) > 0)
            got += (unsigned int)ret;
        check(is_pattern(data, got, 0), "the bulk data is damaged");
        result("bulk", "bytes=%zu", got);
    }
    meet(e);
    close_end(e);
}

static void bulk_server(const void *arg) { with_peer(SERVER, bulk_side, bulk_side, arg); }
static void bulk_client(const void *arg) { with_peer(CLIENT, bulk_side, bulk_side, arg); }

void add_order_tests(void)
{
    static const struct pair streams[] = { { 1024, 2048 },  { 2048, 1024 },   { 2048, 4096 },      { 4096, 2048 },
                                           { 4096, 4096 },  { 8192, 65536 },  { 1048576, 1048576 }, { 1, 1048576 } };

    for (size_t n = 0; n < MINIMA; n++)
        add_test(orders, &minima[n], "orders.%zu", minima[n]);
    for (size_t n = 0; n < sizeof(streams) / sizeof(*streams); n++) {
        const struct pair *p = &streams[n];
        add_test(stream_server, p, "stream.server.%zu-%zu", p->read_min, p->write_min);
        add_test(stream_client, p, "stream.client.%zu-%zu", p->read_min, p->write_min);
        add_test(messages, p, "messages.%zu-%zu", p->read_min, p->write_min);
        add_test(bulk_server, p, "bulk.server.%zu-%zu", p->read_min, p->write_min);
        add_test(bulk_client, p, "bulk.client.%zu-%zu", p->read_min, p->write_min);
    }
}
