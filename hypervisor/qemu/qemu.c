/* SPDX-License-Identifier: BSD-3-Clause */
#include "hypervisor/qemu/qemu.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "hypervisor/qemu/confine_internal.h"
#include "hypervisor/qemu/qemu_internal.h"

static void
qemu_free(struct hypervisor *hv)
{
    struct qemu *self;

    if (!hv)
        return;
    self = VMT_CONTAINER_OF(hv, struct qemu, base);
    free(self->binary);
    free(self->cache_dir);
    free(self);
}

int
qemu_sandbox(struct qemu *self, const struct vm_spec *spec, int *ret_fd,
             struct vmt_err *err)
{
    int r = self->no_sandbox ? 0 : qemu_confine(self->binary, spec, ret_fd, err);

    if (r == -EOPNOTSUPP) {
        vmt_log_notice("this kernel has no Landlock: QEMU can open what its user may");
        self->no_sandbox = true; /* said once */
        r = 0;
    }
    return r;
}

static const struct hypervisor_ops qemu_ops = {
    .name = "qemu",
    .caps = HYPERVISOR_CAP_TCG | HYPERVISOR_CAP_USER_NET | HYPERVISOR_CAP_TAP |
            HYPERVISOR_CAP_VHOST_USER | HYPERVISOR_CAP_POWER_BUTTON |
            HYPERVISOR_CAP_PAUSE | HYPERVISOR_CAP_ADOPT | HYPERVISOR_CAP_BALLOON |
            HYPERVISOR_CAP_DISK_RESIZE | HYPERVISOR_CAP_DISK_HOTPLUG |
            HYPERVISOR_CAP_NIC_HOTPLUG | HYPERVISOR_CAP_VSOCK_HOTPLUG |
            HYPERVISOR_CAP_USB | HYPERVISOR_CAP_FIRMWARE | HYPERVISOR_CAP_HUGEPAGES |
            HYPERVISOR_CAP_SNAPSHOT,
    .check = qemu_check,
    .probe = qemu_probe,
    .probe_cancel = qemu_probe_cancel,
    .start = qemu_vm_start,
    .adopt = qemu_vm_adopt,
    .id = qemu_vm_id,
    .power_button = qemu_vm_power_button,
    .quit = qemu_vm_quit,
    .kill = qemu_vm_kill,
    .pause = qemu_vm_pause,
    .balloon_set = qemu_vm_balloon_set,
    .memory = qemu_vm_memory,
    .disk_resize = qemu_vm_disk_resize,
    .disk_add = qemu_vm_disk_add,
    .disk_remove = qemu_vm_disk_remove,
    .nic_add = qemu_vm_nic_add,
    .nic_remove = qemu_vm_nic_remove,
    .vsock_add = qemu_vm_vsock_add,
    .vsock_remove = qemu_vm_vsock_remove,
    .usb_attach = qemu_vm_usb_attach,
    .usb_detach = qemu_vm_usb_detach,
    .save = qemu_vm_save,
    .build_id = qemu_build_id,
    .vm_free = qemu_vm_free,
    .free = qemu_free,
};

/* QEMU's own names of machines are those of uname(2). NULL: no memory. */
static char *
default_binary(void)
{
    struct utsname host;
    char *name = NULL;

    if (uname(&host) < 0 || asprintf(&name, "qemu-system-%s", host.machine) < 0)
        return NULL;
    return name;
}

static void
qemu_freep(struct qemu **self)
{
    if (*self)
        qemu_free(&(*self)->base);
}

int
qemu_new(const struct qemu_config *config, struct hypervisor **ret_hv,
         struct vmt_err *err)
{
    VMT_CLEANUP(qemu_freep) struct qemu *self = calloc(1, sizeof(*self));

    if (!self)
        return vmt_err_set(err, ENOMEM, "create the QEMU backend");
    self->base.ops = &qemu_ops;
    self->event_base = config->base;
    self->clock = config->clock;
    self->spawn = config->spawn;
    self->no_sandbox = config->no_sandbox;
    self->probe_accel = config->probe_accel;
    (void)snprintf(self->kvm_cpu, sizeof(self->kvm_cpu), "host");
    self->binary = config->binary ? strdup(config->binary) : default_binary();
    self->cache_dir = config->cache_dir ? strdup(config->cache_dir) : NULL;
    if (!self->binary || (config->cache_dir && !self->cache_dir))
        return vmt_err_set(err, ENOMEM, "create the QEMU backend");
    *ret_hv = &vmt_take_ptr(&self)->base;
    return 0;
}
