/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/unit/vsh/hex.h - frames written as hexadecimal text, blanks between for the eye.
 */
#pragma once

#include <ctype.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Frames of the wire, recorded by hand from the protocol's definition. */
#define HEX_REQUEST                                                                      \
    "2b000000 0a09 2f766d5f7368656c6c 1203 626f62 1a0d 0a045445524d 12057874 65726d "    \
    "2a026c73 2a022d6c 3018 3850"
#define HEX_REQUEST_NOPTY                                                                \
    "2d000000 0a09 2f766d5f7368656c6c 1203 626f62 1a0d 0a045445524d 12057874 65726d "    \
    "2a026c73 2a022d6c 3018 3850 4001"
#define HEX_READY "10000000 0801 1209 767368207265616479 18ac02"
#define HEX_STDIN_HI "08000000 0a06 0801 1202 6869"
#define HEX_STDIN_EOF "04000000 0a02 0801"
#define HEX_RESIZE "07000000 1a05 0832 108401"
#define HEX_SIGINT "02000000 2002"
#define HEX_SIGTERM "02000000 200f"
#define HEX_STDOUT_OK "09000000 0a07 0802 1203 6f6b0a"
#define HEX_EXITED_3 "06000000 1204 0802 1806"

static inline size_t
hex_bytes(const char *text, uint8_t *out)
{
    static const char digits[] = "0123456789abcdef";
    size_t n = 0;

    for (; *text; text++) {
        const char *at = strchr(digits, *text);

        if (isspace((unsigned char)*text))
            continue;
        out[n / 2] = (uint8_t)(out[n / 2] << 4 | (at - digits));
        n++;
    }
    return n / 2;
}
