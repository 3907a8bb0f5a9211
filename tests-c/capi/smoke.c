/* A whole conversation with libxenvchan's API only: a server and its forked client. */
#include <libxenvchan.h>

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define TOTAL (3u << 20)

static void expect(int holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "smoke: %s: %s\n", what, strerror(errno));
        exit(1);
    }
}

static unsigned char byte_at(size_t n)
{
    return (unsigned char)(n * 31 + n / 251);
}

static int client(const char *path)
{
    static unsigned char data[5000];
    struct libxenvchan *c = libxenvchan_client_init(NULL, 0, path);
    size_t got = 0;
    int ret;

    expect(c != NULL, "client_init");
    c->blocking = 1;
    while ((ret = libxenvchan_read(c, data, sizeof(data))) > 0) {
        for (int n = 0; n < ret; n++)
            expect(data[n] == byte_at(got + (size_t)n), "the right bytes");
        got += (size_t)ret;
        if (got == TOTAL)
            expect(libxenvchan_send(c, "done", 4) == 4, "send");
    }
    expect(ret == -1 && got == TOTAL && !libxenvchan_is_open(c), "everything, then the end");
    libxenvchan_close(c);
    return 0;
}

int main(int argc, char **argv)
{
    static unsigned char data[TOTAL];
    const char *path = argc > 1 ? argv[1] : "/vchan/smoke";
    struct libxenvchan *c;
    struct pollfd event;
    char answer[4];
    pid_t child;
    int status;

    c = libxenvchan_server_init(NULL, 0, path, 4096, 65536);
    expect(c != NULL, "server_init");
    expect(c->is_server && libxenvchan_is_open(c) == 2, "a server with no client");
    child = fork();
    expect(child >= 0, "fork");
    if (child == 0)
        _exit(client(path));
    for (size_t n = 0; n < TOTAL; n++)
        data[n] = byte_at(n);
    c->blocking = 1;
    expect(libxenvchan_write(c, data, TOTAL) == (int)TOTAL, "write");
    c->blocking = 0;
    event = (struct pollfd){ .fd = libxenvchan_fd_for_select(c), .events = POLLIN };
    while (libxenvchan_data_ready(c) < 4)
        expect(poll(&event, 1, 20000) == 1 && libxenvchan_wait(c) == 0, "an event in time");
    expect(libxenvchan_recv(c, answer, 4) == 4 && !memcmp(answer, "done", 4), "recv");
    libxenvchan_close(c);
    expect(waitpid(child, &status, 0) == child && status == 0, "the client's end");
    puts("smoke: all well");
    return 0;
}
