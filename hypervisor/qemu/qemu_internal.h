/* SPDX-License-Identifier: BSD-3-Clause */
/* hypervisor/qemu/qemu_internal.h - what the files of this room share. */
#pragma once

#include "core/adapter/hypervisor.h"

struct event_base;
struct qmp;
struct vmt_clock;

/* "host", unless a probe found that this host needs something taken away from it. */
#define QEMU_KVM_CPU_MAX 64

struct qemu {
    struct hypervisor base;
    struct event_base *event_base; /* borrowed, as clock and spawn */
    struct vmt_clock *clock;
    struct spawn *spawn;
    char *binary;    /* owned */
    char *cache_dir; /* owned, or NULL */
    enum hypervisor_accel probe_accel;
    bool no_sandbox; /* also when the kernel has none */
    char kvm_cpu[QEMU_KVM_CPU_MAX];
};

/* The slots of struct hypervisor_ops, by file. */

/* check.c */
int qemu_check(struct hypervisor *hv, struct vmt_err *err);
/* Words for a binary that is not there. */
int qemu_missing(const struct qemu *self, struct vmt_err *err);

/* qemu.c */
/* What the process of this vm is confined by, for spawn_spec.confine_fd: *ret_fd is the
 * caller's, or stays as it is when it is not confined. Returns 0 or -errno. */
int qemu_sandbox(struct qemu *self, const struct vm_spec *spec, int *ret_fd,
                 struct vmt_err *err);

/* vm.c */
int qemu_vm_start(struct hypervisor *hv, const struct vm_spec *spec,
                  const struct hypervisor_events *events, void *arg,
                  struct hypervisor_vm **ret_vm, struct vmt_err *err);
int qemu_vm_adopt(struct hypervisor *hv, const char *run_dir, const struct spawn_id *id,
                  const struct hypervisor_events *events, void *arg,
                  struct hypervisor_vm **ret_vm, struct vmt_err *err);
void qemu_vm_id(const struct hypervisor_vm *vm, struct spawn_id *ret_id);
int qemu_vm_power_button(struct hypervisor_vm *vm, hypervisor_done_fn *done, void *arg);
int qemu_vm_quit(struct hypervisor_vm *vm);
int qemu_vm_kill(struct hypervisor_vm *vm, int sig);
int qemu_vm_pause(struct hypervisor_vm *vm, bool paused, hypervisor_done_fn *done,
                  void *arg);
void qemu_vm_free(struct hypervisor_vm *vm);

/* memory.c */
int qemu_vm_balloon_set(struct hypervisor_vm *vm, uint64_t bytes,
                        hypervisor_done_fn *done, void *arg);
int qemu_vm_memory(struct hypervisor_vm *vm, hypervisor_memory_fn *done, void *arg);
int qemu_vm_disk_resize(struct hypervisor_vm *vm, const char *serial, uint64_t size,
                        hypervisor_done_fn *done, void *arg);
/* Let the guest report its memory from now on. */
void qemu_memory_watch(struct qmp *qmp);

/* plug.c */
int qemu_vm_disk_add(struct hypervisor_vm *vm, const struct hypervisor_disk *disk,
                     hypervisor_done_fn *done, void *arg);
int qemu_vm_disk_remove(struct hypervisor_vm *vm, const char *serial,
                        hypervisor_done_fn *done, void *arg);
int qemu_vm_nic_add(struct hypervisor_vm *vm, const struct hypervisor_nic *nic,
                    hypervisor_done_fn *done, void *arg);
int qemu_vm_nic_remove(struct hypervisor_vm *vm, const char *id, hypervisor_done_fn *done,
                       void *arg);
/* Take away what a device has left in QEMU that went when nobody waited for it. */
void qemu_plug_tidy(struct hypervisor_vm *vm, const char *device);

/* usb.c */
int qemu_vm_usb_attach(struct hypervisor_vm *vm, unsigned port, int fd,
                       hypervisor_done_fn *done, void *arg);
int qemu_vm_usb_detach(struct hypervisor_vm *vm, unsigned port, hypervisor_done_fn *done,
                       void *arg);

/* vsock.c */
int qemu_vm_vsock_add(struct hypervisor_vm *vm, const char *socket,
                      hypervisor_done_fn *done, void *arg);
int qemu_vm_vsock_remove(struct hypervisor_vm *vm, hypervisor_done_fn *done, void *arg);

/* state.c */
int qemu_vm_save(struct hypervisor_vm *vm, int fd, hypervisor_done_fn *done, void *arg);

/* accel_key.c */
int qemu_build_id(struct hypervisor *hv, char *buf, size_t cap, struct vmt_err *err);

/* hugepages.c */
#define QEMU_HUGEPAGES_DIR "/sys/kernel/mm/hugepages/hugepages-2048kB"
/* Does the pool of huge pages in this directory of sysfs have room for so much RAM? What
 * is missing is logged. */
bool qemu_hugepages_suffice(const char *dir, uint32_t mem_mib);

/* probe.c */
int qemu_probe(struct hypervisor *hv, const struct hypervisor_probe_request *req,
               struct hypervisor_probe **ret_probe, struct vmt_err *err);
void qemu_probe_cancel(struct hypervisor_probe *probe);
