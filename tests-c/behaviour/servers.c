/* Several servers at one path: the path belongs to the newest one. */
#include "suite.h"

#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Sends a word each way. */
static void talk(struct libxenvchan *ctrl, const char *out, const char *in)
{
    char data[8] = "";

    ctrl->blocking = 1;
    check(libxenvchan_send(ctrl, out, 5) == 5, "send: errno=%s", errno_name(errno));
    check(libxenvchan_recv(ctrl, data, 5) == 5 && !memcmp(data, in, 5), "received \"%.5s\" instead of \"%s\"", data, in);
}

/* A second server at the path of one that has its client: both continue, each with its own client. */
static void second_server(struct end *e, const void *arg)
{
    struct libxenvchan *second;

    (void)arg;
    open_both(e, 4096, 4096);
    errno = 0;
    second = libxenvchan_server_init(NULL, 0, e->path, 4096, 4096);
    result("second", "channel=%s errno=%s", second ? "yes" : "no", second ? "none" : errno_name(errno));
    meet(e);
    if (second) {
        talk(second, "two!>", "<two!");
        talk(e->ctrl, "one!>", "<one!");
        result("talk", "both=yes");
        libxenvchan_close(second);
    }
    meet(e);
    close_end(e);
}

static void both_clients(struct end *e, const void *arg)
{
    struct libxenvchan *second;

    (void)arg;
    open_both(e, 4096, 4096);
    meet(e);
    second = libxenvchan_client_init(NULL, 0, e->path);
    check(second != NULL, "the second client: errno=%s", errno_name(errno));
    if (second) {
        talk(second, "<two!", "two!>");
        talk(e->ctrl, "<one!", "one!>");
        libxenvchan_close(second);
    }
    meet(e);
    close_end(e);
}

static void run_second_server(const void *arg) { with_peer(SERVER, second_server, both_clients, arg); }

/* A daemonised server: forked after its creation, and the creating process has exited. */
static void daemon_server(struct end *e, const void *arg)
{
    int status, served[2];
    char byte = 0;
    pid_t maker;

    (void)arg;
    check(pipe(served) == 0, "pipe");
    maker = fork();
    if (maker == 0) {
        open_server(e, 4096, 4096);
        if (fork() > 0)
            _exit(0);
        meet(e);
        talk(e->ctrl, "serve", "asked");
        meet(e);
        close_end(e);
        byte = any_check_failed() ? 'n' : 'y';
        (void)!write(served[1], &byte, 1);
        _exit(0);
    }
    close(served[1]);
    check(waitpid(maker, &status, 0) == maker && status == 0, "the process that made the server");
    result("served", "%s", read(served[0], &byte, 1) == 1 && byte == 'y' ? "yes" : "no");
}

static void daemons_client(struct end *e, const void *arg)
{
    (void)arg;
    meet(e);
    open_client(e);
    talk(e->ctrl, "asked", "serve");
    meet(e);
    close_end(e);
}

static void run_daemon(const void *arg) { with_peer(SERVER, daemon_server, daemons_client, arg); }

/* A server's process exits without closing while its child lives on. Its successor gets the path. */
static void successor(struct end *e, const void *arg)
{
    int ready[2], hold[2];
    char byte;
    pid_t first;

    (void)arg;
    check(pipe(ready) == 0 && pipe(hold) == 0, "pipe");
    first = fork();
    if (first == 0) {
        open_server(e, 4096, 4096);
        close(hold[1]);
        if (fork() == 0) {
            /* Does not use the channel, and holds all of its descriptors. */
            (void)!read(hold[0], &byte, 1);
            _exit(0);
        }
        (void)!write(ready[1], "", 1);
        _exit(0);
    }
    close(hold[0]);
    check(read(ready[0], &byte, 1) == 1, "the first server");
    waitpid(first, NULL, 0);
    errno = 0;
    e->ctrl = libxenvchan_server_init(NULL, 0, e->path, 4096, 4096);
    result("successor", "channel=%s errno=%s", e->ctrl ? "yes" : "no", e->ctrl ? "none" : errno_name(errno));
    meet(e);
    if (e->ctrl) {
        talk(e->ctrl, "serve", "asked");
        meet(e);
        close_end(e);
    }
    close(hold[1]);
}

static void successors_client(struct end *e, const void *arg)
{
    (void)arg;
    meet(e);
    open_client(e);
    talk(e->ctrl, "asked", "serve");
    meet(e);
    close_end(e);
}

static void run_successor(const void *arg) { with_peer(SERVER, successor, successors_client, arg); }

void add_server_tests(void)
{
    add_test(run_second_server, NULL, "servers.second");
    add_test(run_daemon, NULL, "servers.daemon");
    add_test(run_successor, NULL, "servers.successor");
}
