/* The twelve functions of one copy of libxenvchan; the same for each header of that name. */
#ifndef BOTH_H
#define BOTH_H

#include <stddef.h>

struct libxenvchan;
struct xentoollog_logger;

struct vchan_calls {
    struct libxenvchan *(*server_init)(struct xentoollog_logger *, int, const char *, size_t, size_t);
    struct libxenvchan *(*client_init)(struct xentoollog_logger *, int, const char *);
    void (*close)(struct libxenvchan *);
    int (*recv)(struct libxenvchan *, void *, size_t);
    int (*read)(struct libxenvchan *, void *, size_t);
    int (*send)(struct libxenvchan *, const void *, size_t);
    int (*write)(struct libxenvchan *, const void *, size_t);
    int (*wait)(struct libxenvchan *);
    int (*fd_for_select)(struct libxenvchan *);
    int (*is_open)(struct libxenvchan *);
    int (*data_ready)(struct libxenvchan *);
    int (*buffer_space)(struct libxenvchan *);
};

/* The bindings of the calls in the object that defines this. */
const struct vchan_calls *vchan_calls(void);

#endif
