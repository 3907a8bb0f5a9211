/* What the parts of the program `faults` share. Each part is a subcommand; see main.c. */
#ifndef FAULTS_H
#define FAULTS_H

#include <vchan-rs.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Far longer than anything takes that works. */
#ifndef LONG_MS
#define LONG_MS 20000
#endif

enum role { SERVER, CLIENT };
extern const char *const role_names[];

/* --- results: a failed check prints a line and makes the program fail in the end --- */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
#define CHECK(holds, ...) ((holds) ? (void)0 : complain(__VA_ARGS__))
int complaints(void);
/* For what the test itself can't do without: prints and ends the process. */
void *must(void *pointer, const char *what);
int must_do(int result, const char *what);
const char *errno_name(int value);

/* --- content: byte `position` of the stream `seed` --- */
void fill(uint8_t *data, size_t size, uint64_t position, uint32_t seed);
/* How many bytes are right before the first that is wrong. */
size_t right(const uint8_t *data, size_t size, uint64_t position, uint32_t seed);

/* --- chance: the same for the same seed, which is printed --- */
void random_begin(uint64_t seed);
uint64_t random_number(uint64_t below);

/* --- what a process has --- */
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
/* How many files there are below it. */
int count_files(const char *directory);
void list_files(const char *directory);
/* Makes a XEN_ROOT below root. */
void use_root(const char *name);

/* Parts do not tell of themselves. */
extern bool quiet;

double seconds(void);
/* Waits for another process of the test and its verdict. */
void child_ended_well(pid_t child);
/* A name that no other call got. */
const char *new_path(void);
struct vchan_rs_options waiting(int timeout_ms);

/* One peer that is killed, and what the other makes of it; from killed.c. Whose turn and how goes by the number. Whether it was killed. */
bool kill_round(int number);

/* Parts of the load, from load.c. */
void load_many(int count);
void load_messages(int count);

/* --- subcommands: arguments as given behind the name --- */
void run_syscalls(int argc, char **argv);
void run_limits(int argc, char **argv);
void run_signals(int argc, char **argv);
void run_killed(int argc, char **argv);
void run_load(int argc, char **argv);
void run_soak(int argc, char **argv);

#endif
