/* SPDX-License-Identifier: BSD-3-Clause */
/* core/rpc/descriptor_internal.h - look things up in a compiled .proto file.
 *
 * Without an index: a file is walked along the one path that a name can mean, and what
 * lies beside it is skipped by its length. Nothing is parsed at start, nothing is kept.
 * Source: google/protobuf/descriptor.proto. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct proto_file;

enum descriptor_kind {
    DESCRIPTOR_NONE = 0,
    DESCRIPTOR_FILE,
    DESCRIPTOR_MESSAGE,
    DESCRIPTOR_ENUM,
    DESCRIPTOR_SERVICE,
    DESCRIPTOR_MEMBER, /* field, oneof, enum value, method or extension */
};

/* What full name, without a dot in front, means in file; DESCRIPTOR_NONE: nothing. The
 * name of a package is none. An enum's values are its siblings, as in C++. */
enum descriptor_kind descriptor_find(const struct proto_file *file, const char *name);

/* Write the numbers of up to max extensions of the message type, full name, that file
 * defines to numbers. Returns how many there are. */
size_t descriptor_extensions(const struct proto_file *file, const char *type,
                             int32_t *numbers, size_t max);

/* Does file define the extension number of the message type? */
bool descriptor_extends(const struct proto_file *file, const char *type, int32_t number);
