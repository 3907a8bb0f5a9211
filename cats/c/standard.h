/* The standard streams as this process got them. */
#ifndef CATS_STANDARD_H
#define CATS_STANDARD_H

#include <stdbool.h>

/* Notes which of the three are closed, and opens /dev/null on these: nothing else must come under their numbers. */
void open_standard_streams(void);
/* Whether one of them was closed. */
bool was_closed(int fd);
/* Whether somebody reads what is written to output, who may go: it is a pipe or a socket. */
bool has_reader(int output);
/* Whether the errno of a read says that input is none: not open for reading, or a terminal that has been lost. */
bool is_no_input(int input, int error);

#endif
