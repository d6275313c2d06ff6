/* SPDX-License-Identifier: BSD-3-Clause */
/* The host's programs of bench/vsock, one process for each connection:
 *
 *   bench_vsock_host echo PATH            listen; send back what comes
 *   bench_vsock_host sink PATH N          listen; read N bytes, send one
 *   bench_vsock_host ping PATH PORT N     reach the guest's echo; N round trips of a byte
 *   bench_vsock_host pump PATH PORT N C   C connections, each sends N bytes to the guest
 * in writes of 64 KiB and waits for its answer
 *
 * The last two print the microseconds that all took. */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CHUNK 65536

static uint8_t chunk[CHUNK];
static uint64_t sink_bytes;

static void
fail(const char *what)
{
    perror(what);
    exit(1);
}

static uint64_t
now_us(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000u + (uint64_t)ts.tv_nsec / 1000u;
}

static int
unix_socket(const char *path, struct sockaddr_un *addr)
{
    *addr = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(addr->sun_path))
        exit(2);
    memcpy(addr->sun_path, path, strlen(path) + 1);
    return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static void
write_all(int fd, const void *data, size_t len)
{
    for (const uint8_t *p = data; len;) {
        ssize_t n = send(fd, p, len, MSG_NOSIGNAL);

        if (n <= 0)
            fail("send");
        p += n;
        len -= (size_t)n;
    }
}

static void
serve_echo(int fd)
{
    ssize_t n;

    while ((n = recv(fd, chunk, sizeof(chunk), 0)) > 0)
        write_all(fd, chunk, (size_t)n);
}

static void
serve_sink(int fd)
{
    uint64_t bytes = 0;
    ssize_t n = 1;

    while (bytes < sink_bytes && (n = recv(fd, chunk, sizeof(chunk), 0)) > 0)
        bytes += (uint64_t)n;
    if (n > 0)
        write_all(fd, "x", 1);
}

static void
serve(const char *path, void (*one)(int fd))
{
    struct sockaddr_un addr;
    int listener = unix_socket(path, &addr);

    (void)signal(SIGCHLD, SIG_IGN);
    if (bind(listener, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
        listen(listener, 64) < 0)
        fail(path);
    for (;;) {
        int fd = accept(listener, NULL, NULL);

        if (fd >= 0 && fork() == 0) {
            one(fd);
            _exit(0);
        }
        if (fd >= 0)
            (void)close(fd);
    }
}

/* A connection to a port of the guest, with a command sent. */
static int
dial(const char *path, const char *port, const char *command)
{
    struct sockaddr_un addr;
    int fd = unix_socket(path, &addr);
    char line[64], byte = 0;

    (void)snprintf(line, sizeof(line), "CONNECT %s\n", port);
    if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
        fail(path);
    write_all(fd, line, strlen(line));
    while (byte != '\n') {
        if (recv(fd, &byte, 1, 0) != 1)
            fail("CONNECT");
    }
    write_all(fd, command, strlen(command));
    return fd;
}

static void
ping(const char *path, const char *port, unsigned long n)
{
    int fd = dial(path, port, "echo\n");
    uint64_t start;

    write_all(fd, "x", 1); /* the guest has started its program when this comes back */
    if (recv(fd, chunk, 1, 0) != 1)
        fail("recv");
    start = now_us();
    for (unsigned long i = 0; i < n; i++) {
        write_all(fd, "x", 1);
        if (recv(fd, chunk, 1, 0) != 1)
            fail("recv");
    }
    (void)printf("%llu\n", (unsigned long long)(now_us() - start));
    (void)close(fd);
}

static void
pump_one(const char *path, const char *port, unsigned long n)
{
    char command[64];
    int fd;

    (void)snprintf(command, sizeof(command), "discard %lu\n", n);
    fd = dial(path, port, command);
    for (unsigned long at = 0; at < n; at += CHUNK)
        write_all(fd, chunk, CHUNK);
    if (recv(fd, chunk, sizeof(chunk), 0) <= 0)
        fail("answer");
    _exit(0);
}

static void
pump(const char *path, const char *port, unsigned long n, unsigned long conns)
{
    uint64_t start = now_us();
    int status, failed = 0;

    for (unsigned long i = 0; i < conns; i++) {
        if (fork() == 0)
            pump_one(path, port, n);
    }
    while (wait(&status) > 0)
        failed |= status;
    if (failed)
        exit(1);
    (void)printf("%llu\n", (unsigned long long)(now_us() - start));
}

int
main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "echo") == 0)
        serve(argv[2], serve_echo);
    else if (argc == 4 && strcmp(argv[1], "sink") == 0 &&
             (sink_bytes = strtoull(argv[3], NULL, 10)))
        serve(argv[2], serve_sink);
    else if (argc == 5 && strcmp(argv[1], "ping") == 0)
        ping(argv[2], argv[3], strtoul(argv[4], NULL, 10));
    else if (argc == 6 && strcmp(argv[1], "pump") == 0)
        pump(argv[2], argv[3], strtoul(argv[4], NULL, 10), strtoul(argv[5], NULL, 10));
    else
        return 2;
    return 0;
}
