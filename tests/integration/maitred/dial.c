/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/integration/maitred/dial.c - try to reach a vsock port from inside a guest, as a
 * program there that poses as the host would. Prints "dial CID: " and "answered" when a
 * byte of HTTP/2 came back, "closed" when the peer hung up, or the error of connect. */
#include <errno.h>
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define TIMEOUT_S 20

static unsigned
own_cid(void)
{
    int fd = open("/dev/vsock", O_RDONLY | O_CLOEXEC);
    unsigned cid = VMADDR_CID_ANY;

    if (fd >= 0) {
        (void)ioctl(fd, IOCTL_VM_SOCKETS_GET_LOCAL_CID, &cid);
        (void)close(fd);
    }
    return cid;
}

static const char *
try_port(unsigned cid, unsigned port)
{
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0";
    const struct sockaddr_vm addr = {
        .svm_family = AF_VSOCK, .svm_cid = cid, .svm_port = port};
    const struct timeval timeout = {.tv_sec = TIMEOUT_S};
    int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char byte;
    ssize_t n;

    if (fd < 0 || connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0)
        return strerror(errno);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
    (void)send(fd, preface, sizeof(preface), MSG_NOSIGNAL);
    n = recv(fd, &byte, 1, 0);
    if (n > 0)
        return "answered";
    return n == 0 || errno == ECONNRESET ? "closed" : strerror(errno);
}

int
main(int argc, char **argv)
{
    unsigned cid;

    if (argc != 3)
        return 2;
    cid = strcmp(argv[1], "own") == 0 ? own_cid() : (unsigned)strtoul(argv[1], NULL, 10);
    (void)printf("dial %s: %s\n", argv[1],
                 try_port(cid, (unsigned)strtoul(argv[2], NULL, 10)));
    return 0;
}
