/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/integration/vsock/guest_init.c - the whole user land of a test VM: loads the
 * modules that /lib/modules/load.list names, then serves commands on a vsock port. Each
 * connection carries one command line:
 *
 *   echo               send back what comes until the end
 *   sink               read to the end, answer "<bytes> <crc32>\n"
 *   discard N          read N bytes, answer "<bytes>\n"; without a checksum, which is
 * slow where emulated, and without an end, for devices that know no half close source N
 * send N bytes of the pattern, close deaf               answer "ok\n", then never read
 *   dial CID PORT N    connect out, send N bytes of the pattern and the end, read to the
 *                      end; answer "<errno> <bytes> <crc32>\n"
 *   ping CID PORT N    connect out, N round trips of one byte; "<errno> <microseconds>\n"
 *   pump CID PORT N    connect out, send N bytes in writes of 64 KiB, wait for one byte;
 *                      "<errno> <microseconds>\n"
 *   uptime             answer "<milliseconds since boot>\n"
 *   die                answer "ok\n", read one byte, be killed with the connection open
 *   children           answer "<connections that are served, this one too>\n"
 *   poweroff
 *
 * Byte i of the pattern is the low byte of (i * 2654435761) >> 13, so that a lost,
 * doubled or moved part changes the checksum. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#define COMMAND_PORT 1000
/* The host opens a thousand connections in a row; what finds no place is reset. */
#define BACKLOG 1024
#define CHUNK 65536

static uint8_t chunk[CHUNK];

struct sum {
    uint64_t bytes;
    uint32_t crc;
};

static void
sum_add(struct sum *s, const uint8_t *data, size_t len)
{
    static uint32_t table[256];

    if (!table[1]) {
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t c = i;

            for (int k = 0; k < 8; k++)
                c = c & 1 ? 0xedb88320u ^ (c >> 1) : c >> 1;
            table[i] = c;
        }
    }
    s->bytes += len;
    s->crc = ~s->crc;
    for (size_t i = 0; i < len; i++)
        s->crc = table[(s->crc ^ data[i]) & 0xff] ^ (s->crc >> 8);
    s->crc = ~s->crc;
}

static void
pattern(uint64_t at, uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        data[i] = (uint8_t)(((at + i) * 2654435761u) >> 13);
}

static void
load_modules(void)
{
    FILE *list = fopen("/lib/modules/load.list", "re");
    char name[256], path[512];

    while (list && fgets(name, sizeof(name), list)) {
        int fd;

        name[strcspn(name, "\n")] = '\0';
        (void)snprintf(path, sizeof(path), "/lib/modules/%s", name);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) < 0 && errno != EEXIST))
            (void)fprintf(stderr, "guest: cannot load %s: %s\n", path, strerror(errno));
        if (fd >= 0)
            (void)close(fd);
    }
    if (list)
        (void)fclose(list);
}

static int
write_all(int fd, const uint8_t *data, size_t len)
{
    while (len) {
        ssize_t n = send(fd, data, len, MSG_NOSIGNAL);

        if (n <= 0)
            return -1;
        data += n;
        len -= (size_t)n;
    }
    return 0;
}

static int
answer(int fd, const char *text)
{
    return write_all(fd, (const uint8_t *)text, strlen(text));
}

static int
send_pattern(int fd, uint64_t len)
{
    for (uint64_t at = 0; at < len;) {
        size_t n = len - at < CHUNK ? (size_t)(len - at) : CHUNK;

        pattern(at, chunk, n);
        if (write_all(fd, chunk, n) < 0)
            return -1;
        at += n;
    }
    return 0;
}

static int
drain(int fd, struct sum *s)
{
    ssize_t n;

    while ((n = read(fd, chunk, sizeof(chunk))) > 0)
        sum_add(s, chunk, (size_t)n);
    return n < 0 ? -1 : 0;
}

static uint64_t
now_us(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000u + (uint64_t)ts.tv_nsec / 1000u;
}

static int
dial(unsigned cid, unsigned port)
{
    struct sockaddr_vm addr = {.svm_family = AF_VSOCK, .svm_cid = cid, .svm_port = port};
    int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int saved;

    if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0)
        return fd;
    saved = errno;
    (void)close(fd);
    errno = saved;
    return -1;
}

static void
cmd_echo(int fd, const unsigned long long *arg)
{
    ssize_t n;

    (void)arg;
    while ((n = read(fd, chunk, sizeof(chunk))) > 0 &&
           write_all(fd, chunk, (size_t)n) == 0)
        ;
    (void)shutdown(fd, SHUT_WR);
}

static void
cmd_sink(int fd, const unsigned long long *arg)
{
    struct sum s = {0};
    char text[64];

    (void)arg;
    (void)drain(fd, &s);
    (void)snprintf(text, sizeof(text), "%llu %u\n", (unsigned long long)s.bytes, s.crc);
    (void)answer(fd, text);
}

static void
cmd_discard(int fd, const unsigned long long *arg)
{
    unsigned long long bytes = 0;
    char text[64];
    ssize_t n;

    while (bytes < arg[0] && (n = read(fd, chunk, sizeof(chunk))) > 0)
        bytes += (unsigned long long)n;
    (void)snprintf(text, sizeof(text), "%llu\n", bytes);
    (void)answer(fd, text);
}

static void
cmd_source(int fd, const unsigned long long *arg)
{
    (void)send_pattern(fd, arg[0]);
}

static void
cmd_deaf(int fd, const unsigned long long *arg)
{
    (void)arg;
    (void)answer(fd, "ok\n");
    for (;;)
        (void)pause();
}

static void
cmd_dial(int fd, const unsigned long long *arg)
{
    struct sum s = {0};
    char text[64];
    int out = dial((unsigned)arg[0], (unsigned)arg[1]);
    int code = out < 0 ? errno : 0;

    if (out >= 0) {
        if (send_pattern(out, arg[2]) < 0 || shutdown(out, SHUT_WR) < 0 ||
            drain(out, &s) < 0)
            code = errno;
        (void)close(out);
    }
    (void)snprintf(text, sizeof(text), "%d %llu %u\n", code, (unsigned long long)s.bytes,
                   s.crc);
    (void)answer(fd, text);
}

static void
timed(int fd, int code, uint64_t start)
{
    char text[64];

    (void)snprintf(text, sizeof(text), "%d %llu\n", code,
                   (unsigned long long)(now_us() - start));
    (void)answer(fd, text);
}

static void
cmd_ping(int fd, const unsigned long long *arg)
{
    int out = dial((unsigned)arg[0], (unsigned)arg[1]);
    int code = out < 0 ? errno : 0;
    uint64_t start = now_us();

    for (unsigned long long i = 0; !code && i < arg[2]; i++) {
        if (write_all(out, chunk, 1) < 0 || read(out, chunk, 1) != 1)
            code = EIO;
    }
    timed(fd, code, start);
}

static void
cmd_pump(int fd, const unsigned long long *arg)
{
    int out = dial((unsigned)arg[0], (unsigned)arg[1]);
    int code = out < 0 ? errno : 0;
    uint64_t start = now_us();

    for (unsigned long long at = 0; !code && at < arg[2]; at += CHUNK) {
        if (write_all(out, chunk, CHUNK) < 0)
            code = errno;
    }
    if (!code && read(out, chunk, 1) != 1)
        code = EIO;
    timed(fd, code, start);
}

static void
cmd_uptime(int fd, const unsigned long long *arg)
{
    char text[64];
    struct timespec ts;

    (void)arg;
    (void)clock_gettime(CLOCK_BOOTTIME, &ts);
    (void)snprintf(text, sizeof(text), "%llu\n",
                   (unsigned long long)ts.tv_sec * 1000u +
                       (unsigned long long)ts.tv_nsec / 1000000u);
    (void)answer(fd, text);
}

static void
cmd_children(int fd, const unsigned long long *arg)
{
    FILE *f;
    int n = 0, pid;
    char text[64];

    (void)arg;
    (void)mkdir("/proc", 0755);
    (void)mount("proc", "/proc", "proc", 0, NULL);
    f = fopen("/proc/1/task/1/children", "re");
    while (f && fscanf(f, "%d", &pid) == 1)
        n++;
    (void)snprintf(text, sizeof(text), "%d\n", f ? n : -1);
    if (f)
        (void)fclose(f);
    (void)answer(fd, text);
}

static void
cmd_die(int fd, const unsigned long long *arg)
{
    char c;

    (void)arg;
    if (answer(fd, "ok\n") == 0 && read(fd, &c, 1) == 1)
        (void)kill(getpid(), SIGKILL);
}

static void
cmd_poweroff(int fd, const unsigned long long *arg)
{
    (void)fd;
    (void)arg;
    (void)kill(1, SIGTERM);
}

static const struct {
    const char *name;
    void (*run)(int fd, const unsigned long long *arg);
} commands[] = {
    {"echo", cmd_echo},     {"sink", cmd_sink},         {"discard", cmd_discard},
    {"source", cmd_source}, {"deaf", cmd_deaf},         {"dial", cmd_dial},
    {"ping", cmd_ping},     {"pump", cmd_pump},         {"poweroff", cmd_poweroff},
    {"uptime", cmd_uptime}, {"children", cmd_children}, {"die", cmd_die},
};

static void
serve(int fd)
{
    char line[128], name[16];
    unsigned long long arg[3] = {0};
    size_t len = 0;

    while (len + 1 < sizeof(line) && read(fd, line + len, 1) == 1 && line[len] != '\n')
        len++;
    line[len] = '\0';
    if (sscanf(line, "%15s %llu %llu %llu", name, &arg[0], &arg[1], &arg[2]) < 1)
        return;
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(commands[i].name, name) == 0)
            commands[i].run(fd, arg);
    }
}

static void
on_signal(int sig)
{
    if (sig == SIGTERM)
        (void)reboot(RB_POWER_OFF);
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
}

int
main(void)
{
    struct sockaddr_vm addr = {
        .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = COMMAND_PORT};
    struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    int fd;

    (void)mkdir("/dev", 0755);
    (void)mount("dev", "/dev", "devtmpfs", 0, NULL);
    fd = open("/dev/console", O_RDWR);
    for (int i = 0; i < 3; i++)
        (void)dup2(fd, i);
    load_modules();
    (void)sigaction(SIGCHLD, &sa, NULL);
    (void)sigaction(SIGTERM, &sa, NULL);
    fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
        listen(fd, BACKLOG) < 0) {
        perror("guest: listen");
        (void)reboot(RB_POWER_OFF);
    }
    (void)fprintf(stderr, "guest: listening\n");
    for (;;) {
        int c = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

        if (c >= 0 && fork() == 0) {
            serve(c);
            _exit(0);
        }
        if (c >= 0)
            (void)close(c);
    }
}
