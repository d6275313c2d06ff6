/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/init/modules.h - kernel modules of the initramfs and of the
 * root. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MODULES_LATE_MAX 64
#define MODULES_NAME_MAX 64

struct report;
struct vmt_err;

/* Modules that are loaded after we reported ready. They are open, so that they can be
 * loaded when the initramfs is gone. All zeroes is an empty list. */
struct modules {
    struct {
        char name[MODULES_NAME_MAX]; /* as the kernel spells it, with '_' */
        int fd;                      /* owned; -1 once loaded */
    } late[MODULES_LATE_MAX];
    size_t n;
    size_t next; /* the first that may not be loaded yet */
};

/* Load every file that dir/load.list names, in its order. A missing list is fine: then
 * the kernel has all built in. */
void modules_load_listed(const char *dir, struct report *report);

/* Open every file that dir/late.list names. */
void modules_open_late(struct modules *m, const char *dir, struct report *report);

/* Is one of them not loaded yet? */
static inline bool
modules_left(const struct modules *m)
{
    return m->next < m->n;
}

/* Load the next of them, if one is left. */
void modules_load_next(struct modules *m, struct report *report);

/* Load the late list up to this module and with it; nothing if it is not on the list, or
 * is loaded. name: as the kernel spells it. */
void modules_load_through(struct modules *m, const char *name, struct report *report);

/* Load of the late list what it takes to know a file system: in order, until the kernel
 * knows it and has the module extra (NULL: none), or the list ends. */
void modules_need_fs(struct modules *m, const char *fs, const char *extra,
                     struct report *report);

/* Is the type in /proc/filesystems? */
bool modules_fs_known(const char *fs);

/* Load a module by its name or an alias of it, and what it needs, from
 * /lib/modules/<release> of the root, as modprobe(8) would: aliases, options, soft
 * dependencies and commands of modprobe.d(5) and of the kernel command line count, and an
 * alias does not load what is on the blacklist. One that is there already is fine. This
 * takes time: for workers. Returns 0, -ENODEV when there is no such module, -errno. */
int modules_load_from_root(const char *name, struct vmt_err *err);

/* The same for names with commas between them, of which arg is a char pointer and is
 * changed: a worker_fn. Tries all; returns as the first that failed. */
int modules_load_wanted(void *arg, struct vmt_err *err);

/* Bytes of a module without the signature at its end; len if there is none.
 * Source: Linux v6.1 include/linux/module_signature.h. */
size_t modules_unsigned_len(const uint8_t *data, size_t len);
