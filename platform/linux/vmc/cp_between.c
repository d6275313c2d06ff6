/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vmc/cp_between.c - a copy from one VM to another: a session in each, and
 * between them a process that lets only that pass which was asked for. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "platform/linux/copy/copy.h"
#include "platform/linux/os/loop.h"
#include "platform/linux/vmc/cp.h"
#include "platform/linux/vmc/vmc.h"

/* Ends of pipes: what the source sends, what passes, and the totals. Owned. */
struct between {
    int sent[2], passed[2], told[2];
    pid_t relay, source;
};

static void
close_ends(int *const *ends, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        vmt_closep(ends[i]);
        *ends[i] = -1;
    }
}
#define CLOSE(...)                                                                       \
    close_ends((int *const[]){__VA_ARGS__},                                              \
               sizeof((int *const[]){__VA_ARGS__}) / sizeof(int *))

static void
between_done(struct between *b)
{
    CLOSE(&b->sent[0], &b->sent[1], &b->passed[0], &b->passed[1], &b->told[0],
          &b->told[1]);
}

static int
between_open(struct between *b, struct vmt_err *err)
{
    if (pipe2(b->sent, O_CLOEXEC) < 0 || pipe2(b->passed, O_CLOEXEC) < 0 ||
        pipe2(b->told, O_CLOEXEC) < 0)
        return vmt_err_set(err, errno, "make a pipe");
    return 0;
}

static void __attribute__((noreturn))
relay_main(const struct cp *cp, struct between *b, bool progress)
{
    struct cp_progress_view view = {0};
    struct copy_relay relay = {
        .side = {.program = "vmc cp",
                 .label = "",
                 .on_progress = progress ? cp_progress_draw : NULL,
                 .arg = &view},
        .in = b->sent[0],
        .out = b->passed[1],
        .names = (const char *const *)cp->names,
        .nnames = cp->nsources,
    };
    struct vmt_err err;
    int r;

    CLOSE(&b->sent[1], &b->passed[0], &b->told[0]);
    copy_watch_signals();
    r = copy_relay(&relay, &err);
    cp_progress_clear(&view);
    _exit(cp_worker_report(&relay.side, b->told[1], r, &err));
}

/* The loop and the connection of the parent are not ours to use. */
static void __attribute__((noreturn))
source_main(const struct vmc *parent, const struct cp *cp, int out)
{
    struct cp from = *cp;
    struct vmc vmc = {0};
    struct vmt_err err;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC), r;

    if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0)
        _exit(VMC_FAILED);
    os_close_from(STDERR_FILENO + 1);
    if (vmc_init(&vmc, &err) < 0)
        _exit(vmc_fail(0, &err));
    vmc.owner = parent->owner;
    vmc.system = parent->system;
    from.to_vm = false;
    from.vm_name = cp->source_vm;
    r = cp_session(&vmc, &from, &err);
    r = r < 0 ? vmc_fail(r, &err) : r;
    vmc_done(&vmc);
    _exit(r);
}

static int
between_start(const struct vmc *vmc, const struct cp *cp, struct between *b,
              struct vmt_err *err)
{
    bool progress = isatty(STDERR_FILENO) && !vmc->json;
    int null;

    b->relay = fork();
    if (b->relay == 0)
        relay_main(cp, b, progress);
    b->source = b->relay < 0 ? -1 : fork();
    if (b->source == 0)
        source_main(vmc, cp, b->sent[1]);
    CLOSE(&b->sent[0], &b->sent[1], &b->passed[1], &b->told[1]);
    if (b->source < 0)
        return vmt_err_set(err, errno, "fork");
    null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0 || dup2(b->passed[0], STDIN_FILENO) < 0 ||
        dup2(null, STDOUT_FILENO) < 0) {
        vmt_closep(&null);
        return vmt_err_set(err, errno, "set up stdin and stdout");
    }
    (void)close(null);
    CLOSE(&b->passed[0]);
    return 0;
}

static int
exit_code(pid_t pid)
{
    int status = 0;

    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    if (pid <= 0)
        return VMC_FAILED;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* After the session that receives. A source that nobody reads any more need not notice:
 * it may wait for something else. */
static int
between_end(struct between *b, int session, struct copy_totals *totals)
{
    int relay, source;
    ssize_t n;

    (void)close(STDIN_FILENO);
    if (session != 0 && b->relay > 0)
        (void)kill(b->relay, SIGTERM);
    if (session != 0 && b->source > 0)
        (void)kill(b->source, SIGKILL);
    relay = exit_code(b->relay);
    source = exit_code(b->source);
    n = read(b->told[0], totals, sizeof(*totals));
    if (session != 0)
        return session < 0 ? VMC_FAILED : session;
    if (source != 0)
        return source;
    return relay == 0 && n == (ssize_t)sizeof(*totals) ? VMC_DONE : VMC_FAILED;
}

int
cp_between_run(struct vmc *vmc, const struct cp *cp, struct copy_totals *totals)
{
    VMT_CLEANUP(between_done)
    struct between b = {{-1, -1}, {-1, -1}, {-1, -1}, -1, -1};
    struct vmt_err err;
    int r = vmc_require(vmc, cp->source_vm, &err);

    if (r == 0)
        r = vmc_require(vmc, cp->vm_name, &err);
    if (r == 0)
        r = between_open(&b, &err);
    if (r < 0)
        return vmc_fail(r, &err);
    r = between_start(vmc, cp, &b, &err);
    if (r == 0)
        r = cp_session(vmc, cp, &err);
    if (r < 0)
        (void)vmc_fail(r, &err);
    return between_end(&b, r, totals);
}
