/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/concierge/opening_internal.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/adapter/clock.h"
#include "core/adapter/host.h"
#include "core/adapter/host_handover.h"
#include "core/adapter/ipc.h"
#include "core/adapter/spawn.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "core/concierge/concierge_internal.h"

/* One is kept until its process is gone: a process that waits for a file system cannot
 * always be ended. */
struct opening {
    struct vmt_list node; /* of concierge.openings */
    struct concierge *c;  /* borrowed */
    char owner[VM_OWNER_MAX + 1];
    uint32_t uid;
    struct opening_file files[OPENING_FILES_MAX]; /* names owned */
    size_t n;
    int ours, childs; /* ends of a handover, owned; below 0: closed */
    struct spawn_child *child;
    struct vmt_timer *timer;
    opening_fn *fn; /* NULL: nobody waits any more */
    void *arg;
};

/* What the child says of each file. */
struct opened {
    int result; /* 0 or -errno */
    struct vmt_err err;
};

static void
opening_free(struct opening *o)
{
    struct vmt_clock *clock;
    struct host *host;

    if (!o)
        return;
    clock = o->c->config.clock;
    host = o->c->config.host;
    clock->ops->timer_cancel(clock, o->timer);
    vmt_list_remove(&o->node);
    host->files->close(host, o->ours);
    host->files->close(host, o->childs);
    for (size_t i = 0; i < o->n; i++)
        free((char *)(uintptr_t)o->files[i].name);
    free(o);
}
VMT_DEFINE_FREEP(struct opening, opening_free)

static int
open_stored(struct host *host, const char *owner, const struct opening_file *file,
            int *ret_fd, struct vmt_err *err)
{
    char name[VMT_VM_NAME_MAX + 1];
    enum disk_kind kind;
    int r = host->disks->open(host, owner, file->name, file->writable, ret_fd, err);

    if (r == -EBUSY && disk_file_parse(file->name, name, &kind)) /* as people know it */
        return vmt_err_setx(err, EBUSY, "disk %s is in use by another VM or program",
                            name);
    return r;
}

static int
open_one(const struct opening *o, const struct opening_file *file, int *ret_fd,
         struct vmt_err *err)
{
    struct host *host = o->c->config.host;

    switch (file->kind) {
    case OPENING_IMAGE:
        return host->files->image_open(host, file->name, file->writable, o->uid, ret_fd,
                                       err);
    case OPENING_FOLDER:
        return host->files->image_folder(host, file->name, o->uid, ret_fd, err);
    case OPENING_STORE:
        return open_stored(host, o->owner, file, ret_fd, err);
    case OPENING_AGAIN:
        return host->files->image_reopen(host, file->fd, ret_fd, err);
    }
    return vmt_err_setx(err, EINVAL, "open a file");
}

/* In the child. The first failure is the last that is said. */
static int
run(void *arg)
{
    const struct opening *o = arg;
    struct host *host = o->c->config.host;

    for (size_t i = 0; i < o->n; i++) {
        struct opened said = {.result = 0};
        int fd = -1;

        said.result = open_one(o, &o->files[i], &fd, &said.err);
        if (said.result == -ENOENT && o->files[i].may_miss)
            said.result = 0;
        if (host->handover->give(host, o->childs, &said, sizeof(said), fd) < 0 ||
            said.result < 0)
            return 1;
    }
    return 0;
}

static int
take_all(struct opening *o, int *fds, struct vmt_err *err)
{
    struct host *host = o->c->config.host;

    for (size_t i = 0; i < o->n; i++) {
        struct opened said = {.result = 0};

        if (host->handover->take(host, o->ours, &said, sizeof(said), &fds[i]) < 0)
            return vmt_err_setx(err, EIO, "the process that opens files has died");
        if (said.result < 0) {
            said.err.msg[sizeof(said.err.msg) - 1] = '\0';
            return vmt_err_setx(err, -said.result, "%s", said.err.msg);
        }
    }
    return 0;
}

static void
settle(struct opening *o)
{
    struct host *host = o->c->config.host;
    opening_fn *fn = vmt_take_ptr(&o->fn);
    int fds[OPENING_FILES_MAX];
    struct vmt_err err = {0};

    for (size_t i = 0; i < OPENING_FILES_MAX; i++)
        fds[i] = -1;
    if (fn && take_all(o, fds, &err) < 0)
        fn(o->arg, NULL, &err);
    else if (fn)
        fn(o->arg, fds, NULL);
    for (size_t i = 0; i < o->n; i++)
        host->files->close(host, fds[i]);
}

static void
on_exit(void *arg, const struct spawn_exit *how)
{
    VMT_CLEANUP(opening_freep) struct opening *o = arg;

    (void)how;
    o->child = NULL;
    settle(o);
}

/* What the child may still hand over is thrown away with our end. */
static void
give_up(struct opening *o)
{
    const struct spawn_ops *spawn = o->c->config.spawn->ops;
    struct vmt_clock *clock = o->c->config.clock;
    struct host *host = o->c->config.host;

    clock->ops->timer_cancel(clock, o->timer);
    o->timer = NULL;
    o->fn = NULL;
    host->files->close(host, vmt_take_fd(&o->ours));
    (void)spawn->kill(o->child, SIGKILL);
}

/* The file that the child is at, as far as it has told. */
static const char *
find_late(struct opening *o)
{
    struct host *host = o->c->config.host;

    for (size_t i = 0; i < o->n; i++) {
        struct opened said;
        int fd = -1;

        if (host->handover->take(host, o->ours, &said, sizeof(said), &fd) < 0)
            return o->files[i].name ? o->files[i].name : "an image";
        host->files->close(host, fd);
    }
    return "an image";
}

static void
on_late(void *arg)
{
    struct opening *o = arg;
    opening_fn *fn = o->fn;
    struct vmt_err err = {0};

    o->timer = NULL;
    (void)vmt_err_setx(&err, ETIMEDOUT,
                       "%s could not be opened in %u s: its file system does not answer",
                       find_late(o), OPENING_MS / 1000);
    vmt_log_warning("%s", err.msg);
    give_up(o);
    fn(o->arg, NULL, &err);
}

static int
check_room(struct concierge *c, const struct ipc_caller *caller, struct vmt_err *err)
{
    size_t all = 0, same = 0;

    VMT_LIST_FOREACH(at, following, &c->openings)
    {
        all++;
        same += VMT_CONTAINER_OF(at, struct opening, node)->uid == caller->uid;
    }
    if (all >= OPENINGS_MAX || (same >= OPENINGS_PER_CALLER_MAX && !caller->privileged))
        return vmt_err_setx(err, EAGAIN,
                            "too many files are being opened, and their file systems do "
                            "not answer; try again later");
    return 0;
}

static int
copy_files(struct opening *o, const struct opening_request *request, struct vmt_err *err)
{
    if (request->n > OPENING_FILES_MAX)
        return vmt_err_setx(err, E2BIG, "too many files at once");
    for (size_t i = 0; i < request->n; i++) {
        struct opening_file *file = &o->files[o->n];

        *file = request->files[i];
        if (file->name)
            file->name = strdup(file->name);
        if (request->files[i].name && !file->name)
            return vmt_err_set(err, ENOMEM, "open files");
        o->n++;
    }
    return 0;
}

/* The child keeps its end of the handover, and what it opens again. */
static int
spawn_child(struct opening *o, struct vmt_err *err)
{
    struct spawn *spawn = o->c->config.spawn;
    struct spawn_fd fds[OPENING_FILES_MAX + 1] = {{o->childs, o->childs}};
    struct spawn_spec spec = {
        .call = run, .call_arg = o, .fds = fds, .nfds = 1, .on_exit = on_exit, .arg = o};

    for (size_t i = 0; i < o->n; i++)
        if (o->files[i].kind == OPENING_AGAIN)
            fds[spec.nfds++] = (struct spawn_fd){o->files[i].fd, o->files[i].fd};
    return spawn->ops->start(spawn, &spec, &o->child, err);
}

static int
begin(struct opening *o, struct vmt_err *err)
{
    struct host *host = o->c->config.host;
    struct vmt_clock *clock = o->c->config.clock;
    int r = host->handover->make(host, &o->ours, &o->childs, err);

    if (r < 0)
        return r;
    if (clock->ops->timer_start(clock, OPENING_MS, on_late, o, &o->timer) < 0)
        return vmt_err_set(err, ENOMEM, "open files");
    r = spawn_child(o, err);
    host->files->close(host, vmt_take_fd(&o->childs));
    return r;
}

int
opening_start(struct concierge *c, const struct opening_request *request, opening_fn *fn,
              void *arg, struct opening **ret_opening, struct vmt_err *err)
{
    VMT_CLEANUP(opening_freep) struct opening *o = NULL;
    int r = check_room(c, request->caller, err);

    if (r < 0)
        return r;
    o = calloc(1, sizeof(*o));
    if (!o)
        return vmt_err_set(err, ENOMEM, "open files");
    vmt_list_init(&o->node);
    o->c = c;
    o->ours = o->childs = -1;
    o->uid = request->caller->uid;
    o->fn = fn;
    o->arg = arg;
    (void)snprintf(o->owner, sizeof(o->owner), "%s", request->owner);
    r = copy_files(o, request, err);
    if (r == 0)
        r = begin(o, err);
    if (r < 0)
        return r;
    vmt_list_append(&c->openings, &o->node);
    *ret_opening = vmt_take_ptr(&o);
    return 0;
}

void
opening_cancel(struct opening *opening)
{
    if (opening)
        give_up(opening);
}

void
openings_done(struct concierge *c)
{
    const struct spawn_ops *spawn = c->config.spawn->ops;
    struct vmt_err err = {0};

    (void)vmt_err_setx(&err, ECANCELED, "vm_concierge is shutting down");
    VMT_LIST_FOREACH(at, following, &c->openings)
    {
        struct opening *o = VMT_CONTAINER_OF(at, struct opening, node);

        if (o->fn) { /* who waits is told */
            opening_fn *fn = o->fn;

            give_up(o);
            fn(o->arg, NULL, &err);
        }
        spawn->release(o->child);
        opening_free(o);
    }
}
