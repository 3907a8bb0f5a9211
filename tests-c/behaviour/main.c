/* The runner: selects tests, runs several at a time, each in a process group under an alarm, prints the results in
 * the order of the list. */
#include "suite.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_TESTS 1024
#define MAX_RULES 32

struct test {
    char name[64];
    test_fn run;
    const void *arg;
    const char *not_run; /* the reason */
    bool must_die;       /* this library is known to hang or crash here */
    bool chosen, started, ended, timed_out;
    int status;
    pid_t pid;
    FILE *output;
    time_t deadline;
};

struct rule {
    const char *pattern, *reason;
};

static struct test tests[MAX_TESTS];
static int test_count;
static const char *current = "?";
static bool failed;

static struct rule rules[MAX_RULES];
static int rule_count;
static const char *deaths[MAX_RULES];
static int death_count;
static int limit = 20, jobs = 4;

void add_test(test_fn run, const void *arg, const char *name, ...)
{
    struct test *t = &tests[test_count++];
    va_list args;

    if (test_count > MAX_TESTS)
        abort();
    va_start(args, name);
    vsnprintf(t->name, sizeof(t->name), name, args);
    va_end(args);
    t->run = run;
    t->arg = arg;
}

/* One write per line: two processes print to the same file. */
static void print_line(const char *kind, const char *format, va_list args)
{
    char line[512];
    int len = snprintf(line, sizeof(line), "%s: %s", current, kind);

    len += vsnprintf(line + len, sizeof(line) - (size_t)len - 1, format, args);
    line[len++] = '\n';
    if (write(STDOUT_FILENO, line, (size_t)len) != len)
        abort();
}

void result(const char *at, const char *format, ...)
{
    char kind[64];
    va_list args;

    snprintf(kind, sizeof(kind), "at=%s ", at);
    va_start(args, format);
    print_line(kind, format, args);
    va_end(args);
}

void check(bool holds, const char *format, ...)
{
    va_list args;

    if (holds)
        return;
    failed = true;
    va_start(args, format);
    print_line("FAIL ", format, args);
    va_end(args);
}

bool any_check_failed(void)
{
    return failed;
}

static void start(struct test *t)
{
    struct timespec now;

    t->output = tmpfile();
    if (!t->output) {
        perror("behaviour: making a file for a test's output");
        exit(2);
    }
    fcntl(fileno(t->output), F_SETFL, O_APPEND); /* the peer writes there too */
    t->pid = fork();
    if (t->pid < 0) {
        perror("behaviour: forking a test");
        exit(2);
    }
    if (t->pid == 0) {
        setpgid(0, 0);
        dup2(fileno(t->output), STDOUT_FILENO);
        current = t->name;
        t->run(t->arg);
        exit(failed);
    }
    setpgid(t->pid, t->pid);
    clock_gettime(CLOCK_MONOTONIC, &now);
    t->deadline = now.tv_sec + limit;
    t->started = true;
}

/* Ends the rest of the test's process group, including a forgotten peer. */
static void finish(struct test *t)
{
    kill(-t->pid, SIGKILL);
    t->ended = true;
}

static void reap(int running)
{
    struct timespec now;
    int any = 0;

    for (int n = 0; n < test_count; n++) {
        struct test *t = &tests[n];
        if (t->started && !t->ended && waitpid(t->pid, &t->status, WNOHANG) == t->pid) {
            finish(t);
            any++;
        }
    }
    if (any || !running)
        return;
    clock_gettime(CLOCK_MONOTONIC, &now);
    for (int n = 0; n < test_count; n++) {
        struct test *t = &tests[n];
        if (t->started && !t->ended && now.tv_sec > t->deadline) {
            t->timed_out = true;
            kill(-t->pid, SIGKILL);
            waitpid(t->pid, &t->status, 0);
            t->ended = true;
        }
    }
    poll(NULL, 0, 2);
}

/* Copies the lines out; true if the test passed. */
static bool show(struct test *t, int *timeouts)
{
    char line[600];
    bool ok = WIFEXITED(t->status) && WEXITSTATUS(t->status) == 0;

    if (t->not_run) {
        printf("%s: %s\n", t->name, t->not_run);
        return true;
    }
    rewind(t->output);
    while (fgets(line, sizeof(line), t->output))
        fputs(line, stdout);
    fclose(t->output);
    if (t->timed_out) {
        printf("%s: TIMEOUT\n", t->name);
        ++*timeouts;
        ok = t->must_die;
    } else if (WIFSIGNALED(t->status)) {
        printf("%s: CRASH %s\n", t->name, WTERMSIG(t->status) == SIGSEGV ? "SIGSEGV" : strsignal(WTERMSIG(t->status)));
        ok = t->must_die;
    } else if (t->must_die) {
        printf("%s: FAIL it was to hang or crash, by option -e\n", t->name);
        ok = false;
    } else if (!ok) {
        printf("%s: FAILED\n", t->name);
    }
    fflush(stdout);
    return ok;
}

static int run_all(void)
{
    int next = 0, shown = 0, running = 0, ran = 0, bad = 0, timeouts = 0;

    while (shown < test_count) {
        while (next < test_count && running < jobs) {
            if (tests[next].chosen && !tests[next].not_run) {
                start(&tests[next]);
                running++;
            }
            next++;
        }
        reap(running);
        running = 0;
        for (int n = 0; n < next; n++)
            running += tests[n].started && !tests[n].ended;
        while (shown < next && (!tests[shown].started || tests[shown].ended)) {
            struct test *t = &tests[shown++];
            if (!t->chosen)
                continue;
            ran += !t->not_run;
            bad += !show(t, &timeouts);
        }
    }
    printf("%d passed, %d failed (%d timed out)\n", ran - bad, bad, timeouts);
    return bad ? 1 : 0;
}

static void usage(FILE *to)
{
    fprintf(to, "usage: behaviour [--list] [-j JOBS] [-t SECONDS] [-x PATTERN=REASON]... [-e PATTERN]... [NAME-PATTERN]...\n"
                "  -x  do not run these tests, print the reason as their result\n"
                "  -e  these tests must hang or crash: that is a failure in all others\n");
}

static void read_options(int argc, char **argv, bool *list)
{
    static const struct option options[] = { { "list", no_argument, NULL, 'l' },
                                             { "help", no_argument, NULL, 'h' },
                                             { NULL, 0, NULL, 0 } };
    int option;

    while ((option = getopt_long(argc, argv, "j:t:x:e:", options, NULL)) != -1) {
        char *equals;
        switch (option) {
        case 'l': *list = true; break;
        case 'j': jobs = atoi(optarg); break;
        case 't': limit = atoi(optarg); break;
        case 'x':
            equals = strchr(optarg, '=');
            if (equals && rule_count < MAX_RULES) {
                *equals = '\0';
                rules[rule_count++] = (struct rule){ optarg, equals + 1 };
                break;
            }
            usage(stderr);
            exit(2);
        case 'e':
            if (death_count < MAX_RULES) {
                deaths[death_count++] = optarg;
                break;
            }
            usage(stderr);
            exit(2);
        case 'h': usage(stdout); exit(0);
        default: usage(stderr); exit(2);
        }
    }
    if (jobs < 1 || limit < 1) {
        usage(stderr);
        exit(2);
    }
}

static void choose(int count, char **patterns)
{
    for (int p = 0; p < count || (p == 0 && count == 0); p++) {
        int hits = 0;
        for (int n = 0; n < test_count; n++) {
            if (count == 0 || !fnmatch(patterns[p], tests[n].name, 0)) {
                tests[n].chosen = true;
                hits++;
            }
        }
        if (!hits) {
            fprintf(stderr, "behaviour: no test is named %s: see --list\n", patterns[p]);
            exit(2);
        }
    }
    for (int n = 0; n < test_count; n++) {
        for (int r = 0; r < rule_count; r++) {
            if (!fnmatch(rules[r].pattern, tests[n].name, 0))
                tests[n].not_run = rules[r].reason;
        }
        for (int d = 0; d < death_count; d++)
            tests[n].must_die |= !fnmatch(deaths[d], tests[n].name, 0);
    }
}

int main(int argc, char **argv)
{
    struct rlimit none = { 0, 0 };
    bool list = false;

    read_options(argc, argv, &list);
    add_lifecycle_tests();
    add_cell_tests();
    add_error_tests();
    add_order_tests();
    add_wakeup_tests();
    add_server_tests();
    add_large_call_tests();
    add_thread_tests();
    add_corrupt_tests();
    add_killed_tests();
    add_qubes_tests();
    add_qrexec_tests();
    add_signal_tests();
    add_interrupted_tests();
    choose(argc - optind, argv + optind);
    setrlimit(RLIMIT_CORE, &none);
    signal(SIGPIPE, SIG_IGN);
    if (!list)
        return run_all();
    for (int n = 0; n < test_count; n++) {
        if (tests[n].chosen)
            puts(tests[n].name);
    }
    return 0;
}
