/* Channels in sequence, and their number: see cycles.c. */
#ifndef CYCLES_H
#define CYCLES_H

/* One life of a channel, with sizes by its number. */
void live_once(int number);
void live_once_of_two(int number);

void cycles(int count);
void cycles_of_two(int count);

#endif
