/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/vm/cid.h"

#include <errno.h>

#include "core/base/limits.h"

static uint32_t
in_range(uint32_t cid)
{
    return cid < VMT_CID_FIRST || cid == UINT32_MAX ? VMT_CID_FIRST : cid;
}

int
vm_cid_alloc(uint32_t *next, vm_cid_in_use_fn *in_use, void *arg, uint32_t *ret_cid)
{
    uint32_t cid = in_range(*next);

    for (unsigned i = 0; i < VM_CID_TRIES; i++) {
        if (!in_use(arg, cid)) {
            *next = in_range(cid + 1);
            *ret_cid = cid;
            return 0;
        }
        cid = in_range(cid + 1);
    }
    return -ENOSPC;
}
