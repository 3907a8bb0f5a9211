/* A connection to xenstore. */
#ifndef XENSHIM_STORE_H
#define XENSHIM_STORE_H

#include "shim.h"

#include <limits.h>

#define MAX_PENDING 16
#define MAX_WATCHES 8

struct pending {
    char name[NAME_MAX + 1];
    char *value;
    unsigned int len;
};

struct watch {
    char name[NAME_MAX + 1]; /* the node's file */
    char *path, *token;
    bool fires;
};

struct xs_handle {
    bool in_transaction;
    unsigned int count;
    struct pending writes[MAX_PENDING];
    int watch_fd; /* inotify on the store; -1: no watch yet */
    unsigned int watches;
    struct watch watch[MAX_WATCHES];
};

/* The file name of a node; a relative path is below the domain's own. */
int node_name(const char *path, char name[NAME_MAX + 1]);

void drop_watches(struct xs_handle *xs);

#endif
