/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vm_disk/filter.h - which system calls there are. */
#pragma once

struct vmt_err;

enum filter {
    FILTER_JAIL, /* open files, memory, threads */
    FILTER_TOOL, /* all but what no tool for images needs */
};

/* From now on, for this thread and those that it makes. What is not there fails with
 * ENOSYS, or EPERM for a tool. With sanitizers, which need what is forbidden, and on
 * kernels without filters nothing happens. Needs PR_SET_NO_NEW_PRIVS. Returns 0 or
 * -errno. */
int filter_enter(enum filter filter, struct vmt_err *err);
