/* 180 channels between two processes limited to 1024 descriptors each, and select() on those with a descriptor to
 * poll. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libxenvchan.h"
#include "vchan-rs.h"

#define CHANNELS 180
#define ROUNDS 300

static struct libxenvchan *channels[CHANNELS];

static void fail(const char *what, int number)
{
    fprintf(stderr, "many: %s %d: %s: %s\n", what, number, strerror(errno), vchan_rs_last_error());
    exit(1);
}

static const char *path_of(int number)
{
    static char path[32];

    snprintf(path, sizeof path, "data/many-%d", number);
    return path;
}

/* Echoes on one channel after another. */
static void client(int ready)
{
    char number;

    if (read(ready, &number, 1) != 1)
        exit(1);
    for (int i = 0; i < CHANNELS; i++)
        if (!(channels[i] = libxenvchan_client_init(NULL, 0, path_of(i))))
            fail("client", i);
    for (int i = 0; i < CHANNELS; i++) {
        channels[i]->blocking = 1;
        for (int round = 0; round < 3; round++) {
            char byte;
            if (libxenvchan_recv(channels[i], &byte, 1) != 1 || libxenvchan_send(channels[i], &byte, 1) != 1)
                fail("echo", i);
        }
    }
    /* Then writes to the requested channels. */
    while (read(ready, &number, 1) == 1)
        if (libxenvchan_send(channels[(unsigned char)number], &number, 1) != 1)
            fail("send", (unsigned char)number);
    for (int i = 0; i < CHANNELS; i++)
        libxenvchan_close(channels[i]);
    exit(0);
}

int main(void)
{
    struct rlimit limit = { 1024, 1024 };
    int ready[2], status, polled = 0;
    pid_t child;

    if (setrlimit(RLIMIT_NOFILE, &limit) || pipe(ready) || (child = fork()) < 0)
        fail("setup", 0);
    alarm(60);
    if (child == 0) {
        close(ready[1]);
        client(ready[0]);
    }
    close(ready[0]);
    for (int i = 0; i < CHANNELS; i++) {
        if (!(channels[i] = libxenvchan_server_init(NULL, 0, path_of(i), 4096, 4096)))
            fail("server", i);
        channels[i]->blocking = 1;
    }
    if (write(ready[1], "", 1) != 1)
        fail("go", 0);
    for (int i = 0; i < CHANNELS; i++)
        for (int round = 0; round < 3; round++) {
            char byte = 'x';
            if (libxenvchan_send(channels[i], &byte, 1) != 1 || libxenvchan_recv(channels[i], &byte, 1) != 1)
                fail("conversation", i);
        }

    while (polled < CHANNELS && libxenvchan_fd_for_select(channels[polled]) >= 0)
        polled++;
    if (polled < 100 || (polled < CHANNELS && errno != EMFILE))
        fail("fd_for_select", polled);
    for (int round = 0; round < ROUNDS; round++) {
        unsigned char asked = (unsigned char)(round % polled), byte;
        fd_set set;

        FD_ZERO(&set);
        for (int i = 0; i < polled; i++) {
            int fd = libxenvchan_fd_for_select(channels[i]);
            if (fd < 0 || fd >= FD_SETSIZE)
                fail("a descriptor that select can't take", fd);
            FD_SET(fd, &set);
            /* Requests the next event. */
            if (libxenvchan_data_ready(channels[i]) != 0)
                fail("data_ready", i);
        }
        if (write(ready[1], &asked, 1) != 1)
            fail("ask", asked);
        for (;;) {
            fd_set readable = set;
            if (select(FD_SETSIZE, &readable, NULL, NULL, NULL) < 1)
                fail("select", round);
            if (!FD_ISSET(libxenvchan_fd_for_select(channels[asked]), &readable))
                continue;
            if (libxenvchan_wait(channels[asked]))
                fail("wait", asked);
            if (libxenvchan_data_ready(channels[asked]) == 1)
                break;
        }
        if (libxenvchan_recv(channels[asked], &byte, 1) != 1 || byte != asked)
            fail("recv", asked);
    }
    close(ready[1]);
    if (waitpid(child, &status, 0) != child || status != 0)
        fail("the client", 0);
    for (int i = 0; i < CHANNELS; i++)
        libxenvchan_close(channels[i]);
    printf("many: %d channels, %d of them polled\n", CHANNELS, polled);
    return 0;
}
