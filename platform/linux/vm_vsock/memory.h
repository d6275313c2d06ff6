/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vm_vsock/memory.h - the guest's memory, as the frontend shares it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct guest_memory;
struct vmt_err;

/* More than any VMM of today uses (QEMU: 8 with this protocol, VHOST_MEMORY_BASELINE_
 * NREGIONS); the limit of the vhost kernel driver is 64. */
#define GUEST_MEMORY_REGIONS_MAX 32

/* One region of VHOST_USER_SET_MEM_TABLE: "memory region description" of QEMU's
 * docs/interop/vhost-user.rst. */
struct guest_region {
    uint64_t guest_addr;
    uint64_t size;
    uint64_t user_addr; /* where the frontend has it in its own address space */
    uint64_t mmap_offset;
};

/* Map n regions, each from its descriptor, which stays the caller's. A region must lie
 * within its file as it is now; should the file be cut later, the first access that fails
 * replaces the region by private zero pages (see guest_memory_lost), so that a hostile
 * frontend cannot kill us with SIGBUS. Regions overlap neither in guest nor in user
 * addresses. Returns 0, -EINVAL, -ENOMEM or what mmap gave. */
int guest_memory_new(const struct guest_region *regions, const int *fds, size_t n,
                     struct guest_memory **ret_mem, struct vmt_err *err);
void guest_memory_free(struct guest_memory *mem);

/* The len bytes at a frontend address, which must lie in one region; else NULL. */
void *guest_memory_at_user(const struct guest_memory *mem, uint64_t addr, uint64_t len);

/* The same for a guest address. */
void *guest_memory_at_guest(const struct guest_memory *mem, uint64_t addr, uint64_t len);

/* The len >= 1 bytes at a guest address as pieces, more than one where regions meet.
 * Returns pieces, -EFAULT when a byte is not there, -E2BIG when max is too few. */
int guest_memory_pieces(const struct guest_memory *mem, uint64_t addr, uint64_t len,
                        struct iovec *iov, size_t max);

/* True once a shared file turned out to be shorter than it was. */
bool guest_memory_lost(const struct guest_memory *mem);

/* Catch SIGBUS for all guest_memory objects of the process. Once, in main. */
void guest_memory_guard(void);
