/* Shared by the parts of the program `faults`. Each part is a subcommand; see main.c. */
#ifndef FAULTS_H
#define FAULTS_H

#include <vchan-rs.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Far longer than anything that works takes. */
#ifndef LONG_MS
#define LONG_MS 20000
#endif

enum role { SERVER, CLIENT };
extern const char *const role_names[];

/* --- results: a failed check prints a line and makes the program fail at the end --- */
void fail_check(const char *format, ...) __attribute__((format(printf, 1, 2)));
#define CHECK(holds, ...) ((holds) ? (void)0 : fail_check(__VA_ARGS__))
int failed_checks(void);
/* For prerequisites of the test itself: prints an error and exits. */
void *must(void *pointer, const char *what);
int must_do(int result, const char *what);
const char *errno_name(int value);

/* --- content: byte `position` of the stream `seed` --- */
void fill(uint8_t *data, size_t size, uint64_t position, uint32_t seed);
/* The number of right bytes before the first wrong one. */
size_t right(const uint8_t *data, size_t size, uint64_t position, uint32_t seed);

/* --- random numbers: reproducible by the seed, which is printed --- */
void random_begin(uint64_t seed);
uint64_t random_number(uint64_t below);

/* --- a process's resources --- */
struct census {
    int fds;      /* open descriptors */
    int shared;   /* shared mappings */
    int maps;     /* all mappings */
    long rss_kib; /* memory in use */
};
struct census take_census(void);
bool same_census(const struct census *before, const struct census *now);

/* --- the root directory of the Unix transport, one for the whole run --- */
#define ROOT_SIZE 4096
extern char root[ROOT_SIZE];
/* The number of files below it. */
int count_files(const char *directory);
void list_files(const char *directory);
/* Creates a XEN_ROOT below root. */
void use_root(const char *name);

/* Suppresses the parts' own output. */
extern bool quiet;

double seconds(void);
/* Waits for another process of the test and checks its result. */
void child_ended_well(pid_t child);
/* A name not used by any other call. */
const char *new_path(void);
struct vchan_rs_options waiting(int timeout_ms);

/* Kills one peer, and checks the other; from killed.c. Role and method depend on the number. Returns whether it
 * was killed. */
bool kill_round(int number);

/* Parts of the load, from load.c. */
void load_many(int count);
void load_messages(int count);

/* --- subcommands: arguments as given after the name --- */
void run_syscalls(int argc, char **argv);
void run_limits(int argc, char **argv);
void run_signals(int argc, char **argv);
void run_killed(int argc, char **argv);
void run_load(int argc, char **argv);
void run_soak(int argc, char **argv);

#endif
