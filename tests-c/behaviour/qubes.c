/* A pair that behaves like Qubes OS' libvchan: the server takes the first return of libxenvchan_wait() for its
 * client, removes its published nodes, and clears its live byte itself before it closes; the client retries until
 * there is a server. Both select() on the descriptor, then call libxenvchan_wait(), then check the ring. */
#include "suite.h"

#include <dlfcn.h>
#include <poll.h>
#include <string.h>
#include <sys/select.h>

enum { MESSAGES = 5, BODY = 10000, RING = 4096 };

/* Only with a xenstore, that is, if the library has loaded libxenstore. */
static void remove_nodes(const char *path)
{
    union {
        void *symbol;
        void *(*open)(unsigned long);
        bool (*remove)(void *, unsigned int, const char *);
        void (*close)(void *);
    } call = { dlsym(RTLD_DEFAULT, "xs_open") };
    void *store = call.symbol ? call.open(0) : NULL;

    if (!store)
        return;
    call.symbol = dlsym(RTLD_DEFAULT, "xs_rm");
    check(call.remove(store, 0, path), "the publication can't be removed");
    call.symbol = dlsym(RTLD_DEFAULT, "xs_close");
    call.close(store);
}

/* Waits until this much data is there, or the peer has gone. */
static bool await_bytes(struct libxenvchan *ctrl, int size)
{
    int fd = libxenvchan_fd_for_select(ctrl);
    fd_set set;

    while (libxenvchan_data_ready(ctrl) < size) {
        if (libxenvchan_is_open(ctrl) != 1)
            return libxenvchan_data_ready(ctrl) >= size;
        FD_ZERO(&set);
        FD_SET(fd, &set);
        check(select(fd + 1, &set, NULL, NULL, NULL) == 1, "select failed");
        check(libxenvchan_wait(ctrl) == 0, "wait failed after select");
    }
    return true;
}

static void qubes_server(struct end *e, const void *arg)
{
    static uint8_t body[BODY];
    struct libxenvchan *ctrl;
    uint64_t position = 0;
    int ret, size, good = 0;

    (void)arg;
    hear(e);
    open_server(e, RING, RING);
    ctrl = e->ctrl;
    ctrl->blocking = 1;
    enter_call(e);
    ret = libxenvchan_wait(ctrl);
    leave_call(e);
    tell(e, 0);
    if (!e->is_peer)
        result("first-wait", "ret=%d open=%d released-by=%s", ret, libxenvchan_is_open(ctrl), hear(e) ? "client" : "nothing");
    remove_nodes(e->path);
    check(libxenvchan_send(ctrl, "hello", 5) == 5, "no greeting");
    for (int n = 0; n < MESSAGES; n++) {
        if (!await_bytes(ctrl, (int)sizeof(size)) || libxenvchan_recv(ctrl, &size, sizeof(size)) != sizeof(size))
            break;
        for (int got = 0; got < size; got += ret) {
            ret = libxenvchan_read(ctrl, body + got, (size_t)(size - got));
            if (ret <= 0)
                break;
        }
        good += is_pattern(body, (size_t)size, position);
        position += (uint64_t)size;
    }
    if (!e->is_peer)
        result("messages", "good=%d ready=%d space=%d", good, libxenvchan_data_ready(ctrl), libxenvchan_buffer_space(ctrl));
    check(good == MESSAGES, "%d messages are as they were sent", good);
    check(libxenvchan_write(ctrl, "bye", 3) == 3, "no farewell");
    ctrl->ring->srv_live = 0;
    close_end(e);
    meet(e);
}

static void qubes_client(struct end *e, const void *arg)
{
    static uint8_t body[BODY];
    uint64_t position = 0;
    char word[8] = "";
    int ret, open, released = 0;

    (void)arg;
    check(!libxenvchan_client_init(NULL, 0, e->path), "a client without a server");
    tell(e, 0);
    /* Only the client's connection may end the server's wait. */
    if (e->is_peer)
        released = watch(e, e->other) == ASLEEP;
    while (!(e->ctrl = libxenvchan_client_init(NULL, 0, e->path)))
        poll(NULL, 0, 10);
    e->ctrl->blocking = 1;
    hear(e);
    if (e->is_peer)
        tell(e, released);
    check(await_bytes(e->ctrl, 5) && libxenvchan_recv(e->ctrl, word, 5) == 5 && !strcmp(word, "hello"), "no greeting");
    for (int n = 0; n < MESSAGES; n++) {
        int size = BODY - n;

        fill_pattern(body, (size_t)size, position);
        position += (uint64_t)size;
        check(libxenvchan_send(e->ctrl, &size, sizeof(size)) == sizeof(size), "send");
        check(libxenvchan_write(e->ctrl, body, (size_t)size) == size, "a blocking write that is short");
    }
    while (await_bytes(e->ctrl, 4))
        check(false, "more than a farewell");
    open = libxenvchan_is_open(e->ctrl);
    ret = libxenvchan_read(e->ctrl, word, sizeof(word));
    if (!e->is_peer)
        result("end", "open=%d last=%d after=%d", open, ret, libxenvchan_read(e->ctrl, word, sizeof(word)));
    check(ret == 3 && !memcmp(word, "bye", 3), "no farewell");
    close_end(e);
    meet(e);
}

static void server(const void *arg) { with_peer(SERVER, qubes_server, qubes_client, arg); }
static void client(const void *arg) { with_peer(CLIENT, qubes_client, qubes_server, arg); }

void add_qubes_tests(void)
{
    add_test(server, NULL, "qubes.server");
    add_test(client, NULL, "qubes.client");
}
