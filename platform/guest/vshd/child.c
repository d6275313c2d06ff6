/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/vshd/child.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "platform/guest/vshd/account.h"
#include "platform/guest/vshd/cgroup.h"
#include "platform/linux/os/loop.h"

#define STATUS_FD                                                                        \
    3 /* where the child keeps its report while everything else is closed                \
       */

/* What the child was doing when it failed. */
enum child_step {
    STEP_SESSION,
    STEP_TERMINAL,
    STEP_STDIO,
    STEP_LIMITS,
    STEP_USER,
    STEP_RUN,
    STEP_COUNT
};
static const char *const step_words[STEP_COUNT] = {
    [STEP_SESSION] = "start a session",
    [STEP_TERMINAL] = "take the terminal",
    [STEP_STDIO] = "set up stdin, stdout and stderr",
    [STEP_LIMITS] = "set limits",
    [STEP_USER] = "become the user",
    [STEP_RUN] = "cannot be run",
};

/* One write below PIPE_BUF: it comes whole or not at all. */
struct child_report {
    int32_t step;
    int32_t code; /* positive errno */
};

/* Both ends of what becomes the child's stdio. */
struct child_stdio {
    int ours[3];
    int theirs[3]; /* with a terminal all three are the same number */
};

static void
stdio_done(struct child_stdio *io)
{
    for (int i = 0; i < 3; i++)
        vmt_closep(&io->ours[i]);
    vmt_closep(&io->theirs[0]);
    for (int i = 1; i < 3; i++)
        if (io->theirs[i] != io->theirs[0])
            vmt_closep(&io->theirs[i]);
}

static int
stdio_open_pipes(struct child_stdio *io, struct vmt_err *err)
{
    for (int i = 0; i < 3; i++) {
        int pair[2];

        if (pipe2(pair, O_CLOEXEC) < 0)
            return vmt_err_set(err, errno, "make a pipe");
        io->ours[i] = pair[i == 0];
        io->theirs[i] = pair[i != 0];
    }
    return 0;
}

/* The terminal belongs to the user, as after a login: programs open it by name. Where the
 * ids are not ours to give this fails, and the terminal stays usable by descriptor. */
static void
pty_give(int slave, const struct account *account)
{
    gid_t tty = account_tty_group();

    if (fchown(slave, account->uid, tty) == 0)
        (void)fchmod(slave, tty == (gid_t)-1 ? 0600 : 0620);
}

static void
pty_prepare(int master, int slave, const struct child_spec *spec)
{
    struct termios tio;

    if (tcgetattr(slave, &tio) == 0) {
        tio.c_iflag |= IUTF8; /* so that erase takes a whole character */
        (void)tcsetattr(slave, TCSANOW, &tio);
    }
    child_resize(master, spec->rows, spec->cols);
    if (spec->switch_user)
        pty_give(slave, spec->account);
}

/* TIOCGPTPEER needs no path, so it works in whatever namespace /dev/pts is mounted. */
static int
stdio_open_pty(const struct child_spec *spec, struct child_stdio *io, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_closep) int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    VMT_CLEANUP(vmt_closep) int slave = -1;

    if (master < 0)
        return vmt_err_set(err, errno, "open a pseudo terminal (is devpts mounted?)");
    if (grantpt(master) < 0 || unlockpt(master) < 0)
        return vmt_err_set(err, errno, "unlock the pseudo terminal");
    slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (slave < 0)
        return vmt_err_set(err, errno, "open the pseudo terminal's other end");
    pty_prepare(master, slave, spec);
    io->ours[1] = fcntl(master, F_DUPFD_CLOEXEC, 3);
    if (io->ours[1] < 0)
        return vmt_err_set(err, errno, "duplicate the pseudo terminal");
    io->ours[0] = vmt_take_fd(&master);
    io->theirs[0] = io->theirs[1] = io->theirs[2] = vmt_take_fd(&slave);
    return 0;
}

/* From here to child_run: in the child. Returns the step that failed, errno is set. */

void
child_reset_signals(void)
{
    sigset_t none;

    for (int sig = 1; sig < NSIG; sig++)
        (void)signal(sig, SIG_DFL);
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static int
child_take_stdio(const struct child_stdio *io, int status)
{
    for (int i = 0; i < 3; i++)
        if (dup2(io->theirs[i], i) < 0)
            return -1;
    if (status != STATUS_FD && dup3(status, STATUS_FD, O_CLOEXEC) < 0)
        return -1;
    os_close_from(STATUS_FD + 1);
    return 0;
}

int
child_become(const struct account *account)
{
    if (setgroups(account->ngroups, account->groups) < 0)
        return -1;
    if (setresgid(account->gid, account->gid, account->gid) < 0)
        return -1;
    return setresuid(account->uid, account->uid, account->uid);
}

/* The original only warns when a directory cannot be entered; so do we, on the session's
 * own stderr. */
static void
child_enter(const char *path)
{
    if (chdir(path) < 0)
        (void)fprintf(stderr, "vshd: enter %s: %m\n", path);
}

static void
child_change_directory(const struct child_spec *spec)
{
    char path[64];

    if (chdir(spec->account->home) < 0 && chdir("/") < 0)
        (void)fprintf(stderr, "vshd: enter /: %m\n");
    if (*spec->cwd)
        child_enter(spec->cwd);
    if (spec->cwd_pid > 0) {
        (void)snprintf(path, sizeof(path), "/proc/%d/cwd", (int)spec->cwd_pid);
        child_enter(path);
    }
}

static void
child_exec(const struct child_spec *spec)
{
    const char *shell = spec->account->shell;
    const char *slash = strrchr(shell, '/');
    char name[256];
    char *login[] = {name, NULL};

    environ = (char **)(uintptr_t)spec->env;
    if (spec->argv && spec->program) {
        (void)execv(spec->program, (char *const *)(uintptr_t)spec->argv);
        return;
    }
    if (spec->argv) {
        (void)execvp(spec->argv[0], (char *const *)(uintptr_t)spec->argv);
        return;
    }
    (void)snprintf(name, sizeof(name), "-%s", slash ? slash + 1 : shell);
    (void)execv(shell, login);
}

/* maitred keeps vshd from being killed for lack of memory, not what people run in it. As
 * root still: afterwards the file is not ours. */
static void
child_reset_oom(void)
{
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : write(fd, "0", 1);

    (void)n;
    if (fd >= 0)
        (void)close(fd);
}

static enum child_step
child_set_up(const struct child_spec *spec, const struct child_stdio *io, int status)
{
    child_reset_signals();
    if (setsid() < 0)
        return STEP_SESSION;
    if (spec->pty && ioctl(io->theirs[0], TIOCSCTTY, 0) < 0)
        return STEP_TERMINAL;
    if (child_take_stdio(io, status) < 0)
        return STEP_STDIO;
    if (setrlimit(RLIMIT_NOFILE, &spec->nofile) < 0)
        return STEP_LIMITS;
    (void)umask(022);
    child_reset_oom();
    if (spec->switch_user && child_become(spec->account) < 0)
        return STEP_USER;
    child_change_directory(spec);
    child_exec(spec);
    return STEP_RUN;
}

static void __attribute__((noreturn))
child_run(const struct child_spec *spec, const struct child_stdio *io, int status)
{
    struct child_report report = {.step = (int32_t)child_set_up(spec, io, status)};

    report.code = errno;
    /* Before the report pipe was moved it is still at its old number. */
    if (write(report.step <= STEP_STDIO ? status : STATUS_FD, &report, sizeof(report)) <
        0)
        _exit(125);
    _exit(127);
}

static int
set_nonblocking(int fd, struct vmt_err *err)
{
    if (fd < 0)
        return 0;
    if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0)
        return vmt_err_set(err, errno, "make a descriptor non-blocking");
    return 0;
}

int
child_start(const struct child_spec *spec, struct child *ret_child, struct vmt_err *err)
{
    VMT_CLEANUP(stdio_done)
    struct child_stdio io = {.ours = {-1, -1, -1}, .theirs = {-1, -1, -1}};
    VMT_CLEANUP(vmt_closep) int status_read = -1;
    VMT_CLEANUP(vmt_closep) int status_write = -1;
    int pair[2], r;
    pid_t pid;

    r = spec->pty ? stdio_open_pty(spec, &io, err) : stdio_open_pipes(&io, err);
    for (int i = 0; r == 0 && i < 3; i++)
        r = set_nonblocking(io.ours[i], err);
    if (r < 0)
        return r;
    if (pipe2(pair, O_CLOEXEC | O_NONBLOCK) < 0)
        return vmt_err_set(err, errno, "make a pipe");
    status_read = pair[0];
    status_write = pair[1];
    pid = session_cgroup_fork(spec->cgroup);
    if (pid < 0)
        return vmt_err_set(err, errno, "fork");
    if (pid == 0)
        child_run(spec, &io, status_write);
    ret_child->pid = pid;
    ret_child->in = vmt_take_fd(&io.ours[0]);
    ret_child->out = vmt_take_fd(&io.ours[1]);
    ret_child->err = vmt_take_fd(&io.ours[2]);
    ret_child->status = vmt_take_fd(&status_read);
    *ret_child->tty = '\0';
    if (spec->pty)
        (void)ptsname_r(ret_child->in, ret_child->tty, sizeof(ret_child->tty));
    return 0;
}

enum child_status
child_status_read(int status, int *ret_exit_code, struct vmt_err *err)
{
    struct child_report report;
    ssize_t n = read(status, &report, sizeof(report));

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return CHILD_STATUS_PENDING;
    if (n == 0)
        return CHILD_STATUS_RUNS;
    *ret_exit_code = 0;
    if (n != (ssize_t)sizeof(report) || report.step < 0 || report.step >= STEP_COUNT ||
        report.code <= 0) {
        (void)vmt_err_setx(err, EIO, "the child's report is damaged");
        return CHILD_STATUS_FAILED;
    }
    if (report.step == STEP_RUN)
        *ret_exit_code = report.code == ENOENT ? 127 : 126;
    (void)vmt_err_set(err, report.code, "%s", step_words[report.step]);
    return CHILD_STATUS_FAILED;
}

void
child_resize(int pty_fd, int32_t rows, int32_t cols)
{
    struct winsize size = {0};

    if (rows < 1 || rows > UINT16_MAX || cols < 1 || cols > UINT16_MAX)
        return;
    size.ws_row = (unsigned short)rows;
    size.ws_col = (unsigned short)cols;
    (void)ioctl(pty_fd, TIOCSWINSZ, &size);
}

uint8_t
child_eof_byte(int pty_fd)
{
    struct termios tio;

    return tcgetattr(pty_fd, &tio) == 0 ? tio.c_cc[VEOF] : 0x04;
}

void
child_signal(pid_t pid, int pty_fd, int sig)
{
    pid_t foreground = pty_fd >= 0 ? tcgetpgrp(pty_fd) : -1;

    (void)kill(-pid, sig);
    if (foreground > 0 && foreground != pid)
        (void)kill(-foreground, sig);
}
