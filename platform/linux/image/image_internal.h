/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/image/image_internal.h - the steps of a build. */
#pragma once

#include <stddef.h>
#include <stdio.h>

#include "platform/linux/image/image.h"

/* Every time stamp inside an image: 2023-11-14T22:13:20Z, any fixed moment would do. */
#define IMAGE_EPOCH 1700000000L

struct archive;

/* Digest of a file from its current offset on, hex. */
int image_digest_fd(int fd, char ret_hex[IMAGE_DIGEST_HEX], struct vmt_err *err);
int image_digest_file(const char *path, char ret_hex[IMAGE_DIGEST_HEX],
                      struct vmt_err *err);
/* Digest of text. */
int image_digest_text(const char *text, size_t len, char ret_hex[IMAGE_DIGEST_HEX],
                      struct vmt_err *err);

int image_manifest_save(const char *dir, const struct image_manifest *manifest,
                        struct vmt_err *err);

/* Run a tool to its end. dir is its working directory or NULL. ret_out, unless NULL, gets
 * its stdout (malloc'ed, NUL-terminated, at most 4 MiB). Returns 0; -ENOENT when the tool
 * is not installed; -EIO with the last line of its stderr when it failed. */
int image_run(const char *const *argv, const char *dir, char **ret_out,
              struct vmt_err *err);

/* Start a tool that reads from a pipe: *ret_in is the writing end. image_run_finish
 * closes it and waits. */
struct image_pipe {
    int pid;
    int in;            /* owned, -1 when closed */
    FILE *stderr_file; /* owned, a temporary file */
    const char *name;  /* borrowed: argv[0] */
};
int image_pipe_start(const char *const *argv, struct image_pipe *ret_pipe,
                     struct vmt_err *err);
int image_pipe_finish(struct image_pipe *pipe, struct vmt_err *err);

/* kernel.c: fetch Debian's kernel package into cache_dir (only when it is not there),
 * unpack it to *ret_dir (owned by the caller) and name its release. */
int image_kernel_fetch(const char *cache_dir, bool refresh, char **ret_dir,
                       char **ret_release, struct vmt_err *err);
/* Take the ELF out of a bzImage and check that it can be booted by PVH. */
int image_kernel_extract(const char *bzimage, const char *elf, struct vmt_err *err);
/* Has the file an ELF note of Xen's PVH entry (type 18)? Returns 0, -ENOEXEC. */
int image_kernel_check_pvh(const char *elf, struct vmt_err *err);

/* modules.c: paths of the files that names need, dependencies first, each once.
 * kernel_dir is the unpacked kernel package. The caller frees each path and the array. */
int image_modules_resolve(const char *kernel_dir, const char *release,
                          const char *const *names, char ***ret_paths, size_t *ret_n,
                          struct vmt_err *err);
void image_strings_free(char **strings, size_t n);

/* untrace.c: turn the trace points of a kernel module for x86-64 into NOPs, so that the
 * kernel need not do it while it loads it; data is the file, aligned as by malloc. ftrace
 * does not know the functions then, kprobes do. A file of any other form stays as it is.
 * Returns how many there were. */
size_t image_module_untrace(void *data, size_t len);

/* untrace.c: empty the section of BTF types of a kernel module, so that the kernel does
 * not read it, nor, for the first such module, all types of its own. BPF programs do not
 * know the types of this module then. Returns whether there were any. */
bool image_module_untype(void *data, size_t len);

/* initrd.c: write the initramfs. */
int image_initrd_write(const char *path, const char *maitred, const char *kernel_dir,
                       const char *release, struct vmt_err *err);

/* rootfs.c: make the plain Debian root as a tar file in cache_dir (only when it is not
 * there), then the image's root from it, the guest tools and the kernel's modules. */
struct image_rootfs {
    const char *cache_dir, *guest_dir, *suite, *mirror; /* borrowed */
    const char *kernel_dir, *release;                   /* borrowed */
    bool refresh;
};
int image_rootfs_base(const struct image_rootfs *rootfs, char **ret_tar,
                      struct vmt_err *err);
int image_rootfs_write(const struct image_rootfs *rootfs, const char *base_tar,
                       const char *path, struct vmt_err *err);
/* What decides about the base besides the suite: for the key of the inputs. */
const char *image_rootfs_recipe(void);

/* archive.c: put one entry into an archive being written; time is IMAGE_EPOCH, owner
 * root. */
int image_archive_file(struct archive *a, const char *name, const char *source,
                       unsigned mode, struct vmt_err *err);
int image_archive_data(struct archive *a, const char *name, const void *data, size_t len,
                       unsigned mode, struct vmt_err *err);
int image_archive_dir(struct archive *a, const char *name, unsigned mode,
                      struct vmt_err *err);
int image_archive_symlink(struct archive *a, const char *name, const char *target,
                          struct vmt_err *err);
/* A character device node. */
int image_archive_chardev(struct archive *a, const char *name, unsigned major,
                          unsigned minor, unsigned mode, struct vmt_err *err);
/* All below dir, in byte order of the names, as prefix/<relative path>. */
int image_archive_tree(struct archive *a, const char *prefix, const char *dir,
                       struct vmt_err *err);
int image_archive_error(struct archive *a, struct vmt_err *err, const char *what);
