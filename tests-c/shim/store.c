/* Xenstore: one file per node, replaced atomically. '/' in a node's path is '%' in the file's name. */
#include "store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xenstore.h>

int node_name(const char *path, char name[NAME_MAX + 1])
{
    int len = path[0] == '/' ? snprintf(name, NAME_MAX + 1, "%s", path)
                             : snprintf(name, NAME_MAX + 1, "/local/domain/%u/%s", shim_domid(), path);

    if (len > NAME_MAX) {
        errno = ENAMETOOLONG;
        return -1;
    }
    for (char *at = name; (at = strchr(at, '/'));)
        *at = '%';
    return 0;
}

static int put_node(const char *name, const void *value, unsigned int len)
{
    static _Atomic unsigned int counter;
    char temporary[64];
    int fd, rc;

    snprintf(temporary, sizeof(temporary), ".%d.%u", (int)getpid(), atomic_fetch_add(&counter, 1));
    fd = openat(shim_store_fd, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return -1;
    rc = write(fd, value, len) == (ssize_t)len ? 0 : -1;
    close(fd);
    if (!rc)
        rc = renameat(shim_store_fd, temporary, shim_store_fd, name);
    if (rc)
        unlinkat(shim_store_fd, temporary, 0);
    return rc;
}

static void drop_writes(struct xs_handle *xs)
{
    while (xs->count)
        free(xs->writes[--xs->count].value);
}

struct xs_handle *xs_open(unsigned long flags)
{
    struct xs_handle *xs = shim_machine() ? calloc(1, sizeof(*xs)) : NULL;

    (void)flags;
    if (xs)
        xs->watch_fd = -1;
    return xs;
}

void xs_close(struct xs_handle *xs)
{
    if (!xs)
        return;
    drop_writes(xs);
    drop_watches(xs);
    free(xs);
}

xs_transaction_t xs_transaction_start(struct xs_handle *xs)
{
    if (xs->in_transaction) {
        errno = EBUSY;
        return XBT_NULL;
    }
    xs->in_transaction = true;
    return 1;
}

/* The last write becomes visible first: a reader that reads the nodes in the order of writing, and finds the first
 * one, finds all of them. */
bool xs_transaction_end(struct xs_handle *xs, xs_transaction_t t, bool abort)
{
    bool ok = t == 1 && xs->in_transaction;

    for (unsigned int n = xs->count; ok && !abort && n-- > 0;)
        ok = !put_node(xs->writes[n].name, xs->writes[n].value, xs->writes[n].len);
    drop_writes(xs);
    xs->in_transaction = false;
    return ok;
}

bool xs_write(struct xs_handle *xs, xs_transaction_t t, const char *path, const void *data, unsigned int len)
{
    char name[NAME_MAX + 1];
    struct pending *p = &xs->writes[xs->count];

    if (node_name(path, name))
        return false;
    if (t == XBT_NULL)
        return !put_node(name, data, len);
    if (xs->count == MAX_PENDING) {
        errno = ENOSPC;
        return false;
    }
    p->value = malloc(len ? len : 1);
    if (!p->value)
        return false;
    memcpy(p->value, data, len);
    memcpy(p->name, name, sizeof(name));
    p->len = len;
    xs->count++;
    return true;
}

static void *own_domid(unsigned int *len)
{
    char *text = NULL;
    int got = asprintf(&text, "%u", shim_domid());

    if (got < 0)
        return NULL;
    if (len)
        *len = (unsigned int)got;
    return text;
}

void *xs_read(struct xs_handle *xs, xs_transaction_t t, const char *path, unsigned int *len)
{
    char name[NAME_MAX + 1];
    struct stat st;
    char *text = NULL;
    int fd;

    (void)xs, (void)t;
    if (!strcmp(path, "domid"))
        return own_domid(len);
    if (node_name(path, name) || (fd = openat(shim_store_fd, name, O_RDONLY | O_CLOEXEC)) < 0)
        return NULL;
    if (!fstat(fd, &st) && (text = calloc(1, (size_t)st.st_size + 1))) {
        ssize_t got = read(fd, text, (size_t)st.st_size);
        if (got < 0) {
            free(text);
            text = NULL;
        } else if (len) {
            *len = (unsigned int)got;
        }
    }
    close(fd);
    return text;
}

/* Removes the node and its descendants. */
bool xs_rm(struct xs_handle *xs, xs_transaction_t t, const char *path)
{
    char name[NAME_MAX + 1];
    struct dirent *entry;
    size_t len;
    bool found;
    DIR *dir;
    int fd;

    (void)xs, (void)t;
    if (node_name(path, name))
        return false;
    found = !unlinkat(shim_store_fd, name, 0);
    fd = openat(shim_store_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        if (fd >= 0)
            close(fd);
        return false;
    }
    len = strlen(name);
    while ((entry = readdir(dir))) {
        if (!strncmp(entry->d_name, name, len) && entry->d_name[len] == '%')
            found |= !unlinkat(shim_store_fd, entry->d_name, 0);
    }
    closedir(dir);
    if (!found)
        errno = ENOENT;
    return found;
}

bool xs_set_permissions(struct xs_handle *xs, xs_transaction_t t, const char *path, struct xs_permissions *perms,
                        unsigned int count)
{
    (void)xs, (void)t, (void)path, (void)perms;
    return count > 0;
}
