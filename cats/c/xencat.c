/* xencat-c: the conversation between two Xen domains. */
#include "tool.h"

static const struct tool xencat = {
    .name = "xencat-c",
    .about = "Carries standard input and output to a process in another Xen domain, over a vchan in shared memory",
    .examples =
        "Examples:\n"
        "  xencat-c -l 3 talk                       wait for a client in domain 3; both sides type\n"
        "  xencat-c 0 talk                          be that client, there\n"
        "  xencat-c -l 3 copy --recv-only > new     receive a file ...\n"
        "  xencat-c --wait 0 copy < old             ... and send it, whoever is started first\n"
        "  xencat-c -l 3 --path data/proxy          serve at a path in xenstore of one's own choice\n"
        "\n"
        "A server publishes at /local/domain/<its own domain>/data/vchan/DOMID/PORT in xenstore. It needs the kernel's\n"
        "modules xen-evtchn and xen-gntalloc, a client xen-evtchn and xen-gntdev, and both need root's permissions or\n"
        "those of the devices in /dev/xen. `xl list` in domain 0 shows the domains' numbers.\n",
    .transport = "xen",
    .configuration = 0,
};

int main(int argc, char **argv)
{
    return run(&xencat, argc, argv);
}
