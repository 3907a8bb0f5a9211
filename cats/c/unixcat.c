/* unixcat-c: the conversation between two processes of one machine. */
#include "tool.h"

static const char *const examples[] = {
#include "unixcat.txt.h"
    0
};

static const struct tool unixcat = {
    .name = "unixcat-c",
    .about = "Carries standard input and output to another process of this machine, over a vchan in shared memory",
    .examples = examples,
    /* The largest: the memory costs nothing while it isn't used, and processes that share a processor change less often. */
    .buffer_size = "1M",
    .transport = "unix",
    .configuration = "XEN_CONFIGURATION",
    .elsewhere = "if it serves in another directory, set XEN_ROOT as it says",
};

int main(int argc, char **argv)
{
    return run(&unixcat, argc, argv);
}
