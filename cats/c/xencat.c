/* xencat-c: the tool for Xen domains. */
#include "tool.h"

static const char *const examples[] = {
#include "xencat.txt.h"
    0
};

static const struct tool xencat = {
    .name = "xencat-c",
    .about = "Carries standard input and output to a process in another Xen domain, over a vchan in shared memory",
    .examples = examples,
    /* All channels of a domain share gntalloc's 1024 pages; this size takes 33 of them. */
    .buffer_size = "64K",
    .transport = "xen",
    .configuration = 0,
    .wait_hint = "check DOMID and PORT on both sides",
};

int main(int argc, char **argv)
{
    return run(&xencat, argc, argv);
}
