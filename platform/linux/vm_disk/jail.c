/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/linux/vm_disk/jail.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "platform/linux/os/loop.h"
#include "platform/linux/os/monotonic.h"
#include "platform/linux/vm_disk/cancel.h"
#include "platform/linux/vm_disk/filter.h"
#include "platform/linux/vm_disk/report.h"

#define PROGRESS_INTERVAL_MS 100

/* What goes through the pipe: both ends are this program. */
struct jail_note {
    bool end;
    int32_t r;
    uint64_t done, total;
    struct jail_answer answer;
    char text[VMT_ERR_MSG_MAX];
};

/* In the child; -1 elsewhere. */
static int jail_fd = -1;
static uint64_t jail_told_ms;

static int
note_write(const struct jail_note *note)
{
    const uint8_t *at = (const uint8_t *)note;
    size_t left = sizeof(*note);

    while (left > 0) {
        ssize_t n = write(jail_fd, at, left);

        if (n < 0 && errno != EINTR)
            return -errno;
        at += n > 0 ? n : 0;
        left -= n > 0 ? (size_t)n : 0;
    }
    return 0;
}

/* Returns 1, 0 at the end of the pipe, or -errno. */
static int
note_read(int fd, struct jail_note *ret_note)
{
    uint8_t *at = (uint8_t *)ret_note;
    size_t left = sizeof(*ret_note);

    while (left > 0) {
        ssize_t n = read(fd, at, left);

        if (n == 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return -errno;
        at += n > 0 ? n : 0;
        left -= n > 0 ? (size_t)n : 0;
    }
    return 1;
}

void
jail_progress(uint64_t done, uint64_t total)
{
    const struct jail_note note = {.done = done, .total = total};
    const uint64_t now = os_monotonic_ms();

    if (jail_fd < 0) {
        report_progress(done, total);
        return;
    }
    if (jail_told_ms && now - jail_told_ms < PROGRESS_INTERVAL_MS)
        return;
    jail_told_ms = now;
    (void)note_write(&note);
}

int
jail_drop_rights(struct vmt_err *err)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 ||
        syscall(SYS_capset, &header, none) < 0)
        return vmt_err_set(err, errno, "drop rights");
    return 0;
}

static bool
jail_keeps(const struct jail *jail, int fd)
{
    for (size_t i = 0; i < jail->nfds; i++) {
        if (jail->fds[i] == fd)
            return true;
    }
    return fd == jail_fd || fd == STDERR_FILENO;
}

static void
jail_close_others(const struct jail *jail)
{
    int top = jail_fd > STDERR_FILENO ? jail_fd : STDERR_FILENO;

    for (size_t i = 0; i < jail->nfds; i++)
        top = jail->fds[i] > top ? jail->fds[i] : top;
    for (int fd = 0; fd < top; fd++) {
        if (!jail_keeps(jail, fd))
            (void)close(fd);
    }
    os_close_from(top + 1);
}

static int
jail_enter(const struct jail *jail, pid_t parent, struct vmt_err *err)
{
    int r;

    cancel_forget();
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
        return vmt_err_set(err, errno, "follow the parent");
    if (getppid() != parent) /* it died before that */
        return vmt_err_setx(err, ESRCH, "the parent is gone");
    if (prctl(PR_SET_DUMPABLE, 0) < 0)
        return vmt_err_set(err, errno, "keep others out");
    jail_close_others(jail);
    r = jail_drop_rights(err);
    if (r == 0 && jail->filter)
        r = filter_enter(FILTER_JAIL, err);
    return r;
}

static void __attribute__((noreturn))
jail_child(const struct jail *jail, jail_fn *fn, void *arg, pid_t parent)
{
    struct jail_note note = {.end = true, .answer.vm_type = -1};
    struct vmt_err err = {0};

    note.r = jail_enter(jail, parent, &err);
    if (note.r == 0)
        note.r = fn(arg, &note.answer, &err);
    memcpy(note.text, err.msg, sizeof(note.text));
    _exit(note_write(&note) < 0 ? EXIT_FAILURE : EXIT_SUCCESS);
}

static int
jail_died(pid_t child, struct vmt_err *err)
{
    int status = 0;

    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (WIFSIGNALED(status))
        return vmt_err_setx(err, EIO, "the process that handled the bytes died: %s",
                            strsignal(WTERMSIG(status)));
    return vmt_err_setx(err, EIO, "the process that handled the bytes ended early");
}

/* The note is not believed more than its types are. */
static int
jail_listen(int fd, pid_t child, struct jail_answer *ret_answer, struct vmt_err *err)
{
    struct jail_note note;

    for (;;) {
        if (note_read(fd, &note) <= 0)
            return jail_died(child, err);
        if (note.end)
            break;
        report_progress(note.done, note.total);
    }
    (void)waitpid(child, NULL, 0);
    note.text[sizeof(note.text) - 1] = '\0';
    note.answer.text[sizeof(note.answer.text) - 1] = '\0';
    if (note.r)
        return vmt_err_setx(err, note.r < 0 && note.r > -4096 ? -note.r : EIO, "%s",
                            note.text);
    *ret_answer = note.answer;
    return 0;
}

int
jail_run(const struct jail *jail, jail_fn *fn, void *arg, struct jail_answer *ret_answer,
         struct vmt_err *err)
{
    VMT_CLEANUP(vmt_closep) int reader = -1;
    int pipes[2];
    pid_t child, self = getpid();
    int r;

    if (pipe2(pipes, O_CLOEXEC) < 0)
        return vmt_err_set(err, errno, "make a pipe");
    reader = pipes[0];
    cancel_hold(true);
    child = fork();
    if (child == 0) {
        jail_fd = pipes[1];
        jail_child(jail, fn, arg, self);
    }
    r = errno;
    cancel_child(child);
    cancel_hold(false);
    (void)close(pipes[1]);
    if (child < 0)
        return vmt_err_set(err, r, "start a process");
    r = jail_listen(reader, child, ret_answer, err);
    cancel_child(0);
    return r;
}
