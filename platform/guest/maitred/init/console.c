/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/init/console.h"

#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/reboot.h>
#include <termios.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/log.h"

#define LINE_MAX_BYTES 1100 /* a log line and its prefix */
#define ALT_STACK_BYTES 16384

static int kmsg_fd = -1;
static uint8_t alt_stack[ALT_STACK_BYTES];

/* The console by its device; the kernel's own descriptor 1 before /dev is there. */
static void
console_write(const char *line, size_t len)
{
    VMT_CLEANUP(vmt_closep)
    int fd = open("/dev/console", O_WRONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    ssize_t n = write(fd < 0 ? STDOUT_FILENO : fd, line, len);

    (void)n;
}

void
console_say(const char *fmt, ...)
{
    char line[LINE_MAX_BYTES];
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(line, sizeof(line) - 1, fmt, ap);
    va_end(ap);
    if (n < 0)
        return;
    if ((size_t)n > sizeof(line) - 2)
        n = sizeof(line) - 2;
    line[n] = '\n';
    console_write(line, (size_t)n + 1);
}

void
console_drain(void)
{
    VMT_CLEANUP(vmt_closep)
    int fd = open("/dev/console", O_WRONLY | O_NOCTTY | O_CLOEXEC);

    (void)tcdrain(fd < 0 ? STDOUT_FILENO : fd);
}

static void
kmsg_sink(void *arg, enum vmt_log_level level, const char *text)
{
    char line[LINE_MAX_BYTES];
    int n = snprintf(line, sizeof(line), "<%d>maitred: %s\n", (int)level, text);

    (void)arg;
    if (n < 0)
        return;
    if ((size_t)n >= sizeof(line))
        n = sizeof(line) - 1;
    if (kmsg_fd < 0 || write(kmsg_fd, line, (size_t)n) < 0)
        console_write(line + 3, (size_t)n - 3); /* without the level */
}

void
console_log_to_kmsg(void)
{
    if (kmsg_fd < 0)
        kmsg_fd = open("/dev/kmsg", O_WRONLY | O_NOCTTY | O_CLOEXEC);
    vmt_log_init("maitred", kmsg_sink, NULL);
}

void
console_log_reopen(void)
{
    if (kmsg_fd < 0)
        return; /* a service: the log goes to stderr */
    kmsg_fd = -1;
    console_log_to_kmsg();
}

/* Text of a signal without locale or malloc. */
static void
last_words(int sig, const void *addr)
{
    char line[96];
    int n = snprintf(line, sizeof(line),
                     "\nmaitred: caught fatal signal %d at %p, rebooting\n", sig, addr);

    if (n > 0)
        console_write(line, (size_t)n);
}

/* si_code <= 0: another process sent it, unless that process is us (abort). */
static void
on_fatal(int sig, siginfo_t *info, void *context)
{
    (void)context;
    if (info->si_code <= 0 && info->si_pid != getpid()) {
        static const char text[] = "<4>maitred: fatal signal from outside ignored\n";
        ssize_t n = write(kmsg_fd, text, sizeof(text) - 1);

        (void)n;
        return;
    }
    last_words(sig, info->si_addr);
    sync();
    (void)reboot(RB_AUTOBOOT);
    while (true) /* unreachable unless reboot was refused; returning would panic */
        (void)pause();
}

void
console_catch_fatal(void)
{
    static const int fatal[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE,
                                SIGABRT, SIGSYS, SIGTRAP};
    stack_t stack = {.ss_sp = alt_stack, .ss_size = sizeof(alt_stack)};
    struct sigaction sa = {.sa_sigaction = on_fatal, .sa_flags = SA_SIGINFO | SA_ONSTACK};

    (void)sigaltstack(&stack, NULL);
    (void)sigfillset(&sa.sa_mask);
    for (size_t i = 0; i < VMT_ARRAY_SIZE(fatal); i++)
        (void)sigaction(fatal[i], &sa, NULL);
}

void
console_open_stdio(void)
{
    for (int fd = 0; fd <= 2; fd++) {
        int got;

        if (fcntl(fd, F_GETFD) >= 0)
            continue;
        got = open("/dev/console", O_RDWR | O_NOCTTY);
        if (got < 0)
            got = open("/dev/null", O_RDWR | O_NOCTTY);
        if (got >= 0 && got != fd) {
            (void)dup2(got, fd);
            (void)close(got);
        }
    }
}
