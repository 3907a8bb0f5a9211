/* What ends the tool at any moment: SIGINT, SIGTERM, SIGHUP, or the loss of standard output's reader. */
#ifndef CATS_SIGNALS_H
#define CATS_SIGNALS_H

#include <stdbool.h>

/* Catches the signals from now on. Call once, before other threads exist. Returns 0 or an errno. */
int catch_signals(void);

/* Watches for the loss of the reader of output, a pipe or a socket. Returns 0 or an errno. */
int watch_output(int output);

/* Whether a signal has arrived. */
bool signal_received(void);
/* Whether standard output has lost its reader; never after a signal. */
bool output_is_lost(void);

/* Why the tool ends. */
enum reason {
    /* A signal. */
    REASON_SIGNAL,
    /* Standard output has lost its reader. */
    REASON_OUTPUT_LOST,
};

/* Calls listener(arg, reason) for each reason from now on, and at once for those already recorded; NULL for none.
 * On return the previous listener is not running and won't be called again. */
void set_signal_listener(void (*listener)(void *, enum reason), void *arg);

#endif
