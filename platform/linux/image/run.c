/* SPDX-License-Identifier: BSD-3-Clause */
/* Running the tools of the distribution. Each is named in packaging/packages. */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/buf.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "platform/linux/image/image_internal.h"

#define RUN_OUTPUT_MAX (4u * 1024 * 1024)

extern char **environ;

struct run {
    int in, out;  /* borrowed; -1: /dev/null */
    FILE *errors; /* borrowed: gets stderr */
};

/* The last non-empty line that a tool wrote to stderr: usually the reason. */
static void
run_last_line(FILE *errors, char *line, size_t cap)
{
    char buf[512];

    line[0] = '\0';
    rewind(errors);
    while (fgets(buf, sizeof(buf), errors)) {
        buf[strcspn(buf, "\r\n")] = '\0';
        if (buf[0] != '\0')
            (void)snprintf(line, cap, "%s", buf);
    }
}

static int
run_spawn(const char *const *argv, const char *dir, const struct run *run, int *ret_pid,
          struct vmt_err *err)
{
    posix_spawn_file_actions_t actions;
    char *const *args =
        (char *const *)(uintptr_t)argv; /* posix_spawn does not write to it */
    pid_t pid;
    int r;

    r = posix_spawn_file_actions_init(&actions);
    if (r != 0)
        return vmt_err_set(err, r, "run %s", argv[0]);
    if (dir)
        (void)posix_spawn_file_actions_addchdir_np(&actions, dir);
    if (run->in >= 0)
        (void)posix_spawn_file_actions_adddup2(&actions, run->in, 0);
    else
        (void)posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    if (run->out >= 0)
        (void)posix_spawn_file_actions_adddup2(&actions, run->out, 1);
    else
        (void)posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    (void)posix_spawn_file_actions_adddup2(&actions, fileno(run->errors), 2);
    r = posix_spawnp(&pid, argv[0], &actions, NULL, args, environ);
    (void)posix_spawn_file_actions_destroy(&actions);
    if (r == ENOENT)
        return vmt_err_setx(err, ENOENT, "%s is not installed: try `apt install %s`",
                            argv[0], argv[0]);
    if (r != 0)
        return vmt_err_set(err, r, "run %s", argv[0]);
    *ret_pid = pid;
    return 0;
}

static int
run_wait(int pid, const char *name, FILE *errors, struct vmt_err *err)
{
    char line[256];
    int status;

    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR)
            return vmt_err_set(err, errno, "wait for %s", name);
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    run_last_line(errors, line, sizeof(line));
    if (WIFSIGNALED(status))
        return vmt_err_setx(err, EIO, "%s was killed by signal %d: %s", name,
                            WTERMSIG(status), line);
    return vmt_err_setx(err, EIO, "%s failed with exit code %d: %s", name,
                        WEXITSTATUS(status), line);
}

static int
run_read_all(int fd, char **ret_out, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_buf_done) struct vmt_buf buf = {0};

    for (;;) {
        ssize_t n;

        if (buf.len > RUN_OUTPUT_MAX || vmt_buf_reserve(&buf, 65536) < 0)
            return vmt_err_set(err, ENOMEM, "read output");
        n = read(fd, vmt_buf_tail(&buf), 65536);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return vmt_err_set(err, errno, "read output");
        if (n == 0)
            break;
        vmt_buf_commit(&buf, (size_t)n);
    }
    *ret_out = strndup(buf.len ? (const char *)buf.data : "", buf.len);
    return *ret_out ? 0 : vmt_err_set(err, ENOMEM, "read output");
}

int
image_run(const char *const *argv, const char *dir, char **ret_out, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_fclosep) FILE *errors = tmpfile();
    VMT_CLEANUP(vmt_closep) int reader = -1;
    VMT_CLEANUP(vmt_closep) int writer = -1;
    VMT_CLEANUP(vmt_freep) char *out = NULL;
    int ends[2];
    int read_result = 0;
    int pid = -1;
    int r;

    if (!errors)
        return vmt_err_set(err, errno, "make a temporary file");
    if (ret_out) {
        if (pipe2(ends, O_CLOEXEC) < 0)
            return vmt_err_set(err, errno, "make a pipe");
        reader = ends[0];
        writer = ends[1];
    }
    r = run_spawn(argv, dir, &(struct run){.in = -1, .out = writer, .errors = errors},
                  &pid, err);
    if (r < 0)
        return r;
    vmt_closep(&writer);
    writer = -1;
    if (ret_out)
        read_result = run_read_all(reader, &out, err);
    vmt_closep(&reader);
    reader = -1;
    r = run_wait(pid, argv[0], errors, err);
    if (r < 0 || read_result < 0)
        return r < 0 ? r : read_result;
    if (ret_out)
        *ret_out = vmt_take_ptr(&out);
    return 0;
}

int
image_pipe_start(const char *const *argv, struct image_pipe *ret_pipe,
                 struct vmt_err *err)
{
    VMT_CLEANUP(vmt_fclosep) FILE *errors = tmpfile();
    VMT_CLEANUP(vmt_closep) int reader = -1;
    VMT_CLEANUP(vmt_closep) int writer = -1;
    int ends[2];
    int pid = -1;
    int r;

    if (!errors)
        return vmt_err_set(err, errno, "make a temporary file");
    if (pipe2(ends, O_CLOEXEC) < 0)
        return vmt_err_set(err, errno, "make a pipe");
    reader = ends[0];
    writer = ends[1];
    r = run_spawn(argv, NULL, &(struct run){.in = reader, .out = -1, .errors = errors},
                  &pid, err);
    if (r < 0)
        return r;
    *ret_pipe = (struct image_pipe){
        .pid = pid,
        .in = vmt_take_fd(&writer),
        .stderr_file = vmt_take_ptr(&errors),
        .name = argv[0],
    };
    return 0;
}

int
image_pipe_finish(struct image_pipe *pipe, struct vmt_err *err)
{
    int r;

    vmt_closep(&pipe->in);
    pipe->in = -1;
    r = run_wait(pipe->pid, pipe->name, pipe->stderr_file, err);
    vmt_fclosep(&pipe->stderr_file);
    pipe->stderr_file = NULL;
    return r;
}
