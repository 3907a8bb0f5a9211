/* Calls while a thread or the process ends, after the library's thread-local variables were destroyed: they fail and succeed as
 * always. */
#include <vchan-rs.h>

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXPECT(what) expect((what) != 0, #what, __LINE__)

static struct libxenvchan *server, *client;

static void expect(int holds, const char *what, int line)
{
    if (!holds) {
        fprintf(stderr, "destructors.c:%d: not so: %s (errno %s, \"%s\")\n", line, what, strerror(errno), vchan_rs_last_error());
        _exit(1);
    }
}

static void calls(void *unused)
{
    char data[4];

    (void)unused;
    EXPECT(libxenvchan_read(NULL, data, 1) == -1 && errno == EINVAL);
    EXPECT(!strcmp(vchan_rs_last_error(), "libxenvchan_read: the channel is NULL"));
    EXPECT(vchan_rs_last_error_kind() == VCHAN_RS_ERROR_INVALID);
    EXPECT(libxenvchan_client_init(NULL, 0, "/vchan/nobody") == NULL && errno == ENOENT);
    EXPECT(libxenvchan_write(client, "text", 4) == 4 && libxenvchan_recv(server, data, 4) == 4);
    EXPECT(libxenvchan_data_ready(server) == 0 && libxenvchan_is_open(client) == 1);
}

static void at_exit(void)
{
    calls(NULL);
    libxenvchan_close(client);
    libxenvchan_close(server);
}

static void *thread(void *key)
{
    EXPECT(pthread_setspecific(*(pthread_key_t *)key, key) == 0);
    calls(NULL);
    return NULL;
}

int main(void)
{
    pthread_key_t key;
    pthread_t other;

    EXPECT(atexit(at_exit) == 0 && pthread_key_create(&key, calls) == 0);
    server = libxenvchan_server_init(NULL, 0, "/vchan/destructors", 4096, 4096);
    client = libxenvchan_client_init(NULL, 0, "/vchan/destructors");
    EXPECT(server && client);
    server->blocking = client->blocking = 1;
    EXPECT(pthread_create(&other, NULL, thread, &key) == 0);
    EXPECT(pthread_join(other, NULL) == 0);
    calls(NULL);
    return 0;
}
