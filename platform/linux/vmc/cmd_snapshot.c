/* SPDX-License-Identifier: BSD-3-Clause */
/* vmc snapshot: save a running VM, and start from what was saved. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

#include "concierge_service.pb-c.h"
#include "core/base/cleanup.h"
#include "platform/linux/vmc/progress.h"
#include "platform/linux/vmc/vm_info.h"
#include "platform/linux/vmc/vmc.h"
#include "platform/linux/vsh/concierge_client.h"
#include "vmt_snapshot.pb-c.h"

/* Copies of large disks take their time; the daemon gives up before this. */
#define LONG_TIMEOUT_MS (60u * 60 * 1000)
#define SHORT_TIMEOUT_MS 30000u
#define TEXT_MAX 512

static json_t *
snapshot_json(const Vmt__Snapshot *s)
{
    json_t *disks = json_array();
    json_t *out;

    for (size_t i = 0; disks && i < s->n_disks; i++)
        (void)json_array_append_new(disks, json_string(s->disks[i]));
    out = json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:o}", "name", s->name, "vm_name",
                    s->vm_name, "made_s", (json_int_t)s->made_s, "bytes",
                    (json_int_t)s->bytes, "memory_mib", (json_int_t)s->memory_mib, "cpus",
                    (json_int_t)s->cpus, "disks", disks);
    return out;
}

static int
failed(const char *what, const char *reason, struct vmt_err *err)
{
    char text[TEXT_MAX];

    return vmt_err_setx(err, EIO, "%s: %s", what, vmc_escape(text, sizeof(text), reason));
}

/* Three requests say which snapshot they mean, in fields of the same names. */
#define NAME(request, vmc, names)                                                        \
    do {                                                                                 \
        (request)->owner_id = (char *)(uintptr_t)(vmc)->owner;                           \
        (request)->vm_name = (names)[0];                                                 \
        (request)->snapshot_name = (names)[1];                                           \
    } while (0)

/* Call, and tell on a terminal how far it is. Who sees nothing of it still gets the
 * answer. */
static int
call_slow(struct vmc *vmc, const struct concierge_call *call,
          struct snapshot_progress *progress, ProtobufCMessage **ret_reply,
          struct vmt_err *err)
{
    int r;

    if (isatty(STDERR_FILENO) && vmc_connect(vmc, err) == 0)
        (void)concierge_client_watch(vmc->client, snapshot_progress_on_signal, progress,
                                     NULL);
    r = vmc_call(vmc, call, ret_reply, err);
    concierge_client_unwatch(vmc->client);
    snapshot_progress_end(progress);
    return r;
}

static struct snapshot_progress
progress_of(const struct vmc *vmc, const char *verb, char **names)
{
    return (struct snapshot_progress){.out = stderr,
                                      .verb = verb,
                                      .owner = vmc->owner,
                                      .vm = names[0],
                                      .snapshot = names[1]};
}

static int
create(struct vmc *vmc, char **names, struct vmt_err *err)
{
    Vmt__CreateSnapshotRequest request = VMT__CREATE_SNAPSHOT_REQUEST__INIT;
    const struct concierge_call call = {
        .method = "CreateSnapshot",
        .request = &request.base,
        .reply = &vmt__create_snapshot_response__descriptor,
        .timeout_ms = LONG_TIMEOUT_MS,
    };
    Vmt__CreateSnapshotResponse *response;
    struct snapshot_progress progress = progress_of(vmc, "create", names);
    ProtobufCMessage *reply = NULL;
    int r;

    NAME(&request, vmc, names);
    r = vmc_require(vmc, names[0], err);
    if (r < 0)
        return r;
    r = call_slow(vmc, &call, &progress, &reply, err);
    if (r < 0)
        return r;
    response = (Vmt__CreateSnapshotResponse *)(void *)reply;
    if (!response->success || !response->snapshot)
        r = failed("snapshot create", response->failure_reason, err);
    else if (vmc->json)
        r = print_json(snapshot_json(response->snapshot), err);
    else
        (void)fprintf(stderr, "snapshot made, %.1f MiB\n",
                      (double)response->snapshot->bytes / 1048576.0);
    protobuf_c_message_free_unpacked(reply, NULL);
    return r;
}

static void
print_row(const Vmt__Snapshot *s)
{
    time_t made = (time_t)s->made_s;
    char vm[128], name[128], when[32] = "";
    struct tm tm;

    if (localtime_r(&made, &tm))
        (void)strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &tm);
    (void)printf("%-20s %-20s %-19s %8.1f MiB\n", vmc_escape(vm, sizeof(vm), s->vm_name),
                 vmc_escape(name, sizeof(name), s->name), when,
                 (double)s->bytes / 1048576.0);
}

static int
print_list(const struct vmc *vmc, const Vmt__ListSnapshotsResponse *response,
           struct vmt_err *err)
{
    json_t *all;

    if (!vmc->json && response->n_snapshots == 0) {
        (void)fputs("there is no snapshot; vmc snapshot create makes one\n", stderr);
        return 0;
    }
    if (!vmc->json) {
        (void)printf("%-20s %-20s %-19s %12s\n", "VM", "SNAPSHOT", "MADE", "SIZE");
        for (size_t i = 0; i < response->n_snapshots; i++)
            print_row(response->snapshots[i]);
        return 0;
    }
    all = json_array();
    for (size_t i = 0; all && i < response->n_snapshots; i++)
        (void)json_array_append_new(all, snapshot_json(response->snapshots[i]));
    return print_json(all, err);
}

static int
get_list(struct vmc *vmc, char *vm, Vmt__ListSnapshotsResponse **ret_list,
         struct vmt_err *err)
{
    Vmt__ListSnapshotsRequest request = VMT__LIST_SNAPSHOTS_REQUEST__INIT;
    const struct concierge_call call = {
        .method = "ListSnapshots",
        .request = &request.base,
        .reply = &vmt__list_snapshots_response__descriptor,
        .timeout_ms = SHORT_TIMEOUT_MS,
    };
    Vmt__ListSnapshotsResponse *response;
    ProtobufCMessage *reply = NULL;
    int r;

    request.owner_id = (char *)(uintptr_t)vmc->owner;
    if (vm)
        request.vm_name = vm;
    r = vmc_call(vmc, &call, &reply, err);
    if (r < 0)
        return r;
    response = (Vmt__ListSnapshotsResponse *)(void *)reply;
    if (response->success) {
        *ret_list = response;
        return 0;
    }
    r = failed("snapshot list", response->failure_reason, err);
    protobuf_c_message_free_unpacked(reply, NULL);
    return r;
}

static int
list(struct vmc *vmc, char **names, struct vmt_err *err)
{
    Vmt__ListSnapshotsResponse *response = NULL;
    int r = get_list(vmc, names[0], &response, err);

    if (r < 0 || !response)
        return r;
    r = print_list(vmc, response, err);
    protobuf_c_message_free_unpacked(&response->base, NULL);
    return r;
}

/* Whether there is that snapshot: the daemon takes it for success when there is none to
 * delete. Returns 0, -ENOENT, or as vmc_call. */
static int
require(struct vmc *vmc, char **names, struct vmt_err *err)
{
    Vmt__ListSnapshotsResponse *response = NULL;
    char vm[128], name[128];
    bool found = false;
    int r = get_list(vmc, names[0], &response, err);

    if (r < 0 || !response)
        return r;
    for (size_t i = 0; i < response->n_snapshots; i++)
        found |= strcmp(response->snapshots[i]->name, names[1]) == 0;
    protobuf_c_message_free_unpacked(&response->base, NULL);
    return found ? 0
                 : vmt_err_setx(err, ENOENT, "there is no snapshot %s of %s",
                                vmc_escape(name, sizeof(name), names[1]),
                                vmc_escape(vm, sizeof(vm), names[0]));
}

static int
restore(struct vmc *vmc, char **names, struct vmt_err *err)
{
    Vmt__RestoreSnapshotRequest request = VMT__RESTORE_SNAPSHOT_REQUEST__INIT;
    const struct concierge_call call = {
        .method = "RestoreSnapshot",
        .request = &request.base,
        .reply = &vm_tools__concierge__start_vm_response__descriptor,
        .timeout_ms = LONG_TIMEOUT_MS,
    };
    VmTools__Concierge__StartVmResponse *response;
    struct snapshot_progress progress = progress_of(vmc, "restore", names);
    ProtobufCMessage *reply = NULL;
    int r;

    NAME(&request, vmc, names);
    r = require(vmc, names, err);
    if (r < 0)
        return r;
    r = call_slow(vmc, &call, &progress, &reply, err);
    if (r < 0)
        return r;
    response = (VmTools__Concierge__StartVmResponse *)(void *)reply;
    if (!response->success)
        r = failed("snapshot restore", response->failure_reason, err);
    else if (vmc->json)
        r = print_json(
            vm_info_json(names[0], vmc->owner, (int)response->status, response->vm_info),
            err);
    protobuf_c_message_free_unpacked(reply, NULL);
    return r;
}

static int delete (struct vmc *vmc, char **names, struct vmt_err *err)
{
    Vmt__DeleteSnapshotRequest request = VMT__DELETE_SNAPSHOT_REQUEST__INIT;
    int r;

    NAME(&request, vmc, names);
    r = require(vmc, names, err);
    if (r < 0)
        return r;
    r = vmc_call_plain(vmc, "DeleteSnapshot", &request.base, SHORT_TIMEOUT_MS, err);
    return r < 0 ? vmt_err_wrap(err, r, "snapshot delete") : 0;
}

static const struct {
    const char *name;
    size_t min, max; /* operands */
    int (*run)(struct vmc *vmc, char **names, struct vmt_err *err);
} verbs[] = {
    {"create", 2, 2, create},
    {"list", 0, 1, list},
    {"restore", 2, 2, restore},
    {"delete", 2, 2, delete},
};

static int
snapshot_run(struct vmc *vmc, int argc, char **argv)
{
    static const struct vmc_syntax syntax = {.operands_min = 1, .operands_max = 3};
    char *names[2] = {NULL, NULL};
    struct vmt_err err;
    char **operands;
    size_t n;
    int r = vmc_begin(vmc, &vmc_snapshot, argc, argv, &syntax, NULL, &operands, &n);

    if (r >= 0)
        return r;
    for (size_t i = 1; i < n; i++)
        names[i - 1] = operands[i];
    for (size_t i = 0; i < VMT_ARRAY_SIZE(verbs); i++) {
        if (strcmp(verbs[i].name, operands[0]) != 0)
            continue;
        if (n - 1 < verbs[i].min || n - 1 > verbs[i].max)
            break;
        r = verbs[i].run(vmc, names, &err);
        return r < 0 ? vmc_fail(r, &err) : VMC_DONE;
    }
    (void)fputs(
        "vmc snapshot: say create VM NAME, list [VM], restore VM NAME or delete VM "
        "NAME\n",
        stderr);
    return VMC_USAGE;
}

const struct vmc_command vmc_snapshot = {
    .name = "snapshot",
    .summary = "save a running VM, and start from that",
    .usage = "create VM NAME | list [VM] | restore VM NAME | delete VM NAME\n"
             "  create   save memory and disks; the VM goes on, its shells are cut\n"
             "  restore  start the stopped VM from it; its disks become what they were\n",
    .run = snapshot_run,
};
