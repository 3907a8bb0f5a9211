/* A channel between two processes of a test, and their synchronisation. */
#include "suite.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

const char *const role_names[] = { "server", "client" };

const char *errno_name(int value)
{
    const char *name = strerrorname_np(value);

    if (value == 0)
        return "none";
    return name ? name : "unknown";
}

const char *outcome(int ret, int error)
{
    static _Thread_local char text[64];

    if (ret < 0)
        snprintf(text, sizeof(text), "ret=%d errno=%s", ret, errno_name(error));
    else
        snprintf(text, sizeof(text), "ret=%d", ret);
    return text;
}

void new_path(char *path, size_t size)
{
    static int count;
    /* The original has room for 54 characters. */
    snprintf(path, size, "/local/domain/0/vt/%d/%d", (int)getpid(), ++count);
}

void with_peer(enum role tested, end_fn tested_side, end_fn peer_side, const void *arg)
{
    struct end e = { .role = tested };
    int socks[2], status;

    e.calling = mmap(NULL, sizeof(*e.calling), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (e.calling == MAP_FAILED) {
        perror("behaviour: mmap");
        exit(2);
    }

    new_path(e.path, sizeof(e.path));
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, socks)) {
        perror("behaviour: socketpair");
        exit(2);
    }
    e.other = fork();
    if (e.other < 0) {
        perror("behaviour: forking the peer");
        exit(2);
    }
    e.sock = socks[e.other == 0];
    close(socks[e.other != 0]);
    if (e.other == 0) {
        e.other = getppid();
        e.is_peer = true;
        e.role = tested == SERVER ? CLIENT : SERVER;
        peer_side(&e, arg);
        _exit(any_check_failed());
    }
    tested_side(&e, arg);
    close(e.sock);
    munmap(e.calling, sizeof(*e.calling));
    if (waitpid(e.other, &status, 0) == e.other && !(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL))
        check(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the peer ended with status %#x", (unsigned int)status);
}

static void must_be_open(struct end *e, const char *what)
{
    if (e->ctrl)
        return;
    check(false, "%s: no channel, errno=%s", what, errno_name(errno));
    exit(1);
}

void open_server(struct end *e, size_t read_min, size_t write_min)
{
    errno = 0;
    e->ctrl = libxenvchan_server_init(NULL, 0, e->path, read_min, write_min);
    must_be_open(e, "server_init");
    e->ctrl->blocking = 0; /* uninitialised in the original */
}

void open_client(struct end *e)
{
    errno = 0;
    e->ctrl = libxenvchan_client_init(NULL, 0, e->path);
    must_be_open(e, "client_init");
    e->ctrl->blocking = 0;
}

void open_both(struct end *e, size_t read_min, size_t write_min)
{
    if (e->role == SERVER) {
        open_server(e, e->is_peer ? write_min : read_min, e->is_peer ? read_min : write_min);
        meet(e);
    } else {
        meet(e);
        open_client(e);
    }
    meet(e);
}

void close_end(struct end *e)
{
    libxenvchan_close(e->ctrl);
    e->ctrl = NULL;
}

void tell(struct end *e, int word)
{
    /* The loss of the peer is noticed by hear or by its exit status. */
    (void)!send(e->sock, &word, sizeof(word), MSG_NOSIGNAL);
}

int hear(struct end *e)
{
    int word;

    if (recv(e->sock, &word, sizeof(word), MSG_WAITALL) != sizeof(word)) {
        check(false, "%s: the other process is gone", e->is_peer ? "peer" : "tested side");
        exit(1);
    }
    return word;
}

void meet(struct end *e)
{
    tell(e, 0);
    hear(e);
}

unsigned int read_ring(const struct end *e)
{
    return 1u << e->ctrl->read.order;
}

unsigned int write_ring(const struct end *e)
{
    return 1u << e->ctrl->write.order;
}

void fill_pattern(uint8_t *at, size_t size, uint64_t position)
{
    for (size_t n = 0; n < size; n++, position++)
        at[n] = (uint8_t)(position * 167 + (position >> 8) * 13 + (position >> 16));
}

bool is_pattern(const uint8_t *at, size_t size, uint64_t position)
{
    for (size_t n = 0; n < size; n++, position++) {
        if (at[n] != (uint8_t)(position * 167 + (position >> 8) * 13 + (position >> 16)))
            return false;
    }
    return true;
}

size_t put_some(struct end *e, size_t size)
{
    static uint8_t data[RING_MAX];
    unsigned int blocking = e->ctrl->blocking & 1;
    int ret;

    if (size > sizeof(data))
        size = sizeof(data);
    fill_pattern(data, size, e->sent);
    e->ctrl->blocking = 0;
    ret = libxenvchan_write(e->ctrl, data, size);
    e->ctrl->blocking = blocking;
    if (ret <= 0)
        return 0;
    e->sent += (unsigned int)ret;
    return (size_t)ret;
}

size_t take_some(struct end *e, size_t size)
{
    static uint8_t data[RING_MAX];
    unsigned int blocking = e->ctrl->blocking & 1;
    int ret;

    if (size > sizeof(data))
        size = sizeof(data);
    e->ctrl->blocking = 0;
    ret = libxenvchan_read(e->ctrl, data, size);
    e->ctrl->blocking = blocking;
    if (ret <= 0)
        return 0;
    check(is_pattern(data, (size_t)ret, e->got), "wrong data among bytes %llu to %llu", (unsigned long long)e->got,
          (unsigned long long)e->got + (unsigned int)ret);
    e->got += (unsigned int)ret;
    return (size_t)ret;
}

bool fd_readable(int fd, int milliseconds)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };
    return poll(&p, 1, milliseconds) == 1 && (p.revents & POLLIN);
}

void drain_events(struct libxenvchan *ctrl)
{
    while (fd_readable(libxenvchan_fd_for_select(ctrl), 0)) {
        if (libxenvchan_wait(ctrl))
            return;
    }
}

bool thread_sleeps(pid_t process, pid_t thread)
{
    char path[64], text[512], *at;
    size_t got;
    FILE *f;

    snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", (int)process, (int)thread);
    f = fopen(path, "re");
    if (!f)
        return false;
    got = fread(text, 1, sizeof(text) - 1, f);
    fclose(f);
    text[got] = '\0';
    at = strrchr(text, ')');
    return at && at[1] == ' ' && at[2] == 'S';
}

void enter_call(struct end *e)
{
    atomic_store(e->calling, 1);
}

void leave_call(struct end *e)
{
    atomic_store(e->calling, 0);
}

enum watched watch(struct end *e, pid_t thread)
{
    int looks = 0;

    while (looks < LOOKS) {
        if (fd_readable(e->sock, 1))
            return SPOKE;
        looks = atomic_load(e->calling) && thread_sleeps(e->other, thread) ? looks + 1 : 0;
    }
    return ASLEEP;
}

void await_asleep(pid_t process, pid_t thread)
{
    for (int looks = 0; looks < LOOKS; looks = thread_sleeps(process, thread) ? looks + 1 : 0)
        poll(NULL, 0, 1);
}
