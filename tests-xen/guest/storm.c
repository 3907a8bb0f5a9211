/*
 * storm DIRECTORY: creates and removes a node in a xenstore directory in bursts, so that other programs' transactions in
 * it have conflicts, until SIGUSR1. Pauses of varying length between the bursts let transactions succeed. Prints
 * "blowing", and at the end "changes N".
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <xenstore.h>

#define GUST 40

static volatile sig_atomic_t over;

static void stop(int signal)
{
	over = signal;
}

int main(int argc, char **argv)
{
	struct xs_handle *store = xs_open(0);
	char path[XENSTORE_ABS_PATH_MAX];
	unsigned long changes = 0;

	if (argc != 2 || !store) {
		fprintf(stderr, "storm: %s\n", argc == 2 ? strerror(errno) : "usage: storm DIRECTORY");
		return 1;
	}
	signal(SIGUSR1, stop);
	snprintf(path, sizeof(path), "%s/storm", argv[1]);
	puts("blowing");
	fflush(stdout);
	while (!over) {
		if (!xs_write(store, XBT_NULL, path, "1", 1) || !xs_rm(store, XBT_NULL, path)) {
			perror("storm");
			return 1;
		}
		changes += 2;
		if (changes % GUST == 0)
			usleep(changes / GUST % 8 * 50000);
	}
	printf("changes %lu\n", changes);
	xs_close(store);
	return 0;
}
