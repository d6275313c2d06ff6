/* SPDX-License-Identifier: BSD-3-Clause */
/* A hostile side of a copy: any bytes as a stream of files. */
#include <assert.h>
#include <string.h>

#include "core/copy/stream.h"
#include "tests/fuzz/fuzz.h"

/* Everything that is handed out must be readable, and no path may lead out. */
static size_t
touch(const struct copy_record *r)
{
    size_t sum = 0;

    if (r->kind == COPY_ENTRY) {
        assert(copy_path_ok(r->entry.path) && r->entry.mode <= 0777);
        assert(r->entry.type != COPY_HARDLINK || copy_path_ok(r->entry.target));
        sum += strlen(r->entry.path) + strlen(r->entry.target);
    }
    if (r->kind == COPY_XATTR)
        sum += strlen(r->name);
    for (size_t i = 0; i < r->len; i++)
        sum += r->data[i];
    return sum;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    while (size >= COPY_HEAD) {
        struct copy_record record;
        enum copy_kind kind;
        volatile size_t touched = 0; /* so that nothing of it is optimized away */
        size_t len;

        (void)touched;
        if (copy_head_decode(data, &kind, &len) < 0 || len > size - COPY_HEAD)
            return 0;
        if (copy_body_decode(kind, data + COPY_HEAD, len, &record) == 0)
            touched = touch(&record);
        data += COPY_HEAD + len;
        size -= COPY_HEAD + len;
    }
    return 0;
}
