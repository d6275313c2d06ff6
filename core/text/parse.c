/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/text/text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/text/text_internal.h"

static int parse_fields(struct text_lexer *lx, ProtobufCMessage *message, char close,
                        unsigned depth);

static void
message_free(ProtobufCMessage *message)
{
    protobuf_c_message_free_unpacked(message, NULL);
}
VMT_DEFINE_FREEP(ProtobufCMessage, message_free)

static void *
member_at(ProtobufCMessage *message, unsigned offset)
{
    return (uint8_t *)message + offset;
}

static size_t
element_size(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return sizeof(uint64_t);
    case PROTOBUF_C_TYPE_STRING:
        return sizeof(char *);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(ProtobufCMessage *);
    case PROTOBUF_C_TYPE_BOOL:
        return sizeof(protobuf_c_boolean);
    default:
        return sizeof(uint32_t);
    }
}

/* Parse a message in braces at the current token into *member. */
static int
parse_message(struct text_lexer *lx, const ProtobufCMessageDescriptor *type,
              unsigned depth, ProtobufCMessage **member)
{
    VMT_CLEANUP(message_freep) ProtobufCMessage *message = NULL;
    char close = text_is_symbol(lx, '<') ? '>' : '}';
    int r;

    if (!text_is_symbol(lx, '{') && !text_is_symbol(lx, '<'))
        return text_fail(lx, "expected '{'");
    if (depth == TEXT_DEPTH_MAX)
        return text_fail(lx, "messages are nested more than %d deep", TEXT_DEPTH_MAX);
    message = malloc(type->sizeof_message);
    if (!message)
        return vmt_err_set(lx->err, ENOMEM, "read text format");
    protobuf_c_message_init(type, message);
    r = text_next(lx);
    if (r == 0)
        r = parse_fields(lx, message, close, depth + 1);
    if (r == 0)
        r = text_next(lx);
    if (r < 0)
        return r;
    *member = vmt_take_ptr(&message);
    return 0;
}

static int
parse_value(struct text_lexer *lx, const ProtobufCFieldDescriptor *field, unsigned depth,
            void *member)
{
    if (field->type == PROTOBUF_C_TYPE_MESSAGE)
        return parse_message(lx, field->descriptor, depth, member);
    return text_scalar(lx, field, member);
}

/* Parse one element and put it behind the others. */
static int
append_element(struct text_lexer *lx, ProtobufCMessage *message,
               const ProtobufCFieldDescriptor *field, unsigned depth)
{
    size_t *count = member_at(message, field->quantifier_offset);
    void **elements = member_at(message, field->offset);
    size_t size = element_size(field->type);
    int r;

    if ((*count & (*count - 1)) == 0) { /* full at each power of two, and at zero */
        void *grown = realloc(*elements, size * (*count ? 2 * *count : 1));

        if (!grown)
            return vmt_err_set(lx->err, ENOMEM, "read text format");
        *elements = grown;
    }
    r = parse_value(lx, field, depth, (uint8_t *)*elements + size * *count);
    if (r == 0)
        ++*count;
    return r;
}

/* A list in brackets, or one element. */
static int
parse_repeated(struct text_lexer *lx, ProtobufCMessage *message,
               const ProtobufCFieldDescriptor *field, unsigned depth)
{
    int r;

    if (!text_is_symbol(lx, '['))
        return append_element(lx, message, field, depth);
    r = text_next(lx);
    if (r == 0 && text_is_symbol(lx, ']'))
        return text_next(lx);
    while (r == 0) {
        r = append_element(lx, message, field, depth);
        if (r < 0)
            break;
        if (text_is_symbol(lx, ']'))
            return text_next(lx);
        if (!text_is_symbol(lx, ','))
            return text_fail(lx, "expected ',' or ']' in the list %s", field->name);
        r = text_next(lx);
    }
    return r;
}

/* Parse a field that may stand once, and mark it as present. */
static int
parse_single(struct text_lexer *lx, ProtobufCMessage *message,
             const ProtobufCFieldDescriptor *field, unsigned depth)
{
    bool is_oneof = (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0;
    bool is_pointer =
        field->type == PROTOBUF_C_TYPE_MESSAGE || field->type == PROTOBUF_C_TYPE_STRING;
    int r;

    if (is_oneof && *(uint32_t *)member_at(message, field->quantifier_offset) != 0)
        return text_fail(lx, "%s: another member of its oneof is set", field->name);
    r = parse_value(lx, field, depth, member_at(message, field->offset));
    if (r < 0)
        return r;
    if (is_oneof)
        *(uint32_t *)member_at(message, field->quantifier_offset) = field->id;
    else if (field->label == PROTOBUF_C_LABEL_OPTIONAL && !is_pointer)
        *(protobuf_c_boolean *)member_at(message, field->quantifier_offset) = 1;
    return 0;
}

static const ProtobufCFieldDescriptor *
find_field(const struct text_lexer *lx, const ProtobufCMessageDescriptor *type)
{
    for (unsigned i = 0; i < type->n_fields; i++) {
        if (text_is_word(lx, type->fields[i].name))
            return &type->fields[i];
    }
    return NULL;
}

/* Go past the name and its ':', which only messages may do without. */
static int
take_name(struct text_lexer *lx, const ProtobufCFieldDescriptor *field)
{
    int r = text_next(lx);

    if (r < 0)
        return r;
    if (text_is_symbol(lx, ':'))
        return text_next(lx);
    if (field->type != PROTOBUF_C_TYPE_MESSAGE)
        return text_fail(lx, "expected ':' after %s", field->name);
    return 0;
}

/* seen has one byte for each field of the message. */
static int
parse_field(struct text_lexer *lx, ProtobufCMessage *message, uint8_t *seen,
            unsigned depth)
{
    const ProtobufCMessageDescriptor *type = message->descriptor;
    const ProtobufCFieldDescriptor *field;
    int r;

    if (text_is_symbol(lx, '['))
        return text_fail(lx, "extensions and Any are not supported");
    if (lx->token.kind != TEXT_IDENT)
        return text_fail(lx, "expected a field name of %s", type->name);
    field = find_field(lx, type);
    if (!field)
        return text_fail(lx, "%s has no such field", type->name);
    if (field->label != PROTOBUF_C_LABEL_REPEATED && seen[field - type->fields]++)
        return text_fail(lx, "%s is given twice", field->name);
    r = take_name(lx, field);
    if (r < 0)
        return r;
    if (field->label == PROTOBUF_C_LABEL_REPEATED)
        r = parse_repeated(lx, message, field, depth);
    else
        r = parse_single(lx, message, field, depth);
    if (r == 0 && (text_is_symbol(lx, ',') || text_is_symbol(lx, ';')))
        r = text_next(lx);
    return r;
}

static int
check_required(const struct text_lexer *lx, const ProtobufCMessageDescriptor *type,
               const uint8_t *seen)
{
    for (unsigned i = 0; i < type->n_fields; i++) {
        if (type->fields[i].label == PROTOBUF_C_LABEL_REQUIRED && !seen[i])
            return text_fail(lx, "%s is missing", type->fields[i].name);
    }
    return 0;
}

/* Parse fields up to the closing byte, or to the end of the text when close is 0. */
static int
parse_fields(struct text_lexer *lx, ProtobufCMessage *message, char close, unsigned depth)
{
    VMT_CLEANUP(vmt_freep)
    uint8_t *seen = calloc(message->descriptor->n_fields + 1, 1);
    int r = 0;

    if (!seen)
        return vmt_err_set(lx->err, ENOMEM, "read text format");
    while (r == 0 && !(close && text_is_symbol(lx, close))) {
        if (lx->token.kind == TEXT_END) {
            if (close)
                return text_fail(lx, "expected '%c'", close);
            break;
        }
        r = parse_field(lx, message, seen, depth);
    }
    return r < 0 ? r : check_required(lx, message->descriptor, seen);
}

int
text_parse(const struct ProtobufCMessageDescriptor *descriptor, const char *text,
           size_t len, struct ProtobufCMessage **ret_message, struct vmt_err *err)
{
    VMT_CLEANUP(message_freep) ProtobufCMessage *message = NULL;
    struct text_lexer lx;
    int r;

    if (len > TEXT_SIZE_MAX)
        return vmt_err_setx(err, EFBIG, "text of %zu bytes is longer than %u", len,
                            TEXT_SIZE_MAX);
    message = malloc(descriptor->sizeof_message);
    if (!message)
        return vmt_err_set(err, ENOMEM, "read text format");
    protobuf_c_message_init(descriptor, message);
    r = text_lexer_init(&lx, text, len, err);
    if (r == 0)
        r = parse_fields(&lx, message, '\0', 0);
    if (r < 0)
        return r;
    *ret_message = vmt_take_ptr(&message);
    return 0;
}
