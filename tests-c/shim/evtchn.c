/* Event channels: one eventfd per handle, one port per handle, ports in the shared table. */
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <xenevtchn.h>

struct xenevtchn_handle {
    void *logger, *logger_tofree; /* with fd, the layout known to programs */
    int fd;
    uint32_t port;             /* 0: none yet */
    uint32_t known_generation; /* of the peer behind peer_fd */
    int peer_fd;               /* -1: no peer */
    _Atomic uint32_t next_ticket, serving;
};

/* The process's start time in clock ticks since boot; 0 if it is gone or a zombie. */
static uint64_t process_start(pid_t pid)
{
    char path[64], text[1024], *at, state;
    unsigned long long started = 0;
    ssize_t got;
    int fd;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    got = read(fd, text, sizeof(text) - 1);
    close(fd);
    if (got <= 0)
        return 0;
    text[got] = '\0';
    at = strrchr(text, ')'); /* the name before it may contain any character */
    if (!at || sscanf(at + 1, " %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu", &state,
                      &started) != 2)
        return 0;
    return state == 'Z' || state == 'X' ? 0 : started;
}

static bool owner_lives(const struct port *p)
{
    return p->started && process_start(p->pid) == p->started;
}

static bool is_eventfd(int fd)
{
    char path[64], target[64];
    ssize_t got;

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    got = readlink(path, target, sizeof(target));
    return got == 20 && !memcmp(target, "anon_inode:[eventfd]", 20);
}

/* A new descriptor for the eventfd behind a port, or -1. */
static int fetch_eventfd(const struct port *p)
{
    int pidfd = (int)syscall(SYS_pidfd_open, p->pid, 0), fd;

    if (pidfd < 0)
        return -1;
    fd = (int)syscall(SYS_pidfd_getfd, pidfd, p->fd, 0);
    if (fd < 0 && errno == EPERM)
        fprintf(stderr, "xenshim: pidfd_getfd of process %d: not permitted: allow ptrace between the peers\n", (int)p->pid);
    close(pidfd);
    if (fd >= 0 && !is_eventfd(fd)) {
        close(fd);
        fd = -1;
    }
    return fd;
}

static int poke(int fd)
{
    uint64_t one = 1;
    return write(fd, &one, sizeof(one)) == sizeof(one) ? 0 : -1;
}

/* Called with the lock held. */
static void free_port(struct machine *m, uint32_t port)
{
    struct port *p = &m->ports[port];

    if (p->state == PORT_BOUND) {
        struct port *peer = &m->ports[p->peer];
        if (peer->state == PORT_BOUND && peer->peer == port) {
            peer->state = PORT_UNBOUND;
            atomic_fetch_add(&peer->generation, 1);
        }
    }
    p->state = PORT_FREE;
    atomic_fetch_add(&p->generation, 1);
}

/* Called with the lock held; 0 if all ports are taken by living processes. */
static uint32_t take_port(struct machine *m)
{
    for (int reclaim = 0; reclaim < 2; reclaim++) {
        for (uint32_t n = 0; n < SHIM_PORTS; n++) {
            uint32_t port = (m->next_port + n) % SHIM_PORTS;
            if (port == 0)
                continue;
            if (reclaim && m->ports[port].state != PORT_FREE && !owner_lives(&m->ports[port]))
                free_port(m, port);
            if (m->ports[port].state == PORT_FREE) {
                m->next_port = port + 1;
                return port;
            }
        }
    }
    return 0;
}

static uint32_t new_port(struct machine *m, xenevtchn_handle *xce, uint16_t peer_domid)
{
    uint32_t port = take_port(m);
    struct port *p = &m->ports[port];

    if (port == 0) {
        errno = ENOSPC;
        return 0;
    }
    p->state = PORT_UNBOUND;
    p->domid = shim_domid();
    p->peer_domid = peer_domid;
    p->pid = getpid();
    p->started = process_start(p->pid);
    p->fd = xce->fd;
    atomic_fetch_add(&p->generation, 1);
    xce->port = port;
    xce->known_generation = atomic_load(&p->generation) - 1; /* makes the first notify check */
    return port;
}

xenevtchn_handle *xenevtchn_open(struct xentoollog_logger *logger, unsigned int flags)
{
    xenevtchn_handle *xce;

    if (!shim_machine())
        return NULL;
    xce = calloc(1, sizeof(*xce));
    if (!xce)
        return NULL;
    xce->logger = logger;
    xce->peer_fd = -1;
    xce->fd = eventfd(0, flags & XENEVTCHN_NO_CLOEXEC ? 0 : EFD_CLOEXEC);
    if (xce->fd < 0) {
        free(xce);
        return NULL;
    }
    return xce;
}

static bool owns(xenevtchn_handle *xce, uint32_t port)
{
    if (port != 0 && xce->port == port)
        return true;
    errno = EINVAL;
    return false;
}

int xenevtchn_unbind(xenevtchn_handle *xce, evtchn_port_t port)
{
    struct machine *m = shim_machine();

    if (!owns(xce, port))
        return -1;
    shim_lock(m);
    free_port(m, port);
    shim_unlock(m);
    xce->port = 0;
    return 0;
}

int xenevtchn_close(xenevtchn_handle *xce)
{
    if (!xce)
        return 0;
    if (xce->port)
        xenevtchn_unbind(xce, xce->port);
    if (xce->peer_fd >= 0)
        close(xce->peer_fd);
    close(xce->fd);
    free(xce);
    return 0;
}

int xenevtchn_fd(xenevtchn_handle *xce)
{
    return xce->fd;
}

xenevtchn_port_or_error_t xenevtchn_bind_unbound_port(xenevtchn_handle *xce, uint32_t domid)
{
    struct machine *m = shim_machine();
    uint32_t port;

    if (xce->port) {
        errno = ENOSPC;
        return -1;
    }
    shim_lock(m);
    port = new_port(m, xce, shim_resolve(domid));
    shim_unlock(m);
    return port ? (int)port : -1;
}

/* Whether this process may connect to the port. The port of a killed peer counts as free. */
static bool connectable(struct machine *m, uint32_t domid, uint32_t port)
{
    struct port *p = &m->ports[port % SHIM_PORTS];

    if (port == 0 || port >= SHIM_PORTS || p->state == PORT_FREE || !owner_lives(p))
        return false;
    if (p->state == PORT_BOUND && !owner_lives(&m->ports[p->peer]))
        free_port(m, p->peer);
    return p->state == PORT_UNBOUND && p->domid == shim_resolve(domid) && p->peer_domid == shim_domid();
}

xenevtchn_port_or_error_t xenevtchn_bind_interdomain(xenevtchn_handle *xce, uint32_t domid, evtchn_port_t remote)
{
    struct machine *m = shim_machine();
    uint32_t port = 0;

    if (xce->port) {
        errno = ENOSPC;
        return -1;
    }
    shim_lock(m);
    if (!connectable(m, domid, remote)) {
        errno = EINVAL;
    } else if ((port = new_port(m, xce, shim_resolve(domid))) != 0) {
        m->ports[port].state = m->ports[remote].state = PORT_BOUND;
        m->ports[port].peer = remote;
        m->ports[remote].peer = port;
        atomic_fetch_add(&m->ports[remote].generation, 1);
    }
    shim_unlock(m);
    /* Xen leaves the new port pending, in case the peer sent an event before it was bound. */
    return port && !poke(xce->fd) ? (int)port : -1;
}

/* The peer has changed since the last event: get its eventfd, or find that there is none. */
static void find_peer(xenevtchn_handle *xce)
{
    struct machine *m = shim_machine();
    struct port *p = &m->ports[xce->port];
    uint32_t generation = atomic_load(&p->generation);
    int fd = -1;

    /* No peer: the lock is not needed. A later peer changes the generation after the state. */
    if (__atomic_load_n(&p->state, __ATOMIC_ACQUIRE) != PORT_BOUND) {
        xce->known_generation = generation;
        return;
    }
    shim_lock(m);
    if (p->state == PORT_BOUND)
        fd = fetch_eventfd(&m->ports[p->peer]);
    /* dup3 atomically replaces the old one, to which another thread may be writing. */
    if (fd >= 0 && xce->peer_fd >= 0) {
        dup3(fd, xce->peer_fd, O_CLOEXEC);
        close(fd);
    } else if (fd >= 0) {
        xce->peer_fd = fd;
    }
    xce->known_generation = atomic_load(&p->generation);
    shim_unlock(m);
}

int xenevtchn_notify(xenevtchn_handle *xce, evtchn_port_t port)
{
    if (!owns(xce, port))
        return -1;
    if (atomic_load_explicit(&shim_machine()->ports[port].generation, memory_order_acquire) != xce->known_generation)
        find_peer(xce);
    /* Without a peer the event is dropped, as in Xen; a peer that has left does no harm. */
    return xce->peer_fd < 0 ? 0 : poke(xce->peer_fd);
}

void shim_send_event(uint32_t port)
{
    struct machine *m = shim_machine();
    int fd = -1;

    shim_lock(m);
    if (port < SHIM_PORTS && m->ports[port].state == PORT_BOUND)
        fd = fetch_eventfd(&m->ports[m->ports[port].peer]);
    shim_unlock(m);
    if (fd >= 0) {
        poke(fd);
        close(fd);
    }
}

static void await_turn(xenevtchn_handle *xce, uint32_t ticket)
{
    uint32_t serving;

    while ((serving = atomic_load(&xce->serving)) != ticket)
        syscall(SYS_futex, &xce->serving, FUTEX_WAIT_PRIVATE, serving, NULL, NULL, 0);
}

xenevtchn_port_or_error_t xenevtchn_pending(xenevtchn_handle *xce)
{
    uint32_t ticket = atomic_fetch_add(&xce->next_ticket, 1);
    uint64_t count;
    ssize_t got;

    await_turn(xce, ticket);
    got = read(xce->fd, &count, sizeof(count));
    atomic_store(&xce->serving, ticket + 1);
    if (atomic_load(&xce->next_ticket) != ticket + 1) {
        int saved = errno;
        syscall(SYS_futex, &xce->serving, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
        errno = saved;
    }
    return got == sizeof(count) ? (int)xce->port : -1;
}

int xenevtchn_unmask(xenevtchn_handle *xce, evtchn_port_t port)
{
    if (!owns(xce, port))
        return -1;
    /* The real one costs a system call; this one makes one, too, for measurements. */
    syscall(SYS_getppid);
    return 0;
}
