/* A killed peer; only for back ends that clear its live byte and send its event. */
#include "suite.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

enum moment { IDLE, IN_READ, IN_WRITE, MOMENTS };

struct kill_test {
    enum moment moment;
    enum role role;
};

static void after(struct end *e)
{
    char byte;
    int ret;

    e->ctrl->blocking = 1;
    result("data", "bytes=%zu", take_some(e, RING_MAX));
    errno = 0;
    ret = libxenvchan_read(e->ctrl, &byte, 1);
    result("read", "%s", outcome(ret, errno));
    errno = 0;
    ret = libxenvchan_write(e->ctrl, "x", 1);
    result("write", "%s", outcome(ret, errno));
}

static void survivor(struct end *e, const void *arg)
{
    static uint8_t data[8192];
    const struct kill_test *t = arg;
    int ret = 0;

    open_both(e, 4096, 4096);
    meet(e);
    e->ctrl->blocking = 1;
    enter_call(e);
    errno = 0;
    switch (t->moment) {
    case IDLE:
        drain_events(e->ctrl);
        tell(e, 0);
        while (libxenvchan_is_open(e->ctrl) && fd_readable(libxenvchan_fd_for_select(e->ctrl), 15000))
            libxenvchan_wait(e->ctrl);
        result("noticed", "open=%d", libxenvchan_is_open(e->ctrl));
        break;
    case IN_READ:
        check(take_some(e, RING_MAX) == 60, "the peer's data is not there");
        tell(e, 0);
        errno = 0;
        ret = libxenvchan_read(e->ctrl, data, sizeof(data));
        result("blocked-read", "%s", outcome(ret, errno));
        break;
    default:
        tell(e, 0);
        ret = libxenvchan_write(e->ctrl, data, sizeof(data));
        result("blocked-write", "%s", outcome(ret, errno));
    }
    after(e);
    close_end(e);
}

static void victim(struct end *e, const void *arg)
{
    (void)arg;
    open_both(e, 4096, 4096);
    check(put_some(e, 60) == 60, "no room");
    meet(e);
    hear(e);
    watch(e, e->other);
    kill(getpid(), SIGKILL);
}

static void run_killed(const void *arg)
{
    const struct kill_test *t = arg;
    with_peer(t->role, survivor, victim, t);
}

void add_killed_tests(void)
{
    static const char *const names[] = { "idle", "in-read", "in-write" };
    static struct kill_test all[MOMENTS * 2];

    for (int n = 0; n < MOMENTS * 2; n++) {
        all[n] = (struct kill_test){ n / 2, n % 2 };
        add_test(run_killed, &all[n], "killed.%s.%s", names[n / 2], role_names[n % 2]);
    }
}
