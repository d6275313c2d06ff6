/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/text/text_internal.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/buf.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"

#define NUMBER_TEXT_MAX 64 /* no number that means something is longer */

/* Copy the current token as a NUL-terminated string. False when it does not fit. */
static bool
token_copy(const struct text_lexer *lx, char *buf, size_t cap)
{
    if (lx->token.len >= cap)
        return false;
    memcpy(buf, lx->token.start, lx->token.len);
    buf[lx->token.len] = '\0';
    return true;
}

/* Take a '-' if there is one. */
static int
take_sign(struct text_lexer *lx, bool *ret_negative)
{
    *ret_negative = text_is_symbol(lx, '-');
    return *ret_negative ? text_next(lx) : 0;
}

/* The magnitude at the current token: decimal, 0x hex or 0 octal, at most max. */
static int
read_magnitude(const struct text_lexer *lx, uint64_t max, uint64_t *ret)
{
    const char *p = lx->token.start, *end = p + lx->token.len;
    unsigned base = 10;
    uint64_t v = 0;

    if (lx->token.kind != TEXT_NUMBER)
        return text_fail(lx, "expected a whole number");
    if (lx->token.len > 2 && p[0] == '0' && (p[1] == 'x' || p[1] == 'X')) {
        base = 16;
        p += 2;
    } else if (lx->token.len > 1 && p[0] == '0') {
        base = 8;
        p++;
    }
    for (; p < end; p++) {
        char lower = (char)(*p | 0x20);
        unsigned d = *p >= '0' && *p <= '9'         ? (unsigned)(*p - '0')
                     : lower >= 'a' && lower <= 'f' ? (unsigned)(lower - 'a') + 10
                                                    : base;

        if (d >= base)
            return text_fail(lx, "expected a whole number");
        if (v > (UINT64_MAX - d) / base)
            return text_fail(lx, "number is out of range");
        v = v * base + d;
    }
    if (v > max)
        return text_fail(lx, "number is out of range");
    *ret = v;
    return 0;
}

static int
read_signed(struct text_lexer *lx, unsigned bits, int64_t *ret)
{
    uint64_t max = (UINT64_C(1) << (bits - 1)) - 1, v = 0;
    bool negative;
    int r = take_sign(lx, &negative);

    if (r < 0)
        return r;
    r = read_magnitude(lx, negative ? max + 1 : max, &v);
    if (r < 0)
        return r;
    *ret = negative ? (int64_t)(0 - v) : (int64_t)v;
    return 0;
}

static int
read_unsigned(struct text_lexer *lx, unsigned bits, uint64_t *ret)
{
    return read_magnitude(lx, bits == 64 ? UINT64_MAX : UINT32_MAX, ret);
}

/* inf, infinity and nan are words; a trailing f is allowed on numbers. */
static int
read_double(struct text_lexer *lx, double *ret)
{
    char buf[NUMBER_TEXT_MAX], *end;
    bool negative;
    double v = 0;
    int r = take_sign(lx, &negative);

    if (r < 0)
        return r;
    if (text_is_word(lx, "inf") || text_is_word(lx, "infinity")) {
        v = (double)INFINITY;
    } else if (text_is_word(lx, "nan")) {
        v = (double)NAN;
    } else {
        if (lx->token.kind != TEXT_NUMBER || !token_copy(lx, buf, sizeof(buf)) ||
            buf[1] == 'x' || buf[1] == 'X')
            return text_fail(lx, "expected a number");
        v = strtod(buf, &end);
        if (end == buf || (*end && strcmp(end, "f") != 0 && strcmp(end, "F") != 0))
            return text_fail(lx, "expected a number");
    }
    *ret = negative ? -v : v;
    return 0;
}

static int
read_bool(struct text_lexer *lx, protobuf_c_boolean *ret)
{
    static const struct {
        const char *word;
        bool value;
    } words[] = {{"true", true},   {"false", false}, {"True", true},
                 {"False", false}, {"t", true},      {"f", false}};
    uint64_t v;
    int r;

    for (size_t i = 0; i < VMT_ARRAY_SIZE(words); i++) {
        if (text_is_word(lx, words[i].word)) {
            *ret = words[i].value;
            return 0;
        }
    }
    if (lx->token.kind != TEXT_NUMBER)
        return text_fail(lx, "expected true or false");
    r = read_magnitude(lx, 1, &v);
    if (r == 0)
        *ret = v != 0;
    return r;
}

static int
read_enum(struct text_lexer *lx, const ProtobufCEnumDescriptor *type, int *ret)
{
    const ProtobufCEnumValue *value;
    int64_t number;
    int r;

    if (lx->token.kind == TEXT_IDENT) {
        for (unsigned i = 0; i < type->n_values; i++) {
            if (text_is_word(lx, type->values[i].name)) {
                *ret = type->values[i].value;
                return 0;
            }
        }
        for (unsigned i = 0; i < type->n_value_names; i++) { /* aliases stand only here */
            if (text_is_word(lx, type->values_by_name[i].name)) {
                *ret = type->values[type->values_by_name[i].index].value;
                return 0;
            }
        }
        return text_fail(lx, "no such value of %s", type->name);
    }
    r = read_signed(lx, 32, &number);
    if (r < 0)
        return r;
    value = protobuf_c_enum_descriptor_get_value(type, (int)number);
    if (!value)
        return text_fail(lx, "no such value of %s", type->name);
    *ret = value->value;
    return 0;
}

/* Valid UTF-8 without NUL: a C string carries nothing else. RFC 3629 section 4. */
static bool
is_text(const uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len;) {
        uint8_t c = p[i++];
        unsigned follow = c < 0x80 ? 0 : c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : 1;
        uint8_t low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
        uint8_t high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;

        if (c == 0 || (c >= 0x80 && c < 0xc2) || c > 0xf4)
            return false;
        for (; follow; follow--, low = 0x80, high = 0xbf) {
            if (i == len || p[i] < low || p[i] > high)
                return false;
            i++;
        }
    }
    return true;
}

/* Adjacent strings are one. Leaves the lexer behind the last of them. */
static int
read_strings(struct text_lexer *lx, struct vmt_buf *out)
{
    if (lx->token.kind != TEXT_STRING)
        return text_fail(lx, "expected a quoted string");
    while (lx->token.kind == TEXT_STRING) {
        int r = text_unquote(lx, out);

        if (r == 0)
            r = text_next(lx);
        if (r < 0)
            return r;
    }
    return 0;
}

static int
store_string(struct text_lexer *lx, const ProtobufCFieldDescriptor *field, char **member)
{
    VMT_CLEANUP(vmt_buf_done) struct vmt_buf buf = {0};
    struct text_token first = lx->token;
    char *copy;
    int r = read_strings(lx, &buf);

    if (r < 0)
        return r;
    if (!is_text(buf.data, buf.len)) {
        lx->token = first;
        return text_fail(lx, "%s must be UTF-8 without NUL", field->name);
    }
    copy = malloc(buf.len + 1);
    if (!copy)
        return vmt_err_set(lx->err, ENOMEM, "read text format");
    if (buf.len)
        memcpy(copy, buf.data, buf.len);
    copy[buf.len] = '\0';
    *member = copy;
    return 0;
}

static int
store_bytes(struct text_lexer *lx, ProtobufCBinaryData *member)
{
    VMT_CLEANUP(vmt_buf_done) struct vmt_buf buf = {0};
    uint8_t *copy = NULL;
    int r = read_strings(lx, &buf);

    if (r < 0)
        return r;
    if (buf.len) {
        copy = malloc(buf.len);
        if (!copy)
            return vmt_err_set(lx->err, ENOMEM, "read text format");
        memcpy(copy, buf.data, buf.len);
    }
    *member = (ProtobufCBinaryData){.len = buf.len, .data = copy};
    return 0;
}

static int
store_signed(struct text_lexer *lx, unsigned bits, void *member)
{
    int64_t v = 0;
    int r = read_signed(lx, bits, &v);

    if (r < 0)
        return r;
    if (bits == 32)
        *(int32_t *)member = (int32_t)v;
    else
        *(int64_t *)member = v;
    return text_next(lx);
}

static int
store_unsigned(struct text_lexer *lx, unsigned bits, void *member)
{
    uint64_t v = 0;
    int r = read_unsigned(lx, bits, &v);

    if (r < 0)
        return r;
    if (bits == 32)
        *(uint32_t *)member = (uint32_t)v;
    else
        *(uint64_t *)member = v;
    return text_next(lx);
}

static int
store_real(struct text_lexer *lx, bool single, void *member)
{
    double v = 0;
    int r = read_double(lx, &v);

    if (r < 0)
        return r;
    if (single)
        *(float *)member = (float)v;
    else
        *(double *)member = v;
    return text_next(lx);
}

int
text_scalar(struct text_lexer *lx, const ProtobufCFieldDescriptor *field, void *member)
{
    int r;

    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        return store_signed(lx, 32, member);
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        return store_signed(lx, 64, member);
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        return store_unsigned(lx, 32, member);
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        return store_unsigned(lx, 64, member);
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_DOUBLE:
        return store_real(lx, field->type == PROTOBUF_C_TYPE_FLOAT, member);
    case PROTOBUF_C_TYPE_BOOL:
        r = read_bool(lx, member);
        return r < 0 ? r : text_next(lx);
    case PROTOBUF_C_TYPE_ENUM:
        r = read_enum(lx, field->descriptor, member);
        return r < 0 ? r : text_next(lx);
    case PROTOBUF_C_TYPE_STRING:
        return store_string(lx, field, member);
    case PROTOBUF_C_TYPE_BYTES:
        return store_bytes(lx, member);
    case PROTOBUF_C_TYPE_MESSAGE:
        break;
    }
    return text_fail(lx, "%s is not a scalar", field->name);
}
