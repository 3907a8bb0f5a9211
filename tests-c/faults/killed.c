/* Peers killed anywhere: after a random time, before or after a random system call, after a random instruction.
 * The survivor must notice; data that the victim's writes reported as written must arrive; data that the survivor
 * counts as consumed must have been consumed; and the next server of that name must find no leftovers. */
#include "faults.h"
#include "victim.h"

#include "conversation.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* How soon after the victim's death the survivor must notice. */
#define TOLD_SECONDS 10

static struct {
    int rounds, killed, finished, before_connecting, in_conversation, in_close;
    uint64_t bytes;
} sum[2][DEATHS];

static struct {
    pid_t pid;
    bool gone;
    double since;
    int status;
} victim;

static bool victim_is_gone(void)
{
    if (!victim.gone && waitpid(victim.pid, &victim.status, WNOHANG) == victim.pid) {
        victim.gone = true;
        victim.since = seconds();
    }
    return victim.gone;
}

static bool overdue(int number)
{
    if (!victim_is_gone() || seconds() < victim.since + TOLD_SECONDS)
        return false;
    fail_check("round %d: the survivor has not noticed", number);
    return true;
}

/* The survivor's channel, or NULL if the victim died before there was one. */
static struct libxenvchan *meet_victim(enum role victims, const char *path, struct notes *notes)
{
    struct libxenvchan *ctrl;

    if (victims == CLIENT) {
        ctrl = must(libxenvchan_server_init(NULL, 0, path, 4096, 4096), "the survivor's server_init");
        notes->go = true;
        return ctrl;
    }
    notes->go = true;
    do {
        ctrl = libxenvchan_client_init(NULL, 0, path);
        CHECK(ctrl || errno == ENOENT || errno == EBUSY, "the survivor can't look for its server: %s", vchan_rs_last_error());
        if (!ctrl)
            usleep(200);
    } while (!ctrl && !victim_is_gone());
    return ctrl;
}

/* Whether a client connected. If none did, the next one must be able to. */
static bool accept_victim(struct libxenvchan *ctrl, const char *path)
{
    bool gone;

    do {
        gone = victim_is_gone();
        if (vchan_rs_accept(ctrl, gone ? 5 : 20) == 0)
            return true;
        CHECK(errno == ETIMEDOUT || errno == EPIPE, "the survivor can't accept: %s", vchan_rs_last_error());
        if (errno == EPIPE)
            return true;
    } while (!gone);
    struct vchan_rs_options options = waiting(LONG_MS);
    struct libxenvchan *next = vchan_rs_client_init(0, path, &options);
    if (!next) {
        fail_check("after a client died half-way, the next one can't connect: %s", vchan_rs_last_error());
        return false;
    }
    CHECK(vchan_rs_accept(ctrl, LONG_MS) == 0, "the next client is not accepted: %s", vchan_rs_last_error());
    libxenvchan_close(next);
    return false;
}

/* Transfers data until EOF, then compares both sides' records. */
static void survive(struct libxenvchan *ctrl, const struct notes *notes, int number)
{
    uint8_t data[5000];
    uint64_t got = 0, sent = 0;
    ssize_t pending;

    for (;;) {
        size_t size = 1 + random_number(sizeof(data));
        fill(data, size, sent, FROM_SURVIVOR);
        ssize_t ret = vchan_rs_write(ctrl, data, size, 0);
        if (ret > 0)
            sent += (uint64_t)ret;
        CHECK(ret > 0 || errno == EAGAIN || errno == EPIPE, "round %d: write: %s", number, vchan_rs_last_error());
        ret = vchan_rs_read(ctrl, data, sizeof(data), victim_is_gone() ? 100 : 2);
        if (ret > 0) {
            CHECK(right(data, (size_t)ret, got, FROM_VICTIM) == (size_t)ret, "round %d: wrong bytes at %llu", number,
                  (unsigned long long)got);
            got += (uint64_t)ret;
        } else if (errno != ETIMEDOUT) {
            break;
        } else if (overdue(number)) {
            return;
        }
    }
    int kind = vchan_rs_last_error_kind();
    CHECK(errno == EPIPE && (kind == VCHAN_RS_ERROR_PEER_DIED || (kind == VCHAN_RS_ERROR_PEER_CLOSED && notes->closing)),
          "round %d: reported %s, though it %s", number, vchan_rs_last_error(), notes->closing ? "closed" : "was killed");
    while (!victim_is_gone())
        usleep(100);
    CHECK(!notes->wrong, "round %d: the victim had got wrong bytes", number);
    CHECK(got >= notes->written && got <= notes->tried, "round %d: %llu bytes came; the victim was reported to have written %llu, of %llu",
          number, (unsigned long long)got, (unsigned long long)notes->written, (unsigned long long)notes->tried);
    pending = vchan_rs_pending(ctrl);
    CHECK(pending >= 0 && sent - (uint64_t)pending >= notes->got && sent - (uint64_t)pending <= notes->wanted,
          "round %d: %llu bytes sent, %zd pending; the victim had taken %llu", number, (unsigned long long)sent, pending,
          (unsigned long long)notes->got);
    sum[number % 2][number / 2 % DEATHS].bytes += got + sent;
}

/* The next server of the name finds no leftovers, and leaves none. */
static void next_one(const char *path, int number)
{
    struct libxenvchan *next = libxenvchan_server_init(NULL, 0, path, 4096, 4096);

    if (!next) {
        fail_check("round %d: the next server can't start: %s", number, vchan_rs_last_error());
        return;
    }
    libxenvchan_close(next);
    if (count_files(getenv("XEN_ROOT")) > 0) {
        fail_check("round %d: %d files are left", number, count_files(getenv("XEN_ROOT")));
        list_files(getenv("XEN_ROOT"));
    }
}

bool kill_round(int number)
{
    static const char path[] = "/faults/killed";
    enum role victims = number % 2 ? CLIENT : SERVER;
    enum death death = (enum death)(number / 2 % DEATHS);
    struct notes *notes = must_map(sizeof(*notes));
    struct libxenvchan *ctrl;
    bool killed;

    /* A hanging survivor ends here, and with it the program. */
    alarm(3 * LONG_MS / 1000);
    victim.gone = false;
    random_number(2);
    victim.pid = must_do(fork(), "forking");
    if (victim.pid == 0)
        live(victims, death, path, notes);
    ctrl = meet_victim(victims, path, notes);
    if (ctrl && (victims == SERVER || accept_victim(ctrl, path)))
        survive(ctrl, notes, number);
    while (!victim_is_gone())
        usleep(100);
    if (ctrl)
        libxenvchan_close(ctrl);
    next_one(path, number);
    sum[victims][death].rounds++;
    killed = WIFSIGNALED(victim.status) && WTERMSIG(victim.status) == SIGKILL;
    if (killed) {
        sum[victims][death].killed++;
        sum[victims][death].before_connecting += !notes->connected;
        sum[victims][death].in_conversation += notes->connected && !notes->closing;
        sum[victims][death].in_close += notes->closing;
    } else {
        CHECK(WIFEXITED(victim.status) && WEXITSTATUS(victim.status) == 0, "round %d: the victim ended with %#x", number,
              (unsigned)victim.status);
        sum[victims][death].finished++;
    }
    munmap(notes, sizeof(*notes));
    alarm(0);
    return killed;
}

void run_killed(int argc, char **argv)
{
    int wanted = argc > 0 ? atoi(argv[0]) : 500, killed = 0, rounds = 0;
    struct census before, now;

    /* The first rounds allocate what libc keeps. */
    for (int n = 0; n < 8; n++)
        kill_round(n);
    memset(sum, 0, sizeof(sum));
    before = take_census();
    /* Some close before they are killed. */
    for (; killed < wanted && rounds < 4 * wanted && failed_checks() < 20; rounds++) {
        killed += kill_round(rounds);
        now = take_census();
        CHECK(same_census(&before, &now), "round %d: the survivor keeps %d descriptors and %d mappings", rounds,
              now.fds - before.fds, now.shared - before.shared);
    }
    printf("\n%-8s %-22s %6s %6s %12s %13s %9s %9s %10s\n", "killed", "how", "rounds", "killed", "unconnected",
           "conversing", "closing", "too late", "KiB moved");
    for (int role = SERVER; role <= CLIENT; role++) {
        for (int death = 0; death < DEATHS; death++) {
            __auto_type s = &sum[role][death];
            printf("%-8s %-22s %6d %6d %12d %13d %9d %9d %10llu\n", role_names[role], death_names[death], s->rounds,
                   s->killed, s->before_connecting, s->in_conversation, s->in_close, s->finished,
                   (unsigned long long)s->bytes >> 10);
        }
    }
    printf("killed: %d of %d peers were killed, the others closed first\n\n", killed, rounds);
    CHECK(killed >= wanted, "too few were killed");
}
