/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * libxenvchan.h: byte streams between two Xen domains, or two processes, over shared memory.
 *
 * The interface of Xen's libxenvchan, implemented by vchan-rs. Programs written for Xen's need no change; what
 * this library adds is in vchan-rs.h.
 *
 * Errors: a call that fails returns -1 (NULL from the init functions) and sets errno; vchan_rs_last_error() has a
 * text. One thread may read from a channel while another writes to it and a third closes it.
 *
 * Which transport: the environment variable VCHAN_TRANSPORT, "xen", "unix" or "auto". Without it Xen is used
 * where /dev/xen/evtchn exists, shared files and sockets elsewhere.
 *
 * Generated from capi/ by cbindgen: "make headers".
 */

#ifndef VCHAN_RS_LIBXENVCHAN_H
#define VCHAN_RS_LIBXENVCHAN_H


#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Programs written for Xen's header may expect what that includes, where it is installed. */
#if defined(__has_include) && !defined(VCHAN_RS_NO_XEN_HEADERS)
#if __has_include(<xenevtchn.h>) && __has_include(<xengnttab.h>)
#include <xenevtchn.h>
#include <xengnttab.h>
#endif
#endif

struct xentoollog_logger;
struct xenevtchn_handle;
struct xengntdev_handle;

/* Xen's xen/io/libxenvchan.h has these too, but no include guard: include it before this header or not at all. */
#ifndef VCHAN_NOTIFY_WRITE
/** One ring's indices: bytes consumed and produced, modulo 2^32. */
struct ring_shared {
    uint32_t cons, prod;
};

/** In a notify byte: tell me when you have written. */
#define VCHAN_NOTIFY_WRITE 0x1
/** In a notify byte: tell me when you have consumed. */
#define VCHAN_NOTIFY_READ 0x2

/** The head of the page that both sides share. The peer may write anything there, at any time. */
struct vchan_interface {
    /** left carries client to server, right server to client. */
    struct ring_shared left, right;
    /** log2 of the rings' sizes. */
    uint16_t left_order, right_order;
    /** 0: has left; 1: is there; 2 (cli_live only): has not come yet. */
    uint8_t cli_live, srv_live;
    /** What the client must tell the server about, and the server the client: VCHAN_NOTIFY_ bits. */
    uint8_t cli_notify, srv_notify;
    /** The grant references of the left ring's pages, then of the right ring's. */
#ifdef __cplusplus
    __extension__ uint32_t grants[];
#else
    uint32_t grants[];
#endif
};
#endif

/** One direction of a channel. */
struct libxenvchan_ring {
    /** Its indices in the shared page. */
    struct ring_shared *shr;
    /** Its bytes. */
    void *buffer;
    /** log2 of its size. */
    int order;
};

/**
 * One end of a channel. Made by the init functions only: private data lies behind it.
 *
 * A program may read all of it, and write blocking and server_persist, which every call looks at.
 */
struct libxenvchan {
    /** Xen's library keeps a handle here, this one NULL. */
    __extension__ union {
        struct xengntdev_handle *gntshr;
        struct xengntdev_handle *gnttab;
    };
    /** The shared page. */
    struct vchan_interface *ring;
    /**
     * A handle for libxenevtchn. On the Xen transport it is one of libxenevtchn's own where that library is
     * installed; elsewhere xenevtchn_fd() works with it, and xenevtchn_notify() fails: call vchan_rs_notify().
     */
    struct xenevtchn_handle *event;
    /** The local event port. */
    uint32_t event_port;
    /** Whether this is the server's end. */
    unsigned int is_server : 1;
    /** Whether clients may come one after another (server). 0 at first. */
    unsigned int server_persist : 1;
    /** Whether calls wait instead of returning 0. 0 at first. */
    unsigned int blocking : 1;
    /** The ring that this end reads, and the one that it writes. */
    struct libxenvchan_ring read, write;
    /** The configuration path, as it was given. */
    char *xs_path;
};

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Offers a channel: makes the rings and publishes them under a path.
 *
 * Does not wait for the client. Until it comes the channel can be written to, and libxenvchan_is_open() says 2.
 *
 * @param logger    where errors go besides errno, of Xen's libxentoollog; NULL for nowhere. Must outlive the channel
 * @param domain    the client's domain, 0 to 32751
 * @param xs_path   the configuration path, of any length; one that does not begin with / is relative to
 *                  /local/domain/<own id>/
 * @param read_min  least size in bytes of the ring that the client writes, at most 1048576
 * @param write_min least size in bytes of the ring that the server writes, at most 1048576
 * @return the channel, to be closed with libxenvchan_close(), or NULL with errno: EINVAL (an argument), EADDRINUSE
 *         (another living server waits for its client under this path), EFBIG (RLIMIT_FSIZE), EACCES, ENOSPC (no more grants), EMFILE and others from the system.
 *         Nothing is left behind then.
 */
struct libxenvchan *libxenvchan_server_init(struct xentoollog_logger *logger,
                                            int domain,
                                            const char *xs_path,
                                            size_t read_min,
                                            size_t write_min);

/**
 * Connects to the channel that a server offers under a path.
 *
 * Fails at once where no server has published yet; vchan_rs_client_init() can wait for it.
 *
 * @param logger  as for libxenvchan_server_init()
 * @param domain  the server's domain, 0 to 32751
 * @param xs_path the configuration path, of any length
 * @return the channel, to be closed with libxenvchan_close(), or NULL with errno: ENOENT (no server), EBUSY (it has a
 *         client already), EPROTO (its shared page makes no sense), EINVAL, EACCES and others from the system.
 */
struct libxenvchan *libxenvchan_client_init(struct xentoollog_logger *logger,
                                            int domain,
                                            const char *xs_path);

/**
 * Reads a packet: exactly size bytes or none.
 *
 * @param ctrl the channel
 * @param data where to
 * @param size how many bytes; more than the read ring holds never come together
 * @return size; 0 if less is there and blocking is 0; -1 with errno: EPIPE (less is there, and the peer has gone),
 *         EMSGSIZE (blocking, and size is more than the ring holds), EPROTO (the peer wrote rubbish into the shared
 *         page), EINTR (a signal came while waiting whose handler is without SA_RESTART; other handlers, a stop, and a
 *         tracer end no call), ESHUTDOWN (another thread closes the channel), EINVAL
 */
int libxenvchan_recv(struct libxenvchan *ctrl,
                     void *data,
                     size_t size);

/**
 * Reads what there is.
 *
 * After it returned less than size the program may wait for the descriptor of libxenvchan_fd_for_select().
 *
 * @param ctrl the channel
 * @param data where to
 * @param size at most how many bytes
 * @return how many, at least 1 if blocking is set; 0 if none are there and blocking is 0; -1 with errno: EPIPE (none
 *         are left, and the peer has gone), EPROTO, EINTR, ESHUTDOWN, EINVAL as for libxenvchan_recv()
 */
int libxenvchan_read(struct libxenvchan *ctrl,
                     void *data,
                     size_t size);

/**
 * Writes a packet: all of it or nothing.
 *
 * @param ctrl the channel
 * @param data what
 * @param size how many bytes; more than the write ring holds never fit
 * @return size; 0 if there is too little space and blocking is 0; -1 with errno: EPIPE (the peer has gone), EMSGSIZE
 *         (blocking, and size is more than the ring holds), EPROTO, EINTR, ESHUTDOWN, EINVAL as for
 *         libxenvchan_recv()
 */
int libxenvchan_send(struct libxenvchan *ctrl,
                     const void *data,
                     size_t size);

/**
 * Writes.
 *
 * After it returned less than size the program may wait for the descriptor of libxenvchan_fd_for_select().
 *
 * @param ctrl the channel
 * @param data what
 * @param size how many bytes
 * @return how many were written. With blocking set that is all, or what had been written when a signal came. With
 *         blocking 0 it is what fits, perhaps 0. -1 with errno: EPIPE (the peer has gone, even if something was
 *         written), EINTR (before anything was written), EPROTO, ESHUTDOWN, EINVAL (also: blocking, and size is more
 *         than an int can tell)
 */
int libxenvchan_write(struct libxenvchan *ctrl,
                      const void *data,
                      size_t size);

/**
 * Waits for an event from the peer. It may mean anything: that there is data, space, or that the peer has gone.
 *
 * @param ctrl the channel
 * @return 0, or -1 with errno: EINTR (as for libxenvchan_recv()), EPIPE (no event will come any more), EIDRM
 *         (a server over Unix sockets without its client: somebody has removed what clients find it by), EPROTO, ESHUTDOWN,
 *         EINVAL
 */
int libxenvchan_wait(struct libxenvchan *ctrl);

/**
 * The descriptor for select(), poll() and epoll: readable when an event has come.
 *
 * Sleep on it only after a call that asked the peer for an event: a read, recv, write or send which moved less than
 * it was asked for, libxenvchan_data_ready() or libxenvchan_buffer_space(). When it is readable, libxenvchan_wait()
 * returns at once and takes the event. It belongs to the channel: do not read from it, do not close it.
 *
 * It is made by the first call, so that a channel which nobody polls costs no descriptor for it. Every later call returns
 * the same one. An end of a channel uses at most 5 descriptors (a server over Unix sockets with server_persist set: 6), and
 * one more after this call. All clients of a process that wait for a server over Unix sockets share one instance of inotify, and so do
 * its servers that have waited for a second, or been asked for this, and have no client yet.
 *
 * @param ctrl the channel
 * @return the descriptor, or -1 with errno: EMFILE, ENFILE, ENOMEM (the first call only), EINVAL
 */
int libxenvchan_fd_for_select(struct libxenvchan *ctrl);

/**
 * Whether the peer is there.
 *
 * @param ctrl the channel
 * @return 1 if it is, also for a server with server_persist set in any case; 2 if no client has come yet (server
 *         only); 0 if it has gone, or wrote rubbish into the shared page (errno EPROTO), or ctrl is NULL (errno
 *         EINVAL). What it wrote before it went can still be read
 */
int libxenvchan_is_open(struct libxenvchan *ctrl);

/**
 * How many bytes can be read now. Also asks the peer for an event when it writes.
 *
 * @param ctrl the channel
 * @return how many, or -1 with errno: EPROTO (the peer wrote rubbish into the shared page), ESHUTDOWN, EINVAL
 */
int libxenvchan_data_ready(struct libxenvchan *ctrl);

/**
 * How many bytes can be written now. Also asks the peer for an event when it reads.
 *
 * @param ctrl the channel
 * @return how many, or -1 with errno: EPROTO (the peer wrote rubbish into the shared page), ESHUTDOWN, EINVAL
 */
int libxenvchan_buffer_space(struct libxenvchan *ctrl);

/**
 * Closes a channel: tells the peer and frees everything. What was written before can still be read by the peer.
 *
 * Another thread may be blocked in a call meanwhile: it gets -1 with ESHUTDOWN, and this waits until it has left.
 * None may begin a call on the channel later. Leaves errno alone.
 *
 * In a signal handler that has interrupted a call on this channel, that call gets -1 with ESHUTDOWN, and what the channel
 * uses is freed when it returns. Calls that were left by siglongjmp(), and those of threads that have ended or that a fork left
 * behind, are not waited for. Only where siglongjmp() has left a call in another thread, which has made no call on
 * the channel since, this takes a second, and the channel's memory and descriptors stay in use.
 *
 * @param ctrl the channel; NULL does nothing
 */
void libxenvchan_close(struct libxenvchan *ctrl);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* VCHAN_RS_LIBXENVCHAN_H */
