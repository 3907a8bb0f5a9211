/* Errors go to the program's logger, of Xen's libxentoollog, and to nobody where it passes none. */
#include <libxenvchan.h>
#include <xentoollog.h>

#include <stdio.h>

int main(void)
{
    struct xentoollog_logger_stdiostream *logger = xtl_createlogger_stdiostream(stdout, XTL_ERROR, 0);

    if (libxenvchan_client_init(NULL, 0, "/vchan/silent") || libxenvchan_client_init((struct xentoollog_logger *)logger, 0, "/vchan/told"))
        return 1;
    xtl_logger_destroy((struct xentoollog_logger *)logger);
    return 0;
}
