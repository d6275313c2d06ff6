/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/disk/qcow2.h"

#include <errno.h>
#include <string.h>

#include "core/base/err.h"

#define QCOW2_V2_HEADER 72u
#define QCOW2_DATA_FILE 0x4u /* bit of the incompatible features */

bool
disk_is_qcow2(const uint8_t *data, size_t len)
{
    return len >= 4 && memcmp(data, "QFI\xfb", 4) == 0;
}

static uint64_t
get_be(const uint8_t *from, unsigned size)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < size; i++)
        value = value << 8 | from[i];
    return value;
}

int
disk_qcow2_check(const uint8_t *data, size_t len, uint64_t *ret_size, struct vmt_err *err)
{
    uint64_t version;

    if (len < QCOW2_V2_HEADER || !disk_is_qcow2(data, len))
        return vmt_err_setx(err, EBADMSG, "no header of a qcow2 file");
    version = get_be(data + 4, 4);
    if (version != 2 && (version != 3 || len < DISK_QCOW2_HEADER))
        return vmt_err_setx(err, EBADMSG, "not a qcow2 file of version 2 or 3");
    if (get_be(data + 8, 8) || get_be(data + 16, 4))
        return vmt_err_setx(err, EBADMSG, "the qcow2 file has a backing file");
    if (get_be(data + 32, 4))
        return vmt_err_setx(err, EBADMSG, "the qcow2 file is encrypted");
    if (version == 3 && get_be(data + 72, 8) & QCOW2_DATA_FILE)
        return vmt_err_setx(err, EBADMSG, "the qcow2 file has a data file");
    *ret_size = get_be(data + 24, 8);
    return 0;
}
