/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/concierge/disk_calls.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/disk/op.h"
#include "tests/unit/concierge/guest.h"
#include "tests/unit/test.h"

static char *
text(const char *s)
{
    return (char *)(uintptr_t)s;
}

void
create_request(VmTools__Concierge__CreateDiskImageRequest *rq, const char *name,
               uint64_t size)
{
    vm_tools__concierge__create_disk_image_request__init(rq);
    rq->cryptohome_id = text(WORLD_OWNER);
    rq->vm_name = text(name);
    rq->disk_size = size;
}

void
export_request(VmTools__Concierge__ExportDiskImageRequest *rq, const char *name)
{
    vm_tools__concierge__export_disk_image_request__init(rq);
    rq->cryptohome_id = text(WORLD_OWNER);
    rq->vm_name = text(name);
}

void
import_request(VmTools__Concierge__ImportDiskImageRequest *rq, const char *name)
{
    vm_tools__concierge__import_disk_image_request__init(rq);
    rq->cryptohome_id = text(WORLD_OWNER);
    rq->vm_name = text(name);
}

void
list_request(VmTools__Concierge__ListVmDisksRequest *rq, const char *name)
{
    vm_tools__concierge__list_vm_disks_request__init(rq);
    rq->cryptohome_id = text(WORLD_OWNER);
    rq->vm_name = text(name);
}

void
adjust_request(VmTools__Concierge__AdjustVmRequest *rq, const char *name, char **params)
{
    vm_tools__concierge__adjust_vm_request__init(rq);
    rq->owner_id = text(WORLD_OWNER);
    rq->name = text(name);
    rq->operation = text("rename");
    rq->params = params;
    rq->n_params = 1;
}

static const void *
reply(const struct client_call *call)
{
    assert_int_equal(call->answers, 1);
    assert_false(call->failed);
    return call->reply;
}

#define REPLY(name, type)                                                                \
    const VmTools__Concierge__##type *name(const struct client_call *call)               \
    {                                                                                    \
        return reply(call);                                                              \
    }
REPLY(create_reply, CreateDiskImageResponse)
REPLY(destroy_reply, DestroyDiskImageResponse)
REPLY(export_reply, ExportDiskImageResponse)
REPLY(import_reply, ImportDiskImageResponse)
REPLY(resize_reply, ResizeDiskImageResponse)
REPLY(list_reply, ListVmDisksResponse)
REPLY(status_reply, DiskImageStatusResponse)

void
disk_create(struct world *w, const char *name, uint64_t size, struct client_call *call)
{
    VmTools__Concierge__CreateDiskImageRequest rq;

    create_request(&rq, name, size);
    client_call(w, "CreateDiskImage", WORLD_UID, &rq.base, NULL, 0, call);
}

void
disk_destroy(struct world *w, const char *name, struct client_call *call)
{
    VmTools__Concierge__DestroyDiskImageRequest rq;

    vm_tools__concierge__destroy_disk_image_request__init(&rq);
    rq.cryptohome_id = text(WORLD_OWNER);
    rq.vm_name = text(name);
    client_call(w, "DestroyDiskImage", WORLD_UID, &rq.base, NULL, 0, call);
}

void
disk_status(struct world *w, const char *uuid, struct client_call *call)
{
    VmTools__Concierge__DiskImageStatusRequest rq;

    vm_tools__concierge__disk_image_status_request__init(&rq);
    rq.command_uuid = text(uuid);
    client_call(w, "DiskImageStatus", WORLD_UID, &rq.base, NULL, 0, call);
}

void
disk_cancel(struct world *w, const char *uuid, uint32_t uid, struct client_call *call)
{
    VmTools__Concierge__CancelDiskImageRequest rq;

    vm_tools__concierge__cancel_disk_image_request__init(&rq);
    rq.command_uuid = text(uuid);
    client_call(w, "CancelDiskImageOperation", uid, &rq.base, NULL, 0, call);
}

void
disk_resize(struct world *w, const char *name, uint64_t size, struct client_call *call)
{
    VmTools__Concierge__ResizeDiskImageRequest rq;

    vm_tools__concierge__resize_disk_image_request__init(&rq);
    rq.cryptohome_id = text(WORLD_OWNER);
    rq.vm_name = text(name);
    rq.disk_size = size;
    client_call(w, "ResizeDiskImage", WORLD_UID, &rq.base, NULL, 0, call);
}

static void
take_uuid(char *uuid, const char *from)
{
    assert_int_equal(strlen(from), DISK_UUID_MAX - 1);
    memcpy(uuid, from, DISK_UUID_MAX);
}

void
disk_export(struct world *w, const char *name, bool force, char *uuid)
{
    VmTools__Concierge__ExportDiskImageRequest rq;
    struct client_call call;
    int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);

    export_request(&rq, name);
    rq.force = force;
    client_call(w, "ExportDiskImage", WORLD_UID, &rq.base, &fd, 1, &call);
    assert_string_equal(export_reply(&call)->failure_reason, "");
    assert_int_equal(export_reply(&call)->status, DISK_STATUS(IN_PROGRESS));
    take_uuid(uuid, export_reply(&call)->command_uuid);
    client_call_done(&call);
}

void
disk_import(struct world *w, const char *name, char *uuid)
{
    VmTools__Concierge__ImportDiskImageRequest rq;
    struct client_call call;
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    import_request(&rq, name);
    client_call(w, "ImportDiskImage", WORLD_UID, &rq.base, &fd, 1, &call);
    assert_string_equal(import_reply(&call)->failure_reason, "");
    assert_int_equal(import_reply(&call)->status, DISK_STATUS(IN_PROGRESS));
    take_uuid(uuid, import_reply(&call)->command_uuid);
    client_call_done(&call);
}

void
disk_make(struct world *w, const char *name)
{
    struct client_call call;

    disk_create(w, name, 1u << 30, &call);
    world_run(w, 100);
    assert_int_equal(create_reply(&call)->status, DISK_STATUS(CREATED));
    client_call_done(&call);
}

static void
expect_words(const char *have, const char *words)
{
    if (!strstr(have, words))
        fail_msg("\"%s\" does not say \"%s\"", have, words);
}

void
expect_create(struct world *w, VmTools__Concierge__CreateDiskImageRequest *rq, int status,
              const char *words)
{
    struct client_call call;

    client_call(w, "CreateDiskImage", WORLD_UID, &rq->base, NULL, 0, &call);
    expect_words(create_reply(&call)->failure_reason, words);
    assert_int_equal(create_reply(&call)->status, status);
    assert_int_equal(*create_reply(&call)->disk_path != '\0',
                     status == DISK_STATUS(EXISTS));
    client_call_done(&call);
}

void
expect_adjust(struct world *w, VmTools__Concierge__AdjustVmRequest *rq, const char *words)
{
    struct client_call call;

    client_call(w, "AdjustVm", WORLD_UID, &rq->base, NULL, 0, &call);
    assert_int_equal(stop_reply(&call)->success, words == NULL);
    expect_words(stop_reply(&call)->failure_reason, words ? words : "");
    client_call_done(&call);
}

void
expect_disks(struct world *w, const char *const *names, size_t n)
{
    VmTools__Concierge__ListVmDisksRequest rq;
    const VmTools__Concierge__ListVmDisksResponse *list;
    struct client_call call;

    list_request(&rq, "");
    client_call(w, "ListVmDisks", WORLD_UID, &rq.base, NULL, 0, &call);
    list = list_reply(&call);
    assert_true(list->success);
    assert_int_equal(list->n_images, n);
    for (size_t i = 0; i < n; i++) {
        size_t found = 0;

        for (size_t k = 0; k < n; k++)
            found += strcmp(list->images[k]->name, names[i]) == 0 &&
                     list->images[k]->size == 1u << 30 && *list->images[k]->path;
        assert_int_equal(found, 1);
    }
    assert_int_equal(list->total_size, (uint64_t)n << 30);
    client_call_done(&call);
}

void
disk_start(struct world *w, const char *vm, const char *file, struct client_call *call)
{
    VmTools__Concierge__DiskImage disk, *list[] = {&disk};
    struct start_args args;
    char path[256];

    (void)snprintf(path, sizeof(path), "/data/vms/" WORLD_OWNER "/%s", file);
    start_args_init(&args, vm);
    vm_tools__concierge__disk_image__init(&disk);
    disk.path = path;
    disk.writable = true;
    args.request.diskless = false;
    args.request.disks = list;
    args.request.n_disks = 1;
    client_start(w, &args, call);
}

struct guest *
disk_run_vm(struct world *w, const char *vm, const char *file)
{
    struct client_call call;
    struct rpc_status status;
    struct guest *g;
    int answers;

    disk_start(w, vm, file, &call);
    world_run(w, 100);
    assert_non_null(fake_hypervisor_find(w->hv, vm));
    g = guest_new(w, fake_process_start(fake_hypervisor_find(w->hv, vm))->cid);
    guest_power_off_on_shutdown(g, vm);
    guest_call_ready(g, &status, &answers);
    world_run(w, 1000);
    assert_int_equal(answers, 1);
    assert_true(start_reply(&call)->success);
    client_call_done(&call);
    return g;
}

void
disk_stop_vm(struct world *w, const char *vm, struct guest *g)
{
    struct client_call call;

    client_stop(w, vm, &call);
    world_run(w, 1000);
    assert_true(stop_reply(&call)->success);
    client_call_done(&call);
    guest_free(g);
}
