/* What was meant by a misspelt option. */
#ifndef CATS_SIMILAR_H
#define CATS_SIMILAR_H

#include <stddef.h>

/* How far the text is from the name: 0 where it is the name's beginning, else one for each slip. SIZE_MAX where it is
 * not similar: more than one slip in three letters, or two. */
size_t slips(const char *text, size_t length, const char *name);

#endif
