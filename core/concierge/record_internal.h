/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/record_internal.h - reading records back. */
#pragma once

#include <stdbool.h>

struct concierge;
struct concierge_vm;
struct vmt_err;

bool record_is_of_a_vm(const char *name);

/* The VM that a record tells of, in state CREATED and in no list, with the ids of its
 * processes but no handles. Returns 0, -EBADMSG for a damaged record, -EINVAL for one
 * that names no valid VM, -ENOMEM. */
int vm_record_load(struct concierge *c, const char *name, struct concierge_vm **ret_vm,
                   struct vmt_err *err);
