/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/concierge/plan_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "concierge_service.pb-c.h"
#include "core/adapter/host.h"
#include "core/adapter/ipc.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/concierge/cmdline_internal.h"
#include "core/concierge/concierge_internal.h"
#include "core/concierge/disk_plan_internal.h"
#include "core/concierge/shape_internal.h"

typedef VmTools__Concierge__StartVmRequest request_t;
typedef VmTools__Concierge__DiskImage disk_t;

#define MS_RDONLY 1u /* mount(2) */
#define OEM_STRINGS_MAX 32

int
plan_check_first(struct concierge *c, const request_t *request, struct vm_id *ret_id,
                 struct vmt_err *err)
{
    struct host *host = c->config.host;
    uint32_t cpus = host->facts->cpus(host);
    int r = vm_id_set(ret_id, request->owner_id, request->name, err);

    if (r < 0)
        return r;
    if (request->cpus > cpus)
        return vmt_err_setx(err, EINVAL, "%u cpus were asked for, but the host has %u",
                            request->cpus, cpus);
    return 0;
}

/* spec 2: first hit wins. */
static int
classify(const request_t *rq)
{
    const char *dlc = rq->vm ? rq->vm->dlc_id : "";

    if (rq->vm_type == VM_TYPE(BAGUETTE))
        return VM_TYPE(BAGUETTE);
    if (rq->vm_type == VM_TYPE(BOREALIS) || strcmp(dlc, "borealis-dlc") == 0)
        return VM_TYPE(BOREALIS);
    if (rq->vm_type == VM_TYPE(TERMINA) || rq->start_termina)
        return VM_TYPE(TERMINA);
    if (rq->vm_type == VM_TYPE(BRUSCHETTA) || strcmp(dlc, "edk2-ovmf-dlc") == 0 ||
        strcmp(rq->name, "bru") == 0)
        return VM_TYPE(BRUSCHETTA);
    return VM_TYPE(UNKNOWN);
}

static int
check_type(const request_t *rq, int type, struct vmt_err *err)
{
    if (type == VM_TYPE(BOREALIS))
        return vmt_err_setx(err, ENOTSUP, "VMs of type BOREALIS are retired");
    if (rq->vm && (*rq->vm->dlc_id || *rq->vm->tools_dlc_id || *rq->vm->bios_dlc_id))
        return vmt_err_setx(err, ENOENT,
                            "image packages (dlc_id) exist on ChromiumOS only; send the "
                            "kernel and root image as descriptors");
    if (type == VM_TYPE(TERMINA))
        return vmt_err_setx(err, ENOTSUP,
                            "a VM of type TERMINA needs the container service "
                            "(vm_cicerone), which does not run here");
    return 0;
}

#define FD_KINDS (VM_TOOLS__CONCIERGE__START_VM_REQUEST__FD_TYPE__PFLASH + 1)

struct image_fds {
    int v[FD_KINDS];
    bool writable[FD_KINDS];
};

#define KIND(kind) VM_TOOLS__CONCIERGE__START_VM_REQUEST__FD_TYPE__##kind
#define FD_OF(fds, kind) ((fds)->v[KIND(kind)])

/* Sort the descriptors by kind: unknown kinds are ignored, of a repeated kind the last
 * wins. Borrows. */
static int
sort_fds(const struct plan_input *in, struct host *host, struct image_fds *ret,
         struct vmt_err *err)
{
    const request_t *rq = in->request;
    int r;

    if (in->nfds != rq->n_fds)
        return vmt_err_setx(err, EINVAL,
                            "%zu descriptors came with the request, but it lists %zu",
                            in->nfds, rq->n_fds);
    *ret = (struct image_fds){.v = {0}};
    for (int i = 0; i < FD_KINDS; i++)
        ret->v[i] = -1;
    for (size_t i = 0; i < in->nfds; i++) {
        int kind = (int)rq->fds[i];

        if (kind < 0 || kind >= FD_KINDS)
            continue;
        r = host->files->image_check(host, in->fds[i], &ret->writable[kind], err);
        if (r < 0)
            return vmt_err_wrap(err, r, "descriptor %zu", i);
        ret->v[kind] = in->fds[i];
    }
    return 0;
}

static int
check_devices(const request_t *rq, struct vmt_err *err)
{
    if (rq->enable_big_gl && !rq->enable_gpu)
        return vmt_err_setx(err, EINVAL, "enable_big_gl needs enable_gpu");
    if (rq->enable_virtgpu_native_context && !rq->enable_gpu)
        return vmt_err_setx(err, EINVAL,
                            "enable_virtgpu_native_context needs enable_gpu");
    if (rq->enable_gpu || rq->enable_dgpu_passthrough)
        return vmt_err_setx(err, ENOTSUP, "VMs have no GPU here; start without one");
    if (rq->vtpm_proxy)
        return vmt_err_setx(err, ENOTSUP, "VMs have no TPM here; start without one");
    if (rq->enable_audio_capture)
        return vmt_err_setx(err, ENOTSUP,
                            "VMs have no sound device here; start without one");
    return 0;
}

static int
check_images(const request_t *rq, const struct image_fds *fds, struct vmt_err *err)
{
    if (rq->n_disks > PLAN_DISKS_MAX)
        return vmt_err_setx(err, EINVAL, "%zu disks were given, more than the %d allowed",
                            rq->n_disks, PLAN_DISKS_MAX);
    if (FD_OF(fds, KERNEL) < 0 && FD_OF(fds, BIOS) < 0)
        return vmt_err_setx(
            err, EINVAL, "there is no kernel: send one as a descriptor of kind KERNEL");
    if (rq->writable_rootfs && FD_OF(fds, ROOTFS) >= 0 && !fds->writable[KIND(ROOTFS)])
        return vmt_err_setx(
            err, EINVAL, "writable_rootfs needs a root image that is open for writing");
    if (rq->n_disks == 0 && !rq->diskless)
        return vmt_err_setx(err, EINVAL,
                            "there is no disk: list at least one, or set diskless");
    return 0;
}

static int
check_firmware(struct concierge *c, const struct image_fds *fds, struct vmt_err *err)
{
    if (FD_OF(fds, PFLASH) >= 0 && FD_OF(fds, BIOS) < 0)
        return vmt_err_setx(err, EINVAL, "variables of firmware need their firmware");
    if (FD_OF(fds, BIOS) < 0)
        return 0;
    if (!(c->config.hypervisor->ops->caps & HYPERVISOR_CAP_FIRMWARE))
        return vmt_err_setx(err, ENOTSUP,
                            "booting from firmware is not possible here; send a kernel");
    if (FD_OF(fds, KERNEL) >= 0 || FD_OF(fds, INITRD) >= 0)
        return vmt_err_setx(err, EINVAL, "send either a kernel or firmware");
    if (FD_OF(fds, PFLASH) >= 0 && !fds->writable[KIND(PFLASH)])
        return vmt_err_setx(err, EINVAL,
                            "variables of firmware have to be open for writing");
    return 0;
}

/* Take over a duplicate-free descriptor of the input: the slot there becomes -1. */
static int
take_input_fd(const struct plan_input *in, int fd, int *slots)
{
    for (size_t i = 0; i < in->nfds; i++)
        if (slots[i] == fd)
            return vmt_take_fd(&slots[i]);
    return -1;
}

static struct hypervisor_disk *
add_block(struct start_plan *plan, int fd, bool read_only, const char *serial)
{
    struct hypervisor_disk *b = &plan->blocks[plan->nblocks];
    char *name = plan->serials[plan->nblocks];

    (void)snprintf(name, PLAN_SERIAL_MAX, "%s", serial);
    *b = (struct hypervisor_disk){.fd = fd, .read_only = read_only, .serial = name};
    plan->nblocks++;
    return b;
}

static int
add_mount(struct start_plan *plan, const disk_t *d, struct vmt_err *err)
{
    struct plan_mount *m = &plan->mounts[plan->nmounts++];

    /* The guest numbers its virtio disks in our order; 12 at most, so one letter does. */
    (void)snprintf(m->source, sizeof(m->source), "/dev/vd%c",
                   (char)('a' + (int)plan->nblocks - 1));
    m->external = d->path[0] == '\0';
    m->flags = d->flags | (d->writable ? 0 : MS_RDONLY);
    m->target = strdup(d->mount_point);
    m->fstype = strdup(d->fstype);
    m->options = strdup(d->data);
    if (!m->target || !m->fstype || !m->options)
        return vmt_err_set(err, ENOMEM, "plan the mounts");
    return 0;
}

/* The guest may write a qcow2 header into a raw image: the type is never guessed. */
static int
add_disk(struct start_plan *plan, const disk_t *d, struct vmt_err *err)
{
    struct hypervisor_disk *b;
    char serial[PLAN_SERIAL_MAX];
    bool qcow2 = d->image_type == VM_TOOLS__CONCIERGE__DISK_IMAGE_TYPE__DISK_IMAGE_QCOW2;
    struct opening_file file = {.name = d->path, .writable = d->writable};
    int r;

    if (d->image_type == VM_TOOLS__CONCIERGE__DISK_IMAGE_TYPE__DISK_IMAGE_PLUGINVM)
        return vmt_err_setx(err, ENOTSUP, "disk %s: plugin VM images are not supported",
                            d->path);
    if (d->do_mount && !*d->mount_point)
        return vmt_err_setx(err, EINVAL, "disk %s: there is no mount point", d->path);
    (void)snprintf(serial, sizeof(serial), "disk%zu", plan->nblocks);
    r = disk_plan_find(plan, serial, &file, &qcow2, err);
    if (r == 0)
        r = plan_file_add(plan, &file, (int)plan->nblocks, err);
    if (r < 0)
        return r;
    b = add_block(plan, -1, !d->writable, serial);
    b->qcow2 = qcow2;
    b->block_size = d->block_size;
    b->direct = d->o_direct;
    return d->do_mount ? add_mount(plan, d, err) : 0;
}

static int
add_root(struct start_plan *plan, const struct plan_input *in,
         const struct image_fds *fds, int *slots, struct vmt_err *err)
{
    bool read_only = !in->request->writable_rootfs;
    int fd = take_input_fd(in, FD_OF(fds, ROOTFS), slots);
    const struct opening_file again = {.kind = OPENING_AGAIN, .fd = fd};

    if (fd < 0)
        return 0;
    if (!read_only || !fds->writable[KIND(ROOTFS)]) {
        (void)add_block(plan, fd, read_only, "rootfs");
        return 0;
    }
    (void)add_block(plan, -1, true, "rootfs");
    return plan_file_add(plan, &again, (int)plan->nblocks - 1, err);
}

/* spec 5: the root image is vda, then the disks of the request, then the descriptor's. */
static int
add_blocks(struct start_plan *plan, const struct plan_input *in,
           const struct image_fds *fds, int *slots, struct vmt_err *err)
{
    const request_t *rq = in->request;
    int r = 0, fd;
    disk_t external;

    vm_tools__concierge__disk_image__init(&external);
    external.mount_point = (char *)(uintptr_t) "/mnt/external/0"; /* spec 5 */
    external.fstype = (char *)(uintptr_t) "btrfs";
    external.writable = fds->writable[KIND(STORAGE)];
    r = add_root(plan, in, fds, slots, err);
    for (size_t i = 0; i < rq->n_disks && r == 0; i++)
        r = add_disk(plan, rq->disks[i], err);
    if (r < 0)
        return r;
    fd = take_input_fd(in, FD_OF(fds, STORAGE), slots);
    if (fd < 0)
        return 0;
    (void)add_block(plan, fd, !fds->writable[KIND(STORAGE)], "cr-extra-disk");
    return add_mount(plan, &external, err);
}

/* The code for reading only, because that is how a hypervisor takes it; variables that
 * were sent or installed. spec/concierge.md 4.1. */
static int
add_firmware(struct start_plan *plan, const struct plan_input *in,
             const struct image_fds *fds, int *slots, struct vmt_err *err)
{
    struct opening_file code = {.kind = OPENING_AGAIN};
    char file[DISK_FILE_MAX];
    const struct opening_file installed = {
        .kind = OPENING_STORE, .name = file, .writable = true, .may_miss = true};
    int r;

    if (FD_OF(fds, BIOS) < 0)
        return 0;
    code.fd = take_input_fd(in, FD_OF(fds, BIOS), slots);
    r = plan_file_add(plan, &code, PLAN_FIRMWARE, err);
    if (r < 0)
        return r;
    plan->pflash_fd = take_input_fd(in, FD_OF(fds, PFLASH), slots);
    disk_file_name(plan->id.name, DISK_KIND_PFLASH, file);
    return plan_file_add(plan, &installed, PLAN_PFLASH, err);
}

static int
choose_accel(const request_t *rq, uint32_t caps, enum hypervisor_accel *ret,
             struct vmt_err *err)
{
    static const struct {
        const char *name;
        enum hypervisor_accel accel;
    } names[] = {{"", HYPERVISOR_ACCEL_AUTO},
                 {"auto", HYPERVISOR_ACCEL_AUTO},
                 {"kvm", HYPERVISOR_ACCEL_KVM},
                 {"tcg", HYPERVISOR_ACCEL_TCG}};

    for (size_t i = 0; i < VMT_ARRAY_SIZE(names); i++) {
        if (strcmp(rq->accel, names[i].name) != 0)
            continue;
        if (names[i].accel == HYPERVISOR_ACCEL_TCG && !(caps & HYPERVISOR_CAP_TCG))
            return vmt_err_setx(err, ENOTSUP, "this hypervisor cannot run without KVM");
        *ret = names[i].accel;
        return 0;
    }
    return vmt_err_setx(err, EINVAL, "accel must be auto, kvm or tcg");
}

static int
choose_machine(struct concierge *c, const request_t *rq, struct start_plan *plan,
               struct vmt_err *err)
{
    const struct hypervisor_ops *hv = c->config.hypervisor->ops;
    int r;

    if (*rq->hypervisor && strcmp(rq->hypervisor, hv->name) != 0)
        return vmt_err_setx(err, ENOENT, "there is no such hypervisor here, only %s",
                            hv->name);
    r = plan_shape(c, rq, plan, err);
    if (r < 0)
        return r;
    plan->timeout_s = rq->timeout;
    plan->cold = rq->cold;
    plan->containers = plan->vm_type == (int)VM_TYPE(TERMINA) || rq->container_network;
    r = network_choose(c, rq->network, &plan->net, err);
    return r < 0 ? r : choose_accel(rq, hv->caps, &plan->accel, err);
}

static int
copy_texts(const request_t *rq, struct start_plan *plan, struct vmt_err *err)
{
    if (rq->n_oem_strings > OEM_STRINGS_MAX)
        return vmt_err_setx(err, EINVAL, "%zu oem_strings were given, more than %d",
                            rq->n_oem_strings, OEM_STRINGS_MAX);
    plan->vm_username = strdup(rq->vm_username);
    plan->oem_strings = calloc(rq->n_oem_strings + 1, sizeof(char *));
    if (!plan->vm_username || !plan->oem_strings)
        return vmt_err_set(err, ENOMEM, "plan the start");
    for (size_t i = 0; i < rq->n_oem_strings; i++) {
        plan->oem_strings[i] = strdup(rq->oem_strings[i]);
        if (!plan->oem_strings[i])
            return vmt_err_set(err, ENOMEM, "plan the start");
    }
    return 0;
}

/* The parts of a plan that take something; a failure leaves them to plan_done. */
static int
fill(struct concierge *c, const struct plan_input *in, const struct image_fds *fds,
     int *slots, struct start_plan *plan, struct vmt_err *err)
{
    const request_t *rq = in->request;
    const struct cmdline_input cmdline = {
        .params = (const char *const *)rq->kernel_params,
        .nparams = rq->n_kernel_params,
        .has_root = FD_OF(fds, ROOTFS) >= 0,
        .writable_root = rq->writable_rootfs,
        .baguette = plan->vm_type == (int)VM_TYPE(BAGUETTE),
    };
    int r = check_images(rq, fds, err);

    if (r == 0)
        r = check_firmware(c, fds, err);
    if (r == 0)
        r = check_devices(rq, err);
    if (r == 0)
        r = choose_machine(c, rq, plan, err);
    if (r == 0)
        r = cmdline_make(&cmdline, &plan->cmdline, err);
    if (r == 0)
        r = copy_texts(rq, plan, err);
    if (r == 0)
        r = add_blocks(plan, in, fds, slots, err);
    if (r == 0)
        r = add_firmware(plan, in, fds, slots, err);
    if (r < 0)
        return r;
    plan->kernel_fd = take_input_fd(in, FD_OF(fds, KERNEL), slots);
    plan->initrd_fd = take_input_fd(in, FD_OF(fds, INITRD), slots);
    return 0;
}

int
plan_make(struct concierge *c, const struct plan_input *in, struct start_plan *plan,
          struct vmt_err *err)
{
    struct host *host = c->config.host;
    struct image_fds fds = {.v = {0}};
    int slots[VMT_FDS_MAX];
    int r;

    *plan = (struct start_plan){.host = host, .kernel_fd = -1, .initrd_fd = -1};
    if (in->nfds)
        memcpy(slots, in->fds, in->nfds * sizeof(slots[0]));
    plan->vm_type = classify(in->request);
    r = plan_check_first(c, in->request, &plan->id, err);
    if (r == 0)
        r = sort_fds(in, host, &fds, err);
    if (r == 0)
        r = check_type(in->request, plan->vm_type, err);
    if (r == 0)
        r = fill(c, in, &fds, slots, plan, err);
    if (r < 0)
        plan_done(plan);
    for (size_t i = 0; i < in->nfds; i++)
        host->files->close(host, slots[i]);
    return r;
}

void
plan_close_images(struct start_plan *plan)
{
    struct host *host = plan->host;

    plan_files_done(plan);
    if (!host)
        return;
    host->files->close(host, vmt_take_fd(&plan->kernel_fd));
    host->files->close(host, vmt_take_fd(&plan->initrd_fd));
    if (plan->firmware_fd > 0)
        host->files->close(host, vmt_take_fd(&plan->firmware_fd));
    if (plan->pflash_fd > 0)
        host->files->close(host, vmt_take_fd(&plan->pflash_fd));
    for (size_t i = 0; i < plan->nblocks; i++)
        host->files->close(host, vmt_take_fd(&plan->blocks[i].fd));
}

void
plan_done(struct start_plan *plan)
{
    plan_close_images(plan);
    for (size_t i = 0; i < plan->nmounts; i++) {
        free(plan->mounts[i].target);
        free(plan->mounts[i].fstype);
        free(plan->mounts[i].options);
    }
    for (char **s = plan->oem_strings; s && *s; s++)
        free(*s);
    free(plan->oem_strings);
    free(plan->vm_username);
    free(plan->cmdline);
    *plan = (struct start_plan){.kernel_fd = -1, .initrd_fd = -1};
}
