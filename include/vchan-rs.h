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
 * For vchan_rs_options.flags: sets blocking.
 */
#define VCHAN_RS_BLOCKING 1

/**
 * For vchan_rs_options.flags: sets server_persist.
 */
#define VCHAN_RS_PERSIST 2

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
     * How long a blocking call looks for the peer's move before it sleeps, at most, in microseconds: 0 for the usual
     * time, negative for not at all.
     */
    int spin_us;
    /**
     * 0, or VCHAN_RS_BLOCKING and VCHAN_RS_PERSIST: what the flags of these names in struct libxenvchan are to be.
     */
    unsigned int flags;
    /**
     * Must be 0.
     */
    unsigned int reserved;
};

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * The library's version, as "0.1.0".
 */
const char *vchan_rs_version(void);

/**
 * One line about the last call in this thread that failed: which call, and why.
 *
 * @return the text, "" if none has failed; valid until the next failure in this thread
 */
const char *vchan_rs_last_error(void);

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
 * @return 0, or -1 with errno: ETIMEDOUT, EPIPE (a client came and went at once), EINTR, EPROTO, ESHUTDOWN, EINVAL
 */
int vchan_rs_accept(struct libxenvchan *ctrl,
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
 * A descriptor that blocks keeps this waiting for longer than timeout_ms.
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
 * A descriptor that blocks keeps this waiting for longer than timeout_ms.
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
 * back, or the channel is closed. Not together with other reading calls in another thread.
 *
 * @param ctrl       the channel
 * @param parts      gets the two parts of it; the second is empty unless the data goes round the ring's end
 * @param min        at least how many bytes to wait for: 1 to the ring's size
 * @param timeout_ms how long at most, in milliseconds: 0 not at all, negative for as long as it takes
 * @return how many there are in both parts; or -1 with errno: EAGAIN, ETIMEDOUT, EPIPE (less than min are left, and the
 *         peer has gone), EPROTO, EINTR, ESHUTDOWN, EINVAL
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
 * another thread.
 *
 * @param ctrl       the channel
 * @param parts      gets the two parts of it; the second is empty unless the space goes round the ring's end
 * @param min        at least how many bytes to wait for: 1 to the ring's size
 * @param timeout_ms how long at most, in milliseconds: 0 not at all, negative for as long as it takes
 * @return how many there are in both parts; or -1 with errno: EAGAIN, ETIMEDOUT, EPIPE (the peer has gone), EPROTO,
 *         EINTR, ESHUTDOWN, EINVAL
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
