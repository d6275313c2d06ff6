/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/plan_internal.h - a StartVm request after all its checks. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/adapter/hypervisor.h"
#include "core/concierge/opening_internal.h"
#include "core/disk/name.h"
#include "core/vm/id.h"

struct concierge;
struct host;
struct ipc_caller;
struct vmt_err;
typedef struct VmTools__Concierge__StartVmRequest VmTools__Concierge__StartVmRequest;

/* spec 3: a request's own disks; with root image and descriptor two more. */
#define PLAN_DISKS_MAX 10
#define PLAN_BLOCKS_MAX (PLAN_DISKS_MAX + 2)
#define PLAN_SERIAL_MAX 21

struct plan_mount {
    char source[16];                 /* "/dev/vdb" */
    char *target, *fstype, *options; /* owned */
    uint64_t flags;
    bool external; /* of a descriptor: make the target, and a file system if blank */
};

/* A disk that is an image of the owner, see core/disk/name.h. */
struct plan_image {
    char serial[PLAN_SERIAL_MAX];
    char file[DISK_FILE_MAX];
    bool read_only;
};

/* Where a file belongs that is opened later; else the index of a block. */
enum plan_target {
    PLAN_KERNEL = -1,
    PLAN_INITRD = -2,
    PLAN_FIRMWARE = -3,
    PLAN_PFLASH = -4,
};
struct plan_file {
    struct opening_file file; /* name and fd owned */
    int target;
};

struct start_plan {
    struct host *host; /* borrowed; closes the descriptors */
    struct vm_id id;
    int vm_type; /* VmTools__Concierge__VmInfo__VmType */
    char *cmdline;
    char **oem_strings; /* owned, NULL-terminated, or NULL */
    char *vm_username;  /* owned */
    uint32_t mem_mib, cpus;
    uint32_t cpu_weight; /* 0: the usual one */
    bool hugepages;
    bool storage_ballooning;
    uint32_t timeout_s; /* 0: from the last sign of progress */
    bool cold;          /* boot, even when there is a template */
    enum hypervisor_accel accel;
    enum hypervisor_net net;
    bool containers; /* they get a subnet of their own, HYPERVISOR_NET_TAP only */
    int kernel_fd, initrd_fd;                       /* owned, -1: none */
    int firmware_fd, pflash_fd;                     /* owned, below 1: none */
    struct hypervisor_disk blocks[PLAN_BLOCKS_MAX]; /* fd owned, serial points below */
    char serials[PLAN_BLOCKS_MAX][PLAN_SERIAL_MAX];
    size_t nblocks;
    struct plan_mount mounts[PLAN_BLOCKS_MAX];
    size_t nmounts;
    struct plan_image images[PLAN_BLOCKS_MAX];
    size_t nimages;
    struct plan_file files[OPENING_FILES_MAX]; /* of descriptors that are missing above */
    size_t nfiles;
};

/* Everything that StartVm checks before it takes anything (spec 4.1), in the order of the
 * spec but for "already running", which is the caller's. fds are owned by the call in any
 * case. On failure nothing is held and the words say what to change. Returns 0 or -errno.
 */
struct plan_input {
    const VmTools__Concierge__StartVmRequest *request;
    const struct ipc_caller *caller;
    const int *fds;
    size_t nfds;
};
int plan_make(struct concierge *c, const struct plan_input *in, struct start_plan *plan,
              struct vmt_err *err);

/* The checks that come before "already running": identity and processors. */
int plan_check_first(struct concierge *c,
                     const VmTools__Concierge__StartVmRequest *request,
                     struct vm_id *ret_id, struct vmt_err *err);

/* --- plan_files.c --- */
/* A file has to be opened before the VM is launched. file->name is copied; file->fd of
 * OPENING_AGAIN is taken in any case. Returns 0, -E2BIG, -ENOMEM. */
int plan_file_add(struct start_plan *plan, const struct opening_file *file, int target,
                  struct vmt_err *err);
void plan_files_done(struct start_plan *plan);

/* Close the images: the hypervisor has its own copies. */
void plan_close_images(struct start_plan *plan);
void plan_done(struct start_plan *plan);
