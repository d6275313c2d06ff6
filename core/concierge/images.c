/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/concierge/images_internal.h"

#include <stdlib.h>
#include <string.h>

#include "core/adapter/host.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "core/concierge/concierge_internal.h"
#include "vmt_state.pb-c.h"

#define IDENTITY_MAX 160
#define PATH_BYTES_MAX 4096

void
vm_images_free(struct vm_images *images)
{
    if (!images)
        return;
    for (size_t i = 0; i < images->n; i++) {
        free(images->v[i].role);
        free(images->v[i].path);
        free(images->v[i].identity);
    }
    free(images->cmdline);
    free(images);
}
VMT_DEFINE_FREEP(struct vm_images, vm_images_free)

static int
add(struct vm_images *images, const char *role, const char *path, const char *identity)
{
    struct vm_image *image = &images->v[images->n++];

    *image = (struct vm_image){
        .role = strdup(role), .path = strdup(path), .identity = strdup(identity)};
    return image->role && image->path && image->identity ? 0 : -1;
}

static int
note(struct host *host, struct vm_images *images, const char *role, int fd,
     bool read_only)
{
    char path[PATH_BYTES_MAX], identity[IDENTITY_MAX] = "";

    if (fd < 0)
        return 0;
    if (host->state->path_of(host, fd, path, sizeof(path), NULL) < 0)
        return -1;
    if (read_only &&
        host->state->identify(host, fd, identity, sizeof(identity), NULL) < 0)
        return -1;
    return add(images, role, path, identity);
}

static struct vm_images *
new_images(size_t n, const char *cmdline, uint32_t cpus)
{
    struct vm_images *images = calloc(1, sizeof(*images) + n * sizeof(images->v[0]));

    if (!images)
        return NULL;
    images->cpus = cpus;
    images->cmdline = strdup(cmdline);
    if (images->cmdline)
        return images;
    free(images);
    return NULL;
}

static int
note_all(struct concierge_vm *vm, struct vm_images *images)
{
    struct host *host = vm->c->config.host;
    const struct start_plan *plan = &vm->plan;
    int r = note(host, images, "kernel", plan->kernel_fd, true);

    if (r == 0)
        r = note(host, images, "initrd", plan->initrd_fd, true);
    for (size_t i = 0; i < plan->nblocks && r == 0; i++) {
        const struct hypervisor_disk *b = &plan->blocks[i];
        size_t before = images->n;

        r = note(host, images, b->serial, b->fd, b->read_only);
        if (r < 0 || images->n == before)
            continue;
        images->v[before].read_only = b->read_only;
        images->v[before].qcow2 = b->qcow2;
        images->v[before].direct = b->direct;
        images->v[before].block_size = b->block_size;
        images->v[before].plugged = i > 0 && vm_warm_is_restoring(vm);
    }
    return r;
}

/* What a record of a snapshot does not tell has to be absent. */
static bool
can_be_restored(const struct start_plan *plan)
{
    return !plan->hugepages && plan->firmware_fd <= 0 && plan->pflash_fd <= 0 &&
           !(plan->oem_strings && plan->oem_strings[0]);
}

void
vm_images_note(struct concierge_vm *vm)
{
    const struct start_plan *plan = &vm->plan;
    bool warm = vm_warm_is_restoring(vm) && vm->warm->shape;
    VMT_CLEANUP(vm_images_freep) struct vm_images *images = NULL;

    vm_images_free(vmt_take_ptr(&vm->images));
    if (!(vm->c->config.hypervisor->ops->caps & HYPERVISOR_CAP_SNAPSHOT) ||
        !can_be_restored(plan))
        return;
    images = new_images(plan->nblocks + 2,
                        warm ? vm->warm->shape->cmdline : plan->cmdline, plan->cpus);
    if (!images || note_all(vm, images) < 0) {
        vmt_log_info("the VM will have no snapshots: its files are not known vm=%s",
                     vm->key);
        return;
    }
    vm->images = vmt_take_ptr(&images);
}

void
vm_images_fill(const struct vm_images *images, Vmt__SnapshotImage *rows,
               Vmt__SnapshotImage **list)
{
    for (size_t i = 0; i < images->n; i++) {
        const struct vm_image *image = &images->v[i];

        vmt__snapshot_image__init(&rows[i]);
        rows[i].role = image->role;
        rows[i].path = image->path;
        rows[i].identity = image->identity;
        rows[i].read_only = image->read_only;
        rows[i].qcow2 = image->qcow2;
        rows[i].direct = image->direct;
        rows[i].plugged = image->plugged;
        rows[i].block_size = image->block_size;
        list[i] = &rows[i];
    }
}

struct vm_images *
vm_images_of(Vmt__SnapshotImage *const *list, size_t n, const char *cmdline,
             uint32_t cpus)
{
    VMT_CLEANUP(vm_images_freep) struct vm_images *images = NULL;

    if (n > PLAN_BLOCKS_MAX + 2)
        return NULL;
    images = new_images(n, cmdline, cpus);
    for (size_t i = 0; images && i < n; i++) {
        const Vmt__SnapshotImage *from = list[i];

        if (add(images, from->role, from->path, from->identity) < 0)
            return NULL;
        images->v[i].read_only = from->read_only;
        images->v[i].qcow2 = from->qcow2;
        images->v[i].direct = from->direct;
        images->v[i].plugged = from->plugged;
        images->v[i].block_size = from->block_size;
    }
    return vmt_take_ptr(&images);
}
