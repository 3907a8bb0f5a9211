/*
 * census DOMID...: lists the resources of channels in dom0 and the guests, one per line:
 *   ports:DOM:REMOTE   an event channel of DOM, bound to REMOTE or waiting for it
 *   node:PATH          a node below DOM's data in xenstore
 *   mapped:DOM:BY      a page that DOM shares and BY has mapped (of all domains, dead ones too)
 * lsevtchn, xenstore-ls and `xl debug-keys g` report the same, but under emulation starting each of them takes longer
 * than this whole program.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xenctrl.h>
#include <xenstore.h>

#define MOST_PORTS 4096
#define LOG_SIZE (1 << 20)

static void die(const char *what)
{
	fprintf(stderr, "census: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void ports(xc_interface *xen, unsigned domain)
{
	for (unsigned port = 0; port < MOST_PORTS; port++) {
		xc_evtchn_status_t status = { .dom = domain, .port = port };

		/* There are no ports after the last one. */
		if (xc_evtchn_status(xen, &status))
			break;
		if (status.status == EVTCHNSTAT_unbound)
			printf("ports:%u:%u\n", domain, status.u.unbound.dom);
		else if (status.status == EVTCHNSTAT_interdomain)
			printf("ports:%u:%u\n", domain, status.u.interdomain.dom);
	}
}

static void nodes(struct xs_handle *store, const char *path)
{
	unsigned count;
	char **names = xs_directory(store, XBT_NULL, path, &count);

	if (!names) {
		if (errno != ENOENT)
			die(path);
		return;
	}
	for (unsigned i = 0; i < count; i++) {
		char child[XENSTORE_ABS_PATH_MAX];

		snprintf(child, sizeof(child), "%s/%s", path, names[i]);
		printf("node:%s\n", child);
		nodes(store, child);
	}
	free(names);
}

/* A debug key makes Xen write its grant tables to its log. */
static void mapped(xc_interface *xen)
{
	static char log[LOG_SIZE];
	unsigned size = sizeof(log) - 1, owner = 0, by, index = 0;
	char *line, *from, *next;

	if (xc_send_debug_keys(xen, "g") || xc_readconsolering(xen, log, &size, 1, 0, &index))
		die("Xen's log of grants");
	log[size] = 0;
	from = strstr(log, "gnttab_usage_print_all [");
	if (!from || !strstr(from, "gnttab_usage_print_all ] done")) {
		fprintf(stderr, "census: Xen's log lacks the grants; is its buffer too small?\n");
		exit(1);
	}
	while ((next = strstr(from + 1, "gnttab_usage_print_all [")))
		from = next;
	for (line = strtok(from, "\n"); line; line = strtok(NULL, "\n")) {
		char *table = strstr(line, "grant-table for remote d");

		if (table)
			owner = atoi(strrchr(table, 'd') + 1);
		else if (sscanf(line, "(XEN) [0x%*x] %u", &by) == 1)
			printf("mapped:%u:%u\n", owner, by);
	}
}

int main(int argc, char **argv)
{
	xc_interface *xen = xc_interface_open(NULL, NULL, 0);
	struct xs_handle *store = xs_open(0);

	if (!xen)
		die("the hypervisor's interface");
	if (!store)
		die("xenstore");
	for (int i = 1; i < argc; i++) {
		char path[64];

		ports(xen, atoi(argv[i]));
		snprintf(path, sizeof(path), "/local/domain/%d/data", atoi(argv[i]));
		nodes(store, path);
	}
	mapped(xen);
	xs_close(store);
	xc_interface_close(xen);
	return 0;
}
