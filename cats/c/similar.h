/* Suggestions for misspelt options. */
#ifndef CATS_SIMILAR_H
#define CATS_SIMILAR_H

#include <stddef.h>

/* The distance of the text from the name: 0 for a prefix, otherwise the number of slips. SIZE_MAX for more than
 * one slip per three letters, or more than two in all. */
size_t slips(const char *text, size_t length, const char *name);

#endif
