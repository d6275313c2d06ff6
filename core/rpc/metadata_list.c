/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/rpc/metadata.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include "core/base/cleanup.h"
#include "core/rpc/metadata_internal.h"

/* RFC 9113 section 6.5.2: what a field takes beside its name and value. */
#define FIELD_OVERHEAD 32u

static const char base64_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static size_t
base64_len(size_t len)
{
    return len / 3 * 4 + (len % 3 ? len % 3 + 1 : 0);
}

/* Without padding, as the protocol prefers. */
static void
base64_encode(uint8_t *out, const uint8_t *data, size_t len)
{
    uint32_t bits = 0;
    unsigned nbits = 0;

    for (size_t i = 0; i < len; i++) {
        bits = bits << 8 | data[i];
        for (nbits += 8; nbits >= 6; nbits -= 6)
            *out++ = (uint8_t)base64_digits[bits >> (nbits - 6) & 63];
    }
    if (nbits > 0)
        *out = (uint8_t)base64_digits[bits << (6 - nbits) & 63];
}

/* With or without padding. out has room for len bytes. Returns the length or -EINVAL. */
static ssize_t
base64_decode(uint8_t *out, const uint8_t *text, size_t len)
{
    uint32_t bits = 0;
    unsigned nbits = 0;
    size_t n = 0;

    if (len > 0 && len % 4 == 0 && text[len - 1] == '=')
        len -= text[len - 2] == '=' ? 2 : 1;
    if (len % 4 == 1)
        return -EINVAL;
    for (size_t i = 0; i < len; i++) {
        const char *digit = text[i] ? strchr(base64_digits, text[i]) : NULL;

        if (!digit)
            return -EINVAL;
        bits = bits << 6 | (uint32_t)(digit - base64_digits);
        nbits += 6;
        if (nbits >= 8) {
            nbits -= 8;
            out[n++] = (uint8_t)(bits >> nbits);
        }
    }
    return (ssize_t)n;
}

static bool
key_is_binary(const char *key, size_t len)
{
    return len >= 4 && memcmp(key + len - 4, "-bin", 4) == 0;
}

/* Every field of every request comes by here: a table, not a search. */
static const bool key_chars[256] = {
    ['0' ... '9'] = true, ['a' ... 'z'] = true, ['_'] = true, ['-'] = true, ['.'] = true};

#define KEY(literal)                                                                     \
    {                                                                                    \
        literal, sizeof(literal) - 1                                                     \
    }
static const struct {
    const char *name;
    size_t len;
} reserved_keys[] = {KEY("connection"),
                     KEY("content-length"),
                     KEY("content-type"),
                     KEY("host"),
                     KEY("keep-alive"),
                     KEY("accept-encoding"),
                     KEY("te"),
                     KEY("trailer"),
                     KEY("upgrade"),
                     KEY("proxy-connection"),
                     KEY("transfer-encoding"),
                     KEY("user-agent")};

bool
rpc_metadata_key_ok(const uint8_t *key, size_t len)
{
    if (len == 0)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (!key_chars[key[i]])
            return false;
    }
    for (size_t i = 0; i < VMT_ARRAY_SIZE(reserved_keys); i++) {
        if (reserved_keys[i].len == len && memcmp(reserved_keys[i].name, key, len) == 0)
            return false;
    }
    if (len >= 4 && memcmp(key, "vmt-", 4) == 0)
        return false;
    if (len < 5 || memcmp(key, "grpc-", 5) != 0)
        return true;
    return len == strlen(RPC_STATUS_DETAILS_KEY) &&
           memcmp(key, RPC_STATUS_DETAILS_KEY, len) == 0;
}

static bool
value_is_ascii(const uint8_t *value, size_t len)
{
    if (len > 0 && (value[0] == ' ' || value[len - 1] == ' '))
        return false;
    for (size_t i = 0; i < len; i++) {
        if (value[i] < 0x20 || value[i] > 0x7e)
            return false;
    }
    return true;
}

/* An entry with the key, room for value_len + 1 bytes at *ret_value, all zeroes, and
 * wire_len bytes at *ret_wire, in one allocation. NULL without memory. */
static struct rpc_metadata_entry *
entry_new(const void *key, size_t key_len, size_t value_len, size_t wire_len)
{
    struct rpc_metadata_entry *e =
        calloc(1, sizeof(*e) + key_len + 1 + value_len + 1 + wire_len);
    char *room = e ? (char *)(e + 1) : NULL;

    if (!e)
        return NULL;
    memcpy(room, key, key_len);
    e->key = room;
    e->value = (uint8_t *)room + key_len + 1;
    e->len = value_len;
    e->wire = wire_len > 0 ? e->value + value_len + 1 : e->value;
    e->wire_len = wire_len > 0 ? wire_len : value_len;
    return e;
}

static void
list_append(struct rpc_metadata *metadata, struct rpc_metadata_entry *e)
{
    if (metadata->last)
        metadata->last->next = e;
    else
        metadata->first = e;
    metadata->last = e;
    metadata->n++;
    metadata->bytes += strlen(e->key) + e->wire_len + FIELD_OVERHEAD;
}

int
rpc_metadata_add(struct rpc_metadata *metadata, const char *key, const void *value,
                 size_t len)
{
    size_t key_len = strlen(key);
    bool binary = key_is_binary(key, key_len);
    struct rpc_metadata_entry *e;
    size_t wire_len;

    if (!rpc_metadata_key_ok((const uint8_t *)key, key_len) ||
        (!binary && !value_is_ascii(value, len)))
        return -EINVAL;
    if (metadata->n >= RPC_METADATA_COUNT_MAX || len > RPC_METADATA_BYTES_MAX)
        return -E2BIG;
    wire_len = binary ? base64_len(len) : len;
    if (metadata->bytes + key_len + wire_len + FIELD_OVERHEAD > RPC_METADATA_BYTES_MAX)
        return -E2BIG;
    e = entry_new(key, key_len, len, binary ? wire_len : 0);
    if (!e)
        return -ENOMEM;
    if (len > 0)
        memcpy((uint8_t *)(uintptr_t)e->value, value, len);
    if (wire_len > 0 && binary)
        base64_encode((uint8_t *)(uintptr_t)e->wire, value, len);
    list_append(metadata, e);
    return 0;
}

static int
receive_one(struct rpc_metadata *metadata, const struct rpc_header *field,
            const uint8_t *value, size_t len)
{
    struct rpc_metadata_entry *e;
    ssize_t n = (ssize_t)len;

    if (metadata->n >= RPC_METADATA_COUNT_MAX)
        return -E2BIG;
    e = entry_new(field->name, field->name_len, len, 0);
    if (!e)
        return -ENOMEM;
    if (key_is_binary((const char *)field->name, field->name_len))
        n = base64_decode((uint8_t *)(uintptr_t)e->value, value, len);
    else if (len > 0)
        memcpy((uint8_t *)(uintptr_t)e->value, value, len);
    if (n < 0) {
        free(e);
        return (int)n;
    }
    e->len = (size_t)n;
    e->wire_len = (size_t)n;
    ((uint8_t *)(uintptr_t)e->value)[n] = 0;
    list_append(metadata, e);
    return 0;
}

int
rpc_metadata_receive(struct rpc_metadata *metadata, const struct rpc_header *field)
{
    const uint8_t *at = field->value;
    size_t left = field->value_len;

    if (!rpc_metadata_key_ok(field->name, field->name_len))
        return 0;
    if (!key_is_binary((const char *)field->name, field->name_len))
        return receive_one(metadata, field, at, left);
    for (;;) {
        const uint8_t *comma = left > 0 ? memchr(at, ',', left) : NULL;
        size_t len = comma ? (size_t)(comma - at) : left;
        int r = receive_one(metadata, field, at, len);

        if (r < 0 || !comma)
            return r;
        at += len + 1;
        left -= len + 1;
    }
}

struct rpc_status *
rpc_metadata_status(struct rpc_status *status, int error)
{
    if (error == -EINVAL)
        return rpc_status_set(status, RPC_INTERNAL, "malformed binary metadata");
    if (error == -E2BIG)
        return rpc_status_set(status, RPC_RESOURCE_EXHAUSTED,
                              "more than %u values of metadata", RPC_METADATA_COUNT_MAX);
    return rpc_status_set(status, RPC_RESOURCE_EXHAUSTED, "out of memory");
}

const struct rpc_metadata_entry *
rpc_metadata_find(const struct rpc_metadata *metadata, const char *key,
                  const struct rpc_metadata_entry *after)
{
    const struct rpc_metadata_entry *e = after ? after->next : metadata->first;

    while (e && strcmp(e->key, key) != 0)
        e = e->next;
    return e;
}

void
rpc_metadata_done(struct rpc_metadata *metadata)
{
    const struct rpc_metadata_entry *e = metadata->first;

    while (e) {
        const struct rpc_metadata_entry *next = e->next;

        free((void *)(uintptr_t)e);
        e = next;
    }
    *metadata = (struct rpc_metadata){0};
}
