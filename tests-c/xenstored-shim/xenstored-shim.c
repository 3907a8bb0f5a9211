/*
 * Lets Debian's xenstored serve a plain Linux machine: preloaded into the
 * daemon, this library implements the few Xen calls that it makes.
 *
 * Every domain id exists; domain 0's ring is an unused page. When the
 * daemon maps the ring of another domain (on XS_INTRODUCE), the shim emulates that
 * guest's kernel: it listens on $XENSTORED_RUNDIR/guest-<domid> and carries the
 * bytes of one connection to and from the ring, so that a test can talk to the
 * daemon as an unprivileged domain.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <xenctrl.h>
#include <xenevtchn.h>
#include <xengnttab.h>
#include <xen/io/xs_wire.h>

#define DOMAINS 64
#define PAGE 4096
#define DOM0_PORT "1\n"

/* One guest: its ring, its event, and its socket. */
struct guest {
    struct xenstore_domain_interface *ring;
    uint32_t port;     /* the daemon's end of the event channel */
    int doorbell;          /* eventfd: the daemon notified the guest */
    int listener;
    int gone;          /* the daemon unmapped the ring */
};

static struct guest guests[DOMAINS];
static uint32_t domain_of_port[4 * DOMAINS];
static uint32_t ports = 0;
static int events[2] = { -1, -1 }; /* ports that fired, as read from /dev/xen/evtchn */

/* The daemon only passes this back, so any non-null pointer works. */
static char opaque;

__attribute__((constructor)) static void die_with_the_test(void)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
}

static void fatal(const char *what)
{
    fprintf(stderr, "xenstored-shim: %s: %s\n", what, strerror(errno));
    exit(3);
}

/* --- /proc/xen ---------------------------------------------------------- */

static int memory_file(const char *name, const void *text, size_t len, size_t size)
{
    int fd = memfd_create(name, MFD_CLOEXEC);

    if (fd < 0 || ftruncate(fd, size) < 0 || pwrite(fd, text, len, 0) != (ssize_t)len)
        fatal(name);
    return fd;
}

int open(const char *path, int flags, ...)
{
    static int (*real_open)(const char *, int, ...);
    mode_t mode = 0;

    if (!strcmp(path, "/proc/xen/xsd_port"))
        return memory_file("xsd_port", DOM0_PORT, strlen(DOM0_PORT), strlen(DOM0_PORT));
    if (!strcmp(path, "/proc/xen/xsd_kva"))
        return memory_file("xsd_kva", "", 0, PAGE);

    if (flags & (O_CREAT | O_TMPFILE)) {
        va_list args;

        va_start(args, flags);
        mode = va_arg(args, mode_t);
        va_end(args);
    }
    if (!real_open)
        real_open = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open");
    return real_open(path, flags, mode);
}

/* --- libxenctrl --------------------------------------------------------- */

xc_interface *xc_interface_open(xentoollog_logger *logger, xentoollog_logger *dombuild_logger,
                                unsigned open_flags)
{
    (void)logger, (void)dombuild_logger, (void)open_flags;
    return (xc_interface *)&opaque;
}

int xc_interface_close(xc_interface *xch)
{
    (void)xch;
    return 0;
}

int xc_domain_getinfo(xc_interface *xch, uint32_t first, unsigned int max, xc_dominfo_t *info)
{
    (void)xch, (void)max;
    memset(info, 0, sizeof(*info));
    info->domid = first;
    return 1;
}

/* --- libxenevtchn ------------------------------------------------------- */

xenevtchn_handle *xenevtchn_open(xentoollog_logger *logger, unsigned int flags)
{
    (void)logger, (void)flags;
    if (pipe2(events, O_CLOEXEC) < 0)
        fatal("pipe");
    return (xenevtchn_handle *)&opaque;
}

int xenevtchn_fd(xenevtchn_handle *xce)
{
    (void)xce;
    return events[0];
}

static int new_port(uint32_t domid)
{
    if (ports + 1 >= sizeof(domain_of_port) / sizeof(domain_of_port[0])) {
        errno = ENOSPC;
        return -1;
    }
    domain_of_port[++ports] = domid;
    return ports;
}

xenevtchn_port_or_error_t xenevtchn_bind_interdomain(xenevtchn_handle *xce, uint32_t domid,
                                                     evtchn_port_t remote_port)
{
    int port = new_port(domid);

    (void)xce, (void)remote_port;
    if (port > 0 && domid < DOMAINS)
        __atomic_store_n(&guests[domid].port, port, __ATOMIC_SEQ_CST);
    return port;
}

xenevtchn_port_or_error_t xenevtchn_bind_virq(xenevtchn_handle *xce, unsigned int virq)
{
    (void)xce, (void)virq;
    return new_port(0);
}

int xenevtchn_unbind(xenevtchn_handle *xce, evtchn_port_t port)
{
    (void)xce, (void)port;
    return 0;
}

int xenevtchn_unmask(xenevtchn_handle *xce, evtchn_port_t port)
{
    (void)xce, (void)port;
    return 0;
}

xenevtchn_port_or_error_t xenevtchn_pending(xenevtchn_handle *xce)
{
    uint32_t port;

    (void)xce;
    return read(events[0], &port, sizeof(port)) == sizeof(port) ? (int)port : -1;
}

int xenevtchn_notify(xenevtchn_handle *xce, evtchn_port_t port)
{
    struct guest *guest = &guests[domain_of_port[port]];

    (void)xce;
    return guest->ring && eventfd_write(guest->doorbell, 1) < 0 ? -1 : 0;
}

/* --- libxengnttab, and the guest behind the grant ----------------------- */

static void notify_daemon(struct guest *guest)
{
    uint32_t port = __atomic_load_n(&guest->port, __ATOMIC_SEQ_CST);

    if (write(events[1], &port, sizeof(port)) != sizeof(port))
        fatal("event pipe");
}

/* Guest to daemon. Returns 0 at the end of the connection. */
static int carry_requests(struct guest *guest, int conn)
{
    struct xenstore_domain_interface *ring = guest->ring;
    uint32_t prod = ring->req_prod;
    uint32_t free = XENSTORE_RING_SIZE - (prod - __atomic_load_n(&ring->req_cons, __ATOMIC_ACQUIRE));
    uint32_t to_end = XENSTORE_RING_SIZE - MASK_XENSTORE_IDX(prod);
    ssize_t n = read(conn, ring->req + MASK_XENSTORE_IDX(prod), free < to_end ? free : to_end);

    if (n <= 0)
        return 0;
    __atomic_store_n(&ring->req_prod, prod + n, __ATOMIC_RELEASE);
    notify_daemon(guest);
    return 1;
}

/* Daemon to guest. Returns 0 at the end of the connection. */
static int carry_replies(struct guest *guest, int conn)
{
    struct xenstore_domain_interface *ring = guest->ring;
    uint32_t cons = ring->rsp_cons;
    uint32_t used;

    while ((used = __atomic_load_n(&ring->rsp_prod, __ATOMIC_ACQUIRE) - cons)) {
        uint32_t to_end = XENSTORE_RING_SIZE - MASK_XENSTORE_IDX(cons);
        ssize_t n = send(conn, ring->rsp + MASK_XENSTORE_IDX(cons), used < to_end ? used : to_end,
                         MSG_NOSIGNAL);

        if (n <= 0)
            return 0;
        cons += n;
        __atomic_store_n(&ring->rsp_cons, cons, __ATOMIC_RELEASE);
        notify_daemon(guest);
    }
    return 1;
}

static void *guest_kernel(void *arg)
{
    struct guest *guest = arg;
    int conn = accept4(guest->listener, NULL, NULL, SOCK_CLOEXEC);
    int open = conn >= 0;

    while (open && !__atomic_load_n(&guest->gone, __ATOMIC_SEQ_CST)) {
        uint32_t used = guest->ring->req_prod
                        - __atomic_load_n(&guest->ring->req_cons, __ATOMIC_ACQUIRE);
        struct pollfd fds[2] = {
            { .fd = guest->doorbell, .events = POLLIN },
            { .fd = conn, .events = used < XENSTORE_RING_SIZE ? POLLIN : 0 },
        };
        eventfd_t rung;

        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            fatal("poll");
        if (fds[0].revents & POLLIN) {
            eventfd_read(guest->doorbell, &rung);
            open = carry_replies(guest, conn);
        }
        if (open && fds[1].revents)
            open = carry_requests(guest, conn);
    }
    if (conn >= 0)
        close(conn);
    close(guest->listener);
    return NULL;
}

static int listen_for_guest(uint32_t domid)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    const char *dir = getenv("XENSTORED_RUNDIR");
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (!dir || snprintf(at.sun_path, sizeof(at.sun_path), "%s/guest-%u", dir, domid)
                    >= (int)sizeof(at.sun_path)) {
        errno = dir ? ENAMETOOLONG : ENOENT;
        fatal("XENSTORED_RUNDIR");
    }
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 || listen(fd, 1) < 0)
        fatal(at.sun_path);
    return fd;
}

xengnttab_handle *xengnttab_open(xentoollog_logger *logger, unsigned open_flags)
{
    (void)logger, (void)open_flags;
    return (xengnttab_handle *)&opaque;
}

int xengnttab_close(xengnttab_handle *xgt)
{
    (void)xgt;
    return 0;
}

int xengnttab_set_max_grants(xengnttab_handle *xgt, uint32_t nr_grants)
{
    (void)xgt, (void)nr_grants;
    return 0;
}

void *xengnttab_map_grant_ref(xengnttab_handle *xgt, uint32_t domid, uint32_t ref, int prot)
{
    struct guest *guest = &guests[domid % DOMAINS];
    pthread_t thread;
    void *page;

    (void)xgt, (void)ref;
    if (domid >= DOMAINS || guest->ring) { /* each guest can be mapped once */
        errno = EINVAL;
        return NULL;
    }
    page = mmap(NULL, PAGE, prot, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        return NULL;
    guest->ring = page;
    guest->doorbell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    guest->listener = listen_for_guest(domid);
    if (guest->doorbell < 0 || pthread_create(&thread, NULL, guest_kernel, guest))
        fatal("guest");
    pthread_detach(thread);
    return page;
}

int xengnttab_unmap(xengnttab_handle *xgt, void *start, uint32_t count)
{
    (void)xgt, (void)count;
    /* The page stays: the guest's thread may be accessing it. */
    for (int i = 0; i < DOMAINS; i++)
        if (guests[i].ring == start) {
            __atomic_store_n(&guests[i].gone, 1, __ATOMIC_SEQ_CST);
            eventfd_write(guests[i].doorbell, 1);
        }
    return 0;
}
