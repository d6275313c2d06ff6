/* SPDX-License-Identifier: BSD-3-Clause */
/* vmc attach-disk, vmc detach-disk: disks that come and go while a VM runs. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "concierge_service.pb-c.h"
#include "core/base/cleanup.h"
#include "platform/linux/vmc/vmc.h"
#include "platform/linux/vsh/concierge_client.h"
#include "vmt_hotplug.pb-c.h"

/* The guest may take the daemon's whole patience to let go. */
#define HOTPLUG_TIMEOUT_MS 120000u
#define TEXT_MAX 512

struct attach_options {
    bool read_only, qcow2;
    const char *serial;
};

static int
set_read_only(void *target, const char *value, struct vmt_err *err)
{
    (void)value;
    (void)err;
    ((struct attach_options *)target)->read_only = true;
    return 0;
}

static int
set_qcow2(void *target, const char *value, struct vmt_err *err)
{
    (void)value;
    (void)err;
    ((struct attach_options *)target)->qcow2 = true;
    return 0;
}

static int
set_serial(void *target, const char *value, struct vmt_err *err)
{
    (void)err;
    ((struct attach_options *)target)->serial = value;
    return 0;
}

static const struct vmc_option attach_option_table[] = {
    {"read-only", false, set_read_only},
    {"qcow2", false, set_qcow2},
    {"serial", true, set_serial},
    {0},
};

static void
print_serial(const struct vmc *vmc, const char *serial)
{
    char text[TEXT_MAX];
    json_t *object;

    if (!vmc->json) {
        (void)printf("%s\n", vmc_escape(text, sizeof(text), serial));
        return;
    }
    object = json_pack("{s:s}", "serial", serial);
    if (object && json_dumpf(object, stdout, JSON_INDENT(2)) == 0)
        (void)printf("\n");
    json_decref(object);
}

static int
attach(struct vmc *vmc, Vmt__AttachDiskRequest *request, struct vmt_err *err)
{
    const struct concierge_call call = {
        .method = "AttachDisk",
        .request = &request->base,
        .reply = &vmt__attach_disk_response__descriptor,
        .timeout_ms = HOTPLUG_TIMEOUT_MS,
    };
    struct ProtobufCMessage *reply = NULL;
    const Vmt__AttachDiskResponse *response;
    char text[TEXT_MAX];
    int r = vmc_call(vmc, &call, &reply, err);

    if (r < 0)
        return r;
    response = (const Vmt__AttachDiskResponse *)(const void *)reply;
    if (response->success)
        print_serial(vmc, response->serial);
    else
        r = vmt_err_setx(err, EIO, "%s",
                         vmc_escape(text, sizeof(text), response->failure_reason));
    protobuf_c_message_free_unpacked(reply, NULL);
    return r;
}

static int
attach_run(struct vmc *vmc, int argc, char **argv)
{
    static const struct vmc_syntax syntax = {
        .options = attach_option_table, .operands_min = 2, .operands_max = 2};
    struct attach_options options = {0};
    VMT_CLEANUP(vmt_freep) char *path = NULL;
    Vmt__AttachDiskRequest request;
    struct vmt_err err;
    char **operands;
    size_t n;
    int r =
        vmc_begin(vmc, &vmc_attach_disk, argc, argv, &syntax, &options, &operands, &n);

    if (r >= 0)
        return r;
    /* The daemon has another directory. */
    path = realpath(operands[1], NULL);
    if (!path) {
        r = vmt_err_set(&err, errno, "%s", operands[1]);
        return vmc_fail(r, &err);
    }
    vmt__attach_disk_request__init(&request);
    request.name = operands[0];
    request.owner_id = (char *)(uintptr_t)vmc->owner;
    request.path = path;
    request.writable = !options.read_only;
    request.qcow2 = options.qcow2;
    request.serial = (char *)(uintptr_t)(options.serial ? options.serial : "");
    r = vmc_require(vmc, operands[0], &err);
    if (r == 0)
        r = attach(vmc, &request, &err);
    return r < 0 ? vmc_fail(r, &err) : VMC_DONE;
}

static int
detach_run(struct vmc *vmc, int argc, char **argv)
{
    static const struct vmc_syntax syntax = {.operands_min = 2, .operands_max = 2};
    Vmt__DetachDiskRequest request;
    struct vmt_err err;
    char **operands;
    size_t n;
    int r = vmc_begin(vmc, &vmc_detach_disk, argc, argv, &syntax, NULL, &operands, &n);

    if (r >= 0)
        return r;
    vmt__detach_disk_request__init(&request);
    request.name = operands[0];
    request.owner_id = (char *)(uintptr_t)vmc->owner;
    request.serial = operands[1];
    r = vmc_require(vmc, operands[0], &err);
    if (r == 0)
        r = vmc_call_plain(vmc, "DetachDisk", &request.base, HOTPLUG_TIMEOUT_MS, &err);
    return r < 0 ? vmc_fail(r, &err) : VMC_DONE;
}

const struct vmc_command vmc_attach_disk = {
    .name = "attach-disk",
    .summary = "plug a disk image into a VM that runs",
    .usage = "[OPTION]... NAME FILE\n"
             "\n"
             "Prints the serial by which the guest and detach-disk know the disk.\n"
             "\n"
             "  --read-only       the guest may not write to it\n"
             "  --qcow2           the image is qcow2, not raw\n"
             "  --serial SERIAL   1 to 20 characters; made if not given\n",
    .run = attach_run,
};

const struct vmc_command vmc_detach_disk = {
    .name = "detach-disk",
    .summary = "take a disk out again that attach-disk plugged",
    .usage = "NAME SERIAL\n",
    .run = detach_run,
};
