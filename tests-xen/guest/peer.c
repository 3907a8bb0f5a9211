/*
 * One end of a channel, through libxenvchan's interface: linked against Xen's library, and by preloading against
 * any replacement. It prints lines that tests wait for:
 *   library FILE · listening · descriptors N · connected SPACE · sent N · received N SHA256 · pings N MICROSECONDS
 *   moved N MICROSECONDS · woken N · state STATE · ended RESULT ERRNO OPEN · notified N · conflicts N · closed
 *   error WHAT ERRNO
 * Its exit status is 0, 1 for a channel that ended too early, 2 for one that did not open, 64 for usage.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <libxenvchan.h>
#include <xen/evtchn.h>
#include <xenevtchn.h>

#include "sha256.h"

static const char usage[] =
	"usage: peer server|client DOMID PATH [OPTION...]\n"
	"  --read-min N, --write-min N  the server's ring sizes (65536)\n"
	"  --rings R/W[,R/W...]         one channel after the other, at PATH-R, with rings of these orders, as the server\n"
	"                               sees them; --send and --receive are then more than once around each\n"
	"  --opens N                    make and close the channel so often first (0)\n"
	"  --retry SECONDS              the client tries again so long (0)\n"
	"  --send N, --receive N        bytes to send and to expect, both at once\n"
	"  --chunk N                    maximum number of bytes per call (16384)\n"
	"  --pings N                    one-byte round trips (0)\n"
	"  --move N                     bytes from the client to the server, as fast as can be (0)\n"
	"  --wakes N                    libxenvchan_wait so often, woken by xenevtchn_notify, there and back (0)\n"
	"  --end STATE                  finish (default): close when all is done; read, write, stream: stay in that\n"
	"                               until the other side is gone; idle: until SIGUSR1\n";

enum end { END_FINISH, END_READ, END_WRITE, END_STREAM, END_IDLE };

struct plan {
	bool server;
	int domain;
	const char *path, *rings;
	size_t read_min, write_min, chunk;
	uint64_t send, receive, move;
	double retry;
	long opens, pings, wakes;
	enum end end;
};

/* Counts the library's system calls. */
static unsigned long notified, conflicts;

int ioctl(int fd, unsigned long request, ...)
{
	va_list arguments;
	void *argument;

	va_start(arguments, request);
	argument = va_arg(arguments, void *);
	va_end(arguments);
	if (request == IOCTL_EVTCHN_NOTIFY)
		notified++;
	return syscall(SYS_ioctl, fd, request, argument);
}

/* Xenstored replies EAGAIN to the end of a transaction that conflicts with other changes. */
ssize_t read(int fd, void *buffer, size_t size)
{
	ssize_t got = syscall(SYS_read, fd, buffer, size);

	if (got == sizeof("EAGAIN") && !memcmp(buffer, "EAGAIN", got))
		conflicts++;
	return got;
}

/* The bytes of one direction, generated from the direction, so that both sides know them. */
struct stream {
	uint64_t state;
	uint64_t word;
	unsigned left;
	uint64_t done;
	struct sha256 hash;
};

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

static const char *errno_name(int error)
{
	const char *name = error ? strerrorname_np(error) : "0";

	return name ? name : "unknown";
}

static void broken(struct libxenvchan *channel, const char *what, int result)
{
	int error = errno;

	printf("error %s %s result %d open %d\n", what, errno_name(error), result, libxenvchan_is_open(channel));
	libxenvchan_close(channel);
	exit(1);
}

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static void stream_init(struct stream *stream, bool from_server)
{
	memset(stream, 0, sizeof(*stream));
	stream->state = from_server ? 0x5e7fe7 : 0xc11e47;
	sha256_init(&stream->hash);
}

static void stream_fill(struct stream *stream, uint8_t *buffer, size_t size)
{
	for (; size; size--) {
		if (!stream->left) {
			stream->word = next_random(&stream->state);
			stream->left = sizeof(stream->word);
		}
		*buffer++ = stream->word;
		stream->word >>= 8;
		stream->left--;
	}
}

static void exchange_report(struct stream *out, struct stream *in)
{
	char digest[65];

	sha256_final(&in->hash, digest);
	printf("sent %llu\n", (unsigned long long)out->done);
	printf("received %llu %s\n", (unsigned long long)in->done, digest);
}

static size_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Both directions at once, without blocking; calls of all sizes up to chunk, so that the rings wrap anywhere. */
static int exchange(struct libxenvchan *channel, const struct plan *plan, uint64_t to_send, uint64_t to_receive)
{
	struct stream out, in;
	uint8_t *filled = malloc(plan->chunk), *got = malloc(plan->chunk);
	size_t at = 0, have = 0;
	uint64_t sizes = 0x51235;
	int result = 0;

	if (!filled || !got)
		abort();
	stream_init(&out, plan->server);
	stream_init(&in, !plan->server);
	channel->blocking = 0;
	while (out.done < to_send || in.done < to_receive) {
		bool moved = false;

		if (in.done < to_receive) {
			size_t most = 1 + next_random(&sizes) % plan->chunk;

			result = libxenvchan_read(channel, got, least(most, to_receive - in.done));
			if (result < 0)
				break;
			sha256_update(&in.hash, got, result);
			in.done += result;
			moved = result > 0;
		}
		if (out.done < to_send) {
			if (at == have) {
				have = least(1 + next_random(&sizes) % plan->chunk, to_send - out.done);
				stream_fill(&out, filled, have);
				at = 0;
			}
			result = libxenvchan_write(channel, filled + at, have - at);
			if (result < 0)
				break;
			out.done += result;
			at += result;
			moved = moved || result > 0;
		}
		if (!moved) {
			result = libxenvchan_wait(channel);
			if (result < 0)
				break;
		}
	}
	channel->blocking = 1;
	free(filled);
	free(got);
	if (to_send != UINT64_MAX && result >= 0)
		exchange_report(&out, &in);
	return result;
}

static void one_byte(struct libxenvchan *channel, bool write, const char *what)
{
	char byte = 'b';
	int result = write ? libxenvchan_write(channel, &byte, 1) : libxenvchan_read(channel, &byte, 1);

	if (result != 1)
		broken(channel, what, result);
}

static void ping(struct libxenvchan *channel, const struct plan *plan)
{
	double start = seconds();

	for (long i = 0; i < plan->pings; i++) {
		one_byte(channel, !plan->server, "ping");
		one_byte(channel, plan->server, "pong");
	}
	printf("pings %ld %.0f\n", plan->pings, (seconds() - start) * 1e6 / plan->pings);
}

static void move(struct libxenvchan *channel, const struct plan *plan)
{
	static uint8_t buffer[65536];
	unsigned long before = notified;
	double start;
	uint64_t done;
	int result;

	/* Both start at the same time. */
	one_byte(channel, plan->server, "start");
	start = seconds();
	for (done = 0; done < plan->move; done += result) {
		size_t size = least(least(plan->chunk, sizeof(buffer)), plan->move - done);

		result = plan->server ? libxenvchan_read(channel, buffer, size) : libxenvchan_write(channel, buffer, size);
		if (result <= 0)
			broken(channel, "move", result);
	}
	one_byte(channel, plan->server, "stop");
	printf("moved %llu %.0f %lu\n", (unsigned long long)done, (seconds() - start) * 1e6, notified - before);
}

/* Sends events by the channel's handle, until the other side has seen enough: events can coalesce. */
static void notify(struct libxenvchan *channel, const struct plan *plan)
{
	while (!libxenvchan_data_ready(channel)) {
		if (xenevtchn_notify(channel->event, channel->event_port) || !libxenvchan_is_open(channel))
			broken(channel, "xenevtchn_notify", -1);
		usleep(20000);
	}
	one_byte(channel, false, "woken");
	printf("woken %ld\n", plan->wakes);
}

static void wake(struct libxenvchan *channel, const struct plan *plan)
{
	struct pollfd polled = { .fd = libxenvchan_fd_for_select(channel), .events = POLLIN };

	/* If the descriptor is readable, libxenvchan_wait must return. */
	while (poll(&polled, 1, 300) > 0)
		if (libxenvchan_wait(channel) < 0)
			broken(channel, "libxenvchan_wait", -1);
	puts("quiet");
	/* The server's events would disturb an idle client. */
	one_byte(channel, !plan->server, "quiet");
	if (plan->server)
		notify(channel, plan);
	for (long i = 0; i < plan->wakes; i++)
		if (libxenvchan_wait(channel) < 0)
			broken(channel, "libxenvchan_wait", -1);
	one_byte(channel, true, "woken");
	if (!plan->server)
		notify(channel, plan);
}

/* The server's last byte confirms that it has everything; then the client leaves first, and nothing is lost. */
static void finish(struct libxenvchan *channel, const struct plan *plan)
{
	char byte;
	int result;

	one_byte(channel, plan->server, "last byte");
	if (!plan->server)
		return;
	result = libxenvchan_read(channel, &byte, 1);
	printf("ended %d %s %d\n", result, errno_name(result < 0 ? errno : 0), libxenvchan_is_open(channel));
}

static void stay(struct libxenvchan *channel, const struct plan *plan)
{
	static const char *const names[] = { "finish", "read", "write", "stream", "idle" };
	static uint8_t buffer[65536];
	int result;

	printf("state %s\n", names[plan->end]);
	errno = 0;
	switch (plan->end) {
	case END_READ:
		do
			result = libxenvchan_read(channel, buffer, sizeof(buffer));
		while (result > 0);
		break;
	case END_WRITE:
		do
			result = libxenvchan_write(channel, buffer, sizeof(buffer));
		while (result > 0);
		break;
	case END_STREAM:
		result = exchange(channel, plan, UINT64_MAX, UINT64_MAX);
		break;
	default: {
		sigset_t signals;
		int signal;

		sigemptyset(&signals);
		sigaddset(&signals, SIGUSR1);
		result = -sigwait(&signals, &signal);
	}
	}
	printf("ended %d %s %d\n", result, errno_name(errno), libxenvchan_is_open(channel));
}

static struct libxenvchan *open_once(const struct plan *plan)
{
	errno = 0;
	return plan->server ? libxenvchan_server_init(NULL, plan->domain, plan->path, plan->read_min, plan->write_min) :
			      libxenvchan_client_init(NULL, plan->domain, plan->path);
}

/*
 * The number of this process's descriptors. This must not leave used heap memory behind: if opening a channel fails,
 * the original closes it by fields that it has not set yet, and crashes if they are not 0.
 */
static int descriptors(void)
{
	int count = 0;

	for (int fd = 0; fd < 1024; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

static struct libxenvchan *open_channel(const struct plan *plan)
{
	double until = seconds() + plan->retry;
	struct libxenvchan *channel;

	for (long i = 0; i < plan->opens; i++) {
		channel = open_once(plan);
		if (!channel)
			return NULL;
		libxenvchan_close(channel);
	}
	while (!(channel = open_once(plan)) && seconds() < until)
		usleep(20000);
	return channel;
}

/* One channel from its beginning to its end. */
static int run(const struct plan *plan)
{
	int before = descriptors();
	struct libxenvchan *channel = open_channel(plan);

	if (!channel) {
		printf("error %s %s\n", plan->server ? "server_init" : "client_init", errno_name(errno));
		return 2;
	}
	channel->blocking = 1;
	if (plan->server) {
		puts("listening");
		while (libxenvchan_is_open(channel) == 2)
			if (libxenvchan_wait(channel) < 0)
				broken(channel, "wait", -1);
	}
	printf("descriptors %d\n", descriptors() - before);
	printf("connected %d\n", libxenvchan_buffer_space(channel));

	if (plan->send || plan->receive) {
		int result = exchange(channel, plan, plan->send, plan->receive);

		if (result < 0)
			broken(channel, "exchange", result);
	}
	if (plan->pings)
		ping(channel, plan);
	if (plan->move)
		move(channel, plan);
	if (plan->wakes)
		wake(channel, plan);
	if (plan->end == END_FINISH)
		finish(channel, plan);
	else
		stay(channel, plan);
	libxenvchan_close(channel);
	printf("notified %lu\n", notified);
	printf("conflicts %lu\n", conflicts);
	puts("closed");
	return 0;
}

/* The amounts make each direction wrap around its ring and end inside it. */
static int run_rings(struct plan plan)
{
	const char *base = plan.path, *at = plan.rings;
	char path[256];
	int read_order, write_order, length, status;

	for (;; at++) {
		if (sscanf(at, "%d/%d%n", &read_order, &write_order, &length) != 2)
			return 64;
		snprintf(path, sizeof(path), "%s-%d", base, read_order);
		plan.path = path;
		plan.read_min = (size_t)1 << read_order;
		plan.write_min = (size_t)1 << write_order;
		plan.send = (plan.server ? plan.write_min : plan.read_min) + 100003;
		plan.receive = (plan.server ? plan.read_min : plan.write_min) + 100003;
		status = run(&plan);
		at += length;
		if (status || !*at)
			return status;
	}
}

static bool parse(struct plan *plan, int argc, char **argv)
{
	static const struct option options[] = {
		{ "read-min", 1, 0, 'r' }, { "write-min", 1, 0, 'w' }, { "retry", 1, 0, 'R' }, { "send", 1, 0, 's' },
		{ "receive", 1, 0, 'g' },  { "chunk", 1, 0, 'c' },     { "pings", 1, 0, 'p' }, { "end", 1, 0, 'e' },
		{ "rings", 1, 0, 'o' },    { "opens", 1, 0, 'n' },     { "move", 1, 0, 'm' },  { "wakes", 1, 0, 'k' },
		{ 0 },
	};
	static const char *const ends[] = { "finish", "read", "write", "stream", "idle" };
	int option, i;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		unsigned long long number = option == '?' ? 0 : strtoull(optarg, NULL, 10);

		switch (option) {
		case 'r': plan->read_min = number; break;
		case 'w': plan->write_min = number; break;
		case 'R': plan->retry = number; break;
		case 's': plan->send = number; break;
		case 'g': plan->receive = number; break;
		case 'c': plan->chunk = number; break;
		case 'p': plan->pings = number; break;
		case 'o': plan->rings = optarg; break;
		case 'n': plan->opens = number; break;
		case 'm': plan->move = number; break;
		case 'k': plan->wakes = number; break;
		case 'e':
			for (i = 0; i < 5 && strcmp(optarg, ends[i]); i++)
				;
			if (i == 5)
				return false;
			plan->end = i;
			break;
		default: return false;
		}
	}
	if (argc - optind != 3 || !plan->chunk)
		return false;
	plan->server = !strcmp(argv[optind], "server");
	plan->domain = atoi(argv[optind + 1]);
	plan->path = argv[optind + 2];
	return plan->server || !strcmp(argv[optind], "client");
}

int main(int argc, char **argv)
{
	struct plan plan = { .read_min = 65536, .write_min = 65536, .chunk = 16384 };
	sigset_t signals;
	Dl_info from;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!parse(&plan, argc, argv)) {
		fputs(usage, stderr);
		return 64;
	}
	sigemptyset(&signals);
	sigaddset(&signals, SIGUSR1);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	printf("library %s\n", dladdr((void *)libxenvchan_read, &from) ? from.dli_fname : "unknown");
	return plan.rings ? run_rings(plan) : run(&plan);
}
