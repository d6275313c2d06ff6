/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vm_disk/jail.h - where bytes of guests and strangers are handled: a
 * child that can read and write what it was given, and nothing else. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vmt_err;

#define JAIL_FDS_MAX 4

struct jail {
    int fds[JAIL_FDS_MAX]; /* borrowed: what stays open, under the same numbers */
    size_t nfds;
    bool filter; /* of system calls; not with sanitizers, which need what it forbids */
};

/* What the child found out. Whoever took it over may put anything here. */
struct jail_answer {
    uint64_t size;
    int32_t vm_type;
    uint32_t is_qcow2;
    char text[65]; /* a digest, or the name of a file system */
};

/* Runs in the child. Returns 0 or a negative errno and words. */
typedef int jail_fn(void *arg, struct jail_answer *answer, struct vmt_err *err);

/* Run fn in a child without capabilities, other descriptors, or system calls besides
 * those for open files, memory and threads; tell its progress; wait for its end. A signal
 * to end kills it.
 * Returns what fn returned; -EIO when the child died. */
int jail_run(const struct jail *jail, jail_fn *fn, void *arg,
             struct jail_answer *ret_answer, struct vmt_err *err);

/* In fn: as report_progress. Outside: that. */
void jail_progress(uint64_t done, uint64_t total);

/* Take every capability from this process, and any way to get one by a program. */
int jail_drop_rights(struct vmt_err *err);
