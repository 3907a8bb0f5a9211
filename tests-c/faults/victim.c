/* See victim.h. */
#include "victim.h"

#include "inject.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#define LARGEST 3000
#define TRAP_FLAG 0x100

const char *const death_names[] = { "at a time", "before a system call", "after a system call", "at an instruction" };

static long instructions;

/* Runs after each instruction while the trap flag is set. */
static void on_step(int sig, siginfo_t *info, void *context)
{
    (void)sig, (void)info;
    if (instructions-- <= 0)
        kill(getpid(), SIGKILL);
#ifdef __x86_64__
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL] |= TRAP_FLAG;
#else
    (void)context;
#endif
}

/* Kills the process after this many instructions; at once if there is no such flag. */
static void count_instructions(long count)
{
    struct sigaction action = { .sa_sigaction = on_step, .sa_flags = SA_SIGINFO };

    instructions = count;
    sigaction(SIGTRAP, &action, NULL);
    raise(SIGTRAP);
}

static void die_after(long nanoseconds)
{
    struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGKILL };
    struct itimerspec when = { .it_value.tv_nsec = nanoseconds + 1 };
    timer_t timer;

    must_do(timer_create(CLOCK_MONOTONIC, &event, &timer), "timer_create");
    must_do(timer_settime(timer, 0, &when, NULL), "timer_settime");
}

/* Small numbers are as likely as large ones. */
static long by_magnitude(int bits)
{
    return (long)random_number(2ull << random_number((uint64_t)bits));
}

static void converse_a_while(struct libxenvchan *ctrl, struct notes *notes, int rounds, int steps_from)
{
    uint8_t data[LARGEST];

    for (int n = 0; n < rounds; n++) {
        size_t size = 1 + random_number(LARGEST);
        ssize_t ret;

        if (n == steps_from)
            count_instructions(by_magnitude(13));
        fill(data, size, notes->written, FROM_VICTIM);
        notes->tried = notes->written + size;
        ret = vchan_rs_write(ctrl, data, size, 0);
        if (ret > 0)
            notes->written += (uint64_t)ret;
        notes->wanted = notes->got + LARGEST;
        ret = vchan_rs_read(ctrl, data, LARGEST, random_number(2) ? 0 : 1);
        if (ret > 0) {
            if (right(data, (size_t)ret, notes->got, FROM_SURVIVOR) != (size_t)ret)
                notes->wrong = true;
            notes->got += (uint64_t)ret;
        }
        if (ret < 0 && errno != EAGAIN && errno != ETIMEDOUT)
            break;
    }
}

void live(enum role role, enum death death, const char *path, struct notes *notes)
{
    struct vchan_rs_options options = waiting(LONG_MS);
    struct timespec moment = { 0, 50000 };
    struct libxenvchan *ctrl;
    bool early = random_number(4) == 0;

    alarm(LONG_MS / 1000);
    if (!inject_prepare() && death != AT_AN_INSTRUCTION)
        death = AT_A_TIME;
    while (!notes->go)
        nanosleep(&moment, NULL);
    if (death == AT_A_TIME)
        die_after(early ? by_magnitude(22) : (long)random_number(8000000));
    if (death == BEFORE_A_CALL || death == AFTER_A_CALL) {
        inject_plan(death == BEFORE_A_CALL ? INJECT_KILL_BEFORE : INJECT_KILL_AFTER, INJECT_ANY,
                    1 + (int)random_number(400), 0);
        inject_on();
    }
    if (death == AT_AN_INSTRUCTION && early)
        count_instructions(by_magnitude(16));
    ctrl = role == SERVER ? libxenvchan_server_init(NULL, 0, path, 4096, 4096)
           : early        ? vchan_rs_client_init(0, path, &options)
                          : libxenvchan_client_init(NULL, 0, path);
    if (!ctrl || (role == SERVER && vchan_rs_accept(ctrl, LONG_MS)))
        _exit(1);
    notes->connected = true;
    converse_a_while(ctrl, notes, 1 + (int)random_number(400),
                     death == AT_AN_INSTRUCTION ? (int)random_number(20) : -1);
    notes->closing = true;
    libxenvchan_close(ctrl);
    _exit(0);
}
