/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/image/image.h - guest images: build, list, verify, open.
 *
 * An image is a folder:
 *   kernel         ELF with a PVH note, taken out of Debian's bzImage
 *   initrd         uncompressed cpio: maitred as /init and the modules for its root
 *   root.squashfs  Debian user land with our guest tools, read-only
 *   manifest.json  SHA-256 and size of each, kernel release, package list, key of the
 * inputs Everything here blocks: it serves command line tools, not daemons. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vmt_err;

enum image_part { IMAGE_KERNEL, IMAGE_INITRD, IMAGE_ROOT, IMAGE_PART_COUNT };

/* "kernel", "initrd", "root.squashfs". */
const char *image_part_file(enum image_part part);

#define IMAGE_DIGEST_HEX 65 /* 64 lower-case digits of SHA-256 and a NUL */

struct image_manifest {
    char *name;           /* owned */
    char *kernel_release; /* owned, as uname -r says in the guest */
    char *cmdline;        /* owned: kernel parameters that the image needs */
    char *built_with;     /* owned: key of the inputs, hex */
    char digest[IMAGE_PART_COUNT][IMAGE_DIGEST_HEX];
    uint64_t size[IMAGE_PART_COUNT]; /* bytes */
};
void image_manifest_done(struct image_manifest *manifest);

/* Called when a step of image_build begins (ms < 0) and when it is done (ms: how long it
 * took). text is borrowed for the call. */
typedef void image_step_fn(void *arg, const char *text, long ms);

struct image_build_options {
    const char *data_dir;   /* the image becomes <data_dir>/images/<name> */
    const char *cache_dir;  /* packages and the plain Debian root are kept here */
    const char *name;       /* "debian" */
    const char *guest_dir;  /* folder of the static programs maitred and vshd */
    const char *suite;      /* Debian suite: "bookworm" */
    const char *mirror;     /* NULL: mmdebstrap's default for the suite */
    bool rebuild;           /* even when the inputs are unchanged */
    bool refresh;           /* take new Debian packages instead of the cached ones */
    image_step_fn *on_step; /* may be NULL */
    void *arg;
};

/* Build an image, or find that the one there was built from the same inputs (*ret_built
 * is false then). The new folder replaces the old one in one rename. Returns 0; -ENOENT
 * when a tool is missing, -ENOSPC, -EIO when a tool failed: err has its last words. */
int image_build(const struct image_build_options *options, bool *ret_built,
                struct vmt_err *err);

/* Names of the images below data_dir, sorted. The caller frees each and the array. */
int image_list(const char *data_dir, char ***ret_names, size_t *ret_n,
               struct vmt_err *err);

/* The folder of an image: a name without '/' is looked up below data_dir, everything else
 * is a path. The caller frees *ret_dir. Returns 0, -EINVAL, -ENOENT with what to try. */
int image_find(const char *data_dir, const char *name_or_dir, char **ret_dir,
               struct vmt_err *err);

int image_manifest_load(const char *dir, struct image_manifest *ret_manifest,
                        struct vmt_err *err);

/* Compare every part with the manifest, byte by byte. Returns 0, -EBADMSG with the name
 * of the part that differs, -ENOENT. */
int image_verify(const char *dir, struct vmt_err *err);

struct image_files {
    int fd[IMAGE_PART_COUNT]; /* read-only, close-on-exec */
    struct image_manifest manifest;
};
void image_files_done(struct image_files *files); /* closes what is >= 0 */

/* Open an image for a start. The digests are checked unless the same files (device,
 * inode, size, times) were found good before; that verdict is kept in <dir>/.verified.
 * Returns as image_verify. */
int image_open(const char *dir, struct image_files *ret_files, struct vmt_err *err);
