/* The machine: finding it, creating it, its lock. */
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const char MAGIC[8] = "xenshm1";

int shim_grants_fd = -1, shim_table_fd = -1, shim_store_fd = -1;

static struct machine *the_machine;
static int open_error;

uint16_t shim_domid(void)
{
    const char *text = getenv("XENSHIM_DOMID");
    return text ? (uint16_t)strtoul(text, NULL, 10) : 0;
}

uint16_t shim_resolve(uint32_t domid)
{
    return domid == SHIM_DOMID_SELF ? shim_domid() : (uint16_t)domid;
}

static struct machine *map_machine(int fd)
{
    void *at = mmap(NULL, sizeof(struct machine), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    return at == MAP_FAILED ? NULL : at;
}

static int fill_machine(int fd)
{
    pthread_mutexattr_t attr;
    struct machine *m;

    if (ftruncate(fd, sizeof(*m)))
        return -1;
    m = map_machine(fd);
    if (!m)
        return -1;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&m->lock, &attr);
    pthread_mutexattr_destroy(&attr);
    m->next_grant = SHIM_FIRST_GRANT;
    m->next_port = 1;
    memcpy(m->magic, MAGIC, sizeof(MAGIC));
    return munmap(m, sizeof(*m));
}

/* Created under another name and then linked, so that it is never visible half-initialised; losing the race to
 * another process is fine. */
static int make_machine(const char *dir, const char *path)
{
    char temporary[PATH_MAX];
    int fd, rc = -1;

    snprintf(temporary, sizeof(temporary), "%s/machine.XXXXXX", dir);
    fd = mkstemp(temporary);
    if (fd < 0)
        return -1;
    if (!fill_machine(fd))
        rc = link(temporary, path);
    if (rc && errno == EEXIST)
        rc = 0;
    unlink(temporary);
    close(fd);
    return rc;
}

static int open_in(const char *dir, const char *name, int flags)
{
    char path[PATH_MAX];

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    if ((flags & O_DIRECTORY) && mkdir(path, 0700) && errno != EEXIST)
        return -1;
    return open(path, flags | O_CLOEXEC, 0600);
}

static int open_machine(const char *dir)
{
    char path[PATH_MAX];
    struct machine *m;
    int fd;

    if (strlen(dir) > PATH_MAX - 32) {
        errno = ENAMETOOLONG;
        return -1;
    }
    snprintf(path, sizeof(path), "%s/machine", dir);
    if (access(path, F_OK) && make_machine(dir, path))
        return -1;
    fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return -1;
    m = map_machine(fd);
    close(fd);
    if (!m)
        return -1;
    if (memcmp(m->magic, MAGIC, sizeof(MAGIC))) {
        errno = EPROTO;
        return -1;
    }
    shim_grants_fd = open_in(dir, "grants", O_RDWR | O_CREAT);
    shim_table_fd = open_in(dir, "grant-table", O_RDWR | O_CREAT);
    shim_store_fd = open_in(dir, "store", O_RDONLY | O_DIRECTORY);
    if (shim_grants_fd < 0 || shim_table_fd < 0 || shim_store_fd < 0)
        return -1;
    the_machine = m;
    return 0;
}

static void open_once(void)
{
    const char *dir = getenv("XENSHIM_DIR");

    if (!dir) {
        fprintf(stderr, "xenshim: XENSHIM_DIR is not set: let it name a directory for all processes of the machine\n");
        open_error = ENODEV;
    } else if (open_machine(dir)) {
        open_error = errno;
        fprintf(stderr, "xenshim: opening the machine in XENSHIM_DIR=%s: %s\n", dir, strerror(open_error));
    }
}

struct machine *shim_machine(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    int saved = errno; /* the caller's errno, restored on success */

    pthread_once(&once, open_once);
    errno = the_machine ? saved : open_error;
    return the_machine;
}

void shim_lock(struct machine *m)
{
    int rc, tries = 0;

    /* Yields at first instead of sleeping: a call that must not block should not look blocked when the holder has
     * lost its CPU. */
    while ((rc = pthread_mutex_trylock(&m->lock)) == EBUSY && tries++ < 10000)
        sched_yield();
    if (rc == EBUSY)
        rc = pthread_mutex_lock(&m->lock);
    /* A killed holder leaves each record either old or new, so continuing is safe. */
    if (rc == EOWNERDEAD)
        pthread_mutex_consistent(&m->lock);
}

void shim_unlock(struct machine *m)
{
    pthread_mutex_unlock(&m->lock);
}
