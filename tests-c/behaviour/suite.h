/*
 * Declarations shared by the behaviour suite. It uses only the public API and POSIX, so the same
 * sources run over any implementation of libxenvchan.
 *
 * A test runs in its own process, the tested side, with a forked peer. It prints result lines
 * "name: at=LABEL key=value ...", without pids, addresses or times, so that runs are comparable.
 */
#ifndef SUITE_H
#define SUITE_H

#include <libxenvchan.h>

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define RING_MAX (1u << 20)

/* --- tests --- */
typedef void (*test_fn)(const void *arg);
/* The name is copied, the argument is not. */
void add_test(test_fn run, const void *arg, const char *name, ...) __attribute__((format(printf, 3, 4)));
void add_lifecycle_tests(void);
void add_cell_tests(void);
void add_error_tests(void);
void add_order_tests(void);
void add_wakeup_tests(void);
void add_server_tests(void);
void add_large_call_tests(void);
void add_thread_tests(void);
void add_corrupt_tests(void);
void add_killed_tests(void);
void add_qubes_tests(void);
void add_qrexec_tests(void);
void add_signal_tests(void);
void add_interrupted_tests(void);

/* --- results --- */
void result(const char *at, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Failures under any implementation, such as a wrong byte or a lost message. */
void check(bool holds, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool any_check_failed(void);
const char *errno_name(int value);
/* "ret=N", or "ret=-1 errno=NAME". In a static buffer of the thread. */
const char *outcome(int ret, int error);

/* --- a channel with a peer process --- */
enum role { SERVER, CLIENT };
extern const char *const role_names[];

struct end {
    struct libxenvchan *ctrl;
    enum role role;
    bool is_peer;      /* the forked process, not the tested one */
    int sock;          /* to the other process: words in order */
    pid_t other;       /* the other process */
    atomic_int *calling; /* shared: the tested side is in the call that may block */
    uint64_t sent, got; /* positions in the two streams of pattern bytes */
    char path[64];
};

typedef void (*end_fn)(struct end *e, const void *arg);
/* Forks the peer and runs both functions; returns when the tested one has returned and the peer has exited. */
void with_peer(enum role tested, end_fn tested_side, end_fn peer_side, const void *arg);

/* A path that no other test uses. */
void new_path(char *path, size_t size);
void open_server(struct end *e, size_t read_min, size_t write_min);
void open_client(struct end *e);
/* Called by both sides: opens the channel, the server first. Sizes are the tested side's rings. */
void open_both(struct end *e, size_t read_min, size_t write_min);
void close_end(struct end *e);

void tell(struct end *e, int word);
int hear(struct end *e);
/* tell and hear: both sides have reached this point. */
void meet(struct end *e);

unsigned int read_ring(const struct end *e);
unsigned int write_ring(const struct end *e);

/* Sends pattern bytes without blocking; returns how many. */
size_t put_some(struct end *e, size_t size);
/* Receives and checks available data, up to size; returns how many bytes. */
size_t take_some(struct end *e, size_t size);
void fill_pattern(uint8_t *at, size_t size, uint64_t position);
bool is_pattern(const uint8_t *at, size_t size, uint64_t position);

/* Consumes pending events, so that the next one is new. */
void drain_events(struct libxenvchan *ctrl);
bool fd_readable(int fd, int milliseconds);

/* --- watching a process or a thread --- */
enum watched { SPOKE, ASLEEP };
/* Brackets the tested side's call that its peer watches. */
void enter_call(struct end *e);
void leave_call(struct end *e);
/* Waits until the other process has sent a word, or its thread has entered the call and sleeps. */
enum watched watch(struct end *e, pid_t thread);
/* Whether the thread sleeps in a system call now. */
bool thread_sleeps(pid_t process, pid_t thread);
/* The number of checks, a millisecond apart, that must find it asleep: longer than any short sleep. */
#define LOOKS 12
/* Waits until a thread of the given process sleeps in a system call. */
void await_asleep(pid_t process, pid_t thread);

#endif
