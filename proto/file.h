/* SPDX-License-Identifier: BSD-3-Clause */
/* proto/file.h - a .proto file as protoc compiled it, built in for server reflection.
 *
 * The build makes one of each .proto file: "vm_guest.file.h" declares
 * proto_file_vm_guest, and likewise with every character that is no letter or digit as an
 * underscore. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct proto_file {
    const char *name;     /* as in an import, "google/protobuf/timestamp.proto" */
    const uint8_t *bytes; /* a google.protobuf.FileDescriptorProto without source info */
    size_t len;
    const struct proto_file *const *imports; /* in the order of the file; NULL ends it */
};
