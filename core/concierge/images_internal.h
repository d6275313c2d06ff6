/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/images_internal.h - which files a VM was started with, for snapshots. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct concierge_vm;
struct host;
struct vmt_err;
typedef struct Vmt__SnapshotImage Vmt__SnapshotImage;

struct vm_image {
    char *role; /* "kernel", "initrd" or a disk's serial; as the next two owned */
    char *path;
    char *identity; /* "": the VM can write it */
    bool read_only, qcow2, direct;
    bool plugged; /* into a VM that was restored from a template */
    uint32_t block_size;
};

struct vm_images {
    char *cmdline; /* owned: what the kernel got */
    uint32_t cpus;
    size_t n;
    struct vm_image v[];
};
void vm_images_free(struct vm_images *images); /* NULL is legal */

/* Note the files of vm's plan while they are open. A VM for which that fails runs, but
 * has no snapshots. */
void vm_images_note(struct concierge_vm *vm);

/* For records; everything is borrowed from images. rows and list have room for
 * images->n. */
void vm_images_fill(const struct vm_images *images, Vmt__SnapshotImage *rows,
                    Vmt__SnapshotImage **list);
/* The other way; NULL without memory. */
struct vm_images *vm_images_of(Vmt__SnapshotImage *const *list, size_t n,
                               const char *cmdline, uint32_t cpus);
