#include "standard.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

static bool closed[3];

void open_standard_streams(void)
{
    for (int fd = 0; fd < 3; fd++)
        closed[fd] = fcntl(fd, F_GETFD) < 0 && errno == EBADF;
    for (int fd = 0; fd < 3; fd++)
        if (closed[fd] && open("/dev/null", O_RDWR) < 0)
            return;
}

bool was_closed(int fd)
{
    return closed[fd];
}

bool has_reader(int output)
{
    struct stat stat;

    return fstat(output, &stat) == 0 && (S_ISFIFO(stat.st_mode) || S_ISSOCK(stat.st_mode));
}

bool is_no_input(int input, int error)
{
    struct stat stat;

    return error == EBADF || (error == EIO && fstat(input, &stat) == 0 && S_ISCHR(stat.st_mode));
}
