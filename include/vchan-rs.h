/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * vchan-rs.h: the extensions of vchan-rs to the interface of Xen's libxenvchan.
 *
 * The functions take the channels of libxenvchan.h and can be mixed with its functions. Errors are reported in the
 * same way: -1 or NULL, and errno.
 *
 * Generated from capi/ by cbindgen: "make headers".
 */

#ifndef VCHAN_RS_H
#define VCHAN_RS_H


#include "libxenvchan.h"

#include <sys/uio.h>

/**
 * No call has failed in this thread.
 */
#define VCHAN_RS_ERROR_NONE 0

/**
 * A system call failed; errno is its error.
 */
#define VCHAN_RS_ERROR_SYSTEM 1

/**
 * Xenstore refused something, or could not be reached.
 */
#define VCHAN_RS_ERROR_XENSTORE 2

/**
 * Invalid argument or environment variable.
 */
#define VCHAN_RS_ERROR_INVALID 3

/**
 * Refused for security: a file or directory has the wrong owner, mode or type.
 */
#define VCHAN_RS_ERROR_REFUSED 4

/**
 * No server has published there.
 */
#define VCHAN_RS_ERROR_NO_SERVER 5

/**
 * Another server uses the path (errno EADDRINUSE), or the server has another client (EBUSY).
 */
#define VCHAN_RS_ERROR_IN_USE 6

/**
 * The peer has closed the channel.
 */
#define VCHAN_RS_ERROR_PEER_CLOSED 7

/**
 * The peer's process or domain has ended without closing the channel.
 */
#define VCHAN_RS_ERROR_PEER_DIED 8

/**
 * The peer wrote invalid data into the shared page.
 */
#define VCHAN_RS_ERROR_CORRUPT 9

/**
 * This side has closed or left the channel.
 */
#define VCHAN_RS_ERROR_CLOSED 10

/**
 * The timeout expired.
 */
#define VCHAN_RS_ERROR_TIMED_OUT 11

/**
 * The call would block.
 */
#define VCHAN_RS_ERROR_WOULD_BLOCK 12

/**
 * Interrupted by a signal.
 */
#define VCHAN_RS_ERROR_INTERRUPTED 13

/**
 * The packet is larger than the ring.
 */
#define VCHAN_RS_ERROR_TOO_LARGE 14

/**
 * The peer has ended its stream (half-close), and still reads.
 */
#define VCHAN_RS_ERROR_PEER_FINISHED 15

/**
 * The peer has left because of a failure.
 */
#define VCHAN_RS_ERROR_PEER_ABORTED 16

/**
 * For vchan_rs_options.flags: sets blocking.
 */
#define VCHAN_RS_BLOCKING 1

/**
 * For vchan_rs_options.flags: sets server_persist.
 */
#define VCHAN_RS_PERSIST 2

/**
 * For vchan_rs_options.flags: xs_path is not a path but a port name (letters, digits, '_' and '-'), and both
 * sides use the path /local/domain/<server>/data/vchan/<client>/<port>. The channel's xs_path contains that
 * path.
 */
#define VCHAN_RS_PORT 4

/**
 * For vchan_rs_options.flags: a server chooses the ring sizes of ocaml-vchan, not of libxenvchan. They
 * differ up to 2048 bytes.
 */
#define VCHAN_RS_OCAML_ORDERS 8

/**
 * Ends the calls on one channel from another thread, including the init function that is creating it. See
 * vchan_rs_closer_new().
 */
struct vchan_rs_closer;

/**
 * Options of a channel. Set all fields to zero, then size, then the fields that should differ:
 *
 *     struct vchan_rs_options options = { .size = sizeof(options), .timeout_ms = 5000 };
 */
struct vchan_rs_options {
    /**
     * sizeof(struct vchan_rs_options): later versions can add fields at the end, which are zero for a
     * program that does not know them.
     */
    size_t size;
    /**
     * A libxentoollog logger that receives errors, or NULL.
     */
    struct xentoollog_logger *logger;
    /**
     * "unix", "xen" or "auto"; NULL to use the environment variable VCHAN_TRANSPORT.
     */
    const char *transport;
    /**
     * How long to wait for the peer, in milliseconds: 0 to return at once, negative without limit. A client
     * waits for its server to publish, a server for its client to connect.
     */
    int timeout_ms;
    /**
     * How long a waiting call polls the ring before it sleeps, at most, in microseconds: 0 for the default,
     * negative for no polling. Non-blocking calls poll for less than a microsecond, unless it is negative.
     */
    int spin_us;
    /**
     * 0, or a combination of VCHAN_RS_BLOCKING, VCHAN_RS_PERSIST, VCHAN_RS_PORT and VCHAN_RS_OCAML_ORDERS.
     */
    unsigned int flags;
    /**
     * Must be 0.
     */
    unsigned int reserved;
    /**
     * NULL, or a closer without a channel: it ends the wait for the peer, and all calls on the channel.
     */
    const struct vchan_rs_closer *closer;
    /**
     * NULL, or the value of XEN_CONFIGURATION from a server's lines: a client on the Unix transport connects
     * to that server, whatever its path; vchan_rs_path() returns that server's path. EINVAL if another
     * server waits at the client's path.
     */
    const char *configuration;
};

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * The library's version, as "0.1.0".
 */
const char *vchan_rs_version(void);

/**
 * One line about the last call in this thread that failed: which call, and why. Truncated to 511 bytes.
 *
 * @return the text, "" if no call has failed; valid until the next failure in this thread
 */
const char *vchan_rs_last_error(void);

/**
 * The kind of the last failure in this thread, where errno is ambiguous: EPIPE is a peer that has closed or
 * one that has died, or comes from the descriptor that was written to.
 *
 * @return one of the VCHAN_RS_ERROR_ constants
 */
int vchan_rs_last_error_kind(void);

/**
 * The absolute configuration path of a channel, also if a relative path or a port was given. For a client
 * that was given a configuration: the path of the server it has connected to, or that server's socket, if it
 * is a historical program.
 *
 * @param ctrl the channel
 * @param text the buffer; receives a NUL-terminated string, truncated if it does not fit
 * @param size the size of the buffer in bytes; if it is 0, text can be NULL
 * @return the length of the whole path in bytes, without NUL; or -1 with errno EINVAL
 */
ssize_t vchan_rs_path(struct libxenvchan *ctrl, char *text, size_t size);

/**
 * The shell commands that tell clients where a server is, as unixcat prints them; none on Xen. A client uses
 * the value of XEN_CONFIGURATION in them as the configuration in its options.
 *
 * @param ctrl the channel
 * @param text the buffer; receives a NUL-terminated string, truncated if it does not fit
 * @param size the size of the buffer in bytes; if it is 0, text can be NULL
 * @return the length of all lines in bytes, without NUL; or -1 with errno EINVAL
 */
ssize_t vchan_rs_export_lines(struct libxenvchan *ctrl, char *text, size_t size);

/**
 * Withdraws a server's publication, so that no client finds it any more. libxenvchan_close() does the same.
 *
 * @param ctrl the channel
 */
void close_xs_srv(struct libxenvchan *ctrl);

/**
 * Creates a server's end of a channel, like libxenvchan_server_init(), with options. Blocks for at most
 * timeout_ms.
 *
 * @param domain    the client's domain
 * @param xs_path   the configuration path
 * @param read_min  minimum size in bytes of the client-to-server ring
 * @param write_min minimum size in bytes of the server-to-client ring
 * @param options   the options; NULL for the defaults
 * @return the channel, or NULL with errno as from libxenvchan_server_init(), also ETIMEDOUT, EPIPE (a client
 *         connected and left at once)
 */
struct libxenvchan *vchan_rs_server_init(int domain,
                                         const char *xs_path,
                                         size_t read_min,
                                         size_t write_min,
                                         const struct vchan_rs_options *options);

/**
 * Connects to a server, like libxenvchan_client_init(), with options. Waits for the server for at most
 * timeout_ms.
 *
 * @param domain  the server's domain
 * @param xs_path the configuration path
 * @param options the options; NULL for the defaults
 * @return the channel, or NULL with errno as from libxenvchan_client_init(), also ETIMEDOUT
 */
struct libxenvchan *vchan_rs_client_init(int domain,
                                         const char *xs_path,
                                         const struct vchan_rs_options *options);

/**
 * Waits until a client has connected, while libxenvchan_is_open() returns 2 (server).
 *
 * @param ctrl       the channel
 * @param timeout_ms how long to wait, in milliseconds: 0 to return at once, negative without limit
 * @return 0, or -1 with errno: ETIMEDOUT, EPIPE (a client connected and left at once), EINTR (the channel
 *         remains usable), EIDRM (over Unix sockets: the files by which clients find the server were
 *         removed), EPROTO, ESHUTDOWN, EINVAL
 */
int vchan_rs_accept(struct libxenvchan *ctrl, int timeout_ms);

/**
 * Creates a closer for one channel, to be passed to its init function in the options.
 *
 * @return the closer, to be freed with vchan_rs_closer_free(), or NULL with errno
 */
struct vchan_rs_closer *vchan_rs_closer_new(void);

/**
 * Notifies the peer, and ends all calls that transfer bytes or wait, including the init function: current
 * and later ones fail with ESHUTDOWN. Unlike libxenvchan_close() this frees nothing and does not block. Not
 * async-signal-safe.
 *
 * @param closer the closer; NULL is ignored
 */
void vchan_rs_closer_close(struct vchan_rs_closer *closer);

/**
 * Frees a closer. Its channel, if any, is not affected.
 *
 * @param closer the closer; NULL is ignored
 */
void vchan_rs_closer_free(struct vchan_rs_closer *closer);

/**
 * Leaves the channel, but keeps it readable: what the peer has written, and still writes until it notices,
 * can be read. Writing fails with ESHUTDOWN. Does not block.
 *
 * @param ctrl the channel
 * @return 0, or -1 with errno: ESHUTDOWN, EINVAL
 */
int vchan_rs_leave(struct libxenvchan *ctrl);

/**
 * Ends this side's stream (half-close): the peer reads the rest and then the end of the stream (-1 with
 * EPIPE; kind VCHAN_RS_ERROR_PEER_FINISHED), while the other direction continues. Later writes fail with
 * ESHUTDOWN. Do not call it while another thread writes. Does not block.
 *
 * Only a peer that uses this library and was created by vchan_rs_server_init() or vchan_rs_client_init()
 * sees it, see vchan_rs_peer_half_closes().
 *
 * @param ctrl the channel
 * @return 0, or -1 with errno: ESHUTDOWN (this side has left), EINVAL
 */
int vchan_rs_shutdown(struct libxenvchan *ctrl);

/**
 * Leaves because of a failure: like vchan_rs_leave(), but a peer that uses this library gets ECONNABORTED
 * (kind VCHAN_RS_ERROR_PEER_ABORTED), after the bytes in the ring. Any other peer sees an ordinary end.
 *
 * @param ctrl the channel
 * @return 0, or -1 with errno: ESHUTDOWN, EINVAL
 */
int vchan_rs_abort(struct libxenvchan *ctrl);

/**
 * Whether the peer is known to understand vchan_rs_shutdown() and vchan_rs_abort(): it uses this library
 * too, and was created by vchan_rs_server_init() or vchan_rs_client_init(). A client announces this when it
 * connects, a server at its client's first event.
 *
 * @param ctrl the channel
 * @return 1 or 0, or -1 with errno: ESHUTDOWN, EINVAL
 */
int vchan_rs_peer_half_closes(struct libxenvchan *ctrl);

/**
 * The number of written bytes that the peer has not read yet.
 *
 * @param ctrl the channel
 * @return the number of bytes, or -1 with errno: EPROTO, ESHUTDOWN, EINVAL
 */
ssize_t vchan_rs_pending(struct libxenvchan *ctrl);

/**
 * Waits until the peer has read everything that was written.
 *
 * @param ctrl       the channel
 * @param timeout_ms how long to wait, in milliseconds: 0 to return at once, negative without limit
 * @return 0, or -1 with errno: EAGAIN (timeout_ms is 0), ETIMEDOUT, EPIPE (the peer is gone, and bytes
 *         remain), EPROTO, EINTR, ESHUTDOWN, EINVAL
 */
int vchan_rs_wait_drained(struct libxenvchan *ctrl, int timeout_ms);

/**
 * Reads the bytes that are available, waiting for the first one. Ignores the blocking flag.
 *
 * @param ctrl       the channel
 * @param data       the buffer
 * @param size       the size of the buffer in bytes
 * @param timeout_ms how long to wait, in milliseconds: 0 to return at once, negative without limit
 * @return the number of bytes read; or -1 with errno: EAGAIN (timeout_ms is 0 and no bytes are available),
 *         ETIMEDOUT, EPIPE (no bytes are left, and the peer is gone), EPROTO, EINTR, ESHUTDOWN, EINVAL
 */
ssize_t vchan_rs_read(struct libxenvchan *ctrl, void *data, size_t size, int timeout_ms);

/**
 * Writes all bytes, waiting for space as often as necessary. Ignores the blocking flag.
 *
 * @param ctrl       the channel
 * @param data       the bytes
 * @param size       the number of bytes
 * @param timeout_ms how long to wait for the peer each time, in milliseconds: 0 to return at once, negative
 *                   without limit
 * @return the number of bytes written; less than size if the call could not continue (the next call reports
 *         why). If no bytes were written, -1 with errno: EAGAIN (timeout_ms is 0 and there is no space),
 *         ETIMEDOUT, EPIPE (the peer is gone), EPROTO, EINTR, ESHUTDOWN, EINVAL
 */
ssize_t vchan_rs_write(struct libxenvchan *ctrl, const void *data, size_t size, int timeout_ms);

/**
 * Waits for an event, like libxenvchan_wait(), with a timeout.
 *
 * @param ctrl       the channel
 * @param timeout_ms how long to wait, in milliseconds; negative without limit
 * @return 0, or -1 with errno: ETIMEDOUT, and as from libxenvchan_wait()
 */
int vchan_rs_wait(struct libxenvchan *ctrl, int timeout_ms);

/**
 * Sends an event to the peer, even if it has not requested one.
 *
 * @param ctrl the channel
 * @return 0, or -1 with errno
 */
int vchan_rs_notify(struct libxenvchan *ctrl);

/**
 * Transfers bytes from the channel to a descriptor without a copy: one writev() from the ring.
 *
 * If the descriptor blocks, the call can take longer than timeout_ms. After fewer bytes than max, the
 * channel's descriptor becomes readable when more bytes are available, immediately if fd accepted less than
 * was available. After EAGAIN, poll fd if libxenvchan_data_ready() is not 0.
 *
 * @param ctrl       the channel
 * @param fd         the descriptor to write to
 * @param max        the maximum number of bytes
 * @param timeout_ms how long to wait for data, in milliseconds: 0 to return at once, negative without limit
 * @return the number of bytes; or -1 with errno as from vchan_rs_read(), or as from writev() (also EAGAIN,
 *         if the descriptor is non-blocking); no bytes are lost then
 */
ssize_t vchan_rs_read_to_fd(struct libxenvchan *ctrl, int fd, size_t max, int timeout_ms);

/**
 * Transfers bytes from a descriptor to the channel without a copy: one readv() into the ring.
 *
 * If the descriptor blocks, the call can take longer than timeout_ms. After fewer bytes than max, the
 * channel's descriptor becomes readable when there is space, immediately if fd provided less than there was
 * space for. After EAGAIN, poll fd if libxenvchan_buffer_space() is not 0.
 *
 * @param ctrl       the channel
 * @param fd         the descriptor to read from
 * @param max        the maximum number of bytes
 * @param timeout_ms how long to wait for space, in milliseconds: 0 to return at once, negative without limit
 * @return the number of bytes; 0 at the end of the file; or -1 with errno as from vchan_rs_write(), or as
 *         from readv() (also EAGAIN, if the descriptor is non-blocking)
 */
ssize_t vchan_rs_write_from_fd(struct libxenvchan *ctrl, int fd, size_t max, int timeout_ms);

/**
 * Returns the readable bytes in place, as pointers into the ring.
 *
 * The peer can still change them: copy before validating. They remain valid until vchan_rs_consume()
 * releases their space, or the channel is closed. Do not call it together with other reading calls in
 * another thread. Poll the channel's descriptor only after EAGAIN or ETIMEDOUT: before that, more bytes can
 * arrive without an event.
 *
 * @param ctrl       the channel
 * @param parts      receives the two parts; the second is empty unless the data wraps around the end of the
 *                   ring
 * @param min        the minimum number of bytes to wait for, 1 to the ring's size
 * @param timeout_ms how long to wait, in milliseconds: 0 to return at once, negative without limit
 * @return the number of bytes in both parts, at least min (more can have arrived since); or -1 with errno:
 *         EAGAIN, ETIMEDOUT, EPIPE (less than min are left, and the peer is gone), EPROTO, EINTR, ESHUTDOWN,
 *         EINVAL
 */
ssize_t vchan_rs_borrow(struct libxenvchan *ctrl, struct iovec *parts, size_t min, int timeout_ms);

/**
 * Releases bytes of vchan_rs_borrow() to the peer as space, from the beginning. Does not block.
 *
 * @param ctrl the channel
 * @param size the number of bytes, at most as many as are readable
 * @return 0, or -1 with errno: EINVAL (more than are readable), EPROTO, ESHUTDOWN
 */
int vchan_rs_consume(struct libxenvchan *ctrl, size_t size);

/**
 * Returns the writable space in place, as pointers into the ring.
 *
 * The peer does not see what is written there until vchan_rs_commit(). Do not call it together with other
 * writing calls in another thread. Poll the channel's descriptor only after EAGAIN or ETIMEDOUT, as for
 * vchan_rs_borrow().
 *
 * @param ctrl       the channel
 * @param parts      receives the two parts; the second is empty unless the space wraps around the end of the
 *                   ring
 * @param min        the minimum number of bytes to wait for, 1 to the ring's size
 * @param timeout_ms how long to wait, in milliseconds: 0 to return at once, negative without limit
 * @return the number of bytes in both parts, at least min (there can be more space since); or -1 with errno:
 *         EAGAIN, ETIMEDOUT, EPIPE (the peer is gone), EPROTO, EINTR, ESHUTDOWN, EINVAL
 */
ssize_t vchan_rs_reserve(struct libxenvchan *ctrl, struct iovec *parts, size_t min, int timeout_ms);

/**
 * Publishes bytes that were written into the space of vchan_rs_reserve(), from the beginning. Does not
 * block.
 *
 * @param ctrl the channel
 * @param size the number of bytes, at most as many as there is space for
 * @return 0, or -1 with errno: EINVAL (more than there is space for), EPROTO, ESHUTDOWN
 */
int vchan_rs_commit(struct libxenvchan *ctrl, size_t size);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* VCHAN_RS_H */
