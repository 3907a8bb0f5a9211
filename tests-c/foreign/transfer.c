/* A foreign program: written for Xen's library, compiled and linked with it, run on vchan-rs.
 *
 *   transfer send|receive server|client DOMID PATH
 *
 * Sends standard input, or receives to standard output, and exits at its end. A sender waits until everything has been
 * consumed; a client tries for a minute to find its server. */
#include <errno.h>
#include <libxenvchan.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char buffer[1 << 16];

static void fail(const char *what)
{
    fprintf(stderr, "transfer: %s: %s\n", what, strerror(errno));
    exit(1);
}

static struct libxenvchan *meet(const char *role, int domid, const char *path)
{
    struct libxenvchan *channel;
    if (!strcmp(role, "server")) {
        channel = libxenvchan_server_init(NULL, domid, path, 65536, 65536);
        if (!channel)
            fail("serve");
        while (libxenvchan_is_open(channel) == 2)
            if (libxenvchan_wait(channel))
                fail("wait for the client");
    } else {
        int tries = 600;
        while (!(channel = libxenvchan_client_init(NULL, domid, path))) {
            if (errno != ENOENT || !--tries)
                fail("connect");
            usleep(100000);
        }
    }
    channel->blocking = 1;
    return channel;
}

static void send_all(struct libxenvchan *channel)
{
    ssize_t got;
    while ((got = read(0, buffer, sizeof(buffer))) > 0)
        if (libxenvchan_write(channel, buffer, (size_t)got) != got)
            fail("write to the channel");
    if (got < 0)
        fail("read standard input");
    while (libxenvchan_is_open(channel) == 1 && libxenvchan_buffer_space(channel) < 1 << channel->write.order)
        if (libxenvchan_wait(channel))
            break;
}

static void receive_all(struct libxenvchan *channel)
{
    int got;
    while ((got = libxenvchan_read(channel, buffer, sizeof(buffer))) > 0)
        for (char *at = buffer; got > 0;) {
            ssize_t put = write(1, at, (size_t)got);
            if (put < 0)
                fail("write to standard output");
            at += put;
            got -= (int)put;
        }
    if (libxenvchan_is_open(channel))
        fail("read from the channel");
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fprintf(stderr, "usage: transfer send|receive server|client DOMID PATH\n");
        return 2;
    }
    struct libxenvchan *channel = meet(argv[2], atoi(argv[3]), argv[4]);
    if (!strcmp(argv[1], "send"))
        send_all(channel);
    else
        receive_all(channel);
    libxenvchan_close(channel);
    return 0;
}
