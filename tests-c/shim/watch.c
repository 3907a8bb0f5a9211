/* Xenstore watches: inotify on the directory of nodes. */
#include "store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>
#include <xenstore.h>

static int open_watch_fd(void)
{
    char store[64];
    int fd = inotify_init1(IN_CLOEXEC);

    snprintf(store, sizeof(store), "/proc/self/fd/%d", shim_store_fd);
    if (fd >= 0 && inotify_add_watch(fd, store, IN_MOVED_TO | IN_DELETE) < 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

/* A new watch fires once at the start. */
bool xs_watch(struct xs_handle *xs, const char *path, const char *token)
{
    struct watch *w = &xs->watch[xs->watches];

    if (xs->watches == MAX_WATCHES) {
        errno = ENOSPC;
        return false;
    }
    if (node_name(path, w->name) || (xs->watch_fd < 0 && (xs->watch_fd = open_watch_fd()) < 0))
        return false;
    w->path = strdup(path);
    w->token = strdup(token);
    if (!w->path || !w->token) {
        free(w->path);
        free(w->token);
        return false;
    }
    w->fires = true;
    xs->watches++;
    return true;
}

void drop_watches(struct xs_handle *xs)
{
    while (xs->watches) {
        struct watch *w = &xs->watch[--xs->watches];
        free(w->path);
        free(w->token);
    }
    if (xs->watch_fd >= 0)
        close(xs->watch_fd);
    xs->watch_fd = -1;
}

/* A change of a file fires the watches of its node and of the ancestors. */
static void set_off(struct xs_handle *xs, const char *file)
{
    for (unsigned int n = 0; n < xs->watches; n++) {
        size_t len = strlen(xs->watch[n].name);
        if (!strncmp(file, xs->watch[n].name, len) && (file[len] == '\0' || file[len] == '%'))
            xs->watch[n].fires = true;
    }
}

static struct watch *next_firing(struct xs_handle *xs)
{
    for (unsigned int n = 0; n < xs->watches; n++) {
        if (xs->watch[n].fires)
            return &xs->watch[n];
    }
    return NULL;
}

static int read_changes(struct xs_handle *xs)
{
    _Alignas(struct inotify_event) char events[4096];
    ssize_t got = read(xs->watch_fd, events, sizeof(events));

    for (char *at = events; at < events + got;) {
        const struct inotify_event *event = (const void *)at;
        if (event->len)
            set_off(xs, event->name);
        at += sizeof(*event) + event->len;
    }
    return got > 0 ? 0 : -1;
}

/* The path and the token, in one block of memory. The path is the watched one, also for a change below it. */
char **xs_read_watch(struct xs_handle *xs, unsigned int *num)
{
    size_t path_size, token_size;
    struct watch *w;
    char **pair;

    while (!(w = next_firing(xs))) {
        if (read_changes(xs))
            return NULL;
    }
    path_size = strlen(w->path) + 1;
    token_size = strlen(w->token) + 1;
    pair = malloc(2 * sizeof(*pair) + path_size + token_size);
    if (!pair)
        return NULL;
    w->fires = false;
    pair[XS_WATCH_PATH] = memcpy(pair + 2, w->path, path_size);
    pair[XS_WATCH_TOKEN] = memcpy((char *)(pair + 2) + path_size, w->token, token_size);
    *num = 2;
    return pair;
}
