/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/snapshot_copy.c - copies of the disks that a VM can write. vm_disk
 * shares blocks where the file system can, else it copies what is not a hole. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/adapter/clock.h"
#include "core/adapter/host.h"
#include "core/adapter/ipc.h"
#include "core/adapter/spawn.h"
#include "core/base/argv.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "core/concierge/concierge_internal.h"
#include "core/concierge/snapshot_internal.h"

#define TICK_MS 500u
#define PROGRESS_FILE "progress"
#define DATA_FD 3
#define FOLDER_FD 4
#define FDS_MAX 2

static void on_tick(void *arg);
static void copy_next(struct snapshot_copy *copy);

static void
disarm(struct snapshot_copy *copy)
{
    struct vmt_clock *clock = copy->vm->c->config.clock;

    clock->ops->timer_cancel(clock, copy->timer);
    copy->timer = NULL;
}

static int
arm(struct snapshot_copy *copy, uint64_t ms)
{
    struct vmt_clock *clock = copy->vm->c->config.clock;

    disarm(copy);
    return clock->ops->timer_start(clock, ms, on_tick, copy, &copy->timer);
}

static char *
last_line(struct snapshot_copy *copy)
{
    struct host *host = copy->vm->c->config.host;
    char path[SNAPSHOT_PATH_MAX];
    void *data = NULL;
    size_t len = 0;

    if (host->state->load(host, snapshot_file(copy->id, PROGRESS_FILE, path), &data, &len,
                          NULL) < 0)
        return NULL;
    return data;
}

static void
on_tick(void *arg)
{
    struct snapshot_copy *copy = arg;
    VMT_CLEANUP(vmt_freep) char *line = NULL;
    unsigned long long done = 0, total = 0;

    copy->timer = NULL;
    if (!copy->worker) {
        copy_next(copy);
        return;
    }
    line = last_line(copy);
    if (line && sscanf(line, "progress %llu %llu", &done, &total) == 2)
        snapshot_tell(copy->vm->c, copy->id, "disks", done, total);
    (void)arm(copy, TICK_MS);
}

static void
finish(struct snapshot_copy *copy, const char *failure)
{
    struct host *host = copy->vm->c->config.host;
    char path[SNAPSHOT_PATH_MAX];

    disarm(copy);
    host->state->remove(host, snapshot_file(copy->id, PROGRESS_FILE, path));
    copy->done(copy->arg, failure);
}

static void
on_exit(void *arg, const struct spawn_exit *how)
{
    struct snapshot_copy *copy = arg;
    VMT_CLEANUP(vmt_freep) char *line = last_line(copy);
    char why[256], text[200];

    copy->worker = NULL;
    if (how->kind == SPAWN_EXIT_CODE && how->code == 0) {
        copy->next++;
        copy_next(copy);
        return;
    }
    if (line)
        (void)vmt_log_escape(text, sizeof(text), line, strcspn(line, "\n"));
    (void)snprintf(why, sizeof(why), "the disk %s was not copied: %s",
                   copy->vm->images->v[copy->next].role, line ? text : "vm_disk died");
    finish(copy, why);
}

static void
fill_argv(struct snapshot_copy *copy, const struct vm_image *image, const char *path,
          const char *place, const char *progress, struct vmt_argv *argv)
{
    const char *format = image->qcow2 ? "qcow2" : "raw";

    vmt_argv_add(argv, copy->vm->c->config.vm_disk);
    if (copy->back) {
        vmt_argv_add(argv, "import");
        vmt_argv_addf(argv, "--image=%s", path);
        vmt_argv_addf(argv, "--source=%s", format);
        vmt_argv_addf(argv, "--data-fd=%d", DATA_FD);
        vmt_argv_add(argv, "--keep-attributes");
    } else {
        vmt_argv_add(argv, "convert");
        vmt_argv_addf(argv, "--image=%s", path);
        vmt_argv_addf(argv, "--output=%s", place);
        vmt_argv_addf(argv, "--output-format=%s", format);
        vmt_argv_add(argv, "--force"); /* the VM stands still */
    }
    vmt_argv_addf(argv, "--format=%s", format);
    vmt_argv_addf(argv, "--result-file=%s", progress);
    vmt_argv_add(argv, "--priority=normal");
}

/* Is it anywhere but in the owner's folder? The worker has our rights, and there others
 * may put a link in the place of a folder: it gets the folder itself. */
static bool
is_foreign(const struct snapshot_copy *copy, const struct vm_image *image)
{
    struct host *host = copy->vm->c->config.host;
    const char *file;

    return !host->disks->is_inside(host, copy->vm->id.owner, image->path, &file);
}

/* By which path the worker finds a disk; malloc'ed, NULL without memory. */
static char *
path_for_worker(const struct snapshot_copy *copy, const struct vm_image *image)
{
    VMT_CLEANUP(vmt_argv_done) struct vmt_argv path = {0};

    if (!is_foreign(copy, image))
        return strdup(image->path);
    vmt_argv_addf(&path, "/proc/self/fd/%d/./%s", FOLDER_FD,
                  strrchr(image->path, '/') + 1);
    return vmt_argv_finish(&path, NULL) < 0 ? NULL : strdup(path.v[0]);
}

static int
spawn_worker(struct snapshot_copy *copy, const struct vmt_argv *argv, int data,
             int folder, struct vmt_err *err)
{
    struct spawn *spawn = copy->vm->c->config.spawn;
    struct spawn_fd fds[FDS_MAX] = {{data, DATA_FD}};
    struct spawn_spec spec = {.argv = (const char *const *)argv->v,
                              .fds = fds,
                              .nfds = data >= 0,
                              .new_session = true,
                              /* An heir begins anew, and has none beside it. */
                              .ends_with_us = true,
                              .on_exit = on_exit,
                              .arg = copy};

    if (folder >= 0)
        fds[spec.nfds++] = (struct spawn_fd){folder, FOLDER_FD};
    return spawn->ops->start(spawn, &spec, &copy->worker, err);
}

static int
start_worker(struct snapshot_copy *copy, int folder, struct vmt_err *err)
{
    struct host *host = copy->vm->c->config.host;
    const struct vm_image *image = &copy->vm->images->v[copy->next];
    VMT_CLEANUP(vmt_argv_done) struct vmt_argv argv = {0};
    VMT_CLEANUP(vmt_freep) char *place = NULL;
    VMT_CLEANUP(vmt_freep) char *progress = NULL;
    VMT_CLEANUP(vmt_freep) char *disk = path_for_worker(copy, image);
    char path[SNAPSHOT_PATH_MAX], file[24];
    int data = -1;
    uint64_t bytes;
    int r;

    (void)snprintf(file, sizeof(file), "%.16s.img", image->role);
    (void)snapshot_file(copy->id, file, path);
    r = disk ? host->state->place(host, path, &place, err)
             : vmt_err_set(err, ENOMEM, "copy the disks");
    if (r == 0 && copy->back)
        r = host->state->open(host, path, &data, &bytes, err);
    if (r == 0)
        r = host->state->place(host, snapshot_file(copy->id, PROGRESS_FILE, path),
                               &progress, err);
    if (r == 0) {
        fill_argv(copy, image, disk, place, progress, &argv);
        r = vmt_argv_finish(&argv, err);
    }
    if (r == 0)
        r = spawn_worker(copy, &argv, data, folder, err);
    host->files->close(host, data);
    return r;
}

static void
work(struct snapshot_copy *copy, int folder)
{
    struct vmt_err err = {0};

    if (start_worker(copy, folder, &err) < 0)
        finish(copy, err.msg);
    else
        (void)arm(copy, TICK_MS);
}

static void
on_folder(void *arg, int *fds, const struct vmt_err *cause)
{
    struct snapshot_copy *copy = arg;

    copy->opening = NULL;
    if (!fds)
        finish(copy, cause->msg);
    else
        work(copy, fds[0]);
}

/* The folder's file system may be silent. */
static void
open_folder(struct snapshot_copy *copy, const struct vm_image *image)
{
    const struct opening_file folder = {.kind = OPENING_FOLDER, .name = image->path};
    /* There is one at a time of each VM: no more room is needed for others. */
    const struct ipc_caller caller = {.uid = copy->uid, .privileged = true};
    const struct opening_request request = {
        .owner = copy->vm->id.owner, .caller = &caller, .files = &folder, .n = 1};
    struct vmt_err err = {0};

    disarm(copy);
    if (opening_start(copy->vm->c, &request, on_folder, copy, &copy->opening, &err) < 0)
        finish(copy, err.msg);
}

static bool
is_copied(const struct vm_image *image)
{
    return !image->read_only && strcmp(image->role, "kernel") != 0 &&
           strcmp(image->role, "initrd") != 0;
}

static void
copy_next(struct snapshot_copy *copy)
{
    const struct vm_images *images = copy->vm->images;

    while (copy->next < images->n && !is_copied(&images->v[copy->next]))
        copy->next++;
    if (copy->next == images->n)
        finish(copy, NULL);
    else if (is_foreign(copy, &images->v[copy->next]))
        open_folder(copy, &images->v[copy->next]);
    else
        work(copy, -1);
}

int
snapshot_copy_start(struct snapshot_copy *copy, struct vmt_err *err)
{
    copy->next = 0;
    copy->worker = NULL;
    copy->opening = NULL;
    copy->timer = NULL;
    if (arm(copy, 0) < 0)
        return vmt_err_set(err, ENOMEM, "copy the disks");
    return 0;
}

void
snapshot_copy_cancel(struct snapshot_copy *copy)
{
    struct spawn *spawn;

    if (!copy->vm)
        return;
    spawn = copy->vm->c->config.spawn;
    disarm(copy);
    opening_cancel(vmt_take_ptr(&copy->opening));
    if (!copy->worker)
        return;
    (void)spawn->ops->kill(copy->worker, SIGTERM);
    spawn->ops->release(vmt_take_ptr(&copy->worker));
}
