/* Grants: pages of one sparse file, and a table of mapping rights. */
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xengnttab.h>

/* An entry of the grant table. */
struct grant {
    uint16_t domid, peer_domid;
    uint16_t users; /* the owner while it shares the page, and every mapping */
    uint8_t shared; /* the owner still shares it */
    uint8_t writable;
};

/* The state of one share or map call. */
struct block {
    struct block *next;
    uint8_t *at;
    uint32_t count;
    bool owner;
    uint32_t notify_port, notify_offset; /* at unmapping; port 0: none */
    uint32_t refs[];
};

struct xengntdev_handle {
    struct xengntdev_handle *next;
    pid_t pid;
    struct block *blocks;
};

/* All of this process, for cleanup at exit. Guarded by the machine's lock. */
static struct xengntdev_handle *handles;

static off_t entry_at(uint32_t ref)
{
    return (off_t)ref * (off_t)sizeof(struct grant);
}

static int get_grant(uint32_t ref, struct grant *g)
{
    if (pread(shim_table_fd, g, sizeof(*g), entry_at(ref)) == sizeof(*g) && g->users)
        return 0;
    errno = ENOENT;
    return -1;
}

static int put_grant(uint32_t ref, const struct grant *g)
{
    return pwrite(shim_table_fd, g, sizeof(*g), entry_at(ref)) == sizeof(*g) ? 0 : -1;
}

/* Drops one user of a page; the last one frees the memory. Called with the lock held. */
static void release_page(uint32_t ref, bool owner)
{
    struct grant g;

    if (get_grant(ref, &g))
        return;
    if (owner)
        g.shared = 0;
    if (--g.users == 0)
        fallocate(shim_grants_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)ref * SHIM_PAGE, SHIM_PAGE);
    put_grant(ref, &g);
}

static void release_block(struct machine *m, struct block *b)
{
    shim_lock(m);
    for (uint32_t n = 0; n < b->count; n++)
        release_page(b->refs[n], b->owner);
    shim_unlock(m);
    free(b);
}

static struct xengntdev_handle *open_handle(void)
{
    struct machine *m = shim_machine();
    struct xengntdev_handle *h;

    if (!m || !(h = calloc(1, sizeof(*h))))
        return NULL;
    h->pid = getpid();
    shim_lock(m);
    h->next = handles;
    handles = h;
    shim_unlock(m);
    return h;
}

/* The program may have unmapped the blocks itself, so they are only forgotten. */
static int close_handle(struct xengntdev_handle *h)
{
    struct machine *m = shim_machine();

    if (!h)
        return 0;
    shim_lock(m);
    for (struct xengntdev_handle **at = &handles; *at; at = &(*at)->next) {
        if (*at == h) {
            *at = h->next;
            break;
        }
    }
    shim_unlock(m);
    while (h->blocks) {
        struct block *b = h->blocks;
        h->blocks = b->next;
        release_block(m, b);
    }
    free(h);
    return 0;
}

/* What the kernel does when a mapping with unmap notification goes away. */
static void unmap_notify(struct block *b)
{
    if (b->notify_port == 0)
        return;
    b->at[b->notify_offset] = 0;
    shim_send_event(b->notify_port);
}

static int drop_block(struct xengntdev_handle *h, void *at, uint32_t count)
{
    for (struct block **link = &h->blocks; *link; link = &(*link)->next) {
        struct block *b = *link;
        if (b->at != at || b->count != count)
            continue;
        *link = b->next;
        unmap_notify(b);
        release_block(shim_machine(), b);
        return munmap(at, (size_t)count * SHIM_PAGE);
    }
    errno = EINVAL;
    return -1;
}

static struct block *new_block(uint32_t count, bool owner)
{
    struct block *b = calloc(1, sizeof(*b) + (size_t)count * sizeof(b->refs[0]));

    if (b) {
        b->count = count;
        b->owner = owner;
    }
    return b;
}

/* Maps the block's pages contiguously, each run of consecutive grants with one call. */
static int map_block(struct block *b, int prot)
{
    size_t size = (size_t)b->count * SHIM_PAGE;
    uint8_t *at = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (at == MAP_FAILED)
        return -1;
    for (uint32_t first = 0, end; first < b->count; first = end) {
        for (end = first + 1; end < b->count && b->refs[end] == b->refs[end - 1] + 1;)
            end++;
        if (mmap(at + (size_t)first * SHIM_PAGE, (size_t)(end - first) * SHIM_PAGE, prot, MAP_SHARED | MAP_FIXED,
                 shim_grants_fd, (off_t)b->refs[first] * SHIM_PAGE) == MAP_FAILED) {
            munmap(at, size);
            return -1;
        }
    }
    b->at = at;
    return 0;
}

static void *keep_block(struct xengntdev_handle *h, struct block *b)
{
    b->next = h->blocks;
    h->blocks = b;
    return b->at;
}

/* Allocates pages for the block. Called with the lock held. */
static int grant_pages(struct machine *m, struct block *b, uint32_t domid, int writable)
{
    struct grant g = { shim_domid(), shim_resolve(domid), 1, 1, writable != 0 };
    off_t end = (off_t)(m->next_grant + b->count) * SHIM_PAGE;
    struct stat st;

    if (m->next_grant + b->count > INT32_MAX) {
        errno = ENOSPC;
        return -1;
    }
    if (fstat(shim_grants_fd, &st) || (st.st_size < end && ftruncate(shim_grants_fd, end)))
        return -1;
    for (uint32_t n = 0; n < b->count; n++) {
        b->refs[n] = m->next_grant + n;
        if (put_grant(b->refs[n], &g))
            return -1;
    }
    m->next_grant += b->count;
    return 0;
}

static struct block *share(struct xengntdev_handle *h, uint32_t domid, uint32_t count, uint32_t *refs, int writable)
{
    struct machine *m = shim_machine();
    struct block *b = new_block(count, true);
    int rc;

    if (!b)
        return NULL;
    shim_lock(m);
    rc = grant_pages(m, b, domid, writable);
    shim_unlock(m);
    if (rc) {
        free(b);
        return NULL;
    }
    if (map_block(b, PROT_READ | PROT_WRITE)) {
        release_block(m, b);
        return NULL;
    }
    for (uint32_t n = 0; n < count; n++)
        refs[n] = b->refs[n];
    keep_block(h, b);
    return b;
}

/* Whether this domain may map it. Called with the lock held. */
static int use_page(uint32_t ref, uint32_t domid, int prot)
{
    struct grant g;

    if (get_grant(ref, &g))
        return -1;
    if (!g.shared || g.domid != shim_resolve(domid) || g.peer_domid != shim_domid() ||
        ((prot & PROT_WRITE) && !g.writable)) {
        errno = EACCES;
        return -1;
    }
    g.users++;
    return put_grant(ref, &g);
}

static struct block *map(struct xengntdev_handle *h, uint32_t count, uint32_t domid, const uint32_t *refs, int prot)
{
    struct machine *m = shim_machine();
    struct block *b = new_block(count, false);
    uint32_t used = 0;

    if (!b)
        return NULL;
    shim_lock(m);
    while (used < count && !use_page(refs[used], domid, prot)) {
        b->refs[used] = refs[used];
        used++;
    }
    shim_unlock(m);
    if (used < count || map_block(b, prot)) {
        int saved = errno;
        b->count = used;
        release_block(m, b);
        errno = saved;
        return NULL;
    }
    keep_block(h, b);
    return b;
}

static void *with_notify(struct block *b, uint32_t offset, uint32_t port)
{
    if (!b)
        return NULL;
    b->notify_offset = offset;
    b->notify_port = port;
    return b->at;
}

xengntshr_handle *xengntshr_open(struct xentoollog_logger *logger, unsigned flags)
{
    (void)logger, (void)flags;
    return open_handle();
}

int xengntshr_close(xengntshr_handle *xgs)
{
    return close_handle(xgs);
}

void *xengntshr_share_pages(xengntshr_handle *xgs, uint32_t domid, int count, uint32_t *refs, int writable)
{
    struct block *b = share(xgs, domid, (uint32_t)count, refs, writable);
    return b ? b->at : NULL;
}

void *xengntshr_share_page_notify(xengntshr_handle *xgs, uint32_t domid, uint32_t *ref, int writable, uint32_t offset,
                                  evtchn_port_t port)
{
    return with_notify(share(xgs, domid, 1, ref, writable), offset, port);
}

int xengntshr_unshare(xengntshr_handle *xgs, void *at, uint32_t count)
{
    return drop_block(xgs, at, count);
}

xengnttab_handle *xengnttab_open(struct xentoollog_logger *logger, unsigned flags)
{
    (void)logger, (void)flags;
    return open_handle();
}

int xengnttab_close(xengnttab_handle *xgt)
{
    return close_handle(xgt);
}

void *xengnttab_map_domain_grant_refs(xengnttab_handle *xgt, uint32_t count, uint32_t domid, uint32_t *refs, int prot)
{
    struct block *b = map(xgt, count, domid, refs, prot);
    return b ? b->at : NULL;
}

void *xengnttab_map_grant_ref_notify(xengnttab_handle *xgt, uint32_t domid, uint32_t ref, int prot, uint32_t offset,
                                     evtchn_port_t port)
{
    return with_notify(map(xgt, 1, domid, &ref, prot), offset, port);
}

int xengnttab_unmap(xengnttab_handle *xgt, void *at, uint32_t count)
{
    return drop_block(xgt, at, count);
}

/* A process exits with a channel open: its mappings go away and its peer is notified. */
__attribute__((destructor)) static void notify_at_exit(void)
{
    for (struct xengntdev_handle *h = handles; h; h = h->next) {
        if (h->pid != getpid())
            continue;
        for (struct block *b = h->blocks; b; b = b->next)
            unmap_notify(b);
    }
}
