/* SPDX-License-Identifier: BSD-3-Clause */
/* core/disk/seekable.h - the layout of an exported disk: independent zstd frames, the
 * type of the VM and a seek table, both in frames that zstd skips.
 * Source: facebook/zstd 1.5.4,
 * contrib/seekable_format/zstd_seekable_compression_format.md; platform2 3050786c,
 * vm_tools/concierge, for level, frame size and metadata. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DISK_ZSTD_LEVEL 4
#define DISK_FRAME_BYTES 131072u /* of the disk in one frame, at most */
/* ZSTD_SEEKABLE_MAXFRAMES */
#define DISK_SEEK_FRAMES_MAX 0x8000000u

/* Magic and length, little endian, before the content of a frame that zstd skips. */
#define DISK_SKIPPABLE_HEADER 8u

enum disk_frame_kind {
    DISK_FRAME_UNKNOWN,
    DISK_FRAME_DATA,
    DISK_FRAME_METADATA,
    DISK_FRAME_SEEK_TABLE,
    DISK_FRAME_SKIPPABLE,
};
/* By its first four bytes. */
enum disk_frame_kind disk_frame_kind(const uint8_t magic[4]);
uint32_t disk_le32(const uint8_t bytes[4]);

/* The whole frame that tells the type of the VM, 0 to 99. */
#define DISK_METADATA_BYTES 47u
void disk_metadata_encode(unsigned vm_type, uint8_t ret_frame[DISK_METADATA_BYTES]);

/* The content of such a frame is at most this large. */
#define DISK_METADATA_MAX 1024u
/* And begins at most so many bytes before the seek table; what is farther away was not
 * written by us or the original. */
#define DISK_METADATA_REACH 4096u
/* The type in such a content, or DISK_VM_TYPE_UNKNOWN. The original leaves the last byte
 * of a type of one digit as it was in memory. */
int disk_metadata_decode(const uint8_t *content, size_t len);

/* Parts of the frame with the seek table: header, entries, footer. */
#define DISK_SEEK_ENTRY 8u
#define DISK_SEEK_FOOTER 9u
void disk_seek_header_encode(uint32_t frames, uint8_t ret_header[DISK_SKIPPABLE_HEADER]);
void disk_seek_entry_encode(uint32_t compressed, uint32_t plain,
                            uint8_t ret_entry[DISK_SEEK_ENTRY]);
void disk_seek_footer_encode(uint32_t frames, uint8_t ret_footer[DISK_SEEK_FOOTER]);

/* A list of frames that is not kept, but can be compared. */
struct disk_frames {
    uint64_t hash;
    uint64_t n;
};
void disk_frames_add(struct disk_frames *frames, uint32_t compressed, uint32_t plain);
bool disk_frames_equal(const struct disk_frames *a, const struct disk_frames *b);

/* Reads the content of a seek table in any pieces. */
struct disk_seek_reader {
    uint64_t len, at;           /* bytes of the content; how many came */
    struct disk_frames with[2]; /* entries of 8 bytes, and of 12, which have a checksum */
    uint8_t entry[2][12];       /* what is not yet whole of either */
    uint8_t footer[DISK_SEEK_FOOTER];
};
void disk_seek_reader_init(struct disk_seek_reader *reader, uint32_t len);
/* No more in all than len. */
void disk_seek_reader_feed(struct disk_seek_reader *reader, const uint8_t *data,
                           size_t len);
/* All came: the frames that the table lists. Returns 0, or -EBADMSG: it is none. */
int disk_seek_reader_finish(const struct disk_seek_reader *reader,
                            struct disk_frames *ret_frames);
