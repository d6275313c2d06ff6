/* SPDX-License-Identifier: BSD-3-Clause */
/* vmc disk create, list, destroy, rename. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "concierge_service.pb-c.h"

#include "core/base/cleanup.h"
#include "platform/linux/vmc/disk.h"
#include "platform/linux/vmc/vm_info.h"
#include "platform/linux/vsh/concierge_client.h"

#define STATUS(name) VM_TOOLS__CONCIERGE__DISK_IMAGE_STATUS__DISK_STATUS_##name
/* Making a file system and allocating take their time; destroying may stop a VM first. */
#define CREATE_TIMEOUT_MS (30u * 60 * 1000)
#define DESTROY_TIMEOUT_MS 150000u
#define LIST_TIMEOUT_MS 30000u

typedef VmTools__Concierge__ListVmDisksResponse pb_list;

static char *
text(const char *s)
{
    return (char *)(uintptr_t)s;
}

static const struct {
    const char *name;
    int error; /* 0: no failure */
} statuses[] = {
    [STATUS(UNKNOWN)] = {"refused", EINVAL},
    [STATUS(CREATED)] = {"done", 0},
    [STATUS(EXISTS)] = {"exists", EEXIST},
    [STATUS(FAILED)] = {"failed", EIO},
    [STATUS(DOES_NOT_EXIST)] = {"not found", ENOENT},
    [STATUS(DESTROYED)] = {"destroyed", 0},
    [STATUS(IN_PROGRESS)] = {"in progress", EINPROGRESS},
    [STATUS(RESIZED)] = {"resized", 0},
    [STATUS(NOT_ENOUGH_SPACE)] = {"no space", ENOSPC},
    [STATUS(BAD_IMAGE)] = {"bad image", EINVAL},
};

const char *
disk_status_name(int status)
{
    return status >= 0 && (size_t)status < VMT_ARRAY_SIZE(statuses)
               ? statuses[status].name
               : "unknown";
}

int
disk_status_error(int status, const char *why, struct vmt_err *err)
{
    bool known = status >= 0 && (size_t)status < VMT_ARRAY_SIZE(statuses);
    int error = known ? statuses[status].error : EIO;
    char safe[512];

    if (error == 0)
        return 0;
    return vmt_err_setx(err, error, "%s",
                        *why ? vmc_escape(safe, sizeof(safe), why)
                             : disk_status_name(status));
}

int
disk_create_run(struct vmc *vmc, const struct disk_options *o, char **operands, size_t n,
                struct vmt_err *err)
{
    VmTools__Concierge__CreateDiskImageRequest rq;
    VmTools__Concierge__CreateDiskImageResponse *reply;
    struct ProtobufCMessage *message = NULL;
    const struct concierge_call call = {
        .method = "CreateDiskImage",
        .request = &rq.base,
        .reply = &vm_tools__concierge__create_disk_image_response__descriptor,
        .timeout_ms = CREATE_TIMEOUT_MS,
    };
    char safe[512];
    int r;

    (void)n;
    vm_tools__concierge__create_disk_image_request__init(&rq);
    rq.cryptohome_id = text(vmc->owner);
    rq.vm_name = operands[0];
    rq.disk_size = o->size;
    rq.image_type = strcmp(o->format, "qcow2") == 0
                        ? VM_TOOLS__CONCIERGE__DISK_IMAGE_TYPE__DISK_IMAGE_QCOW2
                        : VM_TOOLS__CONCIERGE__DISK_IMAGE_TYPE__DISK_IMAGE_RAW;
    rq.filesystem = text(o->filesystem);
    rq.vm_type = (VmTools__Concierge__VmInfo__VmType)o->vm_type;
    rq.storage_ballooning = o->ballooning;
    rq.allocation_type =
        o->preallocate
            ? VM_TOOLS__CONCIERGE__DISK_IMAGE_ALLOCATION_TYPE__DISK_ALLOCATION_TYPE_PREALLOCATE
            : VM_TOOLS__CONCIERGE__DISK_IMAGE_ALLOCATION_TYPE__DISK_ALLOCATION_TYPE_SPARSE;
    r = vmc_call(vmc, &call, &message, err);
    if (r < 0 || !message)
        return r;
    reply = (void *)message;
    r = disk_status_error((int)reply->status, reply->failure_reason, err);
    if (r == 0 && vmc->json)
        r = print_json(
            json_pack("{s:s, s:s}", "name", operands[0], "path", reply->disk_path), err);
    else if (r == 0)
        (void)printf("%s\n", vmc_escape(safe, sizeof(safe), reply->disk_path));
    protobuf_c_message_free_unpacked(message, NULL);
    return r < 0 ? vmt_err_wrap(err, r, "create disk %s",
                                vmc_escape(safe, sizeof(safe), operands[0]))
                 : 0;
}

static int
get_list(struct vmc *vmc, const char *name, pb_list **ret_list, struct vmt_err *err)
{
    VmTools__Concierge__ListVmDisksRequest rq;
    struct ProtobufCMessage *message = NULL;
    const struct concierge_call call = {
        .method = "ListVmDisks",
        .request = &rq.base,
        .reply = &vm_tools__concierge__list_vm_disks_response__descriptor,
        .timeout_ms = LIST_TIMEOUT_MS,
    };
    char safe[512];
    pb_list *list;
    int r;

    vm_tools__concierge__list_vm_disks_request__init(&rq);
    rq.cryptohome_id = text(vmc->owner);
    rq.vm_name = text(name);
    r = vmc_call(vmc, &call, &message, err);
    if (r < 0 || !message)
        return r;
    list = (void *)message;
    if (!list->success) {
        r = vmt_err_setx(err, EIO, "%s",
                         vmc_escape(safe, sizeof(safe), list->failure_reason));
        protobuf_c_message_free_unpacked(message, NULL);
        return r;
    }
    *ret_list = list;
    return 0;
}

static void
list_free(pb_list *list)
{
    protobuf_c_message_free_unpacked(&list->base, NULL);
}

static json_t *
disk_json(const VmTools__Concierge__VmDiskInfo *d)
{
    bool qcow2 = d->image_type == VM_TOOLS__CONCIERGE__DISK_IMAGE_TYPE__DISK_IMAGE_QCOW2;
    json_t *json = json_pack(
        "{s:s, s:s, s:s, s:I, s:I, s:b}", "name", d->name, "path", d->path, "format",
        qcow2 ? "qcow2" : "raw", "size_bytes", (json_int_t)d->virtual_size, "used_bytes",
        (json_int_t)d->size, "user_chosen_size", d->user_chosen_size);

    if (json && d->has_vm_type)
        (void)json_object_set_new(json, "type",
                                  json_string(vm_type_name((int)d->vm_type)));
    if (json && d->available_space)
        (void)json_object_set_new(json, "available_bytes",
                                  json_integer((json_int_t)d->available_space));
    if (json && d->min_size)
        (void)json_object_set_new(json, "min_size_bytes",
                                  json_integer((json_int_t)d->min_size));
    return json;
}

static void
print_size(uint64_t bytes)
{
    static const char units[] = " KMGT";
    double v = (double)bytes;
    size_t unit = 0;

    while (v >= 1024 && unit + 2 < sizeof(units)) {
        v /= 1024;
        unit++;
    }
    (void)printf(unit ? " %8.1f%c" : " %8.0f%c", v, units[unit]);
}

static void
print_list(const pb_list *list)
{
    char safe[256];

    if (list->n_images == 0) {
        (void)fputs("there is no disk; vmc disk create makes one\n", stderr);
        return;
    }
    (void)printf("%-24s %9s %9s %9s  %s\n", "NAME", "SIZE", "USED", "FREE", "FORMAT");
    for (size_t i = 0; i < list->n_images; i++) {
        const VmTools__Concierge__VmDiskInfo *d = list->images[i];
        bool qcow2 =
            d->image_type == VM_TOOLS__CONCIERGE__DISK_IMAGE_TYPE__DISK_IMAGE_QCOW2;

        (void)printf("%-24s", vmc_escape(safe, sizeof(safe), d->name));
        print_size(d->virtual_size);
        print_size(d->size);
        if (d->available_space)
            print_size(d->available_space);
        else
            (void)printf(" %9s", "-");
        (void)printf("  %s\n", qcow2 ? "qcow2" : "raw");
    }
}

int
disk_list_run(struct vmc *vmc, const struct disk_options *o, char **operands, size_t n,
              struct vmt_err *err)
{
    pb_list *list = NULL;
    json_t *all;
    int r = get_list(vmc, n ? operands[0] : "", &list, err);

    (void)o;
    if (r < 0 || !list)
        return r;
    if (n && list->n_images == 0) {
        r = vmt_err_setx(err, ENOENT, "there is no disk of that name");
    } else if (vmc->json) {
        all = json_array();
        for (size_t i = 0; i < list->n_images; i++)
            (void)json_array_append_new(all, disk_json(list->images[i]));
        r = print_json(all, err);
    } else {
        print_list(list);
    }
    list_free(list);
    return r;
}

int
disk_path_get(struct vmc *vmc, const char *name, char **ret_path, struct vmt_err *err)
{
    pb_list *list = NULL;
    int r = get_list(vmc, name, &list, err);

    if (r < 0 || !list)
        return r;
    if (list->n_images == 1) {
        *ret_path = strdup(list->images[0]->path);
        r = *ret_path ? 0 : vmt_err_set(err, ENOMEM, "find disk %s", name);
    } else {
        r = list->n_images
                ? vmt_err_setx(err, EEXIST, "there are two disks %s", name)
                : vmt_err_setx(err, ENOENT,
                               "there is no file and no disk %s; vmc disk create makes "
                               "one",
                               name);
    }
    list_free(list);
    return r;
}

/* On a terminal, as the original does. VMC_NONINTERACTIVE is its switch, too. */
static int
confirm_destroy(const struct disk_options *o, const char *name, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_freep) char *line = NULL;
    size_t cap = 0;
    char safe[256];

    if (o->yes || getenv("VMC_NONINTERACTIVE") || !isatty(STDIN_FILENO) ||
        !isatty(STDERR_FILENO))
        return 0;
    (void)vmc_escape(safe, sizeof(safe), name);
    (void)fprintf(stderr, "Destroy the disk %s for good, with all that is on it? [y/N] ",
                  safe);
    if (getline(&line, &cap, stdin) > 0 &&
        (strcasecmp(line, "y\n") == 0 || strcasecmp(line, "yes\n") == 0))
        return 0;
    return vmt_err_setx(err, ECANCELED, "disk %s stays", safe);
}

int
disk_destroy_run(struct vmc *vmc, const struct disk_options *o, char **operands, size_t n,
                 struct vmt_err *err)
{
    VmTools__Concierge__DestroyDiskImageRequest rq;
    VmTools__Concierge__DestroyDiskImageResponse *reply;
    struct ProtobufCMessage *message = NULL;
    const struct concierge_call call = {
        .method = "DestroyDiskImage",
        .request = &rq.base,
        .reply = &vm_tools__concierge__destroy_disk_image_response__descriptor,
        .timeout_ms = DESTROY_TIMEOUT_MS,
    };
    char safe[256];
    int r = confirm_destroy(o, operands[0], err);

    (void)n;
    if (r < 0)
        return r;
    vm_tools__concierge__destroy_disk_image_request__init(&rq);
    rq.cryptohome_id = text(vmc->owner);
    rq.vm_name = operands[0];
    r = vmc_call(vmc, &call, &message, err);
    if (r < 0 || !message)
        return r;
    reply = (void *)message;
    r = disk_status_error((int)reply->status, reply->failure_reason, err);
    protobuf_c_message_free_unpacked(message, NULL);
    return r < 0 ? vmt_err_wrap(err, r, "destroy disk %s",
                                vmc_escape(safe, sizeof(safe), operands[0]))
                 : 0;
}

int
disk_rename_run(struct vmc *vmc, const struct disk_options *o, char **operands, size_t n,
                struct vmt_err *err)
{
    VmTools__Concierge__AdjustVmRequest rq;
    int r;

    (void)o;
    (void)n;
    vm_tools__concierge__adjust_vm_request__init(&rq);
    rq.owner_id = text(vmc->owner);
    rq.name = operands[0];
    rq.operation = text("rename");
    rq.params = &operands[1];
    rq.n_params = 1;
    r = vmc_call_plain(vmc, "AdjustVm", &rq.base, LIST_TIMEOUT_MS, err);
    return r < 0 ? vmt_err_wrap(err, r, "rename") : 0;
}
