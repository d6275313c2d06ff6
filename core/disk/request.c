/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/disk/request.h"

#include <errno.h>

#include "core/base/err.h"

int
disk_request_size(uint64_t size, uint64_t *ret_size, struct vmt_err *err)
{
    if (size > DISK_REQUEST_MAX)
        return vmt_err_setx(err, EINVAL, "a disk of %llu bytes is larger than possible",
                            (unsigned long long)size);
    size -= size % DISK_REQUEST_ALIGN;
    if (size < DISK_REQUEST_MIN)
        return vmt_err_setx(err, EINVAL, "a disk has at least %llu bytes, not %llu",
                            DISK_REQUEST_MIN, (unsigned long long)size);
    *ret_size = size;
    return 0;
}

int
disk_request_check(uint64_t size, enum disk_allocation allocation,
                   bool storage_ballooning, bool *ret_sparse, struct vmt_err *err)
{
    bool sparse = allocation == DISK_ALLOCATION_SPARSE ||
                  (allocation == DISK_ALLOCATION_AUTO && size == 0);
    uint64_t rounded;
    int r = 0;

    if (!sparse && size == 0)
        return vmt_err_setx(err, EINVAL, "a preallocated disk needs a size");
    if (!sparse && storage_ballooning)
        return vmt_err_setx(
            err, EINVAL,
            "storage ballooning needs a sparse disk, not a preallocated one");
    if (size)
        r = disk_request_size(size, &rounded, err);
    if (r == 0)
        *ret_sparse = sparse;
    return r;
}
