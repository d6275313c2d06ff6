/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/vshd/user_socket_child.c - the process that makes a socket for a user.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "platform/guest/vshd/child.h"
#include "platform/guest/vshd/user_socket.h"
#include "platform/guest/vshd/user_socket_internal.h"
#include "platform/linux/os/loop.h"

#define CHANNEL_FD 3
/* For the whole of look-up and connection, so that nobody waits for ever. */
#define LIFE_SECONDS 25u
#define CONNECT_SECONDS 10 /* for one of the addresses of a name */
#define ADDRESSES_MAX 8u
#define BACKLOG 64
#define AGENT_DIR "/tmp/vsh-agent.XXXXXX"

union any_address {
    struct sockaddr any;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    struct sockaddr_un un;
};

struct target {
    union any_address at[ADDRESSES_MAX];
    size_t n;
};

static int
report_fail(struct user_socket_report *report, int code, const char *what)
{
    report->code = code;
    (void)snprintf(report->text, sizeof(report->text), "%s: %s", what, strerror(code));
    return -1;
}

static void
report_send(int channel, const struct user_socket_report *report, int fd)
{
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec iov = {.iov_base = (void *)(uintptr_t)report,
                        .iov_len = sizeof(*report)};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

    if (fd >= 0) {
        msg.msg_control = &control;
        msg.msg_controllen = sizeof(control);
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(&control.header), &fd, sizeof(int));
    }
    (void)sendmsg(channel, &msg, MSG_NOSIGNAL);
}

static void
target_add(struct target *target, const char *text, uint32_t port)
{
    union any_address *a = &target->at[target->n];

    if (target->n == ADDRESSES_MAX)
        return;
    memset(a, 0, sizeof(*a));
    if (inet_pton(AF_INET, text, &a->in.sin_addr) == 1) {
        a->in.sin_family = AF_INET;
        a->in.sin_port = htons((uint16_t)port);
        target->n++;
    } else if (inet_pton(AF_INET6, text, &a->in6.sin6_addr) == 1) {
        a->in6.sin6_family = AF_INET6;
        a->in6.sin6_port = htons((uint16_t)port);
        target->n++;
    }
}

/* A name as DNS has them; getent would take others for options. */
static bool
is_name(const char *host)
{
    return *host != '-' &&
           strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                        "0123456789._-") == strlen(host);
}

static void
getent_run(const char *host, int out)
{
    static char name[] = "getent", database[] = "ahosts";
    static char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:"
                         "/bin";
    char *argv[] = {name, database, (char *)(uintptr_t)host, NULL};
    char *env[] = {path, NULL};

    (void)dup2(out, STDOUT_FILENO);
    environ = env;
    (void)execvp(name, argv);
    _exit(127);
}

/* vshd is linked statically and has no resolver: the guest's own one knows its hosts,
 * mDNS and whatever else is configured. */
static void
target_look_up(struct target *target, const char *host, uint32_t port)
{
    char line[512];
    int pair[2];
    FILE *lines;
    pid_t pid;

    if (!is_name(host) || pipe2(pair, O_CLOEXEC) < 0)
        return;
    pid = fork();
    if (pid == 0)
        getent_run(host, pair[1]);
    (void)close(pair[1]);
    lines = fdopen(pair[0], "r");
    /* "ADDRESS STREAM NAME", and the same address again for DGRAM and RAW. */
    while (pid > 0 && lines && fgets(line, sizeof(line), lines))
        if (strstr(line, " STREAM")) {
            line[strcspn(line, " \t")] = '\0';
            target_add(target, line, port);
        }
    if (lines)
        (void)fclose(lines);
    if (pid > 0)
        (void)waitpid(pid, NULL, 0);
}

static bool
host_is(const char *host, const char *a, const char *b)
{
    return strcmp(host, a) == 0 || strcmp(host, b) == 0;
}

static int
target_resolve(const struct user_socket_spec *spec, struct target *target,
               struct user_socket_report *report)
{
    const struct vsh_address *a = spec->address;
    struct sockaddr_un *un = &target->at[0].un;

    if (*a->path && strlen(a->path) >= sizeof(un->sun_path))
        return report_fail(report, ENAMETOOLONG, a->path);
    if (*a->path) {
        un->sun_family = AF_UNIX;
        memcpy(un->sun_path, a->path, strlen(a->path) + 1);
        target->n = 1;
        return 0;
    }
    if (host_is(a->host, "", "localhost")) {
        target_add(target, "127.0.0.1", a->port);
        if (!spec->listen) /* one place that is taken is taken */
            target_add(target, "::1", a->port);
    } else if (spec->listen && host_is(a->host, "*", "0.0.0.0")) {
        target_add(target, "::", a->port); /* of both families, where there is IPv6 */
        target_add(target, "0.0.0.0", a->port);
    } else {
        target_add(target, a->host, a->port);
    }
    if (target->n == 0)
        target_look_up(target, a->host, a->port);
    return target->n > 0 ? 0 : report_fail(report, EHOSTUNREACH, "no address is known");
}

static socklen_t
address_len(const union any_address *a)
{
    if (a->any.sa_family == AF_UNIX)
        return sizeof(a->un);
    return a->any.sa_family == AF_INET ? sizeof(a->in) : sizeof(a->in6);
}

static int
connect_one(const union any_address *a)
{
    struct timeval patience = {.tv_sec = CONNECT_SECONDS};
    int fd = socket(a->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1, saved;

    if (fd < 0)
        return -1;
    /* How long connect waits, too; see socket(7). */
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    if (a->any.sa_family != AF_UNIX)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (connect(fd, &a->any, address_len(a)) == 0)
        return fd;
    saved = errno == EINPROGRESS || errno == EAGAIN ? ETIMEDOUT : errno;
    (void)close(fd);
    errno = saved;
    return -1;
}

/* A socket file whose listener is gone is in nobody's use. */
static bool
stale_removed(const union any_address *a)
{
    struct stat st;
    int fd, code;

    if (a->any.sa_family != AF_UNIX || lstat(a->un.sun_path, &st) < 0 ||
        !S_ISSOCK(st.st_mode) || st.st_uid != geteuid())
        return false;
    fd = connect_one(a);
    code = errno;
    if (fd >= 0)
        (void)close(fd);
    return fd < 0 && code == ECONNREFUSED && unlink(a->un.sun_path) == 0;
}

static int
listen_one(const union any_address *a)
{
    int fd = socket(a->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1, saved;
    bool bound;

    if (fd < 0)
        return -1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    bound = bind(fd, &a->any, address_len(a)) == 0 ||
            (errno == EADDRINUSE && stale_removed(a) &&
             bind(fd, &a->any, address_len(a)) == 0);
    if (bound && listen(fd, BACKLOG) == 0)
        return fd;
    saved = errno;
    (void)close(fd);
    errno = saved;
    return -1;
}

static uint32_t
port_of(int fd)
{
    union any_address a = {0};
    socklen_t len = sizeof(a);

    if (getsockname(fd, &a.any, &len) < 0)
        return 0;
    if (a.any.sa_family == AF_INET)
        return ntohs(a.in.sin_port);
    return a.any.sa_family == AF_INET6 ? ntohs(a.in6.sin6_port) : 0;
}

/* A folder of the user's own keeps everybody else from the agent. */
static int
agent_folder(struct vsh_address *address, char *path, size_t cap,
             struct user_socket_report *report)
{
    char dir[] = AGENT_DIR;

    if (!mkdtemp(dir))
        return report_fail(report, errno, "make a folder for the agent's socket");
    (void)snprintf(path, cap, "%s/agent", dir);
    address->path = path;
    return 0;
}

static int
socket_make(const struct user_socket_spec *spec, struct user_socket_report *report)
{
    struct target target = {.n = 0};
    int fd = -1;

    if (target_resolve(spec, &target, report) < 0)
        return -1;
    (void)umask(0177);
    for (size_t i = 0; fd < 0 && i < target.n; i++)
        fd = spec->listen ? listen_one(&target.at[i]) : connect_one(&target.at[i]);
    if (fd < 0)
        return report_fail(report, errno, spec->listen ? "listen" : "connect");
    report->port = port_of(fd);
    (void)snprintf(report->text, sizeof(report->text), "%s", spec->address->path);
    return fd;
}

/* Wait for vshd's end of the channel to close, whatever happens to us meanwhile. */
static void
file_remove_at_end(const struct vsh_address *address, int channel, int fd)
{
    char *slash, path[USER_SOCKET_TEXT], byte;

    (void)close(fd);
    (void)alarm(0);
    while (recv(channel, &byte, sizeof(byte), 0) < 0 && errno == EINTR)
        continue;
    (void)snprintf(path, sizeof(path), "%s", address->path);
    (void)unlink(path);
    slash = strrchr(path, '/');
    if (address->agent && slash) {
        *slash = '\0';
        (void)rmdir(path);
    }
}

static void
child_settle(int channel)
{
    /* What ends vshd leaves us the time to tidy up. */
    static const int ignored[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGPIPE};

    child_reset_signals();
    for (size_t i = 0; i < VMT_ARRAY_SIZE(ignored); i++)
        (void)signal(ignored[i], SIG_IGN);
    (void)setsid();
    (void)prctl(PR_SET_NAME, "vshd-socket");
    if (channel != CHANNEL_FD)
        (void)dup3(channel, CHANNEL_FD, O_CLOEXEC);
    os_close_from(CHANNEL_FD + 1);
}

void
user_socket_child(const struct user_socket_spec *spec, int channel)
{
    struct user_socket_report report = {.code = 0};
    struct vsh_address address = *spec->address;
    struct user_socket_spec own = *spec;
    char agent[USER_SOCKET_TEXT];
    int fd = -1;

    own.address = &address;
    child_settle(channel);
    (void)alarm(LIFE_SECONDS);
    if (spec->switch_user && child_become(spec->account) < 0)
        (void)report_fail(&report, errno, "become the user");
    else if (!address.agent || agent_folder(&address, agent, sizeof(agent), &report) == 0)
        fd = socket_make(&own, &report);
    report_send(CHANNEL_FD, &report, fd);
    if (fd >= 0 && own.listen && *address.path)
        file_remove_at_end(&address, CHANNEL_FD, fd);
    _exit(0);
}
