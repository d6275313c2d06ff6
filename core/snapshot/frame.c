/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/snapshot/frame.h"

#include <errno.h>
#include <string.h>

#include "core/base/err.h"

static const uint8_t magic[4] = {'v', 'm', 't', 's'};

uint32_t
snapshot_crc32(const uint8_t *data, size_t len)
{
    uint32_t crc = 0xffffffffu;

    for (size_t i = 0; i < len; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    }
    return ~crc;
}

static void
put_le32(uint8_t *out, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        out[i] = (uint8_t)(v >> 8 * i);
}

static uint32_t
get_le32(const uint8_t *in)
{
    return (uint32_t)in[0] | (uint32_t)in[1] << 8 | (uint32_t)in[2] << 16 |
           (uint32_t)in[3] << 24;
}

void
snapshot_frame_head(const uint8_t *body, size_t len, uint8_t *out)
{
    memcpy(out, magic, sizeof(magic));
    put_le32(out + 4, (uint32_t)len);
    put_le32(out + 8, snapshot_crc32(body, len));
}

int
snapshot_frame_open(const uint8_t *data, size_t len, const uint8_t **ret_body,
                    size_t *ret_len, struct vmt_err *err)
{
    if (len < SNAPSHOT_FRAME_HEAD || memcmp(data, magic, sizeof(magic)) != 0)
        return vmt_err_setx(err, EBADMSG, "the record does not begin as one");
    if (get_le32(data + 4) != len - SNAPSHOT_FRAME_HEAD)
        return vmt_err_setx(err, EBADMSG, "the record is cut off");
    if (get_le32(data + 8) !=
        snapshot_crc32(data + SNAPSHOT_FRAME_HEAD, len - SNAPSHOT_FRAME_HEAD))
        return vmt_err_setx(err, EBADMSG, "the record was changed");
    *ret_body = data + SNAPSHOT_FRAME_HEAD;
    *ret_len = len - SNAPSHOT_FRAME_HEAD;
    return 0;
}
