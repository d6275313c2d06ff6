/* SPDX-License-Identifier: BSD-3-Clause */
/* core/text/text.h - protobuf text format: configuration files, VM profiles, startup
 * jobs. */
#pragma once

#include <stddef.h>

struct ProtobufCMessage;
struct ProtobufCMessageDescriptor;
struct vmt_err;

/* A file of people's making is a few KiB; a message costs at most some 60 bytes of memory
 * per byte of text. */
#define TEXT_SIZE_MAX (1024u * 1024)
/* Nested messages, the outermost not counted. */
#define TEXT_DEPTH_MAX 32

/* Parse len bytes of text into a new message of the described type. The text need not end
 * in a NUL. Known are: scalars, strings (both quotes, escapes, adjacent ones are joined),
 * bytes, enums by name or by a known number, [lists], nested messages in {} or <>, maps
 * as messages with key and value, oneofs, comments, and the separators ',' and ';'.
 * Extensions and google.protobuf.Any are refused by name.
 *
 * *ret_message is released with protobuf_c_message_free_unpacked(message, NULL). Returns
 * 0; -EFBIG for text above TEXT_SIZE_MAX; -ENOMEM; -EINVAL, and err begins with "line N,
 * column M: ", counted from 1, columns in bytes.
 * Source: protobuf.dev, Text Format Language Specification (2023-08). */
int text_parse(const struct ProtobufCMessageDescriptor *descriptor, const char *text,
               size_t len, struct ProtobufCMessage **ret_message, struct vmt_err *err);
