/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/disk/seekable.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "core/disk/attrs.h"

#define MAGIC_DATA 0xFD2FB528u
#define MAGIC_METADATA 0x184D2A55u
#define MAGIC_SEEK_TABLE 0x184D2A5Eu
#define MAGIC_SKIPPABLE 0x184D2A50u
#define MAGIC_SKIPPABLE_MASK 0xFFFFFFF0u
#define MAGIC_SEEK_FOOTER 0x8F92EAB1u

#define SEEK_CHECKSUMS 0x80u /* entries of 12 bytes */
#define SEEK_RESERVED 0x7Cu

/* With the NUL after each. */
static const char metadata_magic[] = "CROSVMEXPMETA";
static const char metadata_name[] = DISK_ATTR_VM_TYPE;
#define METADATA_FIELD 3u /* two digits, filled with NUL */
#define METADATA_CONTENT (sizeof(metadata_magic) + sizeof(metadata_name) + METADATA_FIELD)
_Static_assert(METADATA_CONTENT + DISK_SKIPPABLE_HEADER == DISK_METADATA_BYTES,
               "the frame of the original");

uint32_t
disk_le32(const uint8_t bytes[4])
{
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
           (uint32_t)bytes[3] << 24;
}

static void
put_le32(uint8_t *to, uint32_t value)
{
    for (unsigned i = 0; i < 4; i++)
        to[i] = (uint8_t)(value >> (8 * i));
}

enum disk_frame_kind
disk_frame_kind(const uint8_t magic[4])
{
    switch (disk_le32(magic)) {
    case MAGIC_DATA:
        return DISK_FRAME_DATA;
    case MAGIC_METADATA:
        return DISK_FRAME_METADATA;
    case MAGIC_SEEK_TABLE:
        return DISK_FRAME_SEEK_TABLE;
    default:
        return (disk_le32(magic) & MAGIC_SKIPPABLE_MASK) == MAGIC_SKIPPABLE
                   ? DISK_FRAME_SKIPPABLE
                   : DISK_FRAME_UNKNOWN;
    }
}

void
disk_metadata_encode(unsigned vm_type, uint8_t ret_frame[DISK_METADATA_BYTES])
{
    uint8_t *content = ret_frame + DISK_SKIPPABLE_HEADER;
    uint8_t *field = content + sizeof(metadata_magic) + sizeof(metadata_name);

    assert(vm_type <= 99);
    put_le32(ret_frame, MAGIC_METADATA);
    put_le32(ret_frame + 4, METADATA_CONTENT);
    memcpy(content, metadata_magic, sizeof(metadata_magic));
    memcpy(content + sizeof(metadata_magic), metadata_name, sizeof(metadata_name));
    memset(field, 0, METADATA_FIELD);
    if (vm_type >= 10)
        *field++ = (uint8_t)('0' + vm_type / 10);
    *field = (uint8_t)('0' + vm_type % 10);
}

int
disk_metadata_decode(const uint8_t *content, size_t len)
{
    const char *field;

    if (len < METADATA_CONTENT || len > DISK_METADATA_MAX ||
        memcmp(content, metadata_magic, sizeof(metadata_magic)) != 0)
        return DISK_VM_TYPE_UNKNOWN;
    content += sizeof(metadata_magic);
    if (memcmp(content, metadata_name, sizeof(metadata_name)) != 0)
        return DISK_VM_TYPE_UNKNOWN;
    field = (const char *)content + sizeof(metadata_name);
    return disk_vm_type_parse(field, strnlen(field, METADATA_FIELD - 1));
}

void
disk_seek_header_encode(uint32_t frames, uint8_t ret_header[DISK_SKIPPABLE_HEADER])
{
    assert(frames <= DISK_SEEK_FRAMES_MAX);
    put_le32(ret_header, MAGIC_SEEK_TABLE);
    put_le32(ret_header + 4, frames * DISK_SEEK_ENTRY + DISK_SEEK_FOOTER);
}

void
disk_seek_entry_encode(uint32_t compressed, uint32_t plain,
                       uint8_t ret_entry[DISK_SEEK_ENTRY])
{
    put_le32(ret_entry, compressed);
    put_le32(ret_entry + 4, plain);
}

void
disk_seek_footer_encode(uint32_t frames, uint8_t ret_footer[DISK_SEEK_FOOTER])
{
    put_le32(ret_footer, frames);
    ret_footer[4] = 0;
    put_le32(ret_footer + 5, MAGIC_SEEK_FOOTER);
}

void
disk_frames_add(struct disk_frames *frames, uint32_t compressed, uint32_t plain)
{
    const uint64_t prime = 0x100000001b3u; /* FNV's */

    frames->hash = (frames->hash + compressed + 1) * prime;
    frames->hash = (frames->hash + plain + 1) * prime;
    frames->hash ^= frames->hash >> 29;
    frames->n++;
}

bool
disk_frames_equal(const struct disk_frames *a, const struct disk_frames *b)
{
    return a->hash == b->hash && a->n == b->n;
}

void
disk_seek_reader_init(struct disk_seek_reader *reader, uint32_t len)
{
    *reader = (struct disk_seek_reader){.len = len};
}

/* Which of the two sizes the entries have is known at the end only. */
static void
seek_reader_byte(struct disk_seek_reader *reader, uint64_t at, uint8_t byte)
{
    static const unsigned sizes[] = {8, 12};

    for (unsigned i = 0; i < 2; i++) {
        unsigned place = (unsigned)(at % sizes[i]);

        reader->entry[i][place] = byte;
        if (place == sizes[i] - 1)
            disk_frames_add(&reader->with[i], disk_le32(reader->entry[i]),
                            disk_le32(reader->entry[i] + 4));
    }
}

void
disk_seek_reader_feed(struct disk_seek_reader *reader, const uint8_t *data, size_t len)
{
    const uint64_t entries =
        reader->len < DISK_SEEK_FOOTER ? 0 : reader->len - DISK_SEEK_FOOTER;

    assert(len <= reader->len - reader->at);
    for (size_t i = 0; i < len; i++, reader->at++) {
        if (reader->at < entries)
            seek_reader_byte(reader, reader->at, data[i]);
        else if (reader->at - entries < DISK_SEEK_FOOTER)
            reader->footer[reader->at - entries] = data[i];
    }
}

int
disk_seek_reader_finish(const struct disk_seek_reader *reader,
                        struct disk_frames *ret_frames)
{
    const uint64_t n = disk_le32(reader->footer);
    const uint8_t descriptor = reader->footer[4];
    const bool checksums = descriptor & SEEK_CHECKSUMS;

    if (reader->len < DISK_SEEK_FOOTER || reader->at != reader->len ||
        disk_le32(reader->footer + 5) != MAGIC_SEEK_FOOTER || descriptor & SEEK_RESERVED)
        return -EBADMSG;
    if (n * (checksums ? 12 : 8) != reader->len - DISK_SEEK_FOOTER)
        return -EBADMSG;
    *ret_frames = reader->with[checksums];
    return 0;
}
