/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/os/paths.h - where a mode keeps its sockets, state and images. */
#pragma once

#include <stdbool.h>

struct vmt_err;

/* Absolute paths, owned by the struct. */
struct os_paths {
    char *runtime; /* sockets: $XDG_RUNTIME_DIR/vm_tools or /run/vm_tools */
    char *state;   /* VM state, consoles: $XDG_STATE_HOME/vm_tools or /var/lib/vm_tools */
    char *data;    /* images: $XDG_DATA_HOME/vm_tools or /var/lib/vm_tools */
    char
        *cache; /* verdicts, downloads: $XDG_CACHE_HOME/vm_tools or /var/cache/vm_tools */
};

/* Find the paths of a mode and make the directories, 0700. In user mode without
 * XDG_RUNTIME_DIR, /run/user/<uid> is taken if it is ours, else /tmp/vm_tools-<uid>,
 * which must be a directory of ours that nobody else can enter. */
int os_paths_init(bool system_mode, struct os_paths *ret_paths, struct vmt_err *err);
void os_paths_done(struct os_paths *paths);

/* mkdir -p with mode for what is missing. Returns 0 or -errno. */
int os_mkdir_p(const char *path, unsigned mode, struct vmt_err *err);

/* Remove a directory tree without following links; a missing one is success. */
int os_remove_tree(const char *path, struct vmt_err *err);

/* Write a file so that it is there whole or not at all: temporary, fsync, rename, fsync
 * of the directory. */
int os_write_file_atomic(const char *path, const void *data, unsigned long len,
                         unsigned mode, struct vmt_err *err);
/* The same without fsync, for what may be lost when the power fails and is written by a
 * loop that must not wait for a disk: after a crash the file may be empty. */
int os_write_file_lazy(const char *path, const void *data, unsigned long len,
                       unsigned mode, struct vmt_err *err);

/* Read a whole file of at most max bytes. *ret_data is malloc'ed with a NUL after the
 * last byte. Returns 0, -EFBIG, -errno. */
int os_read_file(const char *path, unsigned long max, char **ret_data,
                 unsigned long *ret_len, struct vmt_err *err);
