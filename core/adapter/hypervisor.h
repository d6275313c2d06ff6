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
};

enum hypervisor_accel {
    HYPERVISOR_ACCEL_AUTO = 0, /* decided by a probe */
    HYPERVISOR_ACCEL_KVM,
    HYPERVISOR_ACCEL_TCG,
};

enum hypervisor_net {
    HYPERVISOR_NET_NONE = 0,
    /* NAT in the hypervisor: 10.0.2.15/24 via 10.0.2.2, DNS 10.0.2.3 */
    HYPERVISOR_NET_USER,
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
    /* The control channel answers: calls below work from now on. */
    void (*on_control)(void *arg);
    /* The guest kernel panicked; the exit follows. */
    void (*on_panic)(void *arg);
    /* The process is gone and reaped. Runs exactly once, last. */
    void (*on_exit)(void *arg, const struct hypervisor_exit_info *info);
};

/* Runs once from the loop: result 0 or -errno. */
typedef void hypervisor_done_fn(void *arg, int result, const struct vmt_err *err);

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
    /* Forget the vm: the process runs on if it still does, no event comes any more. Files
     * that the backend made in run_dir are removed only when the process is gone. */
    void (*vm_free)(struct hypervisor_vm *vm);
    void (*free)(struct hypervisor *hv);
};

struct hypervisor {
    const struct hypervisor_ops *ops;
};
