/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vmc/doctor_vm.c - hypervisor, guest image and accelerator. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/adapter/hypervisor.h"
#include "core/base/cleanup.h"
#include "platform/linux/image/image.h"
#include "platform/linux/os/loop.h"
#include "platform/linux/os/process.h"
#include "platform/linux/vmc/doctor.h"
#include "platform/linux/vmc/vmc.h"

/* A backend and what it needs. */
struct backend {
    struct spawn *spawn;   /* owned */
    struct hypervisor *hv; /* owned */
};

static void
backend_done(struct backend *b)
{
    if (b->hv)
        b->hv->ops->free(b->hv);
    if (b->spawn)
        os_spawn_free(b->spawn);
}

static int
backend_init(struct backend *b, struct vmc *vmc, struct vmt_err *err)
{
    int r = os_spawn_new(vmc->loop, &b->spawn, err);

    return r < 0 ? r
                 : vmc->hypervisor(vmc->loop, b->spawn, vmc->paths.cache, &b->hv, err);
}

void
doctor_check_hypervisor(struct doctor *doctor)
{
    VMT_CLEANUP(backend_done) struct backend b = {0};
    struct vmt_err err;
    int r = backend_init(&b, doctor->vmc, &err);

    if (r == 0)
        r = b.hv->ops->check(b.hv, &err);
    if (r < 0)
        doctor_add(doctor, DOCTOR_BAD, "hypervisor", NULL, "%s", err.msg);
    else
        doctor_add(doctor, DOCTOR_OK, "hypervisor", NULL,
                   "%s is installed, new enough, and has the options that we need",
                   b.hv->ops->name);
}

void
doctor_check_image(struct doctor *doctor)
{
    VMT_CLEANUP(vmt_freep) char *dir = NULL;
    VMT_CLEANUP(image_manifest_done) struct image_manifest m = {0};
    struct vmt_err err;
    int r = image_find(doctor->vmc->paths.data, doctor->image, &dir, &err);

    if (r == 0)
        r = image_verify(dir, &err);
    if (r == 0)
        r = image_manifest_load(dir, &m, &err);
    if (r < 0)
        doctor_add(doctor, DOCTOR_BAD, "image", "make one with: vmc image build", "%s",
                   err.msg);
    else
        doctor_add(doctor, DOCTOR_OK, "image", NULL,
                   "%s, kernel %s, as its manifest says", dir, m.kernel_release);
}

/* The answer of the probe. */
struct verdict {
    struct doctor *doctor;
    bool done;
};

static void
on_probed(void *arg, enum hypervisor_accel accel, const char *reason, bool from_cache)
{
    struct verdict *v = arg;
    bool kvm = accel == HYPERVISOR_ACCEL_KVM;

    (void)from_cache;
    doctor_add(
        v->doctor, kvm ? DOCTOR_OK : DOCTOR_NOTE, "accelerator",
        kvm ? NULL
            : "VMs run under emulation, some times slower; for more speed use a host "
              "with working hardware virtualization and access to /dev/kvm",
        "%s: %s", kvm ? "kvm" : "tcg", reason);
    v->done = true;
    os_loop_stop(v->doctor->vmc->loop, 0);
}

static int
probe(struct doctor *doctor, struct hypervisor *hv, const struct image_files *files,
      struct vmt_err *err)
{
    struct verdict verdict = {.doctor = doctor};
    struct hypervisor_probe_request request = {
        .kernel_fd = files->fd[IMAGE_KERNEL],
        .initrd_fd = files->fd[IMAGE_INITRD],
        .force = true,
        .on_done = on_probed,
        .arg = &verdict,
    };
    struct hypervisor_probe *handle;
    int r = hv->ops->probe(hv, &request, &handle, err);

    if (r < 0)
        return r;
    (void)os_loop_run(doctor->vmc->loop);
    if (verdict.done)
        return 0;
    hv->ops->probe_cancel(handle);
    return vmt_err_setx(err, EIO, "the probe ended without a verdict");
}

/* Boots the image's kernel: a device that opens proves nothing. */
void
doctor_check_accelerator(struct doctor *doctor)
{
    VMT_CLEANUP(backend_done) struct backend b = {0};
    VMT_CLEANUP(vmt_freep) char *dir = NULL;
    struct image_files files;
    struct vmt_err err;
    int r;

    if (doctor->no_boot)
        return;
    r = image_find(doctor->vmc->paths.data, doctor->image, &dir, &err);
    if (r == 0)
        r = image_open(dir, &files, &err);
    if (r < 0) {
        doctor_add(doctor, DOCTOR_NOTE, "accelerator", NULL,
                   "not tried: there is no image whose kernel could be booted");
        return;
    }
    r = backend_init(&b, doctor->vmc, &err);
    if (r == 0)
        r = probe(doctor, b.hv, &files, &err);
    if (r < 0)
        doctor_add(doctor, DOCTOR_BAD, "accelerator", NULL, "%s", err.msg);
    image_files_done(&files);
}
