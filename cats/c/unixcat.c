/* unixcat-c: the conversation between two processes of one machine. */
#include "tool.h"

static const struct tool unixcat = {
    .name = "unixcat-c",
    .about = "Carries standard input and output to another process of this machine, over a vchan in shared memory",
    .examples =
        "Examples:\n"
        "  unixcat-c -l 0 talk                      wait for a client; both sides type\n"
        "  unixcat-c 0 talk                         be that client, in another terminal\n"
        "  unixcat-c -l 0 copy --recv-only > new    receive a file ...\n"
        "  unixcat-c --wait 0 copy < old            ... and send it, whoever is started first\n"
        "  unixcat-c -lk 0 log --recv-only >> log   collect what many clients send, one after the other\n"
        "\n"
        "The two sides find each other by DOMID and PORT, under $XEN_ROOT, else $XDG_RUNTIME_DIR/vchan, else\n"
        "/tmp/vchan-<uid>; $VCHAN_DOMID is one's own domain, else 0. A server also prints two lines for the shell,\n"
        "XEN_ROOT and XEN_CONFIGURATION. A client which has XEN_CONFIGURATION in its environment goes there, whatever\n"
        "its DOMID and PORT; it warns if another PORT is served there.\n",
    .transport = "unix",
    .configuration = "XEN_CONFIGURATION",
};

int main(int argc, char **argv)
{
    return run(&unixcat, argc, argv);
}
