/* SPDX-License-Identifier: BSD-3-Clause */
/* ssh's ProxyCommand into a guest: bench_vsh_proxy DIR PORT, with ProxyUseFdpass.
 * Connects through the directory of a hybrid vsock device and gives ssh the connection
 * itself, so that nobody stands between ssh and the device. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

static int
connect_guest(const char *dir, const char *port)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char line[64];
    size_t have = 0;
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    int n = snprintf(address.sun_path, sizeof(address.sun_path), "%s/vsock", dir);

    if (fd < 0 || n < 0 || (size_t)n >= sizeof(address.sun_path) ||
        connect(fd, (const struct sockaddr *)(const void *)&address, sizeof(address)) < 0)
        return -1;
    n = snprintf(line, sizeof(line), "CONNECT %s\n", port);
    if (n < 0 || write(fd, line, (size_t)n) != n)
        return -1;
    /* Byte by byte: what follows the line is ssh's. */
    while (have < sizeof(line) && read(fd, line + have, 1) == 1)
        if (line[have++] == '\n')
            return strncmp(line, "OK ", 3) == 0 ? fd : -1;
    return -1;
}

int
main(int argc, char **argv)
{
    char byte = 0;
    struct iovec iov = {.iov_base = &byte, .iov_len = 1};
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {.bytes = {0}};
    struct msghdr message = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = control.bytes,
        .msg_controllen = sizeof(control.bytes),
    };
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    int fd;

    if (argc != 3)
        return EXIT_FAILURE;
    fd = connect_guest(argv[1], argv[2]);
    if (fd < 0) {
        (void)fprintf(stderr, "%s: no connection\n", argv[0]);
        return EXIT_FAILURE;
    }
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(head), &fd, sizeof(fd));
    return sendmsg(STDOUT_FILENO, &message, 0) == 1 ? EXIT_SUCCESS : EXIT_FAILURE;
}
