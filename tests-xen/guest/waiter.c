/*
 * One end of a channel that treats any wake-up as the awaited event, as Qubes OS' libvchan does. It prints
 *   library FILE · listening · woken OPEN · talked N · idle · disturbed OPEN · closed · error WHAT ERRNO
 * A server sleeps until its first wake-up: if its client caused it, OPEN is 1. Both ends exchange messages; then both
 * sleep, until SIGUSR1 makes the client send a last byte. An end that is woken earlier prints "disturbed".
 * Its exit status is 0, 1 after an error, 64 for usage.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include <libxenvchan.h>
#include <xenstore.h>

static const char usage[] =
	"usage: waiter server|client DOMID PATH [poll] [unpublish]\n"
	"  poll       sleep in poll(), on the descriptor of libxenvchan_fd_for_select(), instead of libxenvchan_wait()\n"
	"  unpublish  the server removes its nodes from xenstore as soon as it was woken\n";

enum { TURNS = 20, SIZE = 3000 };

static struct libxenvchan *channel;
static volatile sig_atomic_t signalled;
static bool polls;

/* The signal can arrive just before libxenvchan_wait() sleeps, so it is repeated. */
static void handle_signal(int number)
{
	static const struct itimerval again = { .it_value.tv_usec = 100000, .it_interval.tv_usec = 100000 };

	if (number == SIGUSR1)
		setitimer(ITIMER_REAL, &again, NULL);
	signalled = 1;
}

static _Noreturn void give_up(const char *what)
{
	const char *name = strerrorname_np(errno);

	printf("error %s %s open %d\n", what, name ? name : "none", channel ? libxenvchan_is_open(channel) : -1);
	exit(1);
}

static int open_now(void)
{
	return libxenvchan_is_open(channel);
}

/* Sleeps until a wake-up; false if the signal caused it, which is blocked at any other time. */
static bool sleep_once(const sigset_t *outside, const sigset_t *inside)
{
	struct pollfd polled = { .fd = libxenvchan_fd_for_select(channel), .events = POLLIN };
	int result;

	if (polls) {
		result = ppoll(&polled, 1, NULL, inside);
	} else {
		sigprocmask(SIG_SETMASK, inside, NULL);
		result = libxenvchan_wait(channel);
		sigprocmask(SIG_SETMASK, outside, NULL);
	}
	if (result < 0 && !(signalled && errno == EINTR))
		give_up("sleep");
	return result >= 0;
}

/* Waits until there is data; earlier wake-ups are ignored. */
static void await_bytes(void)
{
	while (!libxenvchan_data_ready(channel)) {
		if (open_now() != 1) {
			errno = 0;
			give_up("the other side has gone");
		}
		if (libxenvchan_wait(channel) < 0)
			give_up("wait");
	}
}

static void say(char word, int size)
{
	char text[SIZE];

	memset(text, word, sizeof(text));
	if (libxenvchan_send(channel, text, size) != size)
		give_up("send");
}

static void hear(char word, int size)
{
	char text[SIZE];

	await_bytes();
	if (libxenvchan_recv(channel, text, size) != size || text[0] != word || text[size - 1] != word)
		give_up("receive");
}

static void talk(bool server)
{
	for (int turn = 0; turn < TURNS; turn++) {
		if (server)
			say('a' + turn, SIZE);
		hear(server ? 'A' + turn : 'a' + turn, SIZE);
		if (!server)
			say('A' + turn, SIZE);
	}
	printf("talked %d\n", TURNS);
}

/* The events of the exchanged bytes can arrive late. */
static void take_late_events(void)
{
	struct pollfd polled = { .fd = libxenvchan_fd_for_select(channel), .events = POLLIN };

	/* libxenvchan_data_ready() requests an event before the poll. */
	while (libxenvchan_data_ready(channel) == 0 && poll(&polled, 1, 500) > 0)
		if (libxenvchan_wait(channel) < 0)
			give_up("wait");
}

static void unpublish(const char *path)
{
	struct xs_handle *store = xs_open(0);

	if (!store || !xs_rm(store, XBT_NULL, path))
		give_up("xs_rm");
	xs_close(store);
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = handle_signal };
	bool server, unpublishes = false;
	sigset_t outside, inside;
	Dl_info from;

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (int i = 4; i < argc; i++) {
		polls = polls || !strcmp(argv[i], "poll");
		unpublishes = unpublishes || !strcmp(argv[i], "unpublish");
	}
	if (argc < 4) {
		fputs(usage, stderr);
		return 64;
	}
	server = !strcmp(argv[1], "server");
	sigemptyset(&outside);
	sigaddset(&outside, SIGUSR1);
	sigaddset(&outside, SIGALRM);
	sigaction(SIGUSR1, &action, NULL);
	sigaction(SIGALRM, &action, NULL);
	sigprocmask(SIG_BLOCK, &outside, &inside);
	printf("library %s\n", dladdr((void *)libxenvchan_read, &from) ? from.dli_fname : "unknown");

	channel = server ? libxenvchan_server_init(NULL, atoi(argv[2]), argv[3], 4096, 4096) :
			   libxenvchan_client_init(NULL, atoi(argv[2]), argv[3]);
	if (!channel)
		give_up("init");
	channel->blocking = 1;
	if (server) {
		puts("listening");
		sleep_once(&outside, &outside);
		printf("woken %d\n", open_now());
		if (unpublishes)
			unpublish(argv[3]);
	}
	talk(server);
	take_late_events();
	puts("idle");
	if (sleep_once(&outside, &inside) && !(server && libxenvchan_data_ready(channel)))
		printf("disturbed %d\n", open_now());
	if (server) {
		hear('e', 1);
	} else {
		while (!signalled)
			sigsuspend(&inside);
		say('e', 1);
	}
	libxenvchan_close(channel);
	puts("closed");
	return 0;
}
