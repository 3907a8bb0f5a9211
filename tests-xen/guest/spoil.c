/*
 * spoil spoil|call server|client DOMID PATH ROUNDS SEED: one side of ROUNDS channels, one after another. `spoil` writes
 * random values into the shared page and its ring, and sends events in between; `call` makes non-blocking calls until
 * one fails, or for a third of a second. Ends with "spoiled N" or "called CALLS, longest MS, ERRNO N ...".
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <libxenvchan.h>

#define RING 4096
#define TIMEOUT 30.0

static uint64_t state;
static unsigned long calls, errors[200];
static double longest;

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

static uint32_t chance(uint32_t below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)(state >> 32) % below;
}

static struct libxenvchan *open_channel(int server, int domain, const char *path)
{
	double until = seconds() + TIMEOUT;
	struct libxenvchan *channel;

	do {
		channel = server ? libxenvchan_server_init(NULL, domain, path, RING, RING)
				 : libxenvchan_client_init(NULL, domain, path);
		if (!channel)
			usleep(20000);
	} while (!channel && seconds() < until);
	while (channel && server && libxenvchan_is_open(channel) == 2 && seconds() < until)
		usleep(10000);
	if (!channel)
		perror("spoil: init");
	return channel;
}

static unsigned long spoil(struct libxenvchan *channel)
{
	volatile uint8_t *page = (volatile uint8_t *)channel->ring;
	/* A client maps the other ring read-only. */
	volatile uint8_t *ring = channel->write.buffer;
	double until = seconds() + 0.1;
	unsigned long done;

	for (done = 0; seconds() < until; done++) {
		switch (chance(8)) {
		case 0:
			page[chance(4096)] = chance(256);
			break;
		case 1:
			ring[chance(RING)] = chance(256);
			break;
		case 2:
			xenevtchn_notify(channel->event, channel->event_port);
			break;
		case 3:
			/* An index near its old value. */
			((volatile uint32_t *)page)[chance(4)] += chance(3) - 1;
			break;
		default:
			page[chance(24)] = chance(3) ? chance(3) : chance(256);
		}
		if (chance(4) == 0)
			usleep(chance(300));
	}
	return done;
}

static int one_call(struct libxenvchan *channel, void *buffer)
{
	struct pollfd polled = { .fd = libxenvchan_fd_for_select(channel), .events = POLLIN };

	switch (chance(7)) {
	case 0:
		return libxenvchan_read(channel, buffer, chance(2 * RING));
	case 1:
		return libxenvchan_write(channel, buffer, chance(2 * RING));
	case 2:
		return libxenvchan_recv(channel, buffer, chance(RING + 1));
	case 3:
		return libxenvchan_send(channel, buffer, chance(RING + 1));
	case 4:
		return libxenvchan_data_ready(channel);
	case 5:
		return libxenvchan_buffer_space(channel);
	default:
		/* A wait must not sleep if the descriptor is readable. */
		if (poll(&polled, 1, 1) > 0)
			return libxenvchan_wait(channel);
		libxenvchan_is_open(channel);
		return 0;
	}
}

static void call(struct libxenvchan *channel)
{
	static uint8_t buffer[2 * RING];
	double until = seconds() + 0.33;
	int result = 0;

	channel->blocking = 0;
	while (result >= 0 && seconds() < until) {
		double began = seconds();

		errno = 0;
		result = one_call(channel, buffer);
		if (seconds() - began > longest)
			longest = seconds() - began;
		calls++;
	}
	if (result < 0)
		errors[errno < 200 ? errno : 0]++;
}

int main(int argc, char **argv)
{
	unsigned long spoiled = 0;
	int spoils, rounds;

	if (argc != 7) {
		fprintf(stderr, "usage: spoil spoil|call server|client DOMID PATH ROUNDS SEED\n");
		return 64;
	}
	spoils = !strcmp(argv[1], "spoil");
	rounds = atoi(argv[5]);
	state = strtoull(argv[6], NULL, 0) * 2654435761u + 1;
	for (int round = 0; round < rounds; round++) {
		char path[256];
		struct libxenvchan *channel;

		snprintf(path, sizeof(path), "%s-%d", argv[4], round);
		channel = open_channel(!strcmp(argv[2], "server"), atoi(argv[3]), path);
		if (!channel)
			return 1;
		if (spoils)
			spoiled += spoil(channel);
		else
			call(channel);
		libxenvchan_close(channel);
	}
	if (spoils) {
		printf("spoiled %lu\n", spoiled);
		return 0;
	}
	printf("called %lu, longest %.0f", calls, longest * 1000);
	for (int n = 0; n < 200; n++)
		if (errors[n])
			printf(", %s %lu", n ? strerror(n) : "no errno", errors[n]);
	puts("");
	return 0;
}
