/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/handlers_disk_list.c - ListVmDisks. What the host knows comes at once;
 * guests are asked about the disks that they have, each over a connection of its own and
 * not for long: one that hangs leaves its row as it is. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common.pb-c.h"
#include "concierge_service.pb-c.h"
#include "core/adapter/clock.h"
#include "core/adapter/host.h"
#include "core/base/buf.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "core/concierge/concierge_internal.h"
#include "core/concierge/disk_reply_internal.h"
#include "core/concierge/handlers_internal.h"
#include "core/ipc/ipc.h"
#include "vm_guest.pb-c.h"
#include "vmt_agent.pb-c.h"

/* Of the whole list. */
#define GUESTS_MS 5000u

/* A file of the owner. */
struct disk_row {
    char name[VMT_VM_NAME_MAX + 1];
    enum disk_kind kind;
    struct host_disk info;
    char *path; /* owned */
    uint64_t available, min_size;
    struct disk_list *list; /* borrowed */
    struct vm_agent agent;  /* open while the guest is asked */
    char serial[PLAN_SERIAL_MAX];
    bool asking;
};

/* One call. */
struct disk_list {
    struct vmt_list node;
    struct concierge *c;
    struct ipc_call *call; /* owned until answered */
    struct vm_id id;       /* name "": all of the owner */
    struct vmt_timer *deadline;
    struct disk_row *rows; /* owned */
    size_t n, cap, left;
    bool no_memory;
};

static void
list_free(struct disk_list *list)
{
    struct vmt_clock *clock = list->c->config.clock;

    clock->ops->timer_cancel(clock, list->deadline);
    for (size_t i = 0; i < list->n; i++) {
        if (list->rows[i].list)
            vm_agent_close(&list->rows[i].agent);
        free(list->rows[i].path);
    }
    vmt_list_remove(&list->node);
    free(list->rows);
    free(list);
}

static void
fill(const struct disk_row *row, VmTools__Concierge__VmDiskInfo *pb)
{
    vm_tools__concierge__vm_disk_info__init(pb);
    pb->name = (char *)(uintptr_t)row->name;
    pb->size = row->info.used_bytes;
    pb->virtual_size = row->info.bytes;
    pb->min_size = row->min_size;
    pb->image_type = row->kind == DISK_KIND_QCOW2
                         ? VM_TOOLS__CONCIERGE__DISK_IMAGE_TYPE__DISK_IMAGE_QCOW2
                         : VM_TOOLS__CONCIERGE__DISK_IMAGE_TYPE__DISK_IMAGE_RAW;
    pb->user_chosen_size = row->info.user_chosen_size;
    pb->path = row->path;
    pb->available_space = row->available;
    pb->has_vm_type = row->info.vm_type >= 0;
    pb->vm_type = (VmTools__Concierge__VmInfo__VmType)disk_vm_type(row->info.vm_type);
}

static void
answer(struct disk_list *list)
{
    VmTools__Concierge__ListVmDisksResponse response;
    VMT_CLEANUP(vmt_freep)
    VmTools__Concierge__VmDiskInfo *infos = calloc(list->n + 1, sizeof(*infos));
    VMT_CLEANUP(vmt_freep)
    VmTools__Concierge__VmDiskInfo **pointers = calloc(list->n + 1, sizeof(void *));

    vm_tools__concierge__list_vm_disks_response__init(&response);
    if (!infos || !pointers || list->no_memory) {
        response.failure_reason = (char *)(uintptr_t) "out of memory";
    } else {
        response.success = true;
        response.images = pointers;
        for (size_t i = 0; i < list->n; i++) {
            fill(&list->rows[i], &infos[i]);
            pointers[i] = &infos[i];
            response.total_size += infos[i].size;
        }
        response.n_images = list->n;
    }
    ipc_call_reply(vmt_take_ptr(&list->call), &response.base, NULL, 0);
}

/* Not from a callback of an agent: connections are closed here. */
static void
on_deadline(void *arg)
{
    struct disk_list *list = arg;

    list->deadline = NULL;
    answer(list);
    list_free(list);
}

static void
row_done(struct disk_row *row)
{
    struct disk_list *list = row->list;
    struct vmt_clock *clock = list->c->config.clock;

    if (!row->asking)
        return;
    row->asking = false;
    if (--list->left > 0)
        return;
    clock->ops->timer_cancel(clock, vmt_take_ptr(&list->deadline));
    if (clock->ops->timer_start(clock, 0, on_deadline, list, &list->deadline) < 0)
        vmt_log_error("no memory to answer ListVmDisks");
}

static void
on_message(void *arg, const ProtobufCMessage *reply, const int *fds, size_t nfds)
{
    const Vmt__DiskSpace *space = (const Vmt__DiskSpace *)reply;
    struct disk_row *row = arg;

    (void)fds;
    (void)nfds;
    row->available = space->available_bytes;
    row->min_size = space->min_bytes;
}

static void
on_done(void *arg, const struct rpc_status *status)
{
    struct disk_row *row = arg;

    if (status->code != RPC_OK)
        vmt_log_debug("the guest does not tell the space of a disk: %s cid=%u",
                      rpc_code_name(status->code), row->agent.cid);
    row_done(row);
}

static const struct rpc_client_handler handler = {.on_message = on_message,
                                                  .on_done = on_done};

static void
on_open(void *arg, const struct vmt_err *err)
{
    struct disk_row *row = arg;
    Vmt__DiskSpaceRequest message = VMT__DISK_SPACE_REQUEST__INIT;
    const struct rpc_client_request request = {
        .path = "/vmt.Agent/GetDiskSpace",
        .reply = &vmt__disk_space__descriptor,
        .timeout_ms = GUESTS_MS,
        .handler = &handler,
        .arg = row,
    };

    message.serial = row->serial;
    if (err || vm_agent_call(&row->agent, &request, &message.base, NULL) < 0)
        row_done(row);
}

static void
ask_guest(struct disk_row *row)
{
    struct disk_list *list = row->list;
    const struct plan_image *use = NULL;
    char file[DISK_FILE_MAX];
    struct concierge_vm *vm = disk_user(list->c, list->id.owner,
                                        disk_file_name(row->name, row->kind, file), &use);

    if (!vm || !use || vm->state != VM_RUNNING)
        return;
    row->agent.transport = vm->agent.transport;
    row->agent.cid = vm->cid;
    memcpy(row->serial, use->serial, sizeof(row->serial));
    row->asking = true;
    list->left++;
    if (vm_agent_open(&row->agent, GUESTS_MS, on_open, row, NULL) < 0) {
        row->asking = false;
        list->left--;
    }
}

static struct disk_row *
add_row(struct disk_list *list)
{
    struct disk_row *rows;

    if (list->n == list->cap) {
        rows = realloc(list->rows, (list->cap * 2 + 8) * sizeof(*rows));
        if (!rows)
            return NULL;
        list->rows = rows;
        list->cap = list->cap * 2 + 8;
    }
    memset(&list->rows[list->n], 0, sizeof(list->rows[0]));
    return &list->rows[list->n];
}

static void
on_file(void *arg, const char *file)
{
    struct disk_list *list = arg;
    struct host *host = list->c->config.host;
    struct disk_row *row = add_row(list);
    struct vm_id id;

    if (!row) {
        list->no_memory = true;
        return;
    }
    /* A name that no VM may have would not even fit into the answer. */
    if (!disk_file_parse(file, row->name, &row->kind) || row->kind == DISK_KIND_PFLASH ||
        vm_id_set(&id, list->id.owner, row->name, NULL) < 0 ||
        (*list->id.name && strcmp(list->id.name, row->name) != 0) ||
        host->disks->stat(host, list->id.owner, file, &row->info, NULL) < 0)
        return;
    if (host->disks->path(host, list->id.owner, file, &row->path, NULL) < 0)
        list->no_memory = true;
    else
        list->n++;
}

/* Rows do not move any more. */
static void
ask_guests(struct disk_list *list)
{
    struct vmt_clock *clock = list->c->config.clock;

    for (size_t i = 0; i < list->n; i++) {
        list->rows[i].list = list;
        list->rows[i].agent.clock = clock;
        ask_guest(&list->rows[i]);
    }
    if (list->left > 0 && clock->ops->timer_start(clock, GUESTS_MS, on_deadline, list,
                                                  &list->deadline) == 0)
        return;
    answer(list);
    list_free(list);
}

static void
refuse(struct ipc_call *call, const char *why)
{
    VmTools__Concierge__ListVmDisksResponse response;

    vm_tools__concierge__list_vm_disks_response__init(&response);
    response.failure_reason = (char *)(uintptr_t)why;
    ipc_call_reply(call, &response.base, NULL, 0);
}

void
concierge_handle_list_vm_disks(void *ctx, struct ipc_call *call,
                               const ProtobufCMessage *message)
{
    const VmTools__Concierge__ListVmDisksRequest *rq =
        (const VmTools__Concierge__ListVmDisksRequest *)message;
    struct concierge *c = ctx;
    struct disk_list *list;
    struct vmt_err err = {0};
    int r = *rq->vm_name ? vm_id_check(rq->cryptohome_id, rq->vm_name, &err)
                         : vm_owner_check(rq->cryptohome_id, &err);

    if (r < 0) {
        refuse(call, err.msg);
        return;
    }
    list = calloc(1, sizeof(*list));
    if (!list) {
        ipc_call_fail(call, IPC_ERROR_NO_MEMORY, "out of memory");
        return;
    }
    list->c = c;
    list->call = call;
    (void)snprintf(list->id.owner, sizeof(list->id.owner), "%s", rq->cryptohome_id);
    (void)snprintf(list->id.name, sizeof(list->id.name), "%s", rq->vm_name);
    vmt_list_append(&c->disks.lists, &list->node);
    /* spec 9.3: a place that cannot be looked at does not fail the call; plugin VMs have
     * a place of their own, in which there is nothing. */
    if ((rq->storage_location == 0 || rq->all_locations) &&
        c->config.host->disks->each(c->config.host, list->id.owner, on_file, list, &err) <
            0)
        vmt_log_warning("disks not listed: %s", err.msg);
    ask_guests(list);
}

void
disk_lists_free(struct concierge *c)
{
    VMT_LIST_FOREACH(at, following, &c->disks.lists)
    {
        struct disk_list *list = VMT_CONTAINER_OF(at, struct disk_list, node);

        ipc_call_fail(list->call, IPC_ERROR_FAILED, "vm_concierge is shutting down");
        list_free(list);
    }
}
