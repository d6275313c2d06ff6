/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/init/console.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/log.h"
#include "platform/guest/maitred/init/last_words.h"
#include "platform/guest/maitred/init/power.h"

#define LINE_MAX_BYTES 1100 /* a log line and its prefix */
#define ALT_STACK_BYTES 16384
#define WRITE_TRIES 10 /* a millisecond apart */

/* Each step after a fatal signal: to tell the host and dump core, and to sync. */
#define FATAL_STEP_MS 5000
#define FATAL_LOOK_MS 20

static int kmsg_fd = -1;
static enum cmdline_poweroff fatal_how = CMDLINE_POWEROFF_REBOOT;
static uint32_t fatal_port;
static uint8_t alt_stack[ALT_STACK_BYTES];

/* The console by its device; the kernel's own descriptor 1 before /dev is there. */
static void
console_write(const char *line, size_t len)
{
    VMT_CLEANUP(vmt_closep)
    int fd = open("/dev/console", O_WRONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    ssize_t n;

    /* EAGAIN is also what the kernel says while somebody else writes a line. */
    for (int i = 0; i < WRITE_TRIES; i++) {
        n = write(fd < 0 ? STDOUT_FILENO : fd, line, len);
        if (n >= 0 || errno != EAGAIN)
            return;
        (void)poll(NULL, 0, 1);
    }
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

void
console_set_fatal(enum cmdline_poweroff how, uint32_t host_port)
{
    fatal_how = how;
    fatal_port = host_port;
}

/* In a copy of us: tell the host, then die as we would, which makes a core. */
static void
child_tell_and_dump(int sig, const char *words)
{
    struct sigaction dfl = {.sa_handler = SIG_DFL};
    sigset_t none;

    if (fatal_port)
        last_words_send(fatal_port, words);
    (void)sigaction(sig, &dfl, NULL);
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)syscall(SYS_kill, (pid_t)syscall(SYS_getpid), sig);
    _exit(1);
}

static void
child_sync(int sig, const char *words)
{
    (void)sig;
    (void)words;
    sync();
    _exit(0);
}

/* Have a copy of us do it, for a limited time: neither the memory nor the file systems of
 * the guest can be trusted any more. Not libc's fork, which takes locks. */
static void
in_child(void (*fn)(int sig, const char *words), int sig, const char *words)
{
    pid_t pid = (pid_t)syscall(SYS_clone, (unsigned long)SIGCHLD, 0ul, 0ul, 0ul, 0ul);

    if (pid == 0)
        fn(sig, words);
    for (int i = 0; pid > 0 && i < FATAL_STEP_MS / FATAL_LOOK_MS; i++) {
        if (waitpid(pid, NULL, WNOHANG | __WALL) == pid)
            return;
        (void)poll(NULL, 0, FATAL_LOOK_MS);
    }
}

/* Did we do it ourselves? A code above 0 is the kernel's; SI_TKILL with our number is
 * abort. Who may signal us can give any number to other codes. Source:
 * rt_sigqueueinfo(2).
 */
static bool
is_own_fault(const siginfo_t *info)
{
    return info->si_code > 0 || (info->si_code == SI_TKILL && info->si_pid == getpid());
}

static void
on_fatal(int sig, siginfo_t *info, void *context)
{
    static volatile sig_atomic_t again;
    char line[96];

    (void)context;
    if (!is_own_fault(info)) {
        static const char text[] = "<4>maitred: fatal signal from outside ignored\n";
        int code = errno; /* of what we were doing */
        ssize_t n = write(kmsg_fd, text, sizeof(text) - 1);

        (void)n;
        errno = code;
        return;
    }
    if (!again) {
        again = 1;
        (void)snprintf(line, sizeof(line), "maitred: caught fatal signal %d at %p\n", sig,
                       info->si_addr);
        console_write("\n", 1);
        console_write(line, strlen(line));
        line[strcspn(line, "\n")] = '\0';
        in_child(child_tell_and_dump, sig, line);
        in_child(child_sync, sig, line);
    }
    power_down(fatal_how); /* returning would be a panic */
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
