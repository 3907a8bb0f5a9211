/* The two directions, one thread each. Data moves directly between the file descriptor and the ring. */
#ifndef CATS_PUMP_H
#define CATS_PUMP_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <vchan-rs.h>

#include "messages.h"
#include "meter.h"

/* Why sending ended. */
enum send_end {
    /* EOF on standard input; unless the peer has gone, it has consumed everything. */
    SEND_END_OF_INPUT,
    /* No standard input, or an unusable one: then with the error of reading it. */
    SEND_NO_INPUT,
    /* Stopped; the peer has consumed everything that was read. */
    SEND_STOPPED,
    /* The peer closed or died; the receiving pump knows which. */
    SEND_PEER_GONE,
    /* Standard input or the channel failed. */
    SEND_FAILED,
};

/* Why receiving ended. */
enum receive_end {
    /* The peer left cleanly and all its data has been delivered. */
    RECEIVE_PEER_LEFT,
    /* Stopped. */
    RECEIVE_STOPPED,
    /* Standard output or the channel failed, or the peer died. */
    RECEIVE_FAILED,
};

/* Events for the thread that decides on the end. */
struct events {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* Number of signals so far; whether standard output has lost its reader. */
    unsigned int signals;
    bool output_lost;
    /* The peer has half-closed and all its data has been delivered. It still receives. */
    bool finished;
    /* Whether the pumps have ended, and how. */
    bool sent, received;
    enum send_end send_end;
    /* Whether EOF was reached on standard input. */
    bool input_over;
    enum receive_end receive_end;
    struct failure send_failure, receive_failure;
    /* The error of reading an unusable standard input, or 0. */
    int no_input;
};

/* State shared by both pumps of a conversation. */
struct pump_context {
    struct libxenvchan *ctrl;
    /* Standard input, or -1 to send nothing; standard output. */
    int input, output;
    /* Whether to half-close at EOF on standard input. */
    bool half_closes;
    /* Whether received data is used. */
    bool receives;
    /* How often to check that the peer still consumes after EOF on standard input; negative for never. */
    int drain_poll_ms;
    struct meter meter;
    struct events events;
    /* Readable when the pumps must stop. */
    int wake;
    atomic_bool stopped;
};

struct pumps {
    pthread_t send, receive;
    bool sending, receiving;
};

/* Makes pumps_interrupt() effective. Returns 0 or an errno. */
int prepare_to_interrupt(void);

/* Starts both pumps. Returns 0 or an errno; on error one may be running. */
int pumps_start(struct pumps *pumps, struct pump_context *context);
/* Whether the started threads have ended or are about to. */
bool pumps_have_ended(const struct pumps *pumps, struct pump_context *context);
/* Interrupts reads and writes that block although poll reported readiness. */
void pumps_interrupt(const struct pumps *pumps, struct pump_context *context);
/* Joins the ended threads, or detaches them. */
void pumps_join(const struct pumps *pumps);
void pumps_abandon(const struct pumps *pumps);

/* Whether standard input is a terminal. Everything typed there has been sent. */
bool reads_terminal(const struct pump_context *context);
/* How long to wait for EOF on standard input after a peer that consumed everything has left, in milliseconds. */
#define GRACE 500
/* Whether standard input has unsent data, now that no peer consumes it. Waits up to grace milliseconds for EOF. An
 * idle terminal has none. */
bool has_more_input(const struct pump_context *context, int grace);

/* Ends waits for standard input and output. Waits on the ring are ended by a closer. */
void pumps_stop(struct pump_context *context);

#endif
