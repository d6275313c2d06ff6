/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/proc/leftovers.h - control groups in which something still is
 * when their program is over: a program that went to the background. They are removed
 * when they are empty. */
#pragma once

struct vmt_list;

void leftovers_init(struct vmt_list *list);
void leftovers_done(struct vmt_list *list);

/* Without memory the group stays until the machine goes off. */
void leftovers_add(struct vmt_list *list, const char *name);

/* The group is somebody's again. */
void leftovers_forget(struct vmt_list *list, const char *name);

/* Remove those in parent that are empty. What is in them are children of ours: call this
 * when some ended. */
void leftovers_remove(struct vmt_list *list, int parent);
