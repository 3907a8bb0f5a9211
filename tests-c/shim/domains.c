/* libxenctrl calls of vchan-socket-proxy while it waits for its server: is the domain alive? Here every domain
 * is. */
#include "shim.h"

#include <string.h>
#undef __STRICT_ANSI__ /* this header is written for GNU C */
#include <xenctrl.h>

static int the_interface;

xc_interface *xc_interface_open(xentoollog_logger *logger, xentoollog_logger *dombuild_logger, unsigned open_flags)
{
    (void)logger, (void)dombuild_logger, (void)open_flags;
    return (xc_interface *)&the_interface;
}

int xc_interface_close(xc_interface *xch)
{
    (void)xch;
    return 0;
}

int xc_domain_getinfo(xc_interface *xch, uint32_t first, unsigned int max, xc_dominfo_t *info)
{
    (void)xch;
    if (max == 0)
        return 0;
    memset(info, 0, sizeof(*info));
    info->domid = shim_resolve(first);
    info->running = 1;
    return 1;
}
