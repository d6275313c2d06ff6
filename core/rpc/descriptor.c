/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/rpc/descriptor_internal.h"

#include <string.h>

#include "core/base/cleanup.h"
#include "proto/file.h"

/* Field numbers that all descriptors share, and those of FieldDescriptorProto and
 * FileDescriptorProto. */
#define NAME 1
#define FILE_PACKAGE 2
#define FIELD_EXTENDEE 2
#define FIELD_NUMBER 3

#define WIRE_VARINT 0
#define WIRE_FIXED64 1
#define WIRE_BYTES 2
#define WIRE_FIXED32 5

struct span {
    const uint8_t *data;
    size_t len;
};

struct field {
    uint32_t number;
    uint64_t varint;   /* of a varint */
    struct span bytes; /* of a string or message, else empty */
};

/* What a descriptor may hold that has a name. */
static const struct {
    enum descriptor_kind parent;
    uint32_t number;
    enum descriptor_kind kind;
    bool extension;
} children[] = {
    {DESCRIPTOR_FILE, 4, DESCRIPTOR_MESSAGE, false},
    {DESCRIPTOR_FILE, 5, DESCRIPTOR_ENUM, false},
    {DESCRIPTOR_FILE, 6, DESCRIPTOR_SERVICE, false},
    {DESCRIPTOR_FILE, 7, DESCRIPTOR_MEMBER, true},
    {DESCRIPTOR_MESSAGE, 2, DESCRIPTOR_MEMBER, false},
    {DESCRIPTOR_MESSAGE, 3, DESCRIPTOR_MESSAGE, false},
    {DESCRIPTOR_MESSAGE, 4, DESCRIPTOR_ENUM, false},
    {DESCRIPTOR_MESSAGE, 6, DESCRIPTOR_MEMBER, true},
    {DESCRIPTOR_MESSAGE, 8, DESCRIPTOR_MEMBER, false},
    {DESCRIPTOR_ENUM, 2, DESCRIPTOR_MEMBER, false},
    {DESCRIPTOR_SERVICE, 2, DESCRIPTOR_MEMBER, false},
};

static bool
span_is(struct span s, const char *text, size_t len)
{
    return s.len == len && memcmp(s.data, text, len) == 0;
}

/* Take n bytes off the front. */
static bool
span_take(struct span *s, uint64_t n, struct span *ret_taken)
{
    if (n > s->len)
        return false;
    *ret_taken = (struct span){s->data, (size_t)n};
    s->data += n;
    s->len -= (size_t)n;
    return true;
}

static bool
span_varint(struct span *s, uint64_t *ret_value)
{
    uint64_t value = 0;

    for (unsigned shift = 0; shift < 64 && s->len > 0; shift += 7) {
        uint8_t byte = *s->data++;

        s->len--;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *ret_value = value;
            return true;
        }
    }
    return false;
}

/* Take the next field off a message; false at its end, and where it cannot be read. */
static bool
span_field(struct span *s, struct field *ret_field)
{
    uint64_t tag, len = 0;

    *ret_field = (struct field){0};
    if (!span_varint(s, &tag))
        return false;
    ret_field->number = (uint32_t)(tag >> 3);
    switch (tag & 7) {
    case WIRE_VARINT:
        return span_varint(s, &ret_field->varint);
    case WIRE_BYTES:
        return span_varint(s, &len) && span_take(s, len, &ret_field->bytes);
    case WIRE_FIXED64:
        return span_take(s, 8, &ret_field->bytes);
    case WIRE_FIXED32:
        return span_take(s, 4, &ret_field->bytes);
    default:
        return false;
    }
}

/* The bytes of the first field with this number; empty if there is none. */
static struct span
span_get(struct span s, uint32_t number)
{
    struct field f;

    while (span_field(&s, &f)) {
        if (f.number == number)
            return f.bytes;
    }
    return (struct span){0};
}

static enum descriptor_kind
child_kind(enum descriptor_kind parent, uint32_t number)
{
    for (size_t i = 0; i < VMT_ARRAY_SIZE(children); i++) {
        if (children[i].parent == parent && children[i].number == number)
            return children[i].kind;
    }
    return DESCRIPTOR_NONE;
}

static bool
enum_has_value(struct span s, const char *name, size_t len)
{
    struct field f;

    while (span_field(&s, &f)) {
        if (child_kind(DESCRIPTOR_ENUM, f.number) &&
            span_is(span_get(f.bytes, NAME), name, len))
            return true;
    }
    return false;
}

/* The child of a descriptor that has the name of len bytes. Returns its kind. */
static enum descriptor_kind
find_child(struct span s, enum descriptor_kind parent, const char *name, size_t len,
           struct span *ret_child)
{
    struct field f;

    while (span_field(&s, &f)) {
        enum descriptor_kind kind = child_kind(parent, f.number);

        if (kind == DESCRIPTOR_NONE)
            continue;
        *ret_child = f.bytes;
        if (span_is(span_get(f.bytes, NAME), name, len))
            return kind;
        if (kind == DESCRIPTOR_ENUM && enum_has_value(f.bytes, name, len))
            return DESCRIPTOR_MEMBER;
    }
    return DESCRIPTOR_NONE;
}

/* The rest of name after the package of the file; NULL: it is in another. */
static const char *
skip_package(struct span file, const char *name)
{
    struct span package = span_get(file, FILE_PACKAGE);

    if (package.len == 0)
        return name;
    if (strlen(name) <= package.len || memcmp(name, package.data, package.len) != 0 ||
        name[package.len] != '.')
        return NULL;
    return name + package.len + 1;
}

static struct span
file_span(const struct proto_file *file)
{
    return (struct span){file->bytes, file->len};
}

enum descriptor_kind
descriptor_find(const struct proto_file *file, const char *name)
{
    enum descriptor_kind kind = DESCRIPTOR_FILE;
    struct span s = file_span(file);
    const char *rest = skip_package(s, name);

    while (rest && kind != DESCRIPTOR_NONE) {
        const char *dot = strchr(rest, '.');
        size_t len = dot ? (size_t)(dot - rest) : strlen(rest);

        /* Nothing has a full name that goes on after that of an enum: its values are
         * beside it. */
        if (len == 0 || kind == DESCRIPTOR_ENUM)
            return DESCRIPTOR_NONE;
        kind = find_child(s, kind, rest, len, &s);
        rest = dot ? dot + 1 : NULL;
    }
    return kind == DESCRIPTOR_FILE ? DESCRIPTOR_NONE : kind;
}

/* The number of an extension; 0: it is none of the type. */
static int32_t
extension_number(struct span s, const char *type)
{
    uint64_t number = 0;
    bool fits = false;
    struct field f;

    while (span_field(&s, &f)) {
        /* protoc writes full names of types with a dot in front */
        if (f.number == FIELD_EXTENDEE && f.bytes.len > 0)
            fits = f.bytes.data[0] == '.' &&
                   span_is((struct span){f.bytes.data + 1, f.bytes.len - 1}, type,
                           strlen(type));
        if (f.number == FIELD_NUMBER)
            number = f.varint;
    }
    return fits ? (int32_t)number : 0;
}

/* What walk_extensions looks for and finds. */
struct extension_walk {
    const char *type;
    int32_t wanted; /* found says whether it is there */
    bool found;
    int32_t *numbers;
    size_t n, max; /* room for max in numbers */
};

static void
walk_extension(struct extension_walk *walk, struct span s)
{
    int32_t number = extension_number(s, walk->type);

    if (number == 0)
        return;
    if (number == walk->wanted)
        walk->found = true;
    if (walk->n < walk->max)
        walk->numbers[walk->n] = number;
    walk->n++;
}

/* Messages lie within each other as deep as the .proto file says, which is ours. */
static void
walk_extensions(struct extension_walk *walk, struct span s, enum descriptor_kind parent)
{
    struct field f;

    while (span_field(&s, &f)) {
        for (size_t i = 0; i < VMT_ARRAY_SIZE(children); i++) {
            if (children[i].parent != parent || children[i].number != f.number)
                continue;
            if (children[i].kind == DESCRIPTOR_MESSAGE)
                walk_extensions(walk, f.bytes, DESCRIPTOR_MESSAGE);
            if (children[i].extension)
                walk_extension(walk, f.bytes);
        }
    }
}

size_t
descriptor_extensions(const struct proto_file *file, const char *type, int32_t *numbers,
                      size_t max)
{
    struct extension_walk walk = {.type = type, .numbers = numbers, .max = max};

    walk_extensions(&walk, file_span(file), DESCRIPTOR_FILE);
    return walk.n;
}

bool
descriptor_extends(const struct proto_file *file, const char *type, int32_t number)
{
    struct extension_walk walk = {.type = type, .wanted = number};

    walk_extensions(&walk, file_span(file), DESCRIPTOR_FILE);
    return walk.found;
}
