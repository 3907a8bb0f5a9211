/* The two directions, one thread each. Data goes straight between the descriptor and the ring. */
#ifndef CATS_PUMP_H
#define CATS_PUMP_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <vchan-rs.h>

#include "messages.h"
#include "meter.h"

/* Why nothing more is sent. */
enum send_end {
    /* Standard input has ended; unless the peer went away, it has got everything. */
    SEND_END_OF_INPUT,
    /* There is no standard input, or none in truth: then with the error of reading it. */
    SEND_NO_INPUT,
    /* It was asked to stop, and the peer has got what had been read. */
    SEND_STOPPED,
    /* The peer closed or died: the receiving pump knows which. */
    SEND_PEER_GONE,
    /* Standard input or the channel failed. */
    SEND_FAILED,
};

/* Why nothing more is received. */
enum receive_end {
    /* The peer left in order, and everything it wrote has been delivered. */
    RECEIVE_PEER_LEFT,
    /* It was asked to stop. */
    RECEIVE_STOPPED,
    /* Standard output or the channel failed, or the peer died. */
    RECEIVE_FAILED,
};

/* What the pumps, and others, tell the thread that decides on the end. */
struct news {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* How many signals have asked for the end; and whether nobody reads the output any more. */
    unsigned int asked;
    bool output_lost;
    /* Whether the peer has ended its stream, all of which has been delivered. It listens on. */
    bool finished;
    /* Whether the pumps have ended, and how. */
    bool sent, received;
    enum send_end send_end;
    /* Whether standard input has ended, whatever became of what it gave. */
    bool input_over;
    enum receive_end receive_end;
    struct failure send_failure, receive_failure;
    /* The error of reading a standard input that is none, or 0. */
    int no_input;
};

/* What both pumps of a conversation need. */
struct course {
    struct libxenvchan *ctrl;
    /* Standard input, or -1 for nothing; standard output. */
    int input, output;
    /* Whether to end this side's stream with standard input: the peer may understand that. */
    bool half_closes;
    /* Whether what comes in is wanted. */
    bool receives;
    /* How often to look whether the peer still consumes, after standard input has ended; negative for never. */
    int look_ms;
    struct meter meter;
    struct news news;
    /* Readable when the pumps are to stop. */
    int wake;
    atomic_bool stopped;
};

struct pumps {
    pthread_t send, receive;
    bool sending, receiving;
};

/* Lets pumps_interrupt() work. Returns 0 or an errno. */
int prepare_to_interrupt(void);

/* Starts both pumps. Returns 0 or an errno; one may run all the same. */
int pumps_start(struct pumps *pumps, struct course *course);
/* Whether the threads that were started have ended, or are about to. */
bool pumps_have_ended(const struct pumps *pumps, struct course *course);
/* Interrupts the pumps' reads and writes of descriptors that are not ready after all. */
void pumps_interrupt(const struct pumps *pumps, struct course *course);
/* Waits for the threads, which have ended; or lets go of them. */
void pumps_join(const struct pumps *pumps);
void pumps_abandon(const struct pumps *pumps);

/* Whether somebody types standard input, and all that has been typed has been sent. */
bool reads_terminal(const struct course *course);
/* How long standard input may take to come to its end after a peer that took everything has left, in milliseconds. */
#define GRACE 500
/* Whether standard input has something left to send, now that nobody takes it any more. It may still come to its end for
 * grace milliseconds. A terminal where nobody has typed anything has nothing. */
bool has_more_input(const struct course *course, int grace);

/* Ends the pumps' wait for standard input or output. Who waits for the ring is stopped by a closer. */
void course_stop(struct course *course);

#endif
