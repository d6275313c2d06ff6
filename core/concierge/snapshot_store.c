/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/adapter/host.h"
#include "core/base/buf.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/concierge/concierge_internal.h"
#include "core/concierge/snapshot_internal.h"
#include "core/ipc/ipc.h"
#include "core/snapshot/frame.h"
#include "vmt_snapshot.pb-c.h"
#include "vmt_state.pb-c.h"

#define ROOT "snapshots"
#define RECORD "record"

int
snapshot_id_set(struct snapshot_id *id, const char *owner, const char *vm,
                const char *name, struct vmt_err *err)
{
    struct vm_id snapshot;
    char vm_key[VM_KEY_MAX], key[VM_KEY_MAX];
    int r = vm_id_set(&id->vm, owner, vm, err);

    if (r == 0)
        r = vm_id_set(&snapshot, "0", name, err);
    if (r < 0)
        return vmt_err_wrap(err, r, "snapshot");
    (void)snprintf(id->name, sizeof(id->name), "%s", name);
    (void)snprintf(id->dir, sizeof(id->dir), ROOT "/%s/%s", vm_id_key(&id->vm, vm_key),
                   vm_id_key(&snapshot, key));
    return 0;
}

const char *
snapshot_file(const struct snapshot_id *id, const char *file, char buf[SNAPSHOT_PATH_MAX])
{
    (void)snprintf(buf, SNAPSHOT_PATH_MAX, "%s/%.22s", id->dir, file);
    return buf;
}

static int
load(struct concierge *c, const char *path, Vmt__SnapshotRecord **ret,
     struct vmt_err *err)
{
    struct host *host = c->config.host;
    VMT_CLEANUP(vmt_freep) void *data = NULL;
    const uint8_t *body = NULL;
    size_t len = 0;
    int r = host->state->load(host, path, &data, &len, err);

    if (r == 0)
        r = snapshot_frame_open(data, len, &body, &len, err);
    if (r < 0)
        return r;
    *ret = vmt__snapshot_record__unpack(NULL, len, body);
    if (*ret && (*ret)->snapshot)
        return 0;
    if (*ret)
        vmt__snapshot_record__free_unpacked(*ret, NULL);
    return vmt_err_setx(err, EBADMSG, "the record is damaged");
}

int
snapshot_load(struct concierge *c, const struct snapshot_id *id,
              Vmt__SnapshotRecord **ret_record, struct vmt_err *err)
{
    char path[SNAPSHOT_PATH_MAX];

    return load(c, snapshot_file(id, RECORD, path), ret_record, err);
}

int
snapshot_save(struct concierge *c, const struct snapshot_id *id,
              const Vmt__SnapshotRecord *record, struct vmt_err *err)
{
    struct host *host = c->config.host;
    size_t len = vmt__snapshot_record__get_packed_size(record);
    VMT_CLEANUP(vmt_freep) uint8_t *at = malloc(SNAPSHOT_FRAME_HEAD + len);
    char path[SNAPSHOT_PATH_MAX];

    if (!at)
        return vmt_err_set(err, ENOMEM, "write a record");
    (void)vmt__snapshot_record__pack(record, at + SNAPSHOT_FRAME_HEAD);
    snapshot_frame_head(at + SNAPSHOT_FRAME_HEAD, len, at);
    return host->state->save(host, snapshot_file(id, RECORD, path), at,
                             SNAPSHOT_FRAME_HEAD + len, err);
}

/* The record goes first: what is left after a crash in between is none. */
void
snapshot_remove(struct concierge *c, const struct snapshot_id *id)
{
    struct host *host = c->config.host;
    char path[SNAPSHOT_PATH_MAX];

    host->state->remove(host, snapshot_file(id, RECORD, path));
    host->state->remove(host, id->dir);
}

/* --- all of them --- */

struct walk {
    struct concierge *c;
    const char *owner, *vm;      /* NULL, "": any */
    char dir[SNAPSHOT_PATH_MAX]; /* of the VM */
    bool clean;
    void (*fn)(void *arg, const Vmt__SnapshotRecord *record);
    void *arg;
};

static void
on_snapshot(void *arg, const struct host_state_entry *entry)
{
    struct walk *w = arg;
    struct host *host = w->c->config.host;
    Vmt__SnapshotRecord *record = NULL;
    char path[2 * SNAPSHOT_PATH_MAX];

    if (strlen(entry->name) >= VM_KEY_MAX)
        return;
    (void)snprintf(path, sizeof(path), "%s/%s/" RECORD, w->dir, entry->name);
    if (load(w->c, path, &record, NULL) == 0) {
        if (w->fn && (!*w->vm || strcmp(record->snapshot->vm_name, w->vm) == 0))
            w->fn(w->arg, record);
        vmt__snapshot_record__free_unpacked(record, NULL);
        return;
    }
    if (!w->clean)
        return;
    path[strlen(path) - sizeof(RECORD)] = '\0';
    vmt_log_notice("removing a snapshot that is not whole dir=%s", path);
    host->state->remove(host, path);
}

static void
on_vm(void *arg, const struct host_state_entry *entry)
{
    struct walk *w = arg;
    struct host *host = w->c->config.host;

    if (!entry->is_dir || strlen(entry->name) >= VM_KEY_MAX)
        return;
    if (w->owner && (!vmt_str_has_prefix(entry->name, w->owner) ||
                     entry->name[strlen(w->owner)] != '-'))
        return;
    (void)snprintf(w->dir, sizeof(w->dir), ROOT "/%s", entry->name);
    (void)host->state->each(host, w->dir, on_snapshot, w, NULL);
}

int
snapshot_each(struct concierge *c, const char *owner, const char *vm,
              void (*fn)(void *arg, const Vmt__SnapshotRecord *record), void *arg,
              struct vmt_err *err)
{
    struct walk w = {.c = c, .owner = owner, .vm = vm, .fn = fn, .arg = arg};
    struct host *host = c->config.host;

    return host->state->each(host, ROOT, on_vm, &w, err);
}

void
snapshots_clean(struct concierge *c)
{
    struct walk w = {.c = c, .vm = "", .clean = true};
    struct host *host = c->config.host;

    (void)host->state->each(host, ROOT, on_vm, &w, NULL);
}

struct sum {
    size_t n;
    uint64_t bytes;
};

static void
add_up(void *arg, const Vmt__SnapshotRecord *record)
{
    struct sum *sum = arg;

    sum->n++;
    sum->bytes += record->snapshot->bytes;
}

/* Those that are being made count: they have no record yet. */
static size_t
being_made(const struct concierge *c, const char *owner)
{
    size_t n = 0;

    VMT_LIST_FOREACH(at, following, &c->vms)
    {
        const struct concierge_vm *vm = VMT_CONTAINER_OF(at, struct concierge_vm, node);

        n += vm->snapshot && strcmp(vm->id.owner, owner) == 0;
    }
    return n;
}

int
snapshot_check_room(struct concierge *c, const char *owner, struct vmt_err *err)
{
    struct sum sum = {.n = 0};
    int r = snapshot_each(c, owner, "", add_up, &sum, err);

    if (r < 0)
        return r;
    sum.n += being_made(c, owner);
    if (sum.n >= c->config.snapshot_count)
        return vmt_err_setx(err, ENOSPC,
                            "this owner has %zu snapshots, and may have no more: delete "
                            "one",
                            sum.n);
    if (sum.bytes >= c->config.snapshot_bytes)
        return vmt_err_setx(err, ENOSPC,
                            "the snapshots of this owner take %llu bytes, and may take "
                            "no more: delete one",
                            (unsigned long long)sum.bytes);
    return 0;
}

static void
add_file(void *arg, const struct host_state_entry *entry)
{
    *(uint64_t *)arg += entry->bytes;
}

int
snapshot_check_size(struct concierge *c, const struct snapshot_id *id,
                    uint64_t *ret_bytes, struct vmt_err *err)
{
    struct host *host = c->config.host;
    struct sum sum = {.n = 0};
    uint64_t bytes = 0;
    int r = host->state->each(host, id->dir, add_file, &bytes, err);

    if (r == 0)
        r = snapshot_each(c, id->vm.owner, "", add_up, &sum, err);
    if (r < 0)
        return r;
    if (bytes > c->config.snapshot_bytes || sum.bytes > c->config.snapshot_bytes - bytes)
        return vmt_err_setx(err, ENOSPC,
                            "it takes %llu bytes, and with %llu of others of this owner "
                            "that is more than %llu: delete one",
                            (unsigned long long)bytes, (unsigned long long)sum.bytes,
                            (unsigned long long)c->config.snapshot_bytes);
    *ret_bytes = bytes;
    return 0;
}

void
snapshot_tell(struct concierge *c, const struct snapshot_id *id, const char *step,
              uint64_t done, uint64_t total)
{
    Vmt__SnapshotProgress progress;

    vmt__snapshot_progress__init(&progress);
    progress.owner_id = (char *)(uintptr_t)id->vm.owner;
    progress.vm_name = (char *)(uintptr_t)id->vm.name;
    progress.snapshot_name = (char *)(uintptr_t)id->name;
    progress.step = (char *)(uintptr_t)step;
    progress.done_bytes = done;
    progress.total_bytes = total;
    if (c->ipc && ipc_emit(c->ipc, "SnapshotProgress", &progress.base) < 0)
        vmt_log_error("signal SnapshotProgress lost vm=%s", id->vm.name);
}
