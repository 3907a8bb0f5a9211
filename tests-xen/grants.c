/*
 * Looks at, and takes, what gntalloc has to give: the module counts the pages it shares, but shows only its limit.
 *   grants used        writes "used N": how many pages are taken, found by asking for more and more of the rest
 *   grants hold LEFT   takes pages until only LEFT can be had, writes "pid N" and "holding N", stays until killed
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <xen/gntalloc.h>

#define DEVICE "/dev/xen/gntalloc"
#define LIMIT "/sys/module/xen_gntalloc/parameters/limit"

static void die(const char *what)
{
	fprintf(stderr, "grants: %s: %s\n", what, strerror(errno));
	exit(1);
}

static unsigned limit(void)
{
	FILE *file = fopen(LIMIT, "r");
	unsigned value;

	if (!file || fscanf(file, "%u", &value) != 1)
		die(LIMIT);
	fclose(file);
	return value;
}

/* Takes count pages, shared with this domain itself; 0 if there are not so many. */
static int take(int device, unsigned count, uint64_t *index)
{
	struct ioctl_gntalloc_alloc_gref *request = calloc(1, sizeof(*request) + count * sizeof(uint32_t));
	int result;

	if (!request)
		die("memory");
	request->flags = GNTALLOC_FLAG_WRITABLE;
	request->count = count;
	result = ioctl(device, IOCTL_GNTALLOC_ALLOC_GREF, request);
	*index = request->index;
	free(request);
	if (result && errno != ENOSPC)
		die(DEVICE);
	return !result;
}

static void give_back(int device, unsigned count, uint64_t index)
{
	struct ioctl_gntalloc_dealloc_gref request = { .index = index, .count = count };

	if (ioctl(device, IOCTL_GNTALLOC_DEALLOC_GREF, &request))
		die(DEVICE);
}

static unsigned available(int device)
{
	unsigned least = 0, most = limit();
	uint64_t index;

	while (least < most) {
		/* All of it is the usual answer: asked for first, it takes one call. */
		unsigned count = most == limit() && !least ? most : (least + most + 1) / 2;

		if (take(device, count, &index)) {
			give_back(device, count, index);
			least = count;
		} else {
			most = count - 1;
		}
	}
	return least;
}

int main(int argc, char **argv)
{
	int device = open(DEVICE, O_RDWR | O_CLOEXEC);
	uint64_t index;

	if (device < 0)
		die(DEVICE);
	if (argc == 2 && !strcmp(argv[1], "used")) {
		printf("used %u\n", limit() - available(device));
		return 0;
	}
	if (argc == 3 && !strcmp(argv[1], "hold")) {
		unsigned all = available(device), left = atoi(argv[2]);

		if (left < all && !take(device, all - left, &index))
			die(DEVICE);
		printf("pid %d\nholding %u\n", (int)getpid(), left < all ? all - left : 0);
		fflush(stdout);
		for (;;)
			pause();
	}
	fputs("usage: grants used | grants hold LEFT\n", stderr);
	return 64;
}
