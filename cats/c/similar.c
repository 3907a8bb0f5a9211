#include "similar.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* The longest text and name compared. */
#define LONGEST 24

static char plain(char byte)
{
    if (byte == '_')
        return '-';
    return byte >= 'A' && byte <= 'Z' ? (char)(byte - 'A' + 'a') : byte;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Edit distance: insertions, deletions, replacements and swaps of neighbours. */
static size_t distance(const char *a, size_t a_length, const char *b, size_t b_length)
{
    size_t rows[LONGEST + 1][LONGEST + 1];

    for (size_t i = 0; i <= a_length; i++) {
        for (size_t j = 0; j <= b_length; j++) {
            if (i == 0 || j == 0) {
                rows[i][j] = i + j;
                continue;
            }
            rows[i][j] = least(rows[i - 1][j - 1] + (a[i - 1] != b[j - 1]), 1 + least(rows[i - 1][j], rows[i][j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                rows[i][j] = least(rows[i][j], 1 + rows[i - 2][j - 2]);
        }
    }
    return rows[a_length][b_length];
}

size_t slips(const char *text, size_t length, const char *name)
{
    size_t count, name_length = strlen(name);
    char given[LONGEST];

    if (length == 0 || length > LONGEST || name_length > LONGEST)
        return SIZE_MAX;
    for (size_t n = 0; n < length; n++)
        given[n] = plain(text[n]);
    if (length <= name_length && !memcmp(given, name, length))
        return 0;
    count = distance(given, length, name, name_length);
    return count <= 2 && 3 * count <= length ? count : SIZE_MAX;
}
