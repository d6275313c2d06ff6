/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/linux/vm_disk/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "platform/linux/os/loop.h"
#include "platform/linux/vm_disk/cancel.h"
#include "platform/linux/vm_disk/filter.h"
#include "platform/linux/vm_disk/jail.h"

#define FDS_MAX 4
#define FIRST_FD 3
/* While they are moved to their numbers they are above all of those. */
#define SPARE_FD 64
/* More than any of them needs for an honest image of many TiB; images may be hostile. */
#define MEMORY_MAX (4ull << 30)
#define EXIT_NOT_FOUND 127
#define TEXT_MAX 400

static void
tool_limits(void)
{
    const struct rlimit memory = {MEMORY_MAX, MEMORY_MAX};
    const struct rlimit core = {0, 0};

    (void)setrlimit(RLIMIT_AS, &memory);
    (void)setrlimit(RLIMIT_CORE, &core);
}

static int
tool_fds(const struct tool *tool, int stderr_fd)
{
    int spare[FDS_MAX];
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    for (size_t i = 0; i < tool->nfds; i++) {
        spare[i] = fcntl(tool->fds[i], F_DUPFD, SPARE_FD);
        if (spare[i] < 0)
            return -errno;
    }
    if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(stderr_fd, 2) < 0)
        return -errno;
    for (size_t i = 0; i < tool->nfds; i++) {
        if (dup2(spare[i], FIRST_FD + (int)i) < 0)
            return -errno;
    }
    os_close_from(FIRST_FD + (int)tool->nfds);
    return 0;
}

static void __attribute__((noreturn))
tool_child(const struct tool *tool, int stderr_fd, pid_t parent)
{
    char *env[] = {(char[]){"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}, (char[]){"LC_ALL=C"},
                   NULL};
    struct vmt_err err = {0};
    int r;

    cancel_forget();
    (void)signal(SIGPIPE, SIG_DFL);
    r = prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent ? -ESRCH : 0;
    if (r == 0)
        r = tool_fds(tool, stderr_fd);
    if (r == 0)
        r = jail_drop_rights(&err);
    tool_limits();
    environ = env;
    if (r == 0 && tool->filter)
        r = filter_enter(FILTER_TOOL, &err);
    if (r == 0)
        (void)execvp(tool->argv[0], (char *const *)(uintptr_t)tool->argv);
    _exit(errno == ENOENT ? EXIT_NOT_FOUND : EXIT_FAILURE);
}

/* The end of what it says, which is where the reason is. */
static void
tool_listen(int fd, char text[TEXT_MAX])
{
    size_t len = 0;
    ssize_t n;

    for (;;) {
        if (len == TEXT_MAX - 1) {
            len /= 2;
            memmove(text, text + TEXT_MAX - 1 - len, len);
        }
        n = read(fd, text + len, TEXT_MAX - 1 - len);
        if (n == 0 || (n < 0 && errno != EINTR))
            break;
        len += n > 0 ? (size_t)n : 0;
    }
    while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == ' '))
        len--;
    text[len] = '\0';
}

static int
tool_result(const struct tool *tool, int status, const char *text, struct vmt_err *err)
{
    const char *name = tool->argv[0];

    if (WIFEXITED(status) && WEXITSTATUS(status) <= tool->ok_max)
        return WEXITSTATUS(status);
    if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_NOT_FOUND)
        return vmt_err_setx(err, ENOTSUP, "%s is not installed", name);
    if (WIFSIGNALED(status))
        return vmt_err_setx(err, EIO, "%s died: %s", name, strsignal(WTERMSIG(status)));
    return vmt_err_setx(err, strstr(text, "No space left") ? ENOSPC : EIO,
                        "%s failed with %d: %s", name, WEXITSTATUS(status), text);
}

int
tool_run(const struct tool *tool, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_closep) int reader = -1;
    char text[TEXT_MAX];
    int pipes[2], status = 0, r;
    pid_t child, self = getpid();

    if (pipe2(pipes, O_CLOEXEC) < 0)
        return vmt_err_set(err, errno, "make a pipe");
    reader = pipes[0];
    cancel_hold(true);
    child = fork();
    if (child == 0)
        tool_child(tool, pipes[1], self);
    r = errno;
    cancel_child(child);
    cancel_hold(false);
    (void)close(pipes[1]);
    if (child < 0)
        return vmt_err_set(err, r, "start %s", tool->argv[0]);
    tool_listen(reader, text);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    cancel_child(0);
    return tool_result(tool, status, text, err);
}
