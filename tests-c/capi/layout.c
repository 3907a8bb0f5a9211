/* Prints the layout of libxenvchan.h's declarations: the output must be the same for each such header. */
#include <libxenvchan.h>

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define OFFSET(type, field) printf("%s.%s at %zu, %zu bytes\n", #type, #field, offsetof(struct type, field), sizeof(((struct type *)0)->field))

static void bits(const char *name, const struct libxenvchan *c)
{
    uint32_t word;

    memcpy(&word, (const char *)c + offsetof(struct libxenvchan, event_port) + 4, sizeof(word));
    printf("%s is bit %#x\n", name, word);
}

int main(void)
{
    struct libxenvchan c;

    printf("%zu %zu %zu %zu\n", sizeof(struct libxenvchan), sizeof(struct libxenvchan_ring), sizeof(struct vchan_interface),
           sizeof(struct ring_shared));
    OFFSET(libxenvchan, gntshr);
    OFFSET(libxenvchan, gnttab);
    OFFSET(libxenvchan, ring);
    OFFSET(libxenvchan, event);
    OFFSET(libxenvchan, event_port);
    OFFSET(libxenvchan, read);
    OFFSET(libxenvchan, write);
    OFFSET(libxenvchan, xs_path);
    OFFSET(libxenvchan_ring, shr);
    OFFSET(libxenvchan_ring, buffer);
    OFFSET(libxenvchan_ring, order);
    OFFSET(vchan_interface, left);
    OFFSET(vchan_interface, right);
    OFFSET(vchan_interface, left_order);
    OFFSET(vchan_interface, right_order);
    OFFSET(vchan_interface, cli_live);
    OFFSET(vchan_interface, srv_live);
    OFFSET(vchan_interface, cli_notify);
    OFFSET(vchan_interface, srv_notify);
    printf("vchan_interface.grants at %zu\n", offsetof(struct vchan_interface, grants));
    OFFSET(ring_shared, cons);
    OFFSET(ring_shared, prod);
    memset(&c, 0, sizeof(c));
    c.is_server = 1;
    bits("is_server", &c);
    memset(&c, 0, sizeof(c));
    c.server_persist = 1;
    bits("server_persist", &c);
    memset(&c, 0, sizeof(c));
    c.blocking = 1;
    bits("blocking", &c);
    printf("notify %d %d\n", VCHAN_NOTIFY_WRITE, VCHAN_NOTIFY_READ);
    return 0;
}
