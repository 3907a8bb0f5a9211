/* The standard streams as inherited by this process. */
#ifndef CATS_STANDARD_H
#define CATS_STANDARD_H

#include <stdbool.h>

/* Records which of the three are closed, and opens /dev/null for them: no other file must get their numbers. */
void open_standard_streams(void);
/* Whether a stream was closed. */
bool was_closed(int fd);
/* Whether output has a reader that can go away: it is a pipe or a socket. */
bool has_reader(int output);
/* Whether the errno of a read means that input is unusable: not open for reading, or a hung-up terminal. */
bool is_no_input(int input, int error);

#endif
