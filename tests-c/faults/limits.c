/* No free descriptors, no space, an unwritable directory: the right errno, and no leftovers. */
#include "faults.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOBODY 65534

static void allow_descriptors(rlim_t count)
{
    struct rlimit limit;

    must_do(getrlimit(RLIMIT_NOFILE, &limit), "getrlimit");
    limit.rlim_cur = count < limit.rlim_max ? count : limit.rlim_max;
    must_do(setrlimit(RLIMIT_NOFILE, &limit), "setrlimit");
}

static int first_free_descriptor(void)
{
    int fd = must_do(dup(0), "dup");
    close(fd);
    return fd;
}

/* Checks the failure of an init call. */
static void check_failed(const char *what, int number, int expected, const struct census *before, int files)
{
    int reported = errno;
    struct census now;

    CHECK(reported == expected, "%s %d: reported %s: %s", what, number, errno_name(reported), vchan_rs_last_error());
    now = take_census();
    CHECK(same_census(before, &now), "%s %d: %d descriptors and %d mappings are left", what, number,
          now.fds - before->fds, now.shared - before->shared);
    CHECK(count_files(getenv("XEN_ROOT")) == files, "%s %d: %d files are left", what, number,
          count_files(getenv("XEN_ROOT")) - files);
}

/* Descriptors run out at the first, the second, ... that init needs. */
static int no_descriptors(enum role role)
{
    const char *path = new_path();
    struct libxenvchan *server = NULL, *ctrl = NULL;
    struct census before;
    int tried = 0, files;

    if (role == CLIENT)
        server = must(libxenvchan_server_init(NULL, 0, path, 4096, 4096), "server_init");
    before = take_census();
    files = count_files(getenv("XEN_ROOT"));
    for (int more = 0; !ctrl && more < 100; more++) {
        allow_descriptors((rlim_t)(first_free_descriptor() + more));
        ctrl = role == SERVER ? libxenvchan_server_init(NULL, 0, path, 4096, 4096) : libxenvchan_client_init(NULL, 0, path);
        int error = errno;
        allow_descriptors(RLIM_INFINITY);
        errno = error;
        if (ctrl)
            break;
        tried++;
        check_failed("no descriptors", more, EMFILE, &before, files);
        /* Makes the server notice the end of the attempt, if it got that far. */
        if (server)
            CHECK(vchan_rs_accept(server, 1) == -1 && errno == ETIMEDOUT, "the server thinks that a client came: %s",
                  vchan_rs_last_error());
    }
    CHECK(ctrl && tried > 3, "%s: %d attempts failed, then %s", role_names[role], tried, vchan_rs_last_error());
    if (ctrl)
        libxenvchan_close(ctrl);
    if (server)
        libxenvchan_close(server);
    return tried;
}

/* A server that can't accept reports it and can later; a client without a descriptor for the server's doorbell
 * works without it. */
static int none_while_connected(void)
{
    const char *path = new_path();
    struct libxenvchan *server = must(libxenvchan_server_init(NULL, 0, path, 4096, 4096), "server_init");
    struct libxenvchan *client = must(libxenvchan_client_init(NULL, 0, path), "client_init");
    uint8_t data[1000], got[1000];

    allow_descriptors((rlim_t)first_free_descriptor());
    CHECK(libxenvchan_wait(server) == -1 && errno == EMFILE, "wait: %s", vchan_rs_last_error());
    allow_descriptors(RLIM_INFINITY);
    CHECK(libxenvchan_wait(server) == 0, "wait again: %s", vchan_rs_last_error());
    allow_descriptors((rlim_t)first_free_descriptor());
    for (int round = 0; round < 100; round++) {
        fill(data, sizeof(data), (uint64_t)round, 1);
        struct libxenvchan *from = round % 2 ? server : client, *to = round % 2 ? client : server;
        to->blocking = from->blocking = 0;
        CHECK(libxenvchan_data_ready(to) == 0, "data before it was written");
        from->blocking = to->blocking = 1;
        CHECK(libxenvchan_send(from, data, sizeof(data)) == sizeof(data), "send: %s", vchan_rs_last_error());
        CHECK(vchan_rs_wait(to, LONG_MS) == 0, "wait: %s", vchan_rs_last_error());
        CHECK(libxenvchan_recv(to, got, sizeof(got)) == sizeof(got) && right(got, sizeof(got), (uint64_t)round, 1) == sizeof(got),
              "recv: %s", vchan_rs_last_error());
    }
    allow_descriptors(RLIM_INFINITY);
    libxenvchan_close(client);
    libxenvchan_close(server);
    return 2;
}

/* A file system that grows from too small to large enough. */
static int no_space(const char *directory, const char *option, int first, int step, int most)
{
    static const uint8_t full[32768];
    const char *path = new_path();
    struct libxenvchan *ctrl = NULL;
    struct census before = take_census();
    char options[64];
    int tried = 0;

    for (int size = first; size <= most && !ctrl; size += step) {
        snprintf(options, sizeof(options), "mode=700,%s=%d", option, size);
        must_do(mount("none", directory, "tmpfs", MS_NOSUID, options), "mounting a tmpfs");
        ctrl = libxenvchan_server_init(NULL, 0, path, 20000, 20000);
        if (!ctrl) {
            tried++;
            check_failed(options, size, ENOSPC, &before, 0);
        } else {
            /* Allocated memory exists. */
            CHECK(libxenvchan_write(ctrl, full, sizeof(full)) == sizeof(full), "%s: %s", options, vchan_rs_last_error());
            libxenvchan_close(ctrl);
            CHECK(count_files(directory) == 0, "%s: files are left", options);
        }
        must_do(umount(directory), "unmounting");
    }
    CHECK(ctrl && tried > 3, "%s: %d attempts failed, then %s", option, tried, vchan_rs_last_error());
    return tried;
}

/* Runs in a separate process and counts the checks. */
static int as_nobody(int (*body)(void))
{
    pid_t child = must_do(fork(), "forking");
    int status;

    if (child == 0) {
        must_do(setgid(NOBODY), "setgid");
        must_do(setuid(NOBODY), "setuid");
        int before = failed_checks(), tried = body();
        _exit(failed_checks() > before ? 255 : tried);
    }
    must_do(waitpid(child, &status, 0), "waitpid");
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) < 255, "as nobody: status %#x", (unsigned)status);
    return WEXITSTATUS(status);
}

static void cannot(const char *what, int server_errno, int client_errno)
{
    const char *path = new_path();
    struct census before = take_census();

    CHECK(!libxenvchan_server_init(NULL, 0, path, 4096, 4096), "%s: a server", what);
    CHECK(strstr(vchan_rs_last_error(), root), "%s: does not name the directory: %s", what, vchan_rs_last_error());
    check_failed(what, SERVER, server_errno, &before, 0);
    CHECK(!libxenvchan_client_init(NULL, 0, path), "%s: a client", what);
    check_failed(what, CLIENT, client_errno, &before, 0);
}

static int unwritable(void)
{
    cannot("a directory of mode 500", EACCES, ENOENT);
    setenv("XEN_ROOT", strcat(strcpy((char[ROOT_SIZE + 32]){ 0 }, getenv("XEN_ROOT")), "/none"), 1);
    cannot("no directory, and none can be made", EACCES, ENOENT);
    return 4;
}

static int mounted(const char *directory)
{
    int tried;

    if (mount("none", directory, "tmpfs", 0, "mode=700,size=64k")) {
        printf("limits: SKIPPED: ENOSPC and read-only file systems: can't mount: %s\n", strerror(errno));
        return 0;
    }
    must_do(mount("none", directory, NULL, MS_REMOUNT | MS_RDONLY, NULL), "remounting");
    cannot("a read-only file system", EROFS, ENOENT);
    must_do(umount(directory), "unmounting");
    printf("limits: %-44s %4d attempts: EROFS\n", "read-only file system", 2);
    tried = no_space(directory, "nr_blocks", 1, 1, 60);
    printf("limits: %-44s %4d attempts: ENOSPC\n", "file system of 1, 2, ... blocks", tried);
    tried = no_space(directory, "nr_inodes", 1, 1, 60);
    printf("limits: %-44s %4d attempts: ENOSPC\n", "file system of 1, 2, ... files", tried);
    return tried;
}

void run_limits(int argc, char **argv)
{
    char directory[ROOT_SIZE + 32];

    (void)argc, (void)argv;
    for (int role = SERVER; role <= CLIENT; role++)
        printf("limits: 0, 1, ... free descriptors, %-22s %4d attempts: EMFILE\n", role_names[role],
               no_descriptors((enum role)role));
    printf("limits: %-44s %4d attempts: EMFILE, or done without\n", "no free descriptor, accepting and talking",
           none_while_connected());
    CHECK(count_files(getenv("XEN_ROOT")) == 0, "files are left");

    if (geteuid() != 0) {
        printf("limits: SKIPPED: ENOSPC, read-only file systems, other users: not root\n");
        return;
    }
    snprintf(directory, sizeof(directory), "%s/mounted", root);
    must_do(mkdir(directory, 0700), directory);
    setenv("XEN_ROOT", directory, 1);
    mounted(directory);
    snprintf(directory, sizeof(directory), "%s/unwritable", root);
    must_do(mkdir(directory, 0500), directory);
    must_do(chown(directory, NOBODY, NOBODY), directory);
    must_do(chmod(root, 0711), root);
    setenv("XEN_ROOT", directory, 1);
    printf("limits: %-44s %4d attempts: EACCES\n", "directories of which one must not write", as_nobody(unwritable));
}
