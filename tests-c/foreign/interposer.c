/* An example of another preload: records in the file INTERPOSED that a channel was closed, and forwards the
 * call. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

struct libxenvchan;
void libxenvchan_close(struct libxenvchan *ctrl);

void libxenvchan_close(struct libxenvchan *ctrl)
{
    void (*next)(struct libxenvchan *) = (void (*)(struct libxenvchan *))dlsym(RTLD_NEXT, "libxenvchan_close");
    FILE *file = fopen(getenv("INTERPOSED"), "a");

    if (file) {
        fputs("closed\n", file);
        fclose(file);
    }
    next(ctrl);
}
