/* See conversation.h. */
#include "conversation.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define RING 4096
#define WRITTEN 10000
#define READ_BACK 10000
#define TO_PEER 1
#define FROM_PEER 2

const char *const phase_names[] = { "init", "accept", "write", "read", "ask", "close" };

static const struct trial *trial;
static struct verdict *verdict;
static const char path[] = "/faults/syscalls";

/* The other end. */
static struct {
    pthread_t thread;
    struct libxenvchan *ctrl;
    sem_t go;
    bool runs;
    char message[200];
} peer;

void *must_map(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return must(memory == MAP_FAILED ? NULL : memory, "mapping memory");
}

static void wrong(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void wrong(const char *format, ...)
{
    va_list args;

    if (verdict->message[0])
        return;
    va_start(args, format);
    vsnprintf(verdict->message, sizeof(verdict->message), format, args);
    va_end(args);
}

/* Runs one call; its system calls count if it belongs to the tested phase. */
#define DURING(of, call)                     \
    __extension__({                          \
        errno = 0;                           \
        if (trial->phase == (of))            \
            inject_on();                     \
        __typeof__(call) result_ = (call);   \
        inject_off();                        \
        result_;                             \
    })

/* A call of the phase has failed: checks that this was expected. Only once. */
static bool expected_failure(enum phase phase, const char *what)
{
    int error = errno;

    /* A socket reported as dead stays dead, whichever call notices. */
    bool dead = trial->error == ECONNRESET && error == EPIPE;

    if ((trial->phase != phase && !dead) || !inject_happened() || verdict->reported) {
        wrong("%s failed without a cause: %s (%s)", what, errno_name(error), vchan_rs_last_error());
        return false;
    }
    verdict->reported = error;
    snprintf(verdict->text, sizeof(verdict->text), "%s", vchan_rs_last_error());
    if (!strstr(verdict->text, ": ") || strstr(verdict->text, "please report"))
        wrong("%s does not report the cause", what);
    return true;
}

static void peer_says(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void peer_says(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(peer.message, sizeof(peer.message), format, args);
    va_end(args);
}

/* Receives up to `limit` bytes; returns how many arrived before EOF. */
static size_t peer_takes(size_t from, size_t limit)
{
    uint8_t data[3000];
    size_t got = from;

    while (got < limit) {
        ssize_t ret = vchan_rs_read(peer.ctrl, data, limit - got < sizeof(data) ? limit - got : sizeof(data), LONG_MS);
        if (ret <= 0) {
            if (errno != EPIPE)
                peer_says("the peer's read failed: %s", vchan_rs_last_error());
            break;
        }
        if (right(data, (size_t)ret, got, TO_PEER) != (size_t)ret)
            peer_says("the peer got wrong bytes");
        got += (size_t)ret;
    }
    return got;
}

static void *run_peer(void *arg)
{
    struct timespec limit;
    uint8_t data[READ_BACK];

    (void)arg;
    if (trial->role == SERVER)
        peer.ctrl = libxenvchan_client_init(NULL, 0, path);
    else if (vchan_rs_accept(peer.ctrl, LONG_MS))
        peer_says("the peer was never connected: %s", vchan_rs_last_error());
    if (!peer.ctrl) {
        /* The event may have been the lost one, before it was ready. */
        if (!verdict->reported && !(trial->phase == ACCEPT && inject_happened()))
            peer_says("the peer has no channel: %s", vchan_rs_last_error());
        return NULL;
    }
    if (peer_takes(0, WRITTEN) == WRITTEN) {
        fill(data, sizeof(data), 0, FROM_PEER);
        if (vchan_rs_write(peer.ctrl, data, sizeof(data) - 1, LONG_MS) == sizeof(data) - 1) {
            clock_gettime(CLOCK_REALTIME, &limit);
            limit.tv_sec += LONG_MS / 1000;
            if (sem_timedwait(&peer.go, &limit) == 0)
                vchan_rs_write(peer.ctrl, data + sizeof(data) - 1, 1, LONG_MS);
            peer_takes(WRITTEN, WRITTEN + RING);
        }
    }
    libxenvchan_close(peer.ctrl);
    return NULL;
}

static struct libxenvchan *init(void)
{
    return trial->role == SERVER ? libxenvchan_server_init(NULL, 0, path, RING, RING) : libxenvchan_client_init(NULL, 0, path);
}

/* Two attempts suffice, as only one call fails. After the first nothing is left. */
static struct libxenvchan *initialise(void)
{
    struct census before = take_census(), now;
    int files = count_files(getenv("XEN_ROOT"));
    struct libxenvchan *ctrl = DURING(INIT, init());

    if (ctrl || !expected_failure(INIT, "init"))
        return ctrl;
    now = take_census();
    if (!same_census(&before, &now))
        wrong("the failed init leaves %d descriptors and %d mappings", now.fds - before.fds, now.shared - before.shared);
    if (count_files(getenv("XEN_ROOT")) != files)
        wrong("the failed init leaves %d files", count_files(getenv("XEN_ROOT")) - files);
    if (trial->role == SERVER) {
        ctrl = init();
    } else {
        /* The server notices the first attempt when it checks for its client. */
        struct vchan_rs_options options = waiting(LONG_MS);
        pthread_create(&peer.thread, NULL, run_peer, NULL);
        peer.runs = true;
        ctrl = vchan_rs_client_init(0, path, &options);
    }
    if (!ctrl)
        wrong("the second attempt also failed: %s", vchan_rs_last_error());
    return ctrl;
}

/* Whether everything was written. A failing blocking write doesn't report how much was. */
static bool write_all(struct libxenvchan *ctrl)
{
    uint8_t data[WRITTEN];
    size_t done = 0;

    fill(data, sizeof(data), 0, TO_PEER);
    while (done < sizeof(data)) {
        int ret = DURING(WRITE, libxenvchan_write(ctrl, data + done, sizeof(data) - done));
        if (ret < 0) {
            expected_failure(WRITE, "write");
            return false;
        }
        done += (size_t)ret;
    }
    return true;
}

/* A failed read can be repeated. */
static bool read_some(struct libxenvchan *ctrl, enum phase phase, size_t from, size_t to)
{
    uint8_t data[3000];

    while (from < to) {
        size_t size = to - from < sizeof(data) ? to - from : sizeof(data);
        int ret = DURING(phase, libxenvchan_read(ctrl, data, size));
        if (ret < 0) {
            if (!expected_failure(phase, "read"))
                return false;
            /* What looks like the peer's end is the end. */
            if (verdict->reported == EPIPE)
                return false;
            continue;
        }
        if (right(data, (size_t)ret, from, FROM_PEER) != (size_t)ret)
            wrong("wrong bytes arrived");
        from += (size_t)ret;
    }
    return true;
}

/* The query calls, and a wait for an event. */
static bool ask(struct libxenvchan *ctrl)
{
    char byte;

    ctrl->blocking = 0;
    if (DURING(ASK, libxenvchan_buffer_space(ctrl)) < 0 && !expected_failure(ASK, "buffer_space"))
        return false;
    if (DURING(ASK, libxenvchan_data_ready(ctrl)) < 0 && !expected_failure(ASK, "data_ready"))
        return false;
    if (DURING(ASK, libxenvchan_read(ctrl, &byte, 1)) < 0 && !expected_failure(ASK, "read without blocking"))
        return false;
    if (verdict->reported == EPIPE)
        return false;
    if (DURING(ASK, libxenvchan_is_open(ctrl)) != 1 && !expected_failure(ASK, "is_open"))
        return false;
    sem_post(&peer.go);
    while (DURING(ASK, libxenvchan_wait(ctrl)) < 0) {
        if (!expected_failure(ASK, "wait"))
            return false;
        if (verdict->reported == EPIPE)
            return false;
    }
    if (DURING(ASK, vchan_rs_notify(ctrl)) < 0 && !expected_failure(ASK, "notify"))
        return false;
    ctrl->blocking = 1;
    return read_some(ctrl, ASK, READ_BACK - 1, READ_BACK);
}

static void talk(struct libxenvchan *ctrl)
{
    ctrl->blocking = 1;
    if (trial->role == SERVER && DURING(ACCEPT, vchan_rs_accept(ctrl, LONG_MS)) < 0) {
        if (!expected_failure(ACCEPT, "accept"))
            return;
        if (vchan_rs_accept(ctrl, LONG_MS) < 0 && errno != EPIPE)
            wrong("accept, called again: %s", vchan_rs_last_error());
        /* The client is still in the queue, or was lost on the way, which is then known at once. */
        if (trial->nr != SYS_accept4 && trial->nr != SYS_epoll_wait)
            return;
    }
    if (write_all(ctrl) && read_some(ctrl, READ, 0, READ_BACK - 1))
        ask(ctrl);
}

static void next_server_cleans_up(void)
{
    struct libxenvchan *next = libxenvchan_server_init(NULL, 0, path, RING, RING);

    if (!next) {
        wrong("the next server can't start: %s", vchan_rs_last_error());
        return;
    }
    libxenvchan_close(next);
    if (count_files(getenv("XEN_ROOT")) > 0) {
        wrong("%d files are left after the next server", count_files(getenv("XEN_ROOT")));
        list_files(getenv("XEN_ROOT"));
    }
}

void converse(const struct trial *t, struct verdict *v)
{
    struct libxenvchan *ctrl;
    struct census before, now;

    trial = t;
    verdict = v;
    if (!inject_prepare())
        wrong("system calls can't be caught: %s", strerror(errno));
    sem_init(&peer.go, 0, 0);
    /* Opened by libc at first use, not by the library. */
    before = take_census();
    if (t->role == CLIENT)
        peer.ctrl = must(libxenvchan_server_init(NULL, 0, path, RING, RING), "the peer's server_init");
    inject_plan(t->nr == -2 ? INJECT_NOTHING : INJECT_FAIL, t->nr, t->nth, t->error);
    ctrl = initialise();
    if (ctrl) {
        if (!peer.runs)
            pthread_create(&peer.thread, NULL, run_peer, NULL);
        peer.runs = true;
        talk(ctrl);
        DURING(CLOSE, (libxenvchan_close(ctrl), 0));
    }
    sem_post(&peer.go);
    if (peer.runs)
        pthread_join(peer.thread, NULL);
    for (int nr = 0; nr < INJECT_CALLS; nr++)
        v->counts[nr] = inject_count(nr);
    v->happened = inject_happened();
    if (peer.message[0])
        wrong("%s", peer.message);
    now = take_census();
    if (!same_census(&before, &now))
        wrong("at the end %d descriptors and %d mappings are left", now.fds - before.fds, now.shared - before.shared);
    v->left = count_files(getenv("XEN_ROOT"));
    /* If nothing failed, or the failure was reported and everything closed, nothing may remain. */
    if (v->left > 0 && (t->nr == -2 || v->reported)) {
        wrong("%d files are left", v->left);
        list_files(getenv("XEN_ROOT"));
    }
    next_server_cleans_up();
}
