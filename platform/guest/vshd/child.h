/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/vshd/child.h - the process of a session and its terminal or pipes. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

struct account;
struct vmt_err;

/* What to run; borrowed for the call. */
struct child_spec {
    const struct account *account;
    bool switch_user;        /* take the account's ids; else keep ours */
    const char *const *argv; /* NULL-terminated; NULL: the account's shell, as login */
    const char *program;     /* NULL: argv[0], searched for in PATH */
    const char *const *env;  /* NULL-terminated */
    const char *cwd;         /* "": the home directory */
    int32_t cwd_pid;         /* above 0: the directory of this process */
    bool pty;
    int32_t rows, cols;
    struct rlimit nofile; /* descriptors that the command may open */
    const char *cgroup;   /* to be in, below /sys/fs/cgroup; "": vshd's own */
};

/* Descriptors are non-blocking, close-on-exec and owned. */
struct child {
    pid_t pid; /* leader of its own session and process group */
    int in;
    int out;
    int err;      /* -1 with a terminal */
    int status;   /* read end: tells how exec went, see child_status_read */
    char tty[32]; /* path of the terminal, "" without one */
};

/* Fork and let the child set itself up. The caller reaps pid. */
int child_start(const struct child_spec *spec, struct child *ret_child,
                struct vmt_err *err);

enum child_status {
    CHILD_STATUS_PENDING,
    CHILD_STATUS_RUNS,
    CHILD_STATUS_FAILED,
};
/* Read the child's own report from status. FAILED: err has the words, *ret_exit_code what
 * a shell would return (127: no such command, 126: it cannot be run; 0: it did not come
 * that far). */
enum child_status child_status_read(int status, int *ret_exit_code, struct vmt_err *err);

void child_resize(int pty_fd, int32_t rows, int32_t cols);
/* The byte that means end of file on this terminal. */
uint8_t child_eof_byte(int pty_fd);
/* Send sig to the process group of the leader pid and, with a terminal (pty_fd not -1),
 * to the group in its foreground. */
void child_signal(pid_t pid, int pty_fd, int sig);

/* For a process that was just forked: all signals as they are by default, none blocked.
 */
void child_reset_signals(void);
/* Take the ids and groups of account. Returns 0, or -1 with errno. */
int child_become(const struct account *account);
