/*
 * grants(): measures and takes gntalloc's pages: the module counts the pages it shares, but shows only its limit.
 *   grants used        prints "used N": the number of pages in use, found by lowering the limit until one more page
 *                      is refused; nothing else may use the module at that moment
 *   grants hold LEFT   takes pages until only LEFT are free, prints "holding N", stays until killed
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

static void set_limit(unsigned value)
{
	FILE *file = fopen(LIMIT, "w");

	if (!file || fprintf(file, "%u", value) < 0 || fclose(file))
		die(LIMIT);
}

/* Takes count pages, shared with this domain itself; 0 if there are not enough. */
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

/* Whether one page can be allocated under this limit, that is, whether fewer are in use. */
static int fewer(int device, unsigned than)
{
	struct ioctl_gntalloc_dealloc_gref request = { .count = 1 };
	uint64_t index;

	set_limit(than);
	if (!take(device, 1, &index))
		return 0;
	request.index = index;
	if (ioctl(device, IOCTL_GNTALLOC_DEALLOC_GREF, &request))
		die(DEVICE);
	return 1;
}

static unsigned used(int device)
{
	unsigned all = limit(), least = 0, most = all;

	/* No page in use is the usual case and is tried first. */
	if (fewer(device, 1))
		most = 0;
	else
		least = 1;
	while (least < most) {
		unsigned middle = (least + most) / 2;

		if (fewer(device, middle + 1))
			most = middle;
		else
			least = middle + 1;
	}
	set_limit(all);
	return least;
}

static int grants(int argc, char **argv)
{
	int device = open(DEVICE, O_RDWR | O_CLOEXEC);
	uint64_t index;

	if (device < 0)
		die(DEVICE);
	if (argc == 1 && !strcmp(argv[0], "used")) {
		printf("used %u\n", used(device));
		return 0;
	}
	if (argc == 2 && !strcmp(argv[0], "hold")) {
		unsigned all = limit() - used(device), left = atoi(argv[1]);

		if (left < all && !take(device, all - left, &index))
			die(DEVICE);
		printf("holding %u\n", left < all ? all - left : 0);
		fflush(stdout);
		for (;;)
			pause();
	}
	fputs("usage: grants used | grants hold LEFT\n", stderr);
	return 64;
}
