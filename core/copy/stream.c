/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/copy/stream.h"

#include <errno.h>
#include <string.h>

#include "core/base/cleanup.h"

static const uint8_t magic[8] = {'V', 'M', 'T', 'C', 'O', 'P', 'Y', '1'};

/* Append a little-endian number of n bytes. */
static uint8_t *
put_number(uint8_t *at, uint64_t value, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        *at++ = (uint8_t)(value >> (8 * i));
    return at;
}

/* The length is known to fit. */
static uint8_t *
put_string(uint8_t *at, const char *text)
{
    size_t len = strlen(text);

    at = put_number(at, len, 2);
    memcpy(at, text, len + 1);
    return at + len + 1;
}

/* Fill in the head when the body, up to end and more bytes of the caller, is known. */
static size_t
put_head(uint8_t *out, enum copy_kind kind, const uint8_t *end, size_t more)
{
    size_t n = (size_t)(end - out);

    out[0] = (uint8_t)kind;
    (void)put_number(out + 1, n - COPY_HEAD + more, 4);
    return n;
}

size_t
copy_start_encode(uint64_t total, uint8_t *out)
{
    uint8_t *at = out + COPY_HEAD;

    memcpy(at, magic, sizeof(magic));
    at = put_number(at + sizeof(magic), total, 8);
    return put_head(out, COPY_START, at, 0);
}

size_t
copy_done_encode(bool whole, uint8_t *out)
{
    return put_head(out, COPY_DONE, put_number(out + COPY_HEAD, whole, 1), 0);
}

size_t
copy_end_encode(uint8_t *out)
{
    return put_head(out, COPY_END, out + COPY_HEAD, 0);
}

ssize_t
copy_entry_encode(const struct copy_entry *entry, uint8_t *out)
{
    uint8_t *at = out + COPY_HEAD;

    if (strlen(entry->path) > COPY_PATH_MAX || strlen(entry->target) > COPY_PATH_MAX)
        return -ENAMETOOLONG;
    at = put_number(at, entry->type, 1);
    at = put_number(at, entry->mode, 4);
    at = put_number(at, (uint64_t)entry->mtime_s, 8);
    at = put_number(at, entry->mtime_ns, 4);
    at = put_number(at, entry->size, 8);
    at = put_string(at, entry->path);
    at = put_string(at, entry->target);
    return (ssize_t)put_head(out, COPY_ENTRY, at, 0);
}

size_t
copy_data_encode(uint64_t offset, size_t len, uint8_t *out)
{
    return put_head(out, COPY_DATA, put_number(out + COPY_HEAD, offset, 8), len);
}

ssize_t
copy_xattr_encode(const char *name, size_t len, uint8_t *out)
{
    if (strlen(name) > COPY_XATTR_NAME_MAX)
        return -ENAMETOOLONG;
    return (ssize_t)put_head(out, COPY_XATTR, put_string(out + COPY_HEAD, name), len);
}

/* What is left of a body. Once something was not there, everything after it is not there.
 */
struct cursor {
    const uint8_t *at;
    size_t left;
    bool failed;
};

static const uint8_t *
take(struct cursor *c, size_t n)
{
    const uint8_t *at = c->at;

    if (c->failed || n > c->left) {
        c->failed = true;
        return NULL;
    }
    c->at += n;
    c->left -= n;
    return at;
}

static uint64_t
take_number(struct cursor *c, unsigned n)
{
    const uint8_t *at = take(c, n);
    uint64_t value = 0;

    for (unsigned i = 0; at && i < n; i++)
        value |= (uint64_t)at[i] << (8 * i);
    return value;
}

static const char *
take_string(struct cursor *c, size_t max)
{
    size_t len = (size_t)take_number(c, 2);
    const uint8_t *at = take(c, len + 1);

    if (!at || len > max || at[len] != '\0' || memchr(at, '\0', len)) {
        c->failed = true;
        return "";
    }
    return (const char *)at;
}

static void
take_start(struct cursor *c, struct copy_record *r)
{
    const uint8_t *at = take(c, sizeof(magic));

    if (!at || memcmp(at, magic, sizeof(magic)) != 0)
        c->failed = true;
    r->total = take_number(c, 8);
}

static bool
entry_ok(const struct copy_entry *e)
{
    bool link = e->type == COPY_SYMLINK || e->type == COPY_HARDLINK;

    if (e->type < COPY_FILE || e->type > COPY_HARDLINK || !copy_path_ok(e->path))
        return false;
    if (e->mode > 0777 || e->mtime_ns >= 1000000000u)
        return false;
    if (e->type != COPY_FILE && e->size != 0)
        return false;
    if (e->size > INT64_MAX && e->size != COPY_SIZE_UNKNOWN)
        return false;
    if (link != (*e->target != '\0'))
        return false;
    return e->type != COPY_HARDLINK || copy_path_ok(e->target);
}

static void
take_entry(struct cursor *c, struct copy_record *r)
{
    struct copy_entry *e = &r->entry;

    e->type = (enum copy_type)take_number(c, 1);
    e->mode = (uint32_t)take_number(c, 4);
    e->mtime_s = (int64_t)take_number(c, 8);
    e->mtime_ns = (uint32_t)take_number(c, 4);
    e->size = take_number(c, 8);
    e->path = take_string(c, COPY_PATH_MAX);
    e->target = take_string(c, COPY_PATH_MAX);
    if (!c->failed && !entry_ok(e))
        c->failed = true;
}

static void
take_xattr(struct cursor *c, struct copy_record *r)
{
    r->name = take_string(c, COPY_XATTR_NAME_MAX);
    r->len = c->left;
    r->data = take(c, r->len);
    if (*r->name == '\0' || r->len > COPY_XATTR_MAX)
        c->failed = true;
}

static void
take_data(struct cursor *c, struct copy_record *r)
{
    r->offset = take_number(c, 8);
    r->len = c->left;
    r->data = take(c, r->len);
    if (r->len == 0 || r->len > COPY_DATA_MAX || r->offset > INT64_MAX - r->len)
        c->failed = true;
}

static void
take_done(struct cursor *c, struct copy_record *r)
{
    uint64_t whole = take_number(c, 1);

    r->whole = whole == 1;
    if (whole > 1)
        c->failed = true;
}

static void
take_nothing(struct cursor *c, struct copy_record *r)
{
    (void)c;
    (void)r;
}

static void (*const takers[])(struct cursor *c, struct copy_record *r) = {
    [COPY_START] = take_start, [COPY_ENTRY] = take_entry, [COPY_XATTR] = take_xattr,
    [COPY_DATA] = take_data,   [COPY_DONE] = take_done,   [COPY_END] = take_nothing,
};

int
copy_head_decode(const uint8_t *head, enum copy_kind *ret_kind, size_t *ret_len)
{
    struct cursor c = {.at = head, .left = COPY_HEAD};
    unsigned kind = (unsigned)take_number(&c, 1);
    size_t len = (size_t)take_number(&c, 4);

    if (kind >= VMT_ARRAY_SIZE(takers) || !takers[kind] || len > COPY_BODY_MAX)
        return -EBADMSG;
    *ret_kind = (enum copy_kind)kind;
    *ret_len = len;
    return 0;
}

int
copy_body_decode(enum copy_kind kind, const uint8_t *body, size_t len,
                 struct copy_record *ret_record)
{
    struct cursor c = {.at = body, .left = len};
    struct copy_record r = {.kind = kind};

    takers[kind](&c, &r);
    if (c.failed || c.left > 0)
        return -EBADMSG;
    *ret_record = r;
    return 0;
}
