/* SPDX-License-Identifier: BSD-3-Clause */
/* core/vm/cid.h - which vsock context id the next VM gets. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Does a VM, or a process of the host, use cid already? */
typedef bool vm_cid_in_use_fn(void *arg, uint32_t cid);

/* Take the first free cid from *next on, VMT_CID_FIRST .. UINT32_MAX - 1, wrapping, and
 * move *next behind it: a cid comes back as late as possible, so that a peer that still
 * talks to a VM that is gone meets nobody. The caller keeps *next across restarts; a
 * value out of range counts as VMT_CID_FIRST. Returns 0 and the cid, or -ENOSPC when
 * VM_CID_TRIES in a row were taken; then *next is untouched. */
#define VM_CID_TRIES 65536u
int vm_cid_alloc(uint32_t *next, vm_cid_in_use_fn *in_use, void *arg, uint32_t *ret_cid);
