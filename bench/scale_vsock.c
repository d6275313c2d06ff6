/* SPDX-License-Identifier: BSD-3-Clause */
/* bench/scale_vsock.c - stands where vm_vsock does: hands the VM's socket to the program
 * that plays all guests, and waits for its end. No library, so that a thousand of them
 * cost little. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void
hand_over(int to, const char *dir, int fd)
{
    char control[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec text = {.iov_base = (void *)(unsigned long)dir, .iov_len = strlen(dir)};
    struct msghdr msg = {.msg_iov = &text,
                         .msg_iovlen = 1,
                         .msg_control = control,
                         .msg_controllen = sizeof(control)};
    struct cmsghdr *head = CMSG_FIRSTHDR(&msg);

    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(head), &fd, sizeof(fd));
    if (sendmsg(to, &msg, 0) < 0)
        exit(EXIT_FAILURE);
}

static void
on_term(int sig)
{
    (void)sig;
    _exit(EXIT_SUCCESS);
}

int
main(int argc, char **argv)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    const char *guests = getenv("BENCH_SCALE_GUESTS");
    const char *dir = NULL;
    int fd = -1, to = socket(AF_UNIX, SOCK_STREAM, 0);

    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "--vsock-fd=", 11) == 0)
            fd = atoi(argv[i] + 11);
        if (strncmp(argv[i], "--uds-dir=", 10) == 0)
            dir = argv[i] + 10;
    }
    if (fd < 0 || !dir || !guests || to < 0 || strlen(guests) >= sizeof(addr.sun_path))
        return EXIT_FAILURE;
    memcpy(addr.sun_path, guests, strlen(guests));
    if (connect(to, (const struct sockaddr *)&addr, sizeof(addr)) < 0)
        return EXIT_FAILURE;
    hand_over(to, dir, fd);
    (void)close(fd);
    (void)signal(SIGTERM, on_term);
    for (;;)
        (void)pause();
}
