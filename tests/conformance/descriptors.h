/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/conformance/descriptors.h - everything that protobuf-c generated, and the files
 * as reflection gives them out; each table ends with NULL. Written by
 * list_descriptors.py. */
#pragma once

#include <stddef.h>

#include <protobuf-c/protobuf-c.h>

#include "proto/file.h"

extern const ProtobufCMessageDescriptor *const all_messages[];
extern const ProtobufCEnumDescriptor *const all_enums[];
extern const ProtobufCServiceDescriptor *const all_services[];
extern const struct proto_file *const all_files[];
