/*
 * faults COMMAND: channels under faults and under load, on the Unix transport.
 *
 *   syscalls              each system call of each call fails in turn
 *   limits                no descriptors, no space, an unwritable directory
 *   signals               signal storms, and stopped peers
 *   killed [COUNT]        COUNT peers are killed, anywhere
 *   load [many|cycles|cycles-of-two|messages|wrap] [COUNT]
 *   soak SECONDS [UNIXCAT...]
 *
 * Files go to $TMPDIR, else to a memory file system. VCHAN_FAULTS_SEED reproduces the random numbers.
 */
#include "faults.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const struct {
    const char *name;
    void (*run)(int argc, char **argv);
} commands[] = {
    { "syscalls", run_syscalls }, { "limits", run_limits }, { "signals", run_signals },
    { "killed", run_killed },     { "load", run_load },     { "soak", run_soak },
};

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *where)
{
    (void)status, (void)kind, (void)where;
    return remove(path);
}

int main(int argc, char **argv)
{
    const char *temp = getenv("TMPDIR"), *seed = getenv("VCHAN_FAULTS_SEED");
    unsigned long long chance = seed ? strtoull(seed, NULL, 10) : (unsigned long long)time(NULL);

    for (size_t n = 0; argc > 1 && n < sizeof(commands) / sizeof(*commands); n++) {
        double begun = seconds();
        if (strcmp(argv[1], commands[n].name))
            continue;
        setvbuf(stdout, NULL, _IOLBF, 0);
        snprintf(root, sizeof(root), "%s/vchan-faults.XXXXXX", temp ? temp : access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
        must(mkdtemp(root), "making a directory");
        setenv("VCHAN_TRANSPORT", "unix", 1);
        use_root("root");
        random_begin(chance);
        commands[n].run(argc - 2, argv + 2);
        must_do(nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS), root);
        printf("faults %s: %d failed checks, %.1f s, VCHAN_FAULTS_SEED=%llu\n", argv[1], failed_checks(), seconds() - begun,
               chance);
        return failed_checks() > 0;
    }
    fprintf(stderr, "usage: faults syscalls|limits|signals|killed|load|soak ...; see tests-c/README.md\n");
    return 2;
}
