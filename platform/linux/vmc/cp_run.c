/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vmc/cp_run.c - a copy is a session of vsh whose stdin or stdout is a
 * pipe. At the pipe's other end a process of ours reads or writes the files of this host:
 * that blocks. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/base/argv.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/vsh/message.h"
#include "platform/linux/copy/copy.h"
#include "platform/linux/vmc/cp.h"
#include "platform/linux/vmc/guest_command.h"
#include "platform/linux/vmc/vm_info.h"
#include "platform/linux/vmc/vmc.h"

#define PIPE_BYTES (1024 * 1024)

/* The process with this host's files. */
struct cp_worker {
    pid_t pid;
    int result; /* owned: it writes its struct copy_totals there when it is done */
};

int
cp_worker_report(const struct copy_side *side, int result, int r,
                 const struct vmt_err *err)
{
    /* Who went away, or told us to end, says why: the guest's side, or the session. */
    if (r < 0 && r != -EPIPE && r != -EINTR)
        (void)fprintf(stderr, "%s: %s\n", side->program, vmt_err_text(err));
    if (r == 0 && write(result, &side->totals, sizeof(side->totals)) < 0)
        r = -errno;
    return r < 0 || side->complaints > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int
worker_send(const struct cp *cp, struct copy_side side, int stream, int result)
{
    struct copy_send send = {
        .side = side,
        .out = stream,
        .recursive = cp->recursive,
        .sources = cp->sources,
        .nsources = cp->nsources,
        .content = cp->content ? STDIN_FILENO : -1,
        .content_name = cp->content ? cp->names[0] : NULL,
    };
    struct vmt_err err;
    int r = copy_send(&send, &err);

    cp_progress_clear(side.arg);
    return cp_worker_report(&send.side, result, r, &err);
}

static int
worker_receive(const struct cp *cp, struct copy_side side, int stream, int result)
{
    struct copy_receive receive = {
        .side = side,
        .in = stream,
        .destination = cp->destination,
        .want_folder = cp->nsources > 1,
        .keep = cp->keep,
        .names = (const char *const *)cp->names,
        .nnames = cp->nsources,
        .content = cp->content ? STDOUT_FILENO : -1,
    };
    struct vmt_err err;
    int r = copy_receive(&receive, &err);

    cp_progress_clear(side.arg);
    return cp_worker_report(&receive.side, result, r, &err);
}

static void __attribute__((noreturn))
worker_main(const struct cp *cp, bool progress, int stream, int result)
{
    struct cp_progress_view view = {0};
    struct copy_side side = {
        .program = "vmc cp",
        .label = "",
        .on_progress = progress ? cp_progress_draw : NULL,
        .arg = &view,
    };

    copy_watch_signals();
    _exit(cp->to_vm ? worker_send(cp, side, stream, result)
                    : worker_receive(cp, side, stream, result));
}

/* Put the session's end of the stream in place of stdin or stdout, and nothing in place
 * of the other: stdin would belong to the worker, if to anybody. */
static int
take_stdio(const struct cp *cp, int stream, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_closep) int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    if (null < 0)
        return vmt_err_set(err, errno, "open /dev/null");
    if (dup2(cp->to_vm ? stream : null, STDIN_FILENO) < 0 ||
        dup2(cp->to_vm ? null : stream, STDOUT_FILENO) < 0)
        return vmt_err_set(err, errno, "set up stdin and stdout");
    return 0;
}

static int
worker_start(const struct vmc *vmc, const struct cp *cp, struct cp_worker *worker,
             struct vmt_err *err)
{
    VMT_CLEANUP(vmt_closep) int ours = -1;
    VMT_CLEANUP(vmt_closep) int theirs = -1;
    VMT_CLEANUP(vmt_closep) int result = -1;
    bool progress = isatty(STDERR_FILENO) && !vmc->json;
    int stream[2], told[2];

    if (pipe2(stream, O_CLOEXEC) < 0)
        return vmt_err_set(err, errno, "make a pipe");
    ours = stream[cp->to_vm ? 0 : 1];
    theirs = stream[cp->to_vm ? 1 : 0];
    (void)fcntl(ours, F_SETPIPE_SZ, PIPE_BYTES); /* fewer turns, if we may */
    if (pipe2(told, O_CLOEXEC) < 0)
        return vmt_err_set(err, errno, "make a pipe");
    worker->result = told[0];
    result = told[1];
    worker->pid = fork();
    if (worker->pid < 0)
        return vmt_err_set(err, errno, "fork");
    if (worker->pid == 0) {
        (void)close(ours);
        worker_main(cp, progress, theirs, result);
    }
    return take_stdio(cp, ours, err);
}

/* After the session: our end of the stream is closed, so the worker ends soon. One that
 * sends need not: it may wait for a file. */
static int
worker_end(const struct cp *cp, struct cp_worker *worker, int session,
           struct copy_totals *totals)
{
    int status = 0;
    ssize_t n;

    (void)close(cp->to_vm ? STDIN_FILENO : STDOUT_FILENO);
    if (cp->to_vm && session != 0)
        (void)kill(worker->pid, SIGTERM);
    while (waitpid(worker->pid, &status, 0) < 0 && errno == EINTR)
        continue;
    n = read(worker->result, totals, sizeof(*totals));
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0 && n == (ssize_t)sizeof(*totals))
        return 0;
    return n == (ssize_t)sizeof(*totals) ? 1
                                         : -1; /* some of it, or nothing that counts */
}

static int
guest_words(const struct cp *cp, const char *label, struct vmt_argv *words,
            struct vmt_err *err)
{
    vmt_argv_add(words, VSH_COPY_PROGRAM);
    vmt_argv_add(words, cp->to_vm ? "receive" : "send");
    vmt_argv_addf(words, "--label=%s", label);
    if (!cp->to_vm && cp->recursive)
        vmt_argv_add(words, "--recursive");
    if (cp->to_vm && cp->keep)
        vmt_argv_add(words, "--keep");
    if (cp->to_vm && cp->nsources > 1)
        vmt_argv_add(words, "--folder");
    vmt_argv_add(words, "--");
    if (cp->to_vm)
        vmt_argv_add(words, cp->destination);
    for (size_t i = 0; !cp->to_vm && i < cp->nsources; i++)
        vmt_argv_add(words, cp->sources[i]);
    return vmt_argv_finish(words, err);
}

int
cp_session(struct vmc *vmc, const struct cp *cp, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_argv_done) struct vmt_argv words = {0};
    VMT_CLEANUP(vmt_freep) char *label = NULL;
    struct guest_command command = {
        .vm_name = cp->vm_name, .target = VSH_TARGET_COPY, .user = cp->user, .cwd = ""};
    int r = asprintf(&label, "%s:", cp->vm_name) < 0 ? -ENOMEM : 0;

    if (r == 0)
        r = guest_words(cp, label, &words, err);
    if (r < 0)
        return r;
    command.args = words.v;
    command.nargs = words.n;
    return guest_command_run(vmc, &command);
}

static int
report(const struct vmc *vmc, FILE *out, const struct copy_totals *totals, double seconds)
{
    json_t *json;

    if (!vmc->json)
        return VMC_DONE;
    json = json_pack("{s:I, s:I, s:f}", "files", (json_int_t)totals->files, "bytes",
                     (json_int_t)totals->bytes, "seconds", seconds);
    if (!json || json_dumpf(json, out, JSON_INDENT(2)) < 0 || fputc('\n', out) == EOF ||
        fflush(out) != 0) {
        json_decref(json);
        return VMC_FAILED;
    }
    json_decref(json);
    return VMC_DONE;
}

static double
now_s(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Returns the exit code. */
static int
run_with_worker(struct vmc *vmc, const struct cp *cp, struct copy_totals *totals)
{
    struct cp_worker worker = {.result = -1};
    int session, files;
    struct vmt_err err;

    if (worker_start(vmc, cp, &worker, &err) < 0) {
        vmt_closep(&worker.result);
        return vmc_fail(-EIO, &err);
    }
    session = cp_session(vmc, cp, &err);
    files = worker_end(cp, &worker, session, totals);
    vmt_closep(&worker.result);
    if (session < 0)
        return vmc_fail(session, &err);
    if (session == 0 && files == 0)
        return VMC_DONE;
    if (session == 0 && files < 0)
        (void)fputs("vmc cp: the copy is not complete\n", stderr);
    /* Our own side left first: that of the guest noticed. */
    if (session == 0 || session == 128 + SIGPIPE)
        return VMC_FAILED;
    return session;
}

int
cp_run(struct vmc *vmc, const struct cp *cp)
{
    VMT_CLEANUP(vmt_fclosep) FILE *out = NULL;
    struct copy_totals totals = {0};
    double begin = now_s();
    struct vmt_err err;
    int copy = vmt_dup_fd(STDOUT_FILENO), code;

    out = copy < 0 ? NULL : fdopen(copy, "w"); /* for --json: stdout is the stream's */
    if (!out)
        return vmc_fail(-EIO, (vmt_err_set(&err, EBADF, "stdout"), &err));
    code = cp->source_vm ? cp_between_run(vmc, cp, &totals)
                         : run_with_worker(vmc, cp, &totals);
    return code == VMC_DONE ? report(vmc, out, &totals, now_s() - begin) : code;
}
