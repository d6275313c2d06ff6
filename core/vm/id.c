/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/vm/id.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "core/base/err.h"

int
vm_owner_check(const char *owner, struct vmt_err *err)
{
    size_t len = strlen(owner);

    if (len == 0)
        return vmt_err_setx(err, EINVAL, "the owner id is empty");
    if (strspn(owner, "0123456789abcdefABCDEF") != len)
        return vmt_err_setx(err, EINVAL, "the owner id may hold hexadecimal digits only");
    if (len > VM_OWNER_MAX)
        return vmt_err_setx(err, EINVAL, "the owner id has %zu digits, more than %d", len,
                            VM_OWNER_MAX);
    return 0;
}

int
vm_id_check(const char *owner, const char *name, struct vmt_err *err)
{
    int r = vm_owner_check(owner, err);

    if (r < 0)
        return r;
    if (!*name)
        return vmt_err_setx(err, EINVAL, "the VM name is empty");
    return 0;
}

/* Bytes of the UTF-8 sequence at text, 0 if it is none. Source: RFC 3629, section 4. */
static size_t
utf8_len(const uint8_t *text)
{
    size_t n = text[0] < 0x80 ? 1 : text[0] >= 0xf0 ? 4 : text[0] >= 0xe0 ? 3 : 2;

    if (text[0] >= 0x80 && (text[0] < 0xc2 || text[0] > 0xf4))
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    if ((text[0] == 0xe0 && text[1] < 0xa0) || (text[0] == 0xed && text[1] > 0x9f) ||
        (text[0] == 0xf0 && text[1] < 0x90) || (text[0] == 0xf4 && text[1] > 0x8f))
        return 0;
    return n;
}

static int
check_text(const char *name, struct vmt_err *err)
{
    const uint8_t *at = (const uint8_t *)name;

    while (*at) {
        size_t n = utf8_len(at);

        if (n == 0)
            return vmt_err_setx(err, EINVAL, "the VM name is not valid UTF-8");
        /* C0, DEL, and C1 in its two-byte form: a name ends up on terminals. */
        if (*at < 0x20 || *at == 0x7f || (*at == 0xc2 && at[1] < 0xa0))
            return vmt_err_setx(err, EINVAL,
                                "the VM name holds a control character, which is not "
                                "allowed");
        at += n;
    }
    return 0;
}

int
vm_id_set(struct vm_id *id, const char *owner, const char *name, struct vmt_err *err)
{
    size_t len = strlen(name);
    int r = vm_id_check(owner, name, err);

    if (r < 0)
        return r;
    if (len > VMT_VM_NAME_MAX)
        return vmt_err_setx(err, EINVAL,
                            "the VM name has %zu bytes, more than the %d allowed", len,
                            VMT_VM_NAME_MAX);
    r = check_text(name, err);
    if (r < 0)
        return r;
    memcpy(id->name, name, len + 1);
    memcpy(id->owner, owner, strlen(owner) + 1);
    return 0;
}

int
vm_id_compare(const struct vm_id *id, const char *owner, const char *name)
{
    int r = strcmp(id->owner, owner);

    return r ? r : strcmp(id->name, name);
}

const char *
vm_id_key(const struct vm_id *id, char *key)
{
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    size_t at = strlen(id->owner), len = strlen(id->name);
    uint32_t acc = 0;
    unsigned bits = 0;

    memcpy(key, id->owner, at);
    key[at++] = '-';
    for (size_t i = 0; i < len; i++) {
        acc = acc << 8 | (uint8_t)id->name[i];
        for (bits += 8; bits >= 6; bits -= 6)
            key[at++] = digits[acc >> (bits - 6) & 63];
    }
    if (bits > 0)
        key[at++] = digits[acc << (6 - bits) & 63];
    key[at] = '\0';
    return key;
}

/* FNV-1a, then the finalizer of MurmurHash3, because the low bits of the first alone say
 * little about short texts. Both are in the public domain. */
uint64_t
vm_key_hash(const char *key)
{
    uint64_t h = 0xcbf29ce484222325u;

    for (; *key; key++)
        h = (h ^ (uint8_t)*key) * 0x100000001b3u;
    h = (h ^ (h >> 33)) * 0xff51afd7ed558ccdu;
    h = (h ^ (h >> 33)) * 0xc4ceb9fe1a85ec53u;
    return h ^ (h >> 33);
}
