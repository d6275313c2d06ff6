/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/record.c - what survives the daemon. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/adapter/clock.h"
#include "core/adapter/host.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/concierge/concierge_internal.h"
#include "core/concierge/disk_plan_internal.h"
#include "core/concierge/record_internal.h"
#include "vmt_state.pb-c.h"

int
concierge_record_put(struct concierge *c, const char *name,
                     const ProtobufCMessage *message, struct vmt_err *err)
{
    struct host *host = c->config.host;
    size_t len = protobuf_c_message_get_packed_size(message);
    VMT_CLEANUP(vmt_freep) uint8_t *bytes = malloc(len + 1);

    if (!bytes)
        return vmt_err_set(err, ENOMEM, "write the record %s", name);
    (void)protobuf_c_message_pack(message, bytes);
    return host->store->save(host, name, bytes, len, err);
}

static void
fill_mounts(struct concierge_vm *vm, Vmt__MountRecord *mounts, Vmt__MountRecord **list)
{
    for (size_t i = 0; i < vm->plan.nmounts; i++) {
        struct plan_mount *m = &vm->plan.mounts[i];

        vmt__mount_record__init(&mounts[i]);
        mounts[i].source = m->source;
        mounts[i].target = m->target;
        mounts[i].fstype = m->fstype;
        mounts[i].options = m->options;
        mounts[i].flags = m->flags;
        mounts[i].external = m->external;
        list[i] = &mounts[i];
    }
}

static char *
text(const char *s)
{
    return (char *)(uintptr_t)(s ? s : ""); /* packing only reads it */
}

static Vmt__VmRecord__Phase
phase(const struct concierge_vm *vm)
{
    if (vm->was_running)
        return VMT__VM_RECORD__PHASE__RUNNING;
    return vm->times.ready ? VMT__VM_RECORD__PHASE__READY
                           : VMT__VM_RECORD__PHASE__STARTING;
}

static void
restart_room_freep(struct restart_room **room)
{
    restart_room_free(*room);
}

int
restart_record_save(struct concierge *c, const struct vm_id *id,
                    const struct vm_restart *restart, struct vmt_err *err)
{
    VMT_CLEANUP(restart_room_freep) struct restart_room *room = NULL;
    Vmt__VmRecord record;
    char key[VM_KEY_MAX];

    vmt__vm_record__init(&record);
    record.owner_id = (char *)(uintptr_t)id->owner;
    record.name = (char *)(uintptr_t)id->name;
    record.phase = VMT__VM_RECORD__PHASE__RESTARTING;
    if (restart_record_fill(restart, &room, &record.restart) < 0)
        return vmt_err_set(err, ENOMEM, "remember the restart");
    return concierge_record_put(c, vm_id_key(id, key), &record.base, err);
}

void
restart_record_remove(struct concierge *c, const struct vm_id *id)
{
    struct host *host = c->config.host;
    char key[VM_KEY_MAX];

    host->store->remove(host, vm_id_key(id, key));
}

/* A record with what it points to. */
struct record_room {
    Vmt__VmRecord record;
    Vmt__ProcessRecord hv, companion;
    Vmt__MountRecord mounts[PLAN_BLOCKS_MAX];
    Vmt__MountRecord *mount_list[PLAN_BLOCKS_MAX];
    Vmt__NetworkRecord network;
    char *plugged[PLAN_BLOCKS_MAX];
    Vmt__SnapshotImage images[PLAN_BLOCKS_MAX + 2];
    Vmt__SnapshotImage *image_list[PLAN_BLOCKS_MAX + 2];
    Vmt__DiskUseRecord disks[PLAN_BLOCKS_MAX];
    Vmt__DiskUseRecord *disk_list[PLAN_BLOCKS_MAX];
    Vmt__ApplicationEnd application;
};

/* NULL: there is no such process. */
static Vmt__ProcessRecord *
fill_process(const struct spawn_id *id, Vmt__ProcessRecord *process)
{
    vmt__process_record__init(process);
    process->pid = id->pid;
    process->start_time = id->start_time;
    return id->pid ? process : NULL;
}

static void
fill_shape(struct concierge_vm *vm, struct record_room *room)
{
    Vmt__VmRecord *record = &room->record;

    record->vm_type = vm->vm_type;
    record->mem_mib = vm->mem_mib;
    record_cpu_fill(vm, record);
    record->accel = text(vm->accel == HYPERVISOR_ACCEL_KVM ? "kvm" : "tcg");
    record->has_network = vm->plan.net != HYPERVISOR_NET_NONE;
    record->vm_username = text(vm->plan.vm_username);
    network_record_fill(vm, &room->network);
    record->network = &room->network;
    if (!vm->images)
        return;
    vm_images_fill(vm->images, room->images, room->image_list);
    record->images = room->image_list;
    record->n_images = vm->images->n;
    record->cmdline = vm->images->cmdline;
    record->cpus = vm->images->cpus;
}

static void
fill_disks(struct concierge_vm *vm, struct record_room *room)
{
    Vmt__VmRecord *record = &room->record;

    record->plugged = room->plugged;
    for (size_t i = 1; i < vm->plan.nblocks; i++)
        room->plugged[record->n_plugged++] = vm->plan.serials[i];
    fill_mounts(vm, room->mounts, room->mount_list);
    record->mounts = room->mount_list;
    record->n_mounts = vm->plan.nmounts;
    record->n_disks = disk_uses_fill(&vm->plan, room->disks, room->disk_list);
    record->disks = room->disk_list;
}

static void
fill_life(struct concierge_vm *vm, struct record_room *room)
{
    Vmt__VmRecord *record = &room->record;

    record->owner_id = vm->id.owner;
    record->name = vm->id.name;
    record->cid = vm->cid;
    record->run_dir = text(vm->run_dir);
    record->phase = phase(vm);
    record->hypervisor = fill_process(&vm->hv_id, &room->hv);
    record->companion = fill_process(&vm->companion_id, &room->companion);
    record->token = vm->token;
    record->start_mode = text(vm->start_mode);
    record->frozen = vm->frozen;
    record->suspended = (Vmt__VmRecord__Suspended)vm->power.cause;
    record->running_us = vm->life.running_us;
    record->stopping = vm->life.asked;
    record->stop_reason = vm->stop_reason;
    guest_events_record_fill(vm, &room->application, record);
}

int
vm_record_save(struct concierge_vm *vm, struct vmt_err *err)
{
    struct record_room room;
    Vmt__VmRecord *record = &room.record;
    VMT_CLEANUP(restart_room_freep) struct restart_room *restart = NULL;
    int r;

    vmt__vm_record__init(record);
    fill_life(vm, &room);
    fill_shape(vm, &room);
    fill_disks(vm, &room);
    if (vm->restart && !vm->life.asked &&
        restart_record_fill(vm->restart, &restart, &record->restart) < 0)
        return vmt_err_set(err, ENOMEM, "remember the VM");
    if (hotplug_record_fill(vm, record) < 0)
        return vmt_err_set(err, ENOMEM, "remember the VM");
    r = concierge_record_put(vm->c, vm->key, &record->base, err);
    hotplug_record_done(record);
    return r < 0 ? vmt_err_wrap(err, r, "remember the VM") : 0;
}

void
vm_record_remove(struct concierge_vm *vm)
{
    struct host *host = vm->c->config.host;

    host->store->remove(host, vm->key);
}

int
concierge_record_save(struct concierge *c, struct vmt_err *err)
{
    Vmt__DaemonRecord record = VMT__DAEMON_RECORD__INIT;
    VMT_CLEANUP(vmt_freep) struct numbers_record *room = malloc(sizeof(*room));

    if (!room)
        return vmt_err_set(err, ENOMEM, "write the record %s", DAEMON_RECORD);
    numbers_record_fill(&c->numbers, &record, room);
    record_memory_fill(c, &record);
    return concierge_record_put(c, DAEMON_RECORD, &record.base, err);
}

void
concierge_record_load(struct concierge *c)
{
    struct host *host = c->config.host;
    VMT_CLEANUP(vmt_freep) void *data = NULL;
    Vmt__DaemonRecord *record;
    size_t len;

    if (host->store->load(host, DAEMON_RECORD, &data, &len, NULL) < 0)
        return;
    record = vmt__daemon_record__unpack(NULL, len, data);
    if (!record) {
        vmt_log_warning("the daemon's record is damaged; numbers start anew");
        return;
    }
    numbers_record_read(&c->numbers, record);
    record_memory_read(c, record);
    vmt__daemon_record__free_unpacked(record, NULL);
}

bool
record_is_of_a_vm(const char *name)
{
    return strcmp(name, DAEMON_RECORD) != 0 && strcmp(name, ENDS_RECORD) != 0 &&
           !vmt_str_has_prefix(name, DISK_RECORD_PREFIX);
}

static int
restore_mounts(const Vmt__VmRecord *record, struct start_plan *plan)
{
    for (size_t i = 0; i < record->n_mounts && i < PLAN_BLOCKS_MAX; i++) {
        const Vmt__MountRecord *from = record->mounts[i];
        struct plan_mount *m = &plan->mounts[plan->nmounts++];

        (void)snprintf(m->source, sizeof(m->source), "%s", from->source);
        m->target = strdup(from->target);
        m->fstype = strdup(from->fstype);
        m->options = strdup(from->options);
        m->flags = from->flags;
        m->external = from->external;
        if (!m->target || !m->fstype || !m->options)
            return -ENOMEM;
    }
    return 0;
}

/* The heir has no descriptors of them: they are in the VM, or missing there. */
static void
restore_plugged(const Vmt__VmRecord *record, struct start_plan *plan)
{
    if (record->n_plugged == 0)
        return;
    plan->nblocks = 1; /* the root image */
    plan->blocks[0].fd = -1;
    for (size_t i = 0; i < record->n_plugged && plan->nblocks < PLAN_BLOCKS_MAX; i++) {
        plan->blocks[plan->nblocks].fd = -1;
        (void)snprintf(plan->serials[plan->nblocks++], PLAN_SERIAL_MAX, "%s",
                       record->plugged[i]);
    }
}

static int
restore_plan(struct concierge *c, const Vmt__VmRecord *record, struct start_plan *plan,
             struct vmt_err *err)
{
    int r;

    *plan = (struct start_plan){.host = c->config.host, .kernel_fd = -1, .initrd_fd = -1};
    r = vm_id_set(&plan->id, record->owner_id, record->name, err);
    if (r < 0)
        return r;
    plan->vm_type = record->vm_type;
    plan->mem_mib = record->mem_mib;
    plan->accel =
        strcmp(record->accel, "kvm") == 0 ? HYPERVISOR_ACCEL_KVM : HYPERVISOR_ACCEL_TCG;
    plan->net = record->has_network ? HYPERVISOR_NET_USER : HYPERVISOR_NET_NONE;
    restore_plugged(record, plan);
    plan->vm_username = strdup(record->vm_username);
    disk_uses_restore(record, plan);
    if (!plan->vm_username || restore_mounts(record, plan) < 0)
        return vmt_err_set(err, ENOMEM, "restore the VM");
    return 0;
}

static void
restore_processes(struct concierge_vm *vm, const Vmt__VmRecord *record)
{
    if (record->hypervisor) {
        vm->hv_id.pid = record->hypervisor->pid;
        vm->hv_id.start_time = record->hypervisor->start_time;
    }
    if (record->companion) {
        vm->companion_id.pid = record->companion->pid;
        vm->companion_id.start_time = record->companion->start_time;
    }
}

static int
restore_vm(struct concierge *c, const Vmt__VmRecord *record, struct concierge_vm **ret_vm,
           struct vmt_err *err)
{
    VMT_CLEANUP(plan_done) struct start_plan plan;
    VMT_CLEANUP(vm_freep) struct concierge_vm *vm = NULL;
    struct vmt_clock *clock = c->config.clock;
    int r = restore_plan(c, record, &plan, err);

    if (r == 0)
        r = vm_new(c, &plan, &vm, err);
    if (r < 0 || !vm)
        return r;
    vm->cid = vm->agent.cid = record->cid;
    vm->run_dir = *record->run_dir ? strdup(record->run_dir) : NULL;
    vm->announced = true;
    vm->was_running = record->phase == VMT__VM_RECORD__PHASE__RUNNING;
    if (record->suspended == VMT__VM_RECORD__SUSPENDED__BY_HOST)
        vm->power.cause = SUSPEND_BY_HOST;
    else if (record->suspended != VMT__VM_RECORD__SUSPENDED__NOT)
        vm->power.cause = SUSPEND_BY_CALLER;
    if (record->phase != VMT__VM_RECORD__PHASE__STARTING)
        vm->times.ready = clock->ops->now_us(clock);
    (void)snprintf(vm->token, sizeof(vm->token), "%s", record->token);
    vm->frozen = record->frozen;
    if (record->n_images)
        vm->images =
            vm_images_of(record->images, record->n_images, record->cmdline, record->cpus);
    r = vm_warm_inherit(vm, record->start_mode);
    if (r == 0)
        r = hotplug_record_read(vm, record);
    if (r < 0)
        return vmt_err_set(err, -r, "restore the VM");
    restore_processes(vm, record);
    network_record_read(vm, record->network);
    record_cpu_read(vm, record);
    vm->life.running_us = record->running_us;
    vm->life.asked = record->stopping;
    vm->stop_reason = record->stop_reason;
    guest_events_record_read(vm, record);
    r = restart_record_read(c, &vm->id, record->restart, &vm->restart);
    if (r < 0)
        return vmt_err_set(err, -r, "restore the VM");
    if (*record->run_dir && !vm->run_dir)
        return vmt_err_set(err, ENOMEM, "restore the VM");
    *ret_vm = vmt_take_ptr(&vm);
    return 0;
}

static int
restore_restart(struct concierge *c, const Vmt__VmRecord *record, struct vmt_err *err)
{
    struct vm_restart *restart = NULL;
    struct vm_id id;
    int r = vm_id_set(&id, record->owner_id, record->name, err);

    if (r < 0)
        return r;
    r = restart_record_read(c, &id, record->restart, &restart);
    if (r < 0 || !restart)
        return vmt_err_set(err, r < 0 ? -r : EBADMSG, "restore the restart of a VM");
    restart_adopt(c, restart);
    return 0;
}

int
vm_record_load(struct concierge *c, const char *name, struct concierge_vm **ret_vm,
               struct vmt_err *err)
{
    struct host *host = c->config.host;
    VMT_CLEANUP(vmt_freep) void *data = NULL;
    Vmt__VmRecord *record;
    size_t len;
    int r = host->store->load(host, name, &data, &len, err);

    if (r < 0)
        return r;
    record = vmt__vm_record__unpack(NULL, len, data);
    if (!record)
        return vmt_err_setx(err, EBADMSG, "the record %s is damaged", name);
    r = record->phase == VMT__VM_RECORD__PHASE__RESTARTING
            ? restore_restart(c, record, err)
            : restore_vm(c, record, ret_vm, err);
    vmt__vm_record__free_unpacked(record, NULL);
    return r;
}
