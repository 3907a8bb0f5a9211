/* SIGINT, SIGTERM and SIGHUP: a request to end, passed to whatever is going on at the moment. */
#ifndef CATS_SIGNALS_H
#define CATS_SIGNALS_H

#include <stdbool.h>

/* Catches the signals from now on. Once, before there are other threads. Returns 0 or an errno. */
int catch_signals(void);

/* Whether a signal has come. */
bool signal_came(void);

/* From now on, listener(arg) is called for each signal, and at once if one has come already; NULL for nobody. When
 * this returns, the listener before is not being called and won't be. */
void direct_signals(void (*listener)(void *), void *arg);

#endif
