/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/linux/vsh/terminal.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"

static struct {
    struct termios saved;
    int fd;
    volatile sig_atomic_t raw;
    bool armed;
} terminal = {.fd = -1};

void
terminal_restore(void)
{
    int keep = errno;

    if (terminal.raw) {
        terminal.raw = 0;
        (void)tcsetattr(terminal.fd, TCSADRAIN, &terminal.saved);
    }
    errno = keep;
}

static void
terminal_on_crash(int sig)
{
    terminal_restore();
    (void)raise(sig); /* SA_RESETHAND: this time it kills */
}

/* A sanitizer or debugger that watches a signal already keeps it. */
static void
terminal_arm(void)
{
    static const int crashes[] = {SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS};
    struct sigaction action = {.sa_handler = terminal_on_crash, .sa_flags = SA_RESETHAND};

    if (terminal.armed)
        return;
    terminal.armed = true;
    (void)atexit(terminal_restore);
    for (size_t i = 0; i < VMT_ARRAY_SIZE(crashes); i++) {
        struct sigaction old;

        if (sigaction(crashes[i], NULL, &old) == 0 && old.sa_handler == SIG_DFL)
            (void)sigaction(crashes[i], &action, NULL);
    }
}

int
terminal_raw(int fd, struct vmt_err *err)
{
    struct termios raw;

    if (terminal.raw)
        return 0;
    if (tcgetattr(fd, &terminal.saved) < 0)
        return vmt_err_set(err, errno, "read the terminal's mode");
    raw = terminal.saved;
    cfmakeraw(&raw);
    terminal.fd = fd;
    terminal_arm();
    terminal.raw = 1;
    /* What was typed ahead is kept, unlike in the original: scripts type ahead. */
    if (tcsetattr(fd, TCSADRAIN, &raw) < 0) {
        terminal.raw = 0;
        return vmt_err_set(err, errno, "make the terminal raw");
    }
    return 0;
}

void
terminal_size(int fd, int32_t *ret_rows, int32_t *ret_cols)
{
    struct winsize size;

    *ret_rows = *ret_cols = 0;
    if (ioctl(fd, TIOCGWINSZ, &size) < 0)
        return;
    *ret_rows = size.ws_row;
    *ret_cols = size.ws_col;
}
