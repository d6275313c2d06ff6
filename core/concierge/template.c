/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/template.c - the store of templates: templates/<owner>/<key>.state, and
 * a record beside each that says what it is for. A state without a record is none. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "concierge_service.pb-c.h"
#include "core/adapter/clock.h"
#include "core/adapter/host.h"
#include "core/base/buf.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/concierge/concierge_internal.h"
#include "core/snapshot/bounds.h"
#include "core/snapshot/frame.h"
#include "vmt_state.pb-c.h"

#define ROOT "templates"
#define STATE_SUFFIX ".state"
#define RECORD_SUFFIX ".record"
#define IDENTITY_MAX 160
#define BUILD_ID_MAX 512
#define ENTRIES_MAX 1024u
/* The cause may have gone: a full disk, a host without memory. */
#define FAILURE_LASTS_S 3600

#define NEEDED_CAPS                                                                      \
    (HYPERVISOR_CAP_SNAPSHOT | HYPERVISOR_CAP_VSOCK_HOTPLUG | HYPERVISOR_CAP_PAUSE)

bool
templates_wanted(const struct concierge *c)
{
    return c->config.template_count > 0 && c->config.template_bytes > 0 &&
           (c->config.hypervisor->ops->caps & NEEDED_CAPS) == NEEDED_CAPS;
}

void
template_shape_free(struct template_shape *shape)
{
    if (!shape)
        return;
    vmt_list_remove(&shape->node);
    shape->host->files->close(shape->host, shape->kernel_fd);
    shape->host->files->close(shape->host, shape->initrd_fd);
    shape->host->files->close(shape->host, shape->root_fd);
    free(shape->key);
    free(shape->build_id);
    free(shape->cmdline);
    free(shape);
}
VMT_DEFINE_FREEP(struct template_shape, template_shape_free)

/* May this start come from a state that was made without knowing it? */
static int
check_plan(const struct concierge_vm *vm, struct vmt_err *err)
{
    const struct start_plan *plan = &vm->plan;
    uint32_t caps = vm->c->config.hypervisor->ops->caps;
    const struct hypervisor_disk *root = plan->nblocks ? &plan->blocks[0] : NULL;

    if (plan->cold)
        return vmt_err_setx(err, ENOTSUP, "the request wants a boot");
    if (plan->firmware_fd > 0)
        return vmt_err_setx(err, ENOTSUP, "it boots firmware");
    if (plan->hugepages)
        return vmt_err_setx(err, ENOTSUP, "its memory is of huge pages");
    if (!root || strcmp(root->serial, "rootfs") != 0 || !root->read_only || root->qcow2)
        return vmt_err_setx(err, ENOTSUP, "there is no read-only root image");
    if (plan->nblocks - 1 > TEMPLATE_DISKS_MAX ||
        (plan->nblocks > 1 && !(caps & HYPERVISOR_CAP_DISK_HOTPLUG)))
        return vmt_err_setx(err, ENOTSUP, "it has too many disks");
    if (plan->hugepages || plan->kernel_fd < 0 || plan->firmware_fd > 0 ||
        plan->pflash_fd > 0)
        return vmt_err_setx(err, ENOTSUP, "it has huge pages or boots from firmware");
    if (plan->oem_strings && plan->oem_strings[0])
        return vmt_err_setx(err, ENOTSUP, "it has SMBIOS strings of its own");
    if (vm->vm_type != VM_TYPE(UNKNOWN))
        return vmt_err_setx(err, ENOTSUP, "its type boots in its own way");
    return 0;
}

static int
identify(struct host *host, int fd, char *buf, struct vmt_err *err)
{
    buf[0] = '\0';
    return fd < 0 ? 0 : host->state->identify(host, fd, buf, IDENTITY_MAX, err);
}

static int
make_key(const struct concierge_vm *vm, struct template_shape *shape, struct vmt_err *err)
{
    struct host *host = vm->c->config.host;
    char kernel[IDENTITY_MAX], initrd[IDENTITY_MAX], root[IDENTITY_MAX];
    const struct snapshot_facts facts = {
        .owner = vm->id.owner,
        .hypervisor = vm->c->config.hypervisor->ops->name,
        .build_id = shape->build_id,
        .accel = vm->accel == HYPERVISOR_ACCEL_KVM ? "kvm" : "tcg",
        .cpus = shape->cpus,
        .mem_mib = shape->mem_mib,
        .net = shape->net,
        .spare_slots = VM_SPARE_SLOTS,
        .cmdline = shape->cmdline,
        .kernel = kernel,
        .initrd = initrd,
        .root = root,
    };
    int r = identify(host, vm->plan.kernel_fd, kernel, err);

    if (r == 0)
        r = identify(host, vm->plan.initrd_fd, initrd, err);
    if (r == 0)
        r = identify(host, vm->plan.blocks[0].fd, root, err);
    return r < 0 ? r : snapshot_key(&facts, &shape->key, err);
}

static void
name_files(const char *owner, struct template_shape *shape)
{
    char dir[SNAPSHOT_NAME_MAX], name[SNAPSHOT_NAME_MAX];

    (void)snapshot_name(owner, dir);
    (void)snapshot_name(shape->key, name);
    (void)snprintf(shape->dir, sizeof(shape->dir), ROOT "/%s", dir);
    (void)snprintf(shape->state, sizeof(shape->state), ROOT "/%s/%s" STATE_SUFFIX, dir,
                   name);
    (void)snprintf(shape->record, sizeof(shape->record), ROOT "/%s/%s" RECORD_SUFFIX, dir,
                   name);
}

static char *
with_param(const char *cmdline)
{
    size_t len = strlen(cmdline) + sizeof(TEMPLATE_PARAM) + 1;
    char *line = malloc(len);

    if (line)
        (void)snprintf(line, len, "%s %s", cmdline, TEMPLATE_PARAM);
    return line;
}

static int
build_id(struct concierge *c, char **ret_id, struct vmt_err *err)
{
    struct hypervisor *hv = c->config.hypervisor;
    char text[BUILD_ID_MAX];
    int r = hv->ops->build_id(hv, text, sizeof(text), err);

    if (r < 0)
        return r;
    *ret_id = strdup(text);
    return *ret_id ? 0 : vmt_err_set(err, ENOMEM, "name the build of the hypervisor");
}

int
template_shape_of(struct concierge_vm *vm, struct template_shape **ret_shape,
                  struct vmt_err *err)
{
    VMT_CLEANUP(template_shape_freep)
    struct template_shape *shape = NULL;
    int r = check_plan(vm, err);

    if (r < 0)
        return r;
    shape = calloc(1, sizeof(*shape));
    if (!shape)
        return vmt_err_set(err, ENOMEM, "look for a template");
    shape->host = vm->c->config.host;
    shape->kernel_fd = shape->initrd_fd = shape->root_fd = -1;
    shape->mem_mib = vm->plan.mem_mib;
    shape->cpus = vm->plan.cpus;
    shape->accel = vm->accel;
    shape->net = vm->plan.net;
    shape->cmdline = with_param(vm->plan.cmdline);
    if (!shape->cmdline)
        return vmt_err_set(err, ENOMEM, "look for a template");
    r = build_id(vm->c, &shape->build_id, err);
    if (r == 0)
        r = make_key(vm, shape, err);
    if (r < 0)
        return r;
    name_files(vm->id.owner, shape);
    *ret_shape = vmt_take_ptr(&shape);
    return 0;
}

static int
record_load(struct host *host, const char *path, Vmt__TemplateRecord **ret,
            struct vmt_err *err)
{
    VMT_CLEANUP(vmt_freep) void *data = NULL;
    const uint8_t *body = NULL;
    size_t len = 0;
    int r = host->state->load(host, path, &data, &len, err);

    if (r == 0)
        r = snapshot_frame_open(data, len, &body, &len, err);
    if (r < 0)
        return r;
    *ret = vmt__template_record__unpack(NULL, len, body);
    return *ret ? 0 : vmt_err_setx(err, EBADMSG, "the record is damaged");
}

static int
record_save(struct host *host, const char *path, const Vmt__TemplateRecord *record,
            struct vmt_err *err)
{
    VMT_CLEANUP(vmt_buf_done) struct vmt_buf buf = {0};
    size_t len = vmt__template_record__get_packed_size(record);
    uint8_t *at;

    if (vmt_buf_reserve(&buf, SNAPSHOT_FRAME_HEAD + len) < 0)
        return vmt_err_set(err, ENOMEM, "write a record");
    at = vmt_buf_tail(&buf);
    (void)vmt__template_record__pack(record, at + SNAPSHOT_FRAME_HEAD);
    snapshot_frame_head(at + SNAPSHOT_FRAME_HEAD, len, at);
    return host->state->save(host, path, at, SNAPSHOT_FRAME_HEAD + len, err);
}

static int64_t
wall_s(struct concierge *c)
{
    int64_t sec = 0;
    int32_t nsec = 0;

    c->config.clock->ops->wall(c->config.clock, &sec, &nsec);
    return sec;
}

static bool
failure_counts(struct concierge *c, const Vmt__TemplateRecord *record)
{
    int64_t age = wall_s(c) - record->made_s;

    return age >= 0 && age < FAILURE_LASTS_S;
}

/* Returns 0 and the state, or -ENOENT, -EBADMSG. */
static int
open_state(struct concierge *c, const struct template_shape *shape,
           const Vmt__TemplateRecord *record, int *ret_fd, struct vmt_err *err)
{
    struct host *host = c->config.host;
    uint64_t bytes = 0;
    int fd = -1;
    int r = host->state->open(host, shape->state, &fd, &bytes, err);

    if (r < 0)
        return r;
    if (bytes == record->state_bytes) {
        *ret_fd = fd;
        return 0;
    }
    host->files->close(host, fd);
    return vmt_err_setx(err, EBADMSG, "its state has %llu bytes instead of %llu",
                        (unsigned long long)bytes,
                        (unsigned long long)record->state_bytes);
}

enum template_found
template_find(struct concierge *c, const struct template_shape *shape, int *ret_fd)
{
    struct host *host = c->config.host;
    Vmt__TemplateRecord *record = NULL;
    enum template_found found = TEMPLATE_NONE;
    struct vmt_err err = {0};
    int r = record_load(host, shape->record, &record, &err);

    if (r == 0 && strcmp(record->key, shape->key) != 0)
        r = vmt_err_setx(&err, EBADMSG, "it is for something else");
    if (r == 0 && record->failed)
        found = failure_counts(c, record) ? TEMPLATE_FAILED : TEMPLATE_NONE;
    else if (r == 0) {
        r = open_state(c, shape, record, ret_fd, &err);
        found = r == 0 ? TEMPLATE_READY : TEMPLATE_NONE;
    }
    if (record)
        vmt__template_record__free_unpacked(record, NULL);
    if (r < 0 && r != -ENOENT) {
        vmt_log_warning("template not used: %s file=%s", err.msg, shape->state);
        template_remove(c, shape);
    }
    if (found == TEMPLATE_READY)
        host->state->touch(host, shape->record);
    return found;
}

void
template_remove(struct concierge *c, const struct template_shape *shape)
{
    struct host *host = c->config.host;

    host->state->remove(host, shape->record);
    host->state->remove(host, shape->state);
}

/* --- all that there are --- */

struct collected {
    char path[TEMPLATE_PATH_MAX]; /* without suffix */
    char group[SNAPSHOT_NAME_MAX];
    bool has_state, has_record;
    uint64_t bytes;
    int64_t used_ms;
};

struct collection {
    struct concierge *c;
    struct vmt_buf list; /* of struct collected */
    char group[SNAPSHOT_NAME_MAX];
};

static struct collected *
items(const struct collection *all)
{
    return (struct collected *)(void *)all->list.data;
}

static size_t
count(const struct collection *all)
{
    return all->list.len / sizeof(struct collected);
}

static struct collected *
collected_of(struct collection *all, const char *name, size_t len)
{
    struct collected new = {.bytes = 0};

    (void)snprintf(new.path, sizeof(new.path), ROOT "/%s/%.*s", all->group, (int)len,
                   name);
    (void)snprintf(new.group, sizeof(new.group), "%s", all->group);
    for (size_t i = 0; i < count(all); i++)
        if (strcmp(items(all)[i].path, new.path) == 0)
            return &items(all)[i];
    if (count(all) == ENTRIES_MAX || vmt_buf_append(&all->list, &new, sizeof(new)) < 0)
        return NULL;
    return &items(all)[count(all) - 1];
}

static bool
has_suffix(const char *name, const char *suffix, size_t *ret_len)
{
    size_t len = strlen(name), n = strlen(suffix);

    if (len <= n || strcmp(name + len - n, suffix) != 0)
        return false;
    *ret_len = len - n;
    return true;
}

static void
on_file(void *arg, const struct host_state_entry *entry)
{
    struct collection *all = arg;
    struct collected *item = NULL;
    size_t len = 0;
    bool is_state = has_suffix(entry->name, STATE_SUFFIX, &len);

    if (!entry->is_dir && len < SNAPSHOT_NAME_MAX &&
        (is_state || has_suffix(entry->name, RECORD_SUFFIX, &len)))
        item = collected_of(all, entry->name, len);
    if (!item)
        return;
    item->bytes += entry->bytes;
    if (is_state) {
        item->has_state = true;
    } else {
        item->has_record = true;
        item->used_ms = entry->used_ms;
    }
}

static void
on_group(void *arg, const struct host_state_entry *entry)
{
    struct collection *all = arg;
    struct host *host = all->c->config.host;
    char dir[TEMPLATE_PATH_MAX];

    if (!entry->is_dir || strlen(entry->name) >= sizeof(all->group))
        return;
    (void)snprintf(all->group, sizeof(all->group), "%s", entry->name);
    (void)snprintf(dir, sizeof(dir), ROOT "/%s", all->group);
    (void)host->state->each(host, dir, on_file, all, NULL);
}

static void
remove_item(struct concierge *c, const struct collected *item)
{
    struct host *host = c->config.host;
    char path[TEMPLATE_PATH_MAX + sizeof(RECORD_SUFFIX)];

    (void)snprintf(path, sizeof(path), "%s" RECORD_SUFFIX, item->path);
    host->state->remove(host, path);
    (void)snprintf(path, sizeof(path), "%s" STATE_SUFFIX, item->path);
    host->state->remove(host, path);
}

static void
forget_item(struct collection *all, size_t i)
{
    items(all)[i] = items(all)[count(all) - 1];
    all->list.len -= sizeof(struct collected);
}

/* Keep the bounds, with room for need bytes of group (NULL: none). */
static int
make_room(struct collection *all, const char *group, uint64_t need)
{
    const struct concierge_config *config = &all->c->config;
    const struct snapshot_bounds bounds = {config->template_count,
                                           config->template_bytes};
    size_t n = count(all);
    VMT_CLEANUP(vmt_freep)
    struct snapshot_entry *entries = calloc(n + 1, sizeof(*entries));

    if (!entries)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++)
        entries[i] = (struct snapshot_entry){.group = items(all)[i].group,
                                             .bytes = items(all)[i].bytes,
                                             .used_ms = items(all)[i].used_ms};
    if (!snapshot_bounds_apply(&bounds, entries, n, group, need))
        return -EFBIG;
    for (size_t i = 0; i < n; i++)
        if (entries[i].evict)
            remove_item(all->c, &items(all)[i]);
    return 0;
}

static int
collect(struct concierge *c, struct collection *all, struct vmt_err *err)
{
    struct host *host = c->config.host;

    *all = (struct collection){.c = c};
    return host->state->each(host, ROOT, on_group, all, err);
}

static void
collection_done(struct collection *all)
{
    vmt_buf_done(&all->list);
}

/* The file gets its name first, and counts only once it has a record. */
static int
commit(struct concierge *c, const struct template_shape *shape, int fd,
       uint64_t *ret_bytes, struct vmt_err *err)
{
    struct host *host = c->config.host;
    int opened = -1;
    int r = host->state->commit(host, fd, shape->state, err);

    if (r == 0)
        r = host->state->open(host, shape->state, &opened, ret_bytes, err);
    host->files->close(host, opened);
    if (r == 0 && *ret_bytes == 0)
        r = vmt_err_setx(err, EBADMSG, "the state is empty");
    return r;
}

static int
make_room_for(struct concierge *c, const struct template_shape *shape,
              struct vmt_err *err)
{
    VMT_CLEANUP(collection_done) struct collection all;
    uint64_t bytes = 0;
    int r = collect(c, &all, err);

    if (r < 0)
        return r;
    /* The new one is there already, and must not be what is evicted for itself. */
    for (size_t i = count(&all); i-- > 0;)
        if (vmt_str_has_prefix(shape->state, items(&all)[i].path)) {
            bytes = items(&all)[i].bytes;
            forget_item(&all, i);
        }
    r = make_room(&all, shape->dir + sizeof(ROOT "/") - 1, bytes);
    return r < 0 ? vmt_err_set(err, -r, "make room for %llu bytes",
                               (unsigned long long)bytes)
                 : 0;
}

int
template_keep(struct concierge *c, const struct template_shape *shape, int fd,
              struct vmt_err *err)
{
    Vmt__TemplateRecord record;
    uint64_t bytes = 0;
    int r = commit(c, shape, fd, &bytes, err);

    vmt__template_record__init(&record);
    if (r == 0)
        r = make_room_for(c, shape, err);
    record.key = shape->key;
    record.build_id = shape->build_id;
    record.state_bytes = bytes;
    record.made_s = wall_s(c);
    if (r == 0)
        r = record_save(c->config.host, shape->record, &record, err);
    if (r < 0)
        template_remove(c, shape);
    return r;
}

void
template_note_failure(struct concierge *c, const struct template_shape *shape,
                      const char *why)
{
    Vmt__TemplateRecord record;
    struct vmt_err err = {0};

    vmt__template_record__init(&record);
    record.key = shape->key;
    record.build_id = shape->build_id;
    record.made_s = wall_s(c);
    record.failed = true;
    record.why = (char *)(uintptr_t)why;
    template_remove(c, shape);
    if (record_save(c->config.host, shape->record, &record, &err) < 0)
        vmt_log_warning("the failure is not remembered: %s file=%s", err.msg,
                        shape->record);
}

/* Is it whole, and of the hypervisor that runs here? */
static bool
is_good(struct concierge *c, const struct collected *item, const char *build)
{
    struct host *host = c->config.host;
    Vmt__TemplateRecord *record = NULL;
    char path[TEMPLATE_PATH_MAX + sizeof(RECORD_SUFFIX)];
    bool good;

    (void)snprintf(path, sizeof(path), "%s" RECORD_SUFFIX, item->path);
    if (!item->has_record || record_load(host, path, &record, NULL) < 0)
        return false;
    good = item->has_state != (bool)record->failed &&
           (!build || strcmp(build, record->build_id) == 0);
    vmt__template_record__free_unpacked(record, NULL);
    return good;
}

static void
on_sweep(void *arg, const struct host_state_entry *entry)
{
    struct concierge *c = arg;
    struct host *host = c->config.host;
    char dir[TEMPLATE_PATH_MAX];

    if (!entry->is_dir || strlen(entry->name) >= SNAPSHOT_NAME_MAX)
        return;
    (void)snprintf(dir, sizeof(dir), ROOT "/%s", entry->name);
    host->state->sweep(host, dir);
}

void
templates_clean(struct concierge *c)
{
    VMT_CLEANUP(collection_done) struct collection all = {0};
    VMT_CLEANUP(vmt_freep) char *build = NULL;
    struct host *host = c->config.host;
    struct vmt_err err = {0};

    if (!templates_wanted(c)) {
        host->state->remove(host, ROOT);
        return;
    }
    (void)host->state->each(host, ROOT, on_sweep, c, NULL);
    if (collect(c, &all, &err) < 0) {
        vmt_log_warning("templates not looked at: %s", err.msg);
        return;
    }
    if (count(&all) > 0)
        (void)build_id(c, &build, NULL);
    for (size_t i = count(&all); i-- > 0;) {
        if (is_good(c, &items(&all)[i], build))
            continue;
        vmt_log_info("removing a template that is of no use file=%s",
                     items(&all)[i].path);
        remove_item(c, &items(&all)[i]);
        forget_item(&all, i);
    }
    (void)make_room(&all, NULL, 0);
}
