/* unixcat-c: the tool for processes on one machine. */
#include "tool.h"

static const char *const examples[] = {
#include "unixcat.txt.h"
    0
};

static const struct tool unixcat = {
    .name = "unixcat-c",
    .about = "Carries standard input and output to another process of this machine, over a vchan in shared memory",
    .examples = examples,
    /* The maximum: unused memory costs nothing, and processes that share a CPU switch less often. */
    .buffer_size = "1M",
    .transport = "unix",
    .configuration = "XEN_CONFIGURATION",
    .wait_hint = "if the server uses another directory, set XEN_ROOT as it prints",
};

int main(int argc, char **argv)
{
    return run(&unixcat, argc, argv);
}
