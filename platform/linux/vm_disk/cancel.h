/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vm_disk/cancel.h - what a signal to end does.
 *
 * The handler says that the operation was cancelled, removes a temporary that has a name,
 * kills a child and leaves. That is all there is to do, since whatever kills the process
 * leaves no more: so nothing needs to look whether it should stop. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

struct vmt_err;

/* From now on, SIGTERM and SIGINT end the process with status 1. */
int cancel_init(struct vmt_err *err);
/* In a forked child: they are as usual again. */
void cancel_forget(void);

/* A child to kill as well; 0: none any more. */
void cancel_child(pid_t child);
/* A file to remove; both are borrowed until name is NULL again. */
void cancel_temp(int dir_fd, const char *name);

/* Not while on: what is being done must not be stopped half way. A signal of meanwhile
 * comes when it is off again. Counts: as often off as on. */
void cancel_hold(bool on);
