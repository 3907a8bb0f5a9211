/* A shared object that uses libxenvchan by ordinary references, like a plug-in: it exports its bindings. */
#include <libxenvchan.h>

#include "both.h"

const struct vchan_calls *vchan_calls(void)
{
    static const struct vchan_calls calls = {
        libxenvchan_server_init,   libxenvchan_client_init, libxenvchan_close,   libxenvchan_recv,
        libxenvchan_read,          libxenvchan_send,        libxenvchan_write,   libxenvchan_wait,
        libxenvchan_fd_for_select, libxenvchan_is_open,     libxenvchan_data_ready, libxenvchan_buffer_space,
    };

    return &calls;
}
