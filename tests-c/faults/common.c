/* See faults.h. */
#include "faults.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

const char *const role_names[] = { "server", "client" };
char root[ROOT_SIZE];
bool quiet;

static int failures;

void fail_check(const char *format, ...)
{
    va_list args;

    failures++;
    fputs("FAIL: ", stdout);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
    fflush(stdout);
}

int failed_checks(void)
{
    return failures;
}

void *must(void *pointer, const char *what)
{
    if (!pointer) {
        fprintf(stderr, "faults: %s: %s (%s)\n", what, strerror(errno), vchan_rs_last_error());
        exit(2);
    }
    return pointer;
}

int must_do(int result, const char *what)
{
    if (result < 0) {
        fprintf(stderr, "faults: %s: %s (%s)\n", what, strerror(errno), vchan_rs_last_error());
        exit(2);
    }
    return result;
}

const char *errno_name(int value)
{
    const char *name = strerrorname_np(value);
    return value == 0 ? "none" : name ? name : "unknown";
}

static uint8_t byte_at(uint64_t position, uint32_t seed)
{
    return (uint8_t)(((position + seed * 977ull) * 0x9E3779B97F4A7C15ull) >> 56);
}

void fill(uint8_t *data, size_t size, uint64_t position, uint32_t seed)
{
    for (size_t n = 0; n < size; n++)
        data[n] = byte_at(position + n, seed);
}

size_t right(const uint8_t *data, size_t size, uint64_t position, uint32_t seed)
{
    for (size_t n = 0; n < size; n++)
        if (data[n] != byte_at(position + n, seed))
            return n;
    return size;
}

static uint64_t chance = 1;

void random_begin(uint64_t seed)
{
    chance = seed ? seed : 1;
}

uint64_t random_number(uint64_t below)
{
    chance ^= chance << 13;
    chance ^= chance >> 7;
    chance ^= chance << 17;
    return chance * 0x2545F4914F6CDD1Dull % below;
}

struct census take_census(void)
{
    struct census found = { 0 };
    char line[4352], access[8];
    DIR *fds = must(opendir("/proc/self/fd"), "opening /proc/self/fd");
    FILE *file;

    while (readdir(fds))
        found.fds++;
    closedir(fds);
    file = must(fopen("/proc/self/maps", "r"), "opening /proc/self/maps");
    while (fgets(line, sizeof(line), file)) {
        found.maps++;
        if (sscanf(line, "%*s %7s", access) == 1 && access[3] == 's')
            found.shared++;
    }
    fclose(file);
    file = must(fopen("/proc/self/status", "r"), "opening /proc/self/status");
    while (fgets(line, sizeof(line), file))
        sscanf(line, "VmRSS: %ld", &found.rss_kib);
    fclose(file);
    return found;
}

bool same_census(const struct census *before, const struct census *now)
{
    return before->fds == now->fds && before->shared == now->shared;
}

static int files;
static bool listing;

static int count_one(const char *path, const struct stat *status, int kind, struct FTW *where)
{
    (void)status, (void)kind;
    if (where->level > 0) {
        files++;
        if (listing)
            printf("      left: %s\n", path);
    }
    return 0;
}

static int walk(const char *directory, bool aloud)
{
    files = 0;
    listing = aloud;
    if (nftw(directory, count_one, 16, FTW_PHYS) < 0 && errno != ENOENT)
        must_do(-1, directory);
    return files;
}

int count_files(const char *directory)
{
    return walk(directory, false);
}

void list_files(const char *directory)
{
    walk(directory, true);
}

void use_root(const char *name)
{
    char path[ROOT_SIZE + 64];

    snprintf(path, sizeof(path), "%s/%s", root, name);
    if (mkdir(path, 0700) && errno != EEXIST)
        must_do(-1, path);
    setenv("XEN_ROOT", path, 1);
}

double seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

void child_ended_well(pid_t child)
{
    int status;

    must_do(waitpid(child, &status, 0), "waitpid");
    CHECK(status == 0, "the other process ended with %#x", (unsigned)status);
}

const char *new_path(void)
{
    static char path[64];
    static int count;

    snprintf(path, sizeof(path), "/faults/%d/%d", (int)getpid(), ++count);
    return path;
}

struct vchan_rs_options waiting(int timeout_ms)
{
    return (struct vchan_rs_options){ .size = sizeof(struct vchan_rs_options), .timeout_ms = timeout_ms };
}
