/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/disk/name.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

static const char digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static const char *const extensions[] = {
    [DISK_KIND_RAW] = ".img",
    [DISK_KIND_QCOW2] = ".qcow2",
    [DISK_KIND_PFLASH] = ".pflash",
};
static_assert(sizeof(extensions) / sizeof(extensions[0]) == DISK_KIND_COUNT,
              "a kind has no extension");

const char *
disk_file_name(const char *name, enum disk_kind kind, char *file)
{
    size_t len = strlen(name), at = 0;

    assert(len > 0 && len <= VMT_VM_NAME_MAX);
    for (size_t i = 0; i < len; i += 3) {
        size_t n = len - i < 3 ? len - i : 3;
        uint32_t v = (uint32_t)(uint8_t)name[i] << 16;

        if (n > 1)
            v |= (uint32_t)(uint8_t)name[i + 1] << 8;
        if (n > 2)
            v |= (uint8_t)name[i + 2];
        file[at++] = digits[v >> 18 & 63];
        file[at++] = digits[v >> 12 & 63];
        file[at++] = n > 1 ? digits[v >> 6 & 63] : '=';
        file[at++] = n > 2 ? digits[v & 63] : '=';
    }
    memcpy(file + at, extensions[kind], strlen(extensions[kind]) + 1);
    return file;
}

/* Returns the bytes of the name, 0 for text that no name makes. */
static size_t
decode(const char *text, size_t len, char *name)
{
    uint32_t acc = 0;
    unsigned bits = 0;
    size_t n = 0;

    while (len > 0 && text[len - 1] == '=')
        len--;
    for (size_t i = 0; i < len; i++) {
        const char *digit = memchr(digits, text[i], sizeof(digits) - 1);

        if (!digit)
            return 0;
        acc = acc << 6 | (uint32_t)(digit - digits);
        bits += 6;
        if (bits < 8)
            continue;
        bits -= 8;
        if (n == VMT_VM_NAME_MAX)
            return 0;
        name[n++] = (char)(acc >> bits & 0xff);
    }
    name[n] = '\0';
    return strlen(name) == n ? n : 0;
}

bool
disk_file_parse(const char *file, char *name, enum disk_kind *ret_kind)
{
    const char *dot = strrchr(file, '.');

    for (int kind = 0; dot && kind < DISK_KIND_COUNT; kind++) {
        if (strcmp(dot, extensions[kind]) != 0)
            continue;
        *ret_kind = (enum disk_kind)kind;
        return decode(file, (size_t)(dot - file), name) > 0;
    }
    return false;
}
