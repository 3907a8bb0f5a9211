/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * vchan-rs.h: what vchan-rs adds to the interface of Xen's libxenvchan.
 *
 * The functions take the channels of libxenvchan.h and may be mixed with its functions. Errors are as there: -1 or
 * NULL, and errno.
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
 * The operating system refused something, and errno is its own.
 */
#define VCHAN_RS_ERROR_SYSTEM 1

/**
 * Xenstore refused something, or could not be reached.
 */
#define VCHAN_RS_ERROR_XENSTORE 2

/**
 * An argument, or a variable of the environment, that can't be meant.
 */
#define VCHAN_RS_ERROR_INVALID 3

/**
 * Refused for safety's sake: a file or directory that is not what it must be.
 */
#define VCHAN_RS_ERROR_REFUSED 4

/**
 * Nobody serves there.
 */
#define VCHAN_RS_ERROR_NO_SERVER 5

/**
 * Another server serves there (errno EADDRINUSE), or another client was first (EBUSY).
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
 * The peer wrote rubbish into the shared page.
 */
#define VCHAN_RS_ERROR_CORRUPT 9

/**
 * This side has closed or left the channel.
 */
#define VCHAN_RS_ERROR_CLOSED 10

/**
 * The time ran out.
 */
#define VCHAN_RS_ERROR_TIMED_OUT 11

/**
 * It would have to wait.
 */
#define VCHAN_RS_ERROR_WOULD_BLOCK 12

/**
 * A signal came first.
 */
#define VCHAN_RS_ERROR_INTERRUPTED 13

/**
 * More than the ring holds.
 */
#define VCHAN_RS_ERROR_TOO_LARGE 14

/**
 * The peer has ended its stream, and still reads.
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
 * For vchan_rs_options.flags: xs_path is not a path but a port, letters, digits, '_' and '-', and the sides meet at
 * /local/domain/<server>/data/vchan/<client>/<port>. That is what the channel's xs_path says.
 */
#define VCHAN_RS_PORT 4

/**
 * For vchan_rs_options.flags: a server's sizes become those of ocaml-vchan, not of libxenvchan. They differ up to
 * 2048 bytes.
 */
#define VCHAN_RS_OCAML_ORDERS 8

/**
 * Ends the calls on one channel from another thread, also the one that is making the channel. See
 * vchan_rs_closer_new().
 */
struct vchan_rs_closer;

/**
 * How a channel is to be made. Set all to zero, then size, then what should differ:
 *
 *     struct vchan_rs_options options = { .size = sizeof(options), .timeout_ms = 5000 };
 */
struct vchan_rs_options {
    /**
     * sizeof(struct vchan_rs_options): later versions may add fields at the end, which count as zero for a program
     * that does not know them.
     */
    size_t size;
    /**
     * Where errors go besides errno, of Xen's libxentoollog; NULL for nowhere.
     */
    struct xentoollog_logger *logger;
    /**
     * "unix", "xen" or "auto"; NULL for what VCHAN_TRANSPORT says.
     */
    const char *transport;
    /**
     * How long to wait for the peer, in milliseconds: 0 not at all, negative for as long as it takes. A client waits
     * for its server to publish, a server for its client to come.
     */
    int timeout_ms;
    /**
     * How long a call that waits looks for the peer's move before it sleeps, at most, in microseconds: 0 for the usual
     * time, negative for not at all. Calls that don't wait look again for less than one, unless it is negative.
     */
    int spin_us;
    /**
     * 0, or some of VCHAN_RS_BLOCKING, VCHAN_RS_PERSIST, VCHAN_RS_PORT and VCHAN_RS_OCAML_ORDERS.
     */
    unsigned int flags;
    /**
     * Must be 0.
     */
    unsigned int reserved;
    /**
     * NULL, or one that has no channel yet: ends the waiting for the peer, and all calls on the channel.
     */
    const struct vchan_rs_closer *closer;
    /**
     * NULL, or the value of XEN_CONFIGURATION which a server's lines gave: a client on the Unix transport goes there,
     * whatever its path; vchan_rs_path() says which server it has met. EINVAL where another server waits at its path.
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
 * One line about the last call in this thread that failed: which call, and why. Cut after 511 bytes.
 *
 * @return the text, "" if none has failed; valid until the next failure in this thread
 */
const char *vchan_rs_last_error(void);

/**
 * What kind of failure that of the last call in this thread was, where errno is not enough: EPIPE is a peer that has
 * closed or one that has died, or comes from the descriptor that was to be written to.
 *
 * @return one of the VCHAN_RS_ERROR_ constants
 */
int vchan_rs_last_error_kind(void);

/**
 * The whole configuration path of a channel, also where it was given as a relative path or a port. Of a client that
 * was given a configuration: the path of the server which it has met, or that server's socket, if it is a historical
 * program.
 *
 * @param ctrl the channel
 * @param text where to; gets a string that ends in zero, cut off where it is longer
 * @param size how many bytes there are; 0, and text may be NULL
 * @return the length of the whole path, or -1 with errno EINVAL
 */
ssize_t vchan_rs_path(struct libxenvchan *ctrl,
                      char *text,
                      size_t size);

/**
 * The lines by which a shell tells clients where a server is, as unixcat prints them; none on Xen. A client takes
 * the value of XEN_CONFIGURATION from there as its options' configuration.
 *
 * @param ctrl the channel
 * @param text where to; gets a string that ends in zero, cut off where it is longer
 * @param size how many bytes there are; 0, and text may be NULL
 * @return the length of all lines, or -1 with errno EINVAL
 */
ssize_t vchan_rs_export_lines(struct libxenvchan *ctrl,
                              char *text,
                              size_t size);

/**
 * Withdraws a server's publication, so that no client finds it any more; closing does that by itself.
 *
 * @param ctrl the channel
 */
void close_xs_srv(struct libxenvchan *ctrl);

/**
 * Offers a channel, as libxenvchan_server_init() does, with options.
 *
 * @param domain    the client's domain
 * @param xs_path   the configuration path
 * @param read_min  least size in bytes of the ring that the client writes
 * @param write_min least size in bytes of the ring that the server writes
 * @param options   NULL for the usual
 * @return the channel, or NULL with errno as from libxenvchan_server_init(), also ETIMEDOUT, EPIPE (a client came and
 *         went at once)
 */
struct libxenvchan *vchan_rs_server_init(int domain,
                                         const char *xs_path,
                                         size_t read_min,
                                         size_t write_min,
                                         const struct vchan_rs_options *options);

/**
 * Connects to a server, as libxenvchan_client_init() does, with options: above all, waiting for the server.
 *
 * @param domain  the server's domain
 * @param xs_path the configuration path
 * @param options NULL for the usual
 * @return the channel, or NULL with errno as from libxenvchan_client_init(), also ETIMEDOUT
 */
struct libxenvchan *vchan_rs_client_init(int domain,
                                         const char *xs_path,
                                         const struct vchan_rs_options *options);

/**
 * Waits until the client has come, where libxenvchan_is_open() says 2 (server).
 *
 * @param ctrl       the channel
 * @param timeout_ms how long at most, in milliseconds; negative for as long as it takes
 * @return 0, or -1 with errno: ETIMEDOUT, EPIPE (a client came and went at once), EINTR (the channel goes on),
 *         EIDRM (over Unix sockets: somebody has removed what clients find the server by), EPROTO, ESHUTDOWN, EINVAL
 */
int vchan_rs_accept(struct libxenvchan *ctrl,
                    int timeout_ms);

/**
 * Makes a closer for one channel, to be passed to its init function in the options.
 *
 * @return the closer, to be freed with vchan_rs_closer_free(), or NULL with errno
 */
struct vchan_rs_closer *vchan_rs_closer_new(void);

/**
 * Tells the peer, and ends all calls that move bytes or wait, the init function's too: those under way and later ones
 * fail with ESHUTDOWN. Unlike libxenvchan_close() this frees nothing and waits for nobody. Not for signal handlers.
 *
 * @param closer the closer; NULL does nothing
 */
void vchan_rs_closer_close(struct vchan_rs_closer *closer);

/**
 * Frees a closer. Its channel, if there is one, goes on as if it had never had it.
 *
 * @param closer the closer; NULL does nothing
 */
void vchan_rs_closer_free(struct vchan_rs_closer *closer);

/**
 * Tells the peer that this side leaves, but keeps the channel: what the peer has written, and still writes until it
 * hears of it, can be read. Writing fails with ESHUTDOWN.
 *
 * @param ctrl the channel
 * @return 0, or -1 with errno: ESHUTDOWN, EINVAL
 */
int vchan_rs_leave(struct libxenvchan *ctrl);

/**
 * Ends this side's stream: the peer reads the rest and then the end of the stream (-1 with EPIPE; kind
 * VCHAN_RS_ERROR_PEER_FINISHED), while the other direction goes on. Later writes fail with ESHUTDOWN. Not while another
 * thread writes. Does not block.
 *
 * Only a peer of this library that was made by vchan_rs_server_init() or vchan_rs_client_init() hears of it, see
 * vchan_rs_peer_half_closes().
 *
 * @param ctrl the channel
 * @return 0, or -1 with errno: ESHUTDOWN (this side has left), EINVAL
 */
int vchan_rs_shutdown(struct libxenvchan *ctrl);

/**
 * Leaves because of a failure: as vchan_rs_leave(), but a peer of this library gets ECONNABORTED (kind
 * VCHAN_RS_ERROR_PEER_ABORTED), after the bytes that are in the ring. Any other peer sees an ordinary end.
 *
 * @param ctrl the channel
 * @return 0, or -1 with errno: ESHUTDOWN, EINVAL
 */
int vchan_rs_abort(struct libxenvchan *ctrl);

/**
 * Whether the peer is known to understand vchan_rs_shutdown() and vchan_rs_abort(): it uses this library too, and was made by
 * vchan_rs_server_init() or vchan_rs_client_init(). A client says so when it connects, a server when it first hears of its
 * client.
 *
 * @param ctrl the channel
 * @return 1 or 0, or -1 with errno: ESHUTDOWN, EINVAL
 */
int vchan_rs_peer_half_closes(struct libxenvchan *ctrl);

/**
 * How many of the bytes that were written the peer has not taken yet.
 *
 * @param ctrl the channel
 * @return how many, or -1 with errno: EPROTO, ESHUTDOWN, EINVAL
 */
ssize_t vchan_rs_pending(struct libxenvchan *ctrl);

/**
 * Waits until the peer has taken everything that was written.
 *
 * @param ctrl       the channel
 * @param timeout_ms how long at most, in milliseconds: 0 not at all, negative for as long as it takes
 * @return 0, or -1 with errno: EAGAIN (timeout_ms is 0), ETIMEDOUT, EPIPE (the peer has gone and never will), EPROTO,
 *         EINTR, ESHUTDOWN, EINVAL
 */
int vchan_rs_wait_drained(struct libxenvchan *ctrl,
                          int timeout_ms);

/**
 * Reads what there is, waiting for the first byte. Does not look at the blocking flag.
 *
 * @param ctrl       the channel
 * @param data       where to
 * @param size       at most how many bytes
 * @param timeout_ms how long to wait at most, in milliseconds: 0 not at all, negative for as long as it takes
 * @return how many; or -1 with errno: EAGAIN (timeout_ms is 0 and none are there), ETIMEDOUT, EPIPE (none are left,
 *         and the peer has gone), EPROTO, EINTR, ESHUTDOWN, EINVAL
 */
ssize_t vchan_rs_read(struct libxenvchan *ctrl,
                      void *data,
                      size_t size,
                      int timeout_ms);

/**
 * Writes, waiting for space as often as it takes. Does not look at the blocking flag.
 *
 * @param ctrl       the channel
 * @param data       what
 * @param size       how many bytes
 * @param timeout_ms how long to wait for the peer at most, each time, in milliseconds: 0 not at all, negative for as
 *                   long as it takes
 * @return how many were written, less than size where it could not go on: the next call says why. Or, where none
 *         were, -1 with errno: EAGAIN (timeout_ms is 0 and there is no space), ETIMEDOUT, EPIPE (the peer has gone),
 *         EPROTO, EINTR, ESHUTDOWN, EINVAL
 */
ssize_t vchan_rs_write(struct libxenvchan *ctrl,
                       const void *data,
                       size_t size,
                       int timeout_ms);

/**
 * Waits for an event, as libxenvchan_wait() does, at most for a while.
 *
 * @param ctrl       the channel
 * @param timeout_ms how long at most, in milliseconds; negative for as long as it takes
 * @return 0, or -1 with errno: ETIMEDOUT, and as libxenvchan_wait()
 */
int vchan_rs_wait(struct libxenvchan *ctrl, int timeout_ms);

/**
 * Sends the peer an event, asked for or not.
 *
 * @param ctrl the channel
 * @return 0, or -1 with errno
 */
int vchan_rs_notify(struct libxenvchan *ctrl);

/**
 * Moves bytes from the channel to a descriptor, straight out of the ring: one writev().
 *
 * A descriptor that blocks keeps this waiting for longer than timeout_ms. After fewer bytes than max, the channel's descriptor
 * becomes readable when there is more, at once where fd took less than there was. After EAGAIN, fd is the one to poll where
 * libxenvchan_data_ready() is not 0.
 *
 * @param ctrl       the channel
 * @param fd         where to
 * @param max        at most how many bytes
 * @param timeout_ms how long to wait for data at most, in milliseconds: 0 not at all, negative for as long as it takes
 * @return how many; or -1 with errno as vchan_rs_read(), or as writev() (also EAGAIN, where the descriptor is
 *         non-blocking); nothing is lost then
 */
ssize_t vchan_rs_read_to_fd(struct libxenvchan *ctrl,
                            int fd,
                            size_t max,
                            int timeout_ms);

/**
 * Moves bytes from a descriptor to the channel, straight into the ring: one readv().
 *
 * A descriptor that blocks keeps this waiting for longer than timeout_ms. After fewer bytes than max, the channel's descriptor
 * becomes readable when there is space, at once where fd gave less than there was space for. After EAGAIN, fd is the one to
 * poll where libxenvchan_buffer_space() is not 0.
 *
 * @param ctrl       the channel
 * @param fd         where from
 * @param max        at most how many bytes
 * @param timeout_ms how long to wait for space at most, in milliseconds: 0 not at all, negative for as long as it
 *                   takes
 * @return how many; 0 at the end of the file; or -1 with errno as vchan_rs_write(), or as readv() (also EAGAIN, where
 *         the descriptor is non-blocking)
 */
ssize_t vchan_rs_write_from_fd(struct libxenvchan *ctrl,
                               int fd,
                               size_t max,
                               int timeout_ms);

/**
 * Shows the bytes that can be read, where they lie in the ring.
 *
 * The peer can still change them: copy before you check. They stay there until vchan_rs_consume() gives their space
 * back, or the channel is closed. Not together with other reading calls in another thread. Poll the channel's descriptor only
 * after EAGAIN or ETIMEDOUT: until then more may have come without an event.
 *
 * @param ctrl       the channel
 * @param parts      gets the two parts of it; the second is empty unless the data goes round the ring's end
 * @param min        at least how many bytes to wait for: 1 to the ring's size
 * @param timeout_ms how long at most, in milliseconds: 0 not at all, negative for as long as it takes
 * @return how many there are in both parts, at least min (there may be more by now); or -1 with errno: EAGAIN,
 *         ETIMEDOUT, EPIPE (less than min are left, and the peer has gone), EPROTO, EINTR, ESHUTDOWN, EINVAL
 */
ssize_t vchan_rs_borrow(struct libxenvchan *ctrl,
                        struct iovec *parts,
                        size_t min,
                        int timeout_ms);

/**
 * Gives bytes of vchan_rs_borrow() back to the peer as space, from the beginning.
 *
 * @param ctrl the channel
 * @param size how many: not more than there are
 * @return 0, or -1 with errno: EINVAL (more than there are), EPROTO, ESHUTDOWN
 */
int vchan_rs_consume(struct libxenvchan *ctrl, size_t size);

/**
 * Shows the space that can be written, where it lies in the ring.
 *
 * The peer sees nothing of what is written there until vchan_rs_commit(). Not together with other writing calls in
 * another thread. Poll the channel's descriptor only after EAGAIN or ETIMEDOUT, as for vchan_rs_borrow().
 *
 * @param ctrl       the channel
 * @param parts      gets the two parts of it; the second is empty unless the space goes round the ring's end
 * @param min        at least how many bytes to wait for: 1 to the ring's size
 * @param timeout_ms how long at most, in milliseconds: 0 not at all, negative for as long as it takes
 * @return how many there are in both parts, at least min (there may be more by now); or -1 with errno: EAGAIN,
 *         ETIMEDOUT, EPIPE (the peer has gone), EPROTO, EINTR, ESHUTDOWN, EINVAL
 */
ssize_t vchan_rs_reserve(struct libxenvchan *ctrl,
                         struct iovec *parts,
                         size_t min,
                         int timeout_ms);

/**
 * Publishes what was written into the space of vchan_rs_reserve(), from the beginning.
 *
 * @param ctrl the channel
 * @param size how many bytes: not more than there is space
 * @return 0, or -1 with errno: EINVAL (more than there is space), EPROTO, ESHUTDOWN
 */
int vchan_rs_commit(struct libxenvchan *ctrl, size_t size);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* VCHAN_RS_H */
