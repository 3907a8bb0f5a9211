/* by_name NAME: a program that loads libxenvchan by name at run time, and acts as a server without a client. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct libxenvchan;
typedef struct libxenvchan *init(void *, int, const char *, size_t, size_t);
typedef int state(struct libxenvchan *);
typedef void end(struct libxenvchan *);

static void *function(void *library, const char *name)
{
    void *found = dlsym(library, name);

    if (!found) {
        fprintf(stderr, "by_name: %s\n", dlerror());
        exit(1);
    }
    return found;
}

int main(int argc, char **argv)
{
    /* Makes the libraries already loaded irrelevant. */
    void *library = argc > 1 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND) : NULL;
    struct libxenvchan *server;

    if (!library) {
        fprintf(stderr, "by_name: %s\n", dlerror());
        return 1;
    }
    init *server_init = (init *)function(library, "libxenvchan_server_init");
    state *is_open = (state *)function(library, "libxenvchan_is_open");
    end *finish = (end *)function(library, "libxenvchan_close");

    server = server_init(NULL, 0, "/vchan/by-name", 1024, 1024);
    if (!server || is_open(server) != 2) {
        perror("by_name: libxenvchan_server_init");
        return 1;
    }
    finish(server);
    puts("by_name: all well");
    return 0;
}
