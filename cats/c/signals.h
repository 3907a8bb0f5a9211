/* What ends whatever is going on at the moment: SIGINT, SIGTERM and SIGHUP, or the end of the program that reads our
 * output. */
#ifndef CATS_SIGNALS_H
#define CATS_SIGNALS_H

#include <stdbool.h>

/* Catches the signals from now on. Once, before there are other threads. Returns 0 or an errno. */
int catch_signals(void);

/* Watches from now on whether somebody reads output, a pipe or a socket. Returns 0 or an errno. */
int watch_output(int output);

/* Whether a signal has come. */
bool signal_came(void);
/* Whether nobody reads the output any more; never once a signal has come. */
bool output_is_lost(void);

/* Why to end. */
enum reason {
    /* A signal asks for it. */
    ASKED,
    /* Nobody reads the output any more. */
    OUTPUT_LOST,
};

/* From now on, listener(arg, reason) is called for each reason, and at once for what has come already; NULL for nobody. When
 * this returns, the listener before is not being called and won't be. */
void direct_signals(void (*listener)(void *, enum reason), void *arg);

#endif
