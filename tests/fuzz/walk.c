/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/fuzz/walk.h"

#include <stdint.h>
#include <string.h>

#include <protobuf-c/protobuf-c.h>

#define COUNTERS 8192
#define DEPTH_MAX 8

/* Source of the section's name: LLVM 14, compiler-rt/lib/fuzzer/FuzzerExtraCounters.cpp
 */
static uint8_t counters[COUNTERS]
    __attribute__((section("__libfuzzer_extra_counters"), used));

static void
count(const ProtobufCFieldDescriptor *f, size_t n)
{
    uintptr_t h = (uintptr_t)f / sizeof(*f); /* one block per message type */

    if (n)
        counters[h % COUNTERS] |= n > 7 ? 4 : n > 1 ? 2 : 1;
}

static void walk(const struct ProtobufCMessage *m, int depth);

static void
walk_field(const struct ProtobufCMessage *m, const ProtobufCFieldDescriptor *f, int depth)
{
    const uint8_t *at = (const uint8_t *)m + f->offset;
    const struct ProtobufCMessage *const *list = NULL;
    size_t n = 1;
    void *value;

    if (f->label == PROTOBUF_C_LABEL_REPEATED) {
        memcpy(&n, (const uint8_t *)m + f->quantifier_offset, sizeof(n));
        memcpy(&list, at, sizeof(list));
    } else if (f->type == PROTOBUF_C_TYPE_STRING || f->type == PROTOBUF_C_TYPE_MESSAGE) {
        memcpy(&value, at, sizeof(value));
        n = value && (f->type == PROTOBUF_C_TYPE_MESSAGE || *(const char *)value);
        list = (const struct ProtobufCMessage *const *)(const void *)at;
    } else {
        n = *at != 0; /* the lowest byte is news enough */
    }
    count(f, n);
    for (size_t i = 0; f->type == PROTOBUF_C_TYPE_MESSAGE && i < n; i++)
        walk(list[i], depth + 1);
}

static void
walk(const struct ProtobufCMessage *m, int depth)
{
    for (unsigned i = 0; i < m->descriptor->n_fields && depth < DEPTH_MAX; i++) {
        const ProtobufCFieldDescriptor *f = &m->descriptor->fields[i];

        if (f->label != PROTOBUF_C_LABEL_REPEATED && f->quantifier_offset &&
            f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) {
            uint32_t which;

            memcpy(&which, (const uint8_t *)m + f->quantifier_offset, sizeof(which));
            if (which != f->id)
                continue;
        }
        walk_field(m, f, depth);
    }
}

void
fuzz_walk(const struct ProtobufCMessage *message)
{
    walk(message, 0);
}
