/*
 * libxenshim: a machine with domains in one directory, for Xen's own libxenvchan on plain Linux.
 *
 * Preloaded, it answers the libxengnttab, libxenevtchn and libxenstore functions that
 * libxenvchan.so imports, and those that vchan-socket-proxy needs. The directory $XENSHIM_DIR is the machine, shared
 * by every process that names it. $XENSHIM_DOMID is the domain of the process (default 0).
 *
 *   machine      the event channel ports and the allocators, shared memory, one robust lock
 *   grants       sparse; grant n is page n. Numbers are never reused.
 *   grant-table  the grants with their domains and user counts
 *   store/       one file per xenstore node
 *
 * An event is one write to the eventfd of the peer's handle. That descriptor is fetched once with
 * pidfd_getfd(2), which requires the same rights as ptrace(2): same user, and
 * kernel.yama.ptrace_scope 0, or root.
 *
 * Not modelled:
 * - a killed process: its live byte is not cleared and no event is sent (the kernel does both on Xen). A
 *   process that calls exit() without closing is covered. Its shared pages stay allocated until
 *   the directory is removed; its event channel ports are reclaimed.
 * - isolated and conflicting transactions: the writes become visible one after another.
 * - xenstore permissions and directories; a node without a value does not exist.
 *   The special watches (@releaseDomain...) fire once, when they are set.
 * - masking: an event between pending and unmask is delivered at once.
 * - valgrind: it does not know pidfd_getfd.
 * - more than one port on one event channel handle.
 * - several threads waiting on one handle are served in order of arrival; a real kernel may wake
 *   any of them.
 */
#ifndef XENSHIM_H
#define XENSHIM_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define SHIM_PAGE 4096u
#define SHIM_PORTS 4096u
/* Far above any port number, so that a port mistaken for a grant is invalid. */
#define SHIM_FIRST_GRANT 65536u
#define SHIM_DOMID_SELF 0x7ff0u

enum port_state { PORT_FREE, PORT_UNBOUND, PORT_BOUND };

/* One event channel port, on its own cache line. All but generation is guarded by the machine's lock. */
struct port {
    _Alignas(64) _Atomic uint32_t generation; /* changes whenever the peer changes */
    uint32_t state;
    uint32_t peer; /* the other end's port, when bound */
    uint16_t domid, peer_domid;
    pid_t pid; /* the owner, and the eventfd in it */
    int fd;
    uint64_t started; /* the owner's start time: pids are reused */
};

struct machine {
    char magic[8];
    pthread_mutex_t lock;
    uint32_t next_grant;
    uint32_t next_port;
    struct port ports[SHIM_PORTS];
};

/* The machine named by $XENSHIM_DIR, opened on first use; NULL with errno. */
struct machine *shim_machine(void);
void shim_lock(struct machine *m);
void shim_unlock(struct machine *m);

extern int shim_grants_fd, shim_table_fd, shim_store_fd;

uint16_t shim_domid(void);
/* Resolves DOMID_SELF. */
uint16_t shim_resolve(uint32_t domid);

/* Sends the event of a port of this process, whatever its handle. */
void shim_send_event(uint32_t port);

#endif
