/* The soak: a random mix of everything for the requested time. Channels of random sizes and roles come and go,
 * many at once, bursts of messages, killed peers, and the tools. Prints the process's resources once a minute;
 * descriptors and mappings must be constant, memory must not grow. */
#include "cycles.h"
#include "faults.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum activity { LIVES, LIVES_OF_TWO, MANY, MESSAGES, KILLS, TOOLS, ACTIVITIES };
static const char *const activity_names[] = { "channels", "channels of two processes", "x 16 at once", "x 10000 messages",
                                              "killed peers", "files through tools" };

/* The given tools, and their number. */
static char **tools;
static int tool_count;

static pid_t start_tool(const char *tool, bool serves, const char *from, const char *to)
{
    pid_t child = must_do(fork(), "forking");

    if (child == 0) {
        must_do(dup2(must_do(open(from, O_RDONLY), from), 0), "dup2");
        must_do(dup2(must_do(open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600), to), 1), "dup2");
        must_do(dup2(must_do(open("/dev/null", O_WRONLY), "/dev/null"), 2), "dup2");
        if (serves)
            execl(tool, tool, "-l", "--recv-only", "0", "soak", (char *)NULL);
        else
            execl(tool, tool, "--send-only", "--wait=20", "0", "soak", (char *)NULL);
        _exit(127);
    }
    return child;
}

static void one_file_through_tools(void)
{
    static uint8_t data[300000], back[sizeof(data) + 1];
    char sent[ROOT_SIZE + 16], received[ROOT_SIZE + 16];
    size_t size = random_number(sizeof(data)), got;
    const char *server = tools[random_number((uint64_t)tool_count)], *client = tools[random_number((uint64_t)tool_count)];
    FILE *file;
    pid_t serving, sending;

    snprintf(sent, sizeof(sent), "%s/sent", root);
    snprintf(received, sizeof(received), "%s/received", root);
    fill(data, size, 0, (uint32_t)size);
    file = must(fopen(sent, "w"), sent);
    CHECK(fwrite(data, 1, size, file) == size, "writing %s", sent);
    fclose(file);
    serving = start_tool(server, true, "/dev/null", received);
    sending = start_tool(client, false, sent, "/dev/null");
    child_ended_well(sending);
    child_ended_well(serving);
    file = must(fopen(received, "r"), received);
    got = fread(back, 1, sizeof(back), file);
    fclose(file);
    CHECK(got == size && !memcmp(data, back, size), "%zu of %zu bytes came from %s to %s", got, size, client, server);
}

static void act(enum activity what)
{
    static int kills;

    switch (what) {
    case LIVES:
        live_once((int)random_number(100000));
        break;
    case LIVES_OF_TWO:
        live_once_of_two((int)random_number(100000));
        break;
    case MANY:
        load_many(16);
        break;
    case MESSAGES:
        load_messages(10000);
        break;
    case KILLS:
        kill_round(kills++);
        break;
    default:
        if (tool_count > 0)
            one_file_through_tools();
    }
}

static void tell(double begun, const struct census *before, const int *done)
{
    struct census now = take_census();

    printf("soak: %5.0f s: %d descriptors, %d mappings, %ld KiB (at first %ld)", seconds() - begun, now.fds, now.maps,
           now.rss_kib, before->rss_kib);
    for (int n = 0; n < ACTIVITIES; n++)
        printf(", %d %s", done[n], activity_names[n]);
    putchar('\n');
    CHECK(now.fds == before->fds && now.shared == before->shared, "soak: descriptors or shared mappings remain");
    CHECK(abs(now.maps - before->maps) <= 2, "soak: %d mappings became %d", before->maps, now.maps);
    CHECK(now.rss_kib < before->rss_kib + 1024, "soak: %ld KiB became %ld", before->rss_kib, now.rss_kib);
}

void run_soak(int argc, char **argv)
{
    double limit = argc > 0 ? atof(argv[0]) : 1800, begun = seconds(), printed = begun, every = limit < 240 ? limit / 4 : 60;
    int done[ACTIVITIES] = { 0 };
    struct census before;

    tools = argv + 1;
    tool_count = argc - 1;
    if (argc < 2)
        printf("soak: no tools given: only the library\n");
    quiet = true;
    /* By then libc and the library have allocated what they keep. */
    for (int n = 0; n < 5 * ACTIVITIES; n++)
        act((enum activity)(n % ACTIVITIES));
    begun = printed = seconds();
    before = take_census();
    while (seconds() < begun + limit && failed_checks() == 0) {
        enum activity what = (enum activity)random_number(ACTIVITIES);
        act(what);
        done[what]++;
        CHECK(count_files(getenv("XEN_ROOT")) == 0, "soak: files are left after %s", activity_names[what]);
        if (seconds() > printed + every) {
            printed = seconds();
            tell(begun, &before, done);
        }
    }
    tell(begun, &before, done);
}
