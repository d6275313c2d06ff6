/* SPDX-License-Identifier: BSD-3-Clause */
/* core/adapter/hypervisor.h - what core asks of any hypervisor. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/adapter/spawn.h"

struct vmt_err;
struct hypervisor;
struct hypervisor_vm;
struct hypervisor_probe;

/* What a backend can do; a slot that a bit guards may be called only when it is set. */
enum hypervisor_cap {
    HYPERVISOR_CAP_TCG = 1u << 0,        /* runs without hardware virtualization */
    HYPERVISOR_CAP_USER_NET = 1u << 1,   /* network without rights on the host */
    HYPERVISOR_CAP_VHOST_USER = 1u << 2, /* virtio devices of other processes */
    HYPERVISOR_CAP_POWER_BUTTON = 1u << 3,
    HYPERVISOR_CAP_PAUSE = 1u << 4,
    HYPERVISOR_CAP_ADOPT = 1u << 5, /* takes over a VM of an earlier process */
    HYPERVISOR_CAP_BALLOON = 1u << 6,
    HYPERVISOR_CAP_DISK_RESIZE = 1u << 7,
    HYPERVISOR_CAP_DISK_HOTPLUG = 1u << 8,
    HYPERVISOR_CAP_NIC_HOTPLUG = 1u << 9,
    HYPERVISOR_CAP_VSOCK_HOTPLUG = 1u << 10, /* of vhost-user vsock devices */
    HYPERVISOR_CAP_USB = 1u << 11,           /* passes devices of the host */
    HYPERVISOR_CAP_SNAPSHOT = 1u << 12,      /* saves and restores a VM's state */
    HYPERVISOR_CAP_TAP = 1u << 13,           /* network by a tap descriptor */
    HYPERVISOR_CAP_FIRMWARE = 1u << 14, /* boots firmware with a flash of variables */
    HYPERVISOR_CAP_HUGEPAGES = 1u << 15,
};

/* Where hot-plugged USB devices sit; 0 means none in the messages of the original. */
#define HYPERVISOR_USB_PORT_MAX 16u

enum hypervisor_accel {
    HYPERVISOR_ACCEL_AUTO = 0, /* decided by a probe */
    HYPERVISOR_ACCEL_KVM,
    HYPERVISOR_ACCEL_TCG,
};

enum hypervisor_net {
    HYPERVISOR_NET_NONE = 0,
    /* NAT in the hypervisor: 10.0.2.15/24 via 10.0.2.2, DNS 10.0.2.3 */
    HYPERVISOR_NET_USER,
    HYPERVISOR_NET_TAP, /* frames through a tap, HYPERVISOR_CAP_TAP */
};

enum hypervisor_vsock {
    HYPERVISOR_VSOCK_NONE = 0,
    HYPERVISOR_VSOCK_KERNEL,     /* vhost-vsock of the host kernel */
    HYPERVISOR_VSOCK_VHOST_USER, /* a device process listens at vsock_socket */
};

struct hypervisor_disk {
    const char *path; /* absolute, or NULL: fd */
    int fd;           /* no path: open O_RDONLY if read_only, else O_RDWR; borrowed */
    bool read_only;
    bool qcow2;          /* else raw */
    uint32_t block_size; /* 0: 512 */
    bool direct;         /* O_DIRECT */
    const char *serial;  /* at most 20 bytes; names the disk in the guest and in calls */
    /* The spare slot it sits in, 1 .. spare_slots, which says where the guest finds it.
     * 0 at start: a place of its own, from which it cannot be taken; 0 in disk_add: any
     * that is free. */
    unsigned slot;
};

#define HYPERVISOR_MAC_LEN 6

struct hypervisor_nic {
    const char *id; /* letters, digits, '-' and '_'; names the device in calls */
    int tap_fd;     /* tap with IFF_NO_PI and IFF_VNET_HDR; borrowed */
    uint8_t mac[HYPERVISOR_MAC_LEN];
};

/* A vm to boot; borrowed for the call, a backend copies what it keeps. */
struct vm_spec {
    const char *name;    /* for the process title and logs; printable */
    const char *run_dir; /* absolute, exists; control sockets and pid files go here */
    int kernel_fd;       /* ELF with a PVH note, or bzImage; -1: none */
    int initrd_fd;       /* -1: none */
    const char
        *cmdline;   /* kernel command line, complete but for what the backend must add */
    int console_fd; /* file (O_APPEND) or pipe that gets the serial console, open
                     * O_WRONLY, or -1: nowhere */
    uint32_t cid;   /* VMT_CID_GUEST_MIN .. UINT32_MAX-1 */
    uint32_t mem_mib;            /* guest RAM, at least 1 */
    uint32_t vcpus;              /* at least 1 */
    enum hypervisor_accel accel; /* not AUTO: core asks the probe first */
    enum hypervisor_net net;
    enum hypervisor_vsock vsock;
    const char *vsock_socket;            /* absolute path, VHOST_USER only */
    const struct hypervisor_disk *disks; /* the guest sees them in this order */
    size_t ndisks;
    const char *const *oem_strings; /* SMBIOS type 11, NULL-terminated, or NULL */
    int tap_fd;                     /* HYPERVISOR_NET_TAP only; as in hypervisor_nic */
    /* Address of the network device; all zeroes: the backend makes one from cid. */
    uint8_t mac[HYPERVISOR_MAC_LEN];
    unsigned spare_slots; /* devices that can be plugged later, but for vsock: with any
                           * spare slot its device has one more, of its own */
    bool hugepages;       /* back RAM with huge pages where the host has them */
    int firmware_fd;      /* code flash, O_RDONLY, instead of a kernel; below 1: none */
    int pflash_fd;        /* variable flash, O_RDWR; below 1: none */
    /* A state that save wrote for a spec equal to this one but for name, run_dir, cid,
     * console, generation and vsock: the vm is that one again, paused when control
     * answers. O_RDONLY at its begin; below 1: boot. */
    int restore_fd;
    /* UUID that a guest finds changed when it is not the one that it was before
     * (vmgenid), or NULL. */
    const char *generation;
    int cgroup_fd; /* as in spawn_spec: the process joins it; below 1: none */
};

enum hypervisor_exit {
    HYPERVISOR_EXIT_UNKNOWN = 0, /* gone, and nothing says why */
    HYPERVISOR_EXIT_POWEROFF,    /* the guest switched itself off */
    HYPERVISOR_EXIT_RESET,       /* the guest asked for a reboot */
    HYPERVISOR_EXIT_PANIC,       /* the guest kernel panicked */
    HYPERVISOR_EXIT_REQUEST,     /* we asked for it */
    HYPERVISOR_EXIT_KILLED,      /* a signal from outside, or a crash */
    HYPERVISOR_EXIT_CONFIG,      /* it refused its options or files */
    HYPERVISOR_EXIT_ACCEL,       /* the accelerator failed */
};

struct hypervisor_exit_info {
    enum hypervisor_exit reason;
    struct spawn_exit process;
    const char
        *text; /* last words of the process on stderr, printable, "" if none; borrowed */
};

/* Callbacks run from the loop, never from inside a call. The table is borrowed until the
 * vm is freed. */
struct hypervisor_events {
    /* The control channel answers: calls below work from now on. Once, also when the
     * channel breaks and is made anew. */
    void (*on_control)(void *arg);
    /* The guest kernel panicked; the exit follows. */
    void (*on_panic)(void *arg);
    /* The guest let go of its vsock device after vsock_remove had given up on it. May be
     * NULL. */
    void (*on_vsock_gone)(void *arg);
    /* The process is gone and reaped. Runs exactly once, last. */
    void (*on_exit)(void *arg, const struct hypervisor_exit_info *info);
};

/* Runs once from the loop: result 0 or -errno. */
typedef void hypervisor_done_fn(void *arg, int result, const struct vmt_err *err);

/* Memory as the guest sees it, bytes. */
struct hypervisor_memory {
    uint64_t total;     /* RAM without what the balloon holds */
    uint64_t free;      /* used for nothing */
    uint64_t available; /* could be given to programs without swapping */
    uint64_t caches;    /* of disks */
    uint64_t balloon;   /* held by the balloon now */
};

/* Runs once from the loop: memory is NULL when result is -errno. -EAGAIN: the guest has
 * not reported anything yet. */
typedef void hypervisor_memory_fn(void *arg, int result,
                                  const struct hypervisor_memory *memory);

/* accel is KVM or TCG, reason says why in one sentence (borrowed for the call),
 * from_cache that an earlier verdict was used. */
typedef void hypervisor_probe_fn(void *arg, enum hypervisor_accel accel,
                                 const char *reason, bool from_cache);

struct hypervisor_probe_request {
    int kernel_fd, initrd_fd; /* borrowed for the call: what real VMs will boot */
    bool force;               /* do not use a remembered verdict */
    hypervisor_probe_fn *on_done;
    void *arg;
};

struct hypervisor_ops {
    const char *name; /* value of --hypervisor */
    uint32_t caps;    /* bits of enum hypervisor_cap */
    /* Is the program there, new enough, with the options that we need? Returns 0, or
     * -ENOENT, -ENOTSUP with a sentence that says what to install. May run the program
     * once and blocks for that: call it at start-up and in tools, not per VM. */
    int (*check)(struct hypervisor *hv, struct vmt_err *err);
    /* Decide about hardware virtualization by booting a real kernel once. Returns 0 or an
     * error; on_done runs exactly once unless cancelled, and the probe is gone then. */
    int (*probe)(struct hypervisor *hv, const struct hypervisor_probe_request *req,
                 struct hypervisor_probe **ret_probe, struct vmt_err *err);
    void (*probe_cancel)(struct hypervisor_probe *probe);
    /* Boot spec. Returns 0 with a vm whose events will come, -EINVAL when this backend
     * cannot run spec, or what spawning gave. */
    int (*start)(struct hypervisor *hv, const struct vm_spec *spec,
                 const struct hypervisor_events *events, void *arg,
                 struct hypervisor_vm **ret_vm, struct vmt_err *err);
    /* Take over a vm that an earlier process started with the same run_dir. Returns 0, or
     * -ESRCH when the process is gone. HYPERVISOR_CAP_ADOPT. */
    int (*adopt)(struct hypervisor *hv, const char *run_dir, const struct spawn_id *id,
                 const struct hypervisor_events *events, void *arg,
                 struct hypervisor_vm **ret_vm, struct vmt_err *err);
    void (*id)(const struct hypervisor_vm *vm, struct spawn_id *ret_id);
    /* Press the power button. HYPERVISOR_CAP_POWER_BUTTON. done may be NULL. */
    int (*power_button)(struct hypervisor_vm *vm, hypervisor_done_fn *done, void *arg);
    /* End the process by its control channel. Returns 0 or -ENOTCONN. */
    int (*quit)(struct hypervisor_vm *vm);
    /* End the process by a signal, SIGTERM or SIGKILL. Returns 0 or -ESRCH. */
    int (*kill)(struct hypervisor_vm *vm, int sig);
    /* Pause and resume all vcpus. HYPERVISOR_CAP_PAUSE. */
    int (*pause)(struct hypervisor_vm *vm, bool paused, hypervisor_done_fn *done,
                 void *arg);

    /* The slots below return 0 when done will run, or -ENOTCONN, -EBUSY, -ENOMEM. All
     * else is told to done: -EIO is the backend's own refusal. done may be NULL, as in
     * power_button. Descriptors are borrowed for the call. */

    /* Take bytes away from the guest, or give all back with 0; it follows when it can.
     * -EINVAL: it would have nothing left. HYPERVISOR_CAP_BALLOON, as memory. */
    int (*balloon_set)(struct hypervisor_vm *vm, uint64_t bytes, hypervisor_done_fn *done,
                       void *arg);
    int (*memory)(struct hypervisor_vm *vm, hypervisor_memory_fn *done, void *arg);
    /* Tell the guest of a disk's new size in bytes; the file has it when this is done. A
     * disk is known by its serial; -ENOENT. HYPERVISOR_CAP_DISK_RESIZE. */
    int (*disk_resize)(struct hypervisor_vm *vm, const char *serial, uint64_t size,
                       hypervisor_done_fn *done, void *arg);
    /* Plug into and take from a spare slot: -ENOSPC when none is left, -EBUSY when the
     * one asked for is in use, -EEXIST for a known serial or id; -ENOENT, -EPERM for what
     * was there at start without a slot. Removing needs the guest's consent and gives
     * -ETIMEDOUT without it, -EACCES when it refused. HYPERVISOR_CAP_DISK_HOTPLUG. */
    int (*disk_add)(struct hypervisor_vm *vm, const struct hypervisor_disk *disk,
                    hypervisor_done_fn *done, void *arg);
    int (*disk_remove)(struct hypervisor_vm *vm, const char *serial,
                       hypervisor_done_fn *done, void *arg);
    int (*nic_add)(struct hypervisor_vm *vm, const struct hypervisor_nic *nic,
                   hypervisor_done_fn *done, void *arg); /* HYPERVISOR_CAP_NIC_HOTPLUG */
    int (*nic_remove)(struct hypervisor_vm *vm, const char *id, hypervisor_done_fn *done,
                      void *arg);
    /* The vsock device: a vm has at most one. A vm with a paused guest may be given one.
     * HYPERVISOR_CAP_VSOCK_HOTPLUG. */
    int (*vsock_add)(struct hypervisor_vm *vm, const char *socket,
                     hypervisor_done_fn *done, void *arg);
    int (*vsock_remove)(struct hypervisor_vm *vm, hypervisor_done_fn *done, void *arg);
    /* Give the device whose node fd is (usbfs, O_RDWR) to the guest as port
     * 1 .. HYPERVISOR_USB_PORT_MAX: -EINVAL, -EEXIST for a port in use, -ENOENT for an
     * empty one. The first device ever takes a spare slot for its controller, -ENOSPC.
     * HYPERVISOR_CAP_USB. */
    int (*usb_attach)(struct hypervisor_vm *vm, unsigned port, int fd,
                      hypervisor_done_fn *done, void *arg);
    int (*usb_detach)(struct hypervisor_vm *vm, unsigned port, hypervisor_done_fn *done,
                      void *arg);
    /* Write the state of a paused vm without a vsock device to fd (borrowed). Disks are
     * not part of it. Afterwards the vm is still paused, and must run before it is saved
     * once more. -EINVAL: it runs, or has a device that is not saved. No other call goes
     * on meanwhile; with hugepages there is no saving. HYPERVISOR_CAP_SNAPSHOT. */
    int (*save)(struct hypervisor_vm *vm, int fd, hypervisor_done_fn *done, void *arg);
    /* One line that changes whenever a state saved by one build may not be restored by
     * another. Returns 0 or -errno. HYPERVISOR_CAP_SNAPSHOT. */
    int (*build_id)(struct hypervisor *hv, char *buf, size_t cap, struct vmt_err *err);
    /* Forget the vm: the process runs on if it still does, no event comes any more. Files
     * that the backend made in run_dir are removed only when the process is gone. */
    void (*vm_free)(struct hypervisor_vm *vm);
    void (*free)(struct hypervisor *hv);
};

struct hypervisor {
    const struct hypervisor_ops *ops;
};
