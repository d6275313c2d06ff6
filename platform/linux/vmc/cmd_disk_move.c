/* SPDX-License-Identifier: BSD-3-Clause */
/* vmc disk resize, export, import, status, cancel: what takes a while. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "concierge_service.pb-c.h"

#include "core/base/cleanup.h"
#include "platform/linux/vmc/disk.h"
#include "platform/linux/vmc/progress.h"
#include "platform/linux/vmc/vm_info.h"
#include "platform/linux/vsh/concierge_client.h"

#define STATUS(name) VM_TOOLS__CONCIERGE__DISK_IMAGE_STATUS__DISK_STATUS_##name
#define CALL_TIMEOUT_MS 60000u
#define POLL_MS 300
#define UUID_TEXT 64

static volatile sig_atomic_t interrupted;

static void
on_signal(int sig)
{
    (void)sig;
    interrupted = 1;
}

static char *
text(const char *s)
{
    return (char *)(uintptr_t)s;
}

/* A call whose answer has status, failure_reason and command_uuid, as three have. */
struct answer {
    int status;
    char why[512];
    char uuid[UUID_TEXT];
    bool known; /* of a status: there is such an operation */
};

#define TAKE(answer, reply)                                                              \
    do {                                                                                 \
        (answer)->status = (int)(reply)->status;                                         \
        (void)snprintf((answer)->why, sizeof((answer)->why), "%s",                       \
                       (reply)->failure_reason);                                         \
        (void)snprintf((answer)->uuid, sizeof((answer)->uuid), "%s",                     \
                       (reply)->command_uuid);                                           \
    } while (0)

static int
get_status(struct vmc *vmc, const char *uuid, struct answer *a, unsigned *ret_progress,
           struct vmt_err *err)
{
    VmTools__Concierge__DiskImageStatusRequest rq;
    VmTools__Concierge__DiskImageStatusResponse *reply;
    struct ProtobufCMessage *message = NULL;
    const struct concierge_call call = {
        .method = "DiskImageStatus",
        .request = &rq.base,
        .reply = &vm_tools__concierge__disk_image_status_response__descriptor,
        .timeout_ms = CALL_TIMEOUT_MS,
    };
    int r;

    vm_tools__concierge__disk_image_status_request__init(&rq);
    rq.command_uuid = text(uuid);
    r = vmc_call(vmc, &call, &message, err);
    if (r < 0 || !message)
        return r;
    reply = (void *)message;
    TAKE(a, reply);
    a->known = *reply->owner_id != '\0';
    *ret_progress = reply->progress;
    protobuf_c_message_free_unpacked(message, NULL);
    return 0;
}

static int
cancel(struct vmc *vmc, const char *uuid, struct vmt_err *err)
{
    VmTools__Concierge__CancelDiskImageRequest rq;
    int r;

    vm_tools__concierge__cancel_disk_image_request__init(&rq);
    rq.command_uuid = text(uuid);
    r = vmc_call_plain(vmc, "CancelDiskImageOperation", &rq.base, CALL_TIMEOUT_MS, err);
    return r < 0 ? vmt_err_wrap(err, r, "cancel") : 0;
}

static void
draw(const char *what, unsigned percent, bool last)
{
    char line[PROGRESS_LINE_MAX];

    if (isatty(STDERR_FILENO))
        (void)fprintf(stderr, "\r%s%s", progress_bar(line, what, percent),
                      last ? "\n" : "");
}

/* Somebody who interrupts does not want it to go on in the background. */
static int
give_up(struct vmc *vmc, const char *uuid, struct vmt_err *err)
{
    struct vmt_err why;

    if (isatty(STDERR_FILENO))
        (void)fputc('\n', stderr);
    if (cancel(vmc, uuid, &why) < 0)
        return vmt_err_setx(err, EINTR, "interrupted; it goes on as %s: %s", uuid,
                            why.msg);
    return vmt_err_setx(err, EINTR, "interrupted, and cancelled");
}

static int
wait_for(struct vmc *vmc, const char *what, struct answer *a, struct vmt_err *err)
{
    static const struct timespec pause = {0, POLL_MS * 1000000L};
    const struct sigaction sa = {.sa_handler = on_signal};
    char uuid[UUID_TEXT];
    unsigned percent = 0;
    int r = 0;

    memcpy(uuid, a->uuid, sizeof(uuid));
    (void)sigaction(SIGINT, &sa, NULL);
    (void)sigaction(SIGTERM, &sa, NULL);
    while (r == 0 && a->status == STATUS(IN_PROGRESS)) {
        draw(what, percent, false);
        (void)nanosleep(&pause, NULL);
        if (interrupted)
            return give_up(vmc, uuid, err);
        r = get_status(vmc, uuid, a, &percent, err);
    }
    if (r == 0)
        draw(what, a->status == STATUS(FAILED) ? percent : 100, true);
    return r;
}

/* From the answer to the end. */
static int
follow(struct vmc *vmc, const char *what, const char *name, struct answer *a,
       struct vmt_err *err)
{
    char safe[256];
    int r = wait_for(vmc, what, a, err);

    if (r < 0)
        return r;
    r = disk_status_error(a->status, a->why, err);
    if (r < 0)
        return vmt_err_wrap(err, r, "%s %s", what, vmc_escape(safe, sizeof(safe), name));
    if (vmc->json)
        return print_json(
            json_pack("{s:s, s:s}", "name", name, "status", disk_status_name(a->status)),
            err);
    return 0;
}

int
disk_resize_run(struct vmc *vmc, const struct disk_options *o, char **operands, size_t n,
                struct vmt_err *err)
{
    VmTools__Concierge__ResizeDiskImageRequest rq;
    VmTools__Concierge__ResizeDiskImageResponse *reply;
    struct ProtobufCMessage *message = NULL;
    const struct concierge_call call = {
        .method = "ResizeDiskImage",
        .request = &rq.base,
        .reply = &vm_tools__concierge__resize_disk_image_response__descriptor,
        .timeout_ms = CALL_TIMEOUT_MS,
    };
    struct answer a = {.status = 0};
    int r;

    (void)n;
    if (!o->size)
        return vmt_err_setx(err, EINVAL, "resize wants --size");
    vm_tools__concierge__resize_disk_image_request__init(&rq);
    rq.cryptohome_id = text(vmc->owner);
    rq.vm_name = operands[0];
    rq.disk_size = o->size;
    r = vmc_call(vmc, &call, &message, err);
    if (r < 0 || !message)
        return r;
    reply = (void *)message;
    TAKE(&a, reply);
    protobuf_c_message_free_unpacked(message, NULL);
    return follow(vmc, "resize", operands[0], &a, err);
}

/* A file to write. */
struct target {
    const char *path; /* borrowed; NULL: not wanted, "-": stdout */
    int fd;           /* owned */
    char *temp;       /* owned; what becomes path in the end, or NULL */
};

static int
target_stdout(struct target *t, struct vmt_err *err)
{
    if (isatty(STDOUT_FILENO))
        return vmt_err_setx(err, EINVAL, "an export does not belong on a terminal");
    t->fd = vmt_dup_fd(STDOUT_FILENO);
    return t->fd < 0 ? vmt_err_set(err, -t->fd, "use stdout") : 0;
}

/* A file that was there, an older export perhaps, stays until the new one is whole. */
static int
target_open(struct target *t, struct vmt_err *err)
{
    struct stat st;
    bool there;

    if (strcmp(t->path, "-") == 0)
        return target_stdout(t, err);
    there = lstat(t->path, &st) == 0;
    if (there && !S_ISREG(st.st_mode)) { /* a pipe, a device, a link to wherever */
        t->fd = open(t->path, O_WRONLY | O_TRUNC | O_CLOEXEC | O_NOCTTY);
        return t->fd < 0 ? vmt_err_set(err, errno, "open %s", t->path) : 0;
    }
    if (asprintf(&t->temp, "%s.XXXXXX", t->path) < 0) {
        t->temp = NULL;
        return vmt_err_set(err, ENOMEM, "open %s", t->path);
    }
    t->fd = mkostemp(t->temp, O_CLOEXEC);
    if (t->fd >= 0)
        return 0;
    vmt_freep(&t->temp);
    t->temp = NULL;
    return vmt_err_set(err, errno, "make %s", t->path);
}

/* In place under its name. */
static int
target_keep(struct target *t, struct vmt_err *err)
{
    if (t->temp && rename(t->temp, t->path) < 0)
        return vmt_err_set(err, errno, "make %s", t->path);
    vmt_freep(&t->temp);
    t->temp = NULL;
    return 0;
}

static void
target_drop(struct target *t)
{
    vmt_closep(&t->fd);
    if (t->temp)
        (void)unlink(t->temp);
    vmt_freep(&t->temp);
}

static int
start_export(struct vmc *vmc, const struct disk_options *o, const char *name,
             const int *fds, struct answer *a, struct vmt_err *err)
{
    VmTools__Concierge__ExportDiskImageRequest rq;
    VmTools__Concierge__ExportDiskImageResponse *reply;
    struct ProtobufCMessage *message = NULL;
    const struct concierge_call call = {
        .method = "ExportDiskImage",
        .request = &rq.base,
        .reply = &vm_tools__concierge__export_disk_image_response__descriptor,
        .fds = fds,
        .nfds = o->sha256 ? 2 : 1,
        .timeout_ms = CALL_TIMEOUT_MS,
    };
    int r;

    vm_tools__concierge__export_disk_image_request__init(&rq);
    rq.cryptohome_id = text(vmc->owner);
    rq.vm_name = text(name);
    rq.generate_sha256_digest = o->sha256 != NULL;
    rq.force = o->force;
    r = vmc_call(vmc, &call, &message, err);
    if (r < 0 || !message)
        return r;
    reply = (void *)message;
    TAKE(a, reply);
    protobuf_c_message_free_unpacked(message, NULL);
    return 0;
}

int
disk_export_run(struct vmc *vmc, const struct disk_options *o, char **operands, size_t n,
                struct vmt_err *err)
{
    struct target targets[] = {{operands[1], -1, NULL}, {o->sha256, -1, NULL}};
    struct answer a = {.status = 0};
    int fds[] = {-1, -1}, r = 0;

    (void)n;
    if (vmc->json && strcmp(operands[1], "-") == 0)
        return vmt_err_setx(err, EINVAL, "--json and an export cannot share stdout");
    for (size_t i = 0; r == 0 && i < VMT_ARRAY_SIZE(fds) && targets[i].path; i++) {
        r = target_open(&targets[i], err);
        fds[i] = targets[i].fd;
    }
    if (r == 0)
        r = start_export(vmc, o, operands[0], fds, &a, err);
    for (size_t i = 0; i < VMT_ARRAY_SIZE(fds); i++) {
        vmt_closep(&fds[i]); /* the worker has it: who reads a pipe sees its end */
        targets[i].fd = -1;
    }
    if (r == 0)
        r = follow(vmc, "export", operands[0], &a, err);
    for (size_t i = 0; r == 0 && i < VMT_ARRAY_SIZE(targets); i++)
        r = target_keep(&targets[i], err);
    for (size_t i = 0; i < VMT_ARRAY_SIZE(targets); i++)
        target_drop(&targets[i]);
    return r;
}

static int
source_open(const char *path, int *ret_fd, uint64_t *ret_size, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_closep)
    int fd = strcmp(path, "-") == 0 ? vmt_dup_fd(STDIN_FILENO)
                                    : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0)
        return vmt_err_set(err, errno, "open %s", path);
    if (isatty(fd))
        return vmt_err_setx(err, EINVAL, "an image does not come from a terminal");
    *ret_size = S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
    *ret_fd = vmt_take_fd(&fd);
    return 0;
}

int
disk_import_run(struct vmc *vmc, const struct disk_options *o, char **operands, size_t n,
                struct vmt_err *err)
{
    VmTools__Concierge__ImportDiskImageRequest rq;
    VmTools__Concierge__ImportDiskImageResponse *reply;
    struct ProtobufCMessage *message = NULL;
    VMT_CLEANUP(vmt_closep) int fd = -1;
    const struct concierge_call call = {
        .method = "ImportDiskImage",
        .request = &rq.base,
        .reply = &vm_tools__concierge__import_disk_image_response__descriptor,
        .fds = &fd,
        .nfds = 1,
        .timeout_ms = CALL_TIMEOUT_MS,
    };
    struct answer a = {.status = 0};
    int r;

    (void)n;
    vm_tools__concierge__import_disk_image_request__init(&rq);
    r = source_open(operands[1], &fd, &rq.source_size, err);
    if (r < 0)
        return r;
    rq.cryptohome_id = text(vmc->owner);
    rq.vm_name = operands[0];
    rq.vm_type = (VmTools__Concierge__VmInfo__VmType)o->vm_type;
    r = vmc_call(vmc, &call, &message, err);
    if (r < 0 || !message)
        return r;
    reply = (void *)message;
    TAKE(&a, reply);
    protobuf_c_message_free_unpacked(message, NULL);
    return follow(vmc, "import", operands[0], &a, err);
}

int
disk_cancel_run(struct vmc *vmc, const struct disk_options *o, char **operands, size_t n,
                struct vmt_err *err)
{
    (void)o;
    (void)n;
    return cancel(vmc, operands[0], err);
}

int
disk_status_run(struct vmc *vmc, const struct disk_options *o, char **operands, size_t n,
                struct vmt_err *err)
{
    struct answer a = {.status = 0};
    unsigned percent = 0;
    int r = get_status(vmc, operands[0], &a, &percent, err);

    (void)o;
    (void)n;
    if (r == 0 && !a.known)
        return vmt_err_setx(err, ENOENT, "%s", a.why);
    if (r < 0)
        return r;
    if (vmc->json)
        r = print_json(json_pack("{s:s, s:i, s:s}", "status", disk_status_name(a.status),
                                 "progress", (int)percent, "reason", a.why),
                       err);
    else
        (void)printf("%s %u %%\n", disk_status_name(a.status), percent);
    if (r < 0)
        return r;
    r = disk_status_error(a.status, a.why, err);
    return r == -EINPROGRESS ? 0 : r;
}
