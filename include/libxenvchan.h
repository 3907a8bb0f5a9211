/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * libxenvchan.h: byte streams between two Xen domains, or two processes, over shared memory.
 *
 * The interface of Xen's libxenvchan, implemented by vchan-rs. Programs written for Xen's library need no change.
 * Extensions are in vchan-rs.h.
 *
 * Errors: a call that fails returns -1 (NULL from the init functions) and sets errno; vchan_rs_last_error() returns
 * a text. One thread can read from a channel while another writes to it and a third closes it.
 *
 * The environment variable VCHAN_TRANSPORT selects the transport: "xen", "unix" or "auto" (the default): Xen if
 * /dev/xen/evtchn exists, otherwise shared files and sockets.
 *
 * Generated from capi/ by cbindgen: "make headers".
 */

#ifndef VCHAN_RS_LIBXENVCHAN_H
#define VCHAN_RS_LIBXENVCHAN_H


#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Programs written for Xen's header can depend on its includes, if they are installed. */
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

/** In a notify byte: requests an event after the peer has written. */
#define VCHAN_NOTIFY_WRITE 0x1
/** In a notify byte: requests an event after the peer has consumed. */
#define VCHAN_NOTIFY_READ 0x2

/** The head of the shared page. The peer can write anything there, at any time. */
struct vchan_interface {
    /** left carries client to server, right server to client. */
    struct ring_shared left, right;
    /** log2 of the rings' sizes. */
    uint16_t left_order, right_order;
    /** 0: has left; 1: connected; 2 (cli_live only): not connected yet. */
    uint8_t cli_live, srv_live;
    /** The events that the client must send to the server, and the server to the client: VCHAN_NOTIFY_ bits. */
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
 * One end of a channel. Created by the init functions only: private data follows it.
 *
 * A program can read all of it, and write blocking and server_persist, which every call checks.
 */
struct libxenvchan {
    /** A handle in Xen's library, NULL here. */
    __extension__ union {
        struct xengntdev_handle *gntshr;
        struct xengntdev_handle *gnttab;
    };
    /** The shared page. */
    struct vchan_interface *ring;
    /**
     * A handle for libxenevtchn. On the Xen transport it is a real one if that library is installed; otherwise
     * xenevtchn_fd() works with it, and xenevtchn_notify() fails: call vchan_rs_notify().
     */
    struct xenevtchn_handle *event;
    /** The local event port. */
    uint32_t event_port;
    /** Whether this is the server's end. */
    unsigned int is_server : 1;
    /** Whether the server takes one client after another. 0 initially. */
    unsigned int server_persist : 1;
    /** Whether calls block instead of returning 0. 0 initially. */
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
 * Creates a server's end of a channel: allocates the rings and publishes them under a path.
 *
 * Does not wait for the client. Until it connects, the channel can be written to, and libxenvchan_is_open()
 * returns 2.
 *
 * @param logger    a libxentoollog logger that receives errors, or NULL. Must outlive the channel
 * @param domain    the client's domain, 0 to 32751
 * @param xs_path   the configuration path, of any length; if it does not begin with /, it is relative to
 *                  /local/domain/<own id>/
 * @param read_min  minimum size in bytes of the client-to-server ring, at most 1048576
 * @param write_min minimum size in bytes of the server-to-client ring, at most 1048576
 * @return the channel, to be closed with libxenvchan_close(), or NULL with errno: EINVAL (invalid argument),
 *         EADDRINUSE (another living server waits for its client under this path), EFBIG (RLIMIT_FSIZE),
 *         EACCES, ENOSPC (no more grants), EMFILE and others from the system. Everything is cleaned up then
 */
struct libxenvchan *libxenvchan_server_init(struct xentoollog_logger *logger,
                                            int domain,
                                            const char *xs_path,
                                            size_t read_min,
                                            size_t write_min);

/**
 * Connects to the channel that a server has published under a path.
 *
 * Fails at once if no server has published yet; vchan_rs_client_init() can wait for it.
 *
 * @param logger  as for libxenvchan_server_init()
 * @param domain  the server's domain, 0 to 32751
 * @param xs_path the configuration path, of any length
 * @return the channel, to be closed with libxenvchan_close(), or NULL with errno: ENOENT (no server), EBUSY
 *         (the server has a client already), EPROTO (its shared page is invalid), EINVAL, EACCES and others
 *         from the system
 */
struct libxenvchan *libxenvchan_client_init(struct xentoollog_logger *logger,
                                            int domain,
                                            const char *xs_path);

/**
 * Reads a packet: exactly size bytes or none.
 *
 * @param ctrl the channel
 * @param data the buffer
 * @param size the size of the packet in bytes; more than the read ring holds can never be read
 * @return size; 0 if less is available and blocking is 0; -1 with errno: EPIPE (less is available, and the
 *         peer is gone), EMSGSIZE (blocking, and size exceeds the ring), EPROTO (the peer wrote invalid data
 *         into the shared page), EINTR (interrupted by a signal handler without SA_RESTART; other handlers,
 *         job-control stops and tracers do not end the call), ESHUTDOWN (another thread closes the channel),
 *         EINVAL
 */
int libxenvchan_recv(struct libxenvchan *ctrl, void *data, size_t size);

/**
 * Reads the bytes that are available.
 *
 * After it has returned less than size, the program can poll the descriptor of libxenvchan_fd_for_select().
 *
 * @param ctrl the channel
 * @param data the buffer
 * @param size the size of the buffer in bytes
 * @return the number of bytes, at least 1 if blocking is set; 0 if none are available and blocking is 0; -1
 *         with errno: EPIPE (no bytes are left, and the peer is gone), EPROTO, EINTR, ESHUTDOWN, EINVAL as
 *         for libxenvchan_recv()
 */
int libxenvchan_read(struct libxenvchan *ctrl, void *data, size_t size);

/**
 * Writes a packet: all of it or nothing.
 *
 * @param ctrl the channel
 * @param data the bytes
 * @param size the size of the packet in bytes; more than the write ring holds can never be written
 * @return size; 0 if there is too little space and blocking is 0; -1 with errno: EPIPE (the peer is gone),
 *         EMSGSIZE (blocking, and size exceeds the ring), EPROTO, EINTR, ESHUTDOWN, EINVAL as for
 *         libxenvchan_recv()
 */
int libxenvchan_send(struct libxenvchan *ctrl, const void *data, size_t size);

/**
 * Writes bytes.
 *
 * After it has returned less than size, the program can poll the descriptor of libxenvchan_fd_for_select().
 *
 * @param ctrl the channel
 * @param data the bytes
 * @param size the number of bytes
 * @return the number of bytes written: with blocking set all of them, or those written before a signal; with
 *         blocking 0 as many as fit, possibly 0. -1 with errno: EPIPE (the peer is gone, even if some bytes
 *         were written), EINTR (before any byte was written), EPROTO, ESHUTDOWN, EINVAL (also: blocking, and
 *         size exceeds INT_MAX)
 */
int libxenvchan_write(struct libxenvchan *ctrl, const void *data, size_t size);

/**
 * Waits for an event from the peer: data, space, or the peer's end; the event does not say which.
 *
 * @param ctrl the channel
 * @return 0, or -1 with errno: EINTR (as for libxenvchan_recv()), EPIPE (no event can come any more), EIDRM
 *         (a server over Unix sockets without a client: the files by which clients find it were removed),
 *         EPROTO, ESHUTDOWN, EINVAL
 */
int libxenvchan_wait(struct libxenvchan *ctrl);

/**
 * The descriptor for select(), poll() and epoll: readable when an event has come.
 *
 * Sleep on it only after a call that has requested an event from the peer: a read, recv, write or send that
 * transferred less than requested, libxenvchan_data_ready() or libxenvchan_buffer_space(). When it is
 * readable, libxenvchan_wait() takes the event and returns at once. It belongs to the channel: do not read
 * from it, do not close it.
 *
 * The first call creates it, so a channel that is not polled does not need it; later calls return the same
 * one. One end of a channel uses at most 5 descriptors (a server over Unix sockets with server_persist set:
 * 6), and one more after this call. All clients of a process that wait for a server over Unix sockets share
 * one inotify instance. So do its servers without a client that have waited for a second, or for which this
 * function was called.
 *
 * @param ctrl the channel
 * @return the descriptor, or -1 with errno: EMFILE, ENFILE, ENOMEM (the first call only), EINVAL
 */
int libxenvchan_fd_for_select(struct libxenvchan *ctrl);

/**
 * Whether the peer is connected.
 *
 * @param ctrl the channel
 * @return 1 if it is, and always for a server with server_persist set; 2 if no client has connected yet
 *         (server only); 0 if it is gone, or wrote invalid data into the shared page (errno EPROTO), or ctrl
 *         is NULL (errno EINVAL). Bytes that it wrote before can still be read
 */
int libxenvchan_is_open(struct libxenvchan *ctrl);

/**
 * The number of bytes that can be read now. Also requests an event for when the peer writes.
 *
 * @param ctrl the channel
 * @return the number of bytes, or -1 with errno: EPROTO (the peer wrote invalid data into the shared page),
 *         ESHUTDOWN, EINVAL
 */
int libxenvchan_data_ready(struct libxenvchan *ctrl);

/**
 * The number of bytes that can be written now. Also requests an event for when the peer reads.
 *
 * @param ctrl the channel
 * @return the number of bytes, or -1 with errno: EPROTO (the peer wrote invalid data into the shared page),
 *         ESHUTDOWN, EINVAL
 */
int libxenvchan_buffer_space(struct libxenvchan *ctrl);

/**
 * Closes a channel: notifies the peer and frees everything. The peer can still read what was written before.
 *
 * If another thread is blocked in a call on the channel, that call returns -1 with ESHUTDOWN, and this
 * function waits until it has returned. No call on the channel may begin later. errno is preserved.
 *
 * In a signal handler that has interrupted a call on this channel, that call returns -1 with ESHUTDOWN and
 * then frees the channel. Calls that were abandoned by siglongjmp(), and calls of threads that have ended or
 * do not exist after a fork, are not waited for. One case is slow: if siglongjmp() has abandoned a call in
 * another thread, and that thread has called no function on the channel since, this function returns after a
 * second, and the channel's memory and descriptors are leaked.
 *
 * @param ctrl the channel; NULL is ignored
 */
void libxenvchan_close(struct libxenvchan *ctrl);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* VCHAN_RS_LIBXENVCHAN_H */
