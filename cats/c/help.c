#include "options.h"

#include <stdio.h>

static const char usage[] =
    "\n"
    "Usage: %s [OPTIONS] <DOMID> <PORT>\n"
    "       %s [OPTIONS] --path <PATH> <DOMID>\n"
    "\n"
    "Arguments:\n"
    "  <DOMID>  The other side's domain, 0 to 32751\n"
    "  [PORT]   The name of the meeting point: letters, digits, '_' and '-'\n"
    "\n"
    "Options:\n"
    "  -l, --listen               Be the server: wait for a client (without it: connect to a server)\n"
    "      --path <PATH>          Meet at this path, as of xenstore, instead of PORT's; without a '/' before it is\n"
    "                             relative to the server's or, for a client, its own /local/domain/NUMBER/\n"
    "      --buffer-size <BYTES>  Size of the ring in each direction, K and M for KiB and MiB; it is the server's\n"
    "                             that counts, and more than 1M has the effect of 1M [default: 64K]\n"
    "      --recv-only            Only receive: leave standard input alone; the peer ends the conversation\n"
    "      --send-only            Only send: throw away whatever comes in\n"
    "      --wait[=<SECONDS>]     As a client, wait until the server is there, for SECONDS at most\n"
    "      --timeout <SECONDS>    Give up when nothing has moved, in either direction, for SECONDS\n"
    "  -k, --keep-listening       Serve one client after the other, until a signal comes\n"
    "  -q, --quiet                Print nothing but errors on standard error\n"
    "  -v, --verbose              Print also where the meeting takes place, and how much was moved\n"
    "      --progress             Show the bytes moved and the rate, if standard error is a terminal\n"
    "  -h, --help                 Print help\n"
    "  -V, --version              Print the version\n"
    "\n";

static const char behaviour[] =
    "\n"
    "What is read from standard input goes to the peer, what the peer sends goes to standard output. The end of\n"
    "standard input on either side ends the conversation, after every byte has arrived. A server reads nothing before\n"
    "its client is there.\n"
    "\n"
    "SIGINT, SIGTERM and SIGHUP end it in order at any moment, with exit code 0: what has been read is still handed\n"
    "over, the peer is told, nothing is left behind. A second signal ends it at once.\n"
    "\n"
    "With -k, standard input goes to whichever client is there, and its end ends no conversation: the clients do that.\n"
    "What one client fails to read, the next doesn't get.\n"
    "\n"
    "--timeout counts while waiting for the other side, too; with -k it ends only the idle conversation.\n"
    "\n"
    "Exit codes:\n"
    "  0    done: the peer has taken everything, or a signal asked for the end\n"
    "  1    an error, told in one line\n"
    "  2    the command line makes no sense\n"
    "  3    the peer was killed or crashed\n"
    "  4    the peer left before it had taken everything, or said that it failed\n"
    "  124  the time of --timeout or --wait ran out\n";

void print_help(const struct tool *tool)
{
    puts(tool->about);
    printf(usage, tool->name, tool->name);
    fputs(tool->examples, stdout);
    fputs(behaviour, stdout);
}
