/* SPDX-License-Identifier: BSD-3-Clause */
/* The first bytes of a disk that a guest wrote, and what stands beside an image. */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "core/disk/attrs.h"
#include "core/disk/qcow2.h"
#include "core/disk/seekable.h"
#include "core/disk/superblock.h"
#include "tests/fuzz/fuzz.h"

static void
fuzz_attrs(const uint8_t *data, size_t size)
{
    struct disk_attrs attrs, again;
    char text[DISK_ATTRS_TEXT];

    disk_attrs_parse((const char *)data, size, &attrs);
    assert(attrs.vm_type >= DISK_VM_TYPE_UNKNOWN && attrs.vm_type <= 99);
    disk_attrs_parse(text, disk_attrs_format(&attrs, text), &again);
    assert(again.vm_type == attrs.vm_type &&
           again.user_chosen_size == attrs.user_chosen_size);
}

static void
fuzz_table(const uint8_t *data, size_t size)
{
    struct disk_seek_reader reader;
    struct disk_frames frames;

    disk_seek_reader_init(&reader, (uint32_t)size);
    disk_seek_reader_feed(&reader, data, size / 2);
    disk_seek_reader_feed(&reader, data + size / 2, size - size / 2);
    if (disk_seek_reader_finish(&reader, &frames) == 0)
        assert(frames.n <= size / DISK_SEEK_ENTRY);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct disk_probe probe;
    uint64_t bytes = 0;
    int type = disk_metadata_decode(data, size);

    assert(type >= DISK_VM_TYPE_UNKNOWN && type <= 99);
    disk_probe(data, size, &probe);
    assert(probe.content != DISK_CONTENT_UNKNOWN || (!probe.name && !probe.size));
    if (disk_qcow2_check(data, size, &bytes, NULL) == 0)
        assert(disk_is_qcow2(data, size));
    fuzz_attrs(data, size);
    fuzz_table(data, size);
    return 0;
}
