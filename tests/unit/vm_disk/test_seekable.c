/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/disk/attrs.h"
#include "core/disk/seekable.h"
#include "tests/unit/test.h"

#define HEADER DISK_SKIPPABLE_HEADER

static void
metadata_frame_is_that_of_the_original(void **state)
{
    static const char want[] = "\x55\x2a\x4d\x18\x27\0\0\0CROSVMEXPMETA\0"
                               "user.crostini.vm_type\0"
                               "7\0";
    uint8_t frame[DISK_METADATA_BYTES];

    (void)state;
    disk_metadata_encode(7, frame);
    assert_int_equal(sizeof(want), sizeof(frame));
    assert_memory_equal(frame, want, sizeof(frame));
    assert_int_equal(disk_frame_kind(frame), DISK_FRAME_METADATA);
}

static void
each_type_comes_back(void **state)
{
    uint8_t frame[DISK_METADATA_BYTES];

    (void)state;
    for (unsigned type = 0; type <= 99; type++) {
        disk_metadata_encode(type, frame);
        assert_int_equal(disk_metadata_decode(frame + HEADER, sizeof(frame) - HEADER),
                         type);
    }
}

static void
byte_that_the_original_forgets_does_not_matter(void **state)
{
    uint8_t frame[DISK_METADATA_BYTES];

    (void)state;
    disk_metadata_encode(5, frame);
    frame[sizeof(frame) - 1] = 0xaa;
    assert_int_equal(disk_metadata_decode(frame + HEADER, sizeof(frame) - HEADER), 5);
}

static void
damaged_metadata_tells_no_type(void **state)
{
    uint8_t frame[DISK_METADATA_BYTES], bad[DISK_METADATA_BYTES];

    (void)state;
    disk_metadata_encode(5, frame);
    for (size_t len = 0; len < sizeof(frame) - HEADER; len++)
        assert_int_equal(disk_metadata_decode(frame + HEADER, len), DISK_VM_TYPE_UNKNOWN);
    for (size_t i = HEADER; i < sizeof(frame) - 2; i++) {
        memcpy(bad, frame, sizeof(bad));
        bad[i] ^= 0x80;
        assert_int_equal(disk_metadata_decode(bad + HEADER, sizeof(bad) - HEADER),
                         DISK_VM_TYPE_UNKNOWN);
    }
}

static void
kinds_of_frames_are_told_by_their_magic(void **state)
{
    static const struct {
        const char *magic;
        enum disk_frame_kind kind;
    } cases[] = {
        {"\x28\xb5\x2f\xfd", DISK_FRAME_DATA},
        {"\x55\x2a\x4d\x18", DISK_FRAME_METADATA},
        {"\x5e\x2a\x4d\x18", DISK_FRAME_SEEK_TABLE},
        {"\x50\x2a\x4d\x18", DISK_FRAME_SKIPPABLE},
        {"\x5f\x2a\x4d\x18", DISK_FRAME_SKIPPABLE},
        {"\x60\x2a\x4d\x18", DISK_FRAME_UNKNOWN},
        {"PK\x03\x04", DISK_FRAME_UNKNOWN},
    };

    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(cases); i++)
        assert_int_equal(disk_frame_kind((const uint8_t *)cases[i].magic), cases[i].kind);
}

#define ENTRIES 3u

/* A table of ENTRIES entries with the sums of its frames; returns the bytes of content.
 */
static size_t
table_make(uint8_t *table, struct disk_frames *frames)
{
    uint8_t *at = table + HEADER;

    *frames = (struct disk_frames){0};
    disk_seek_header_encode(ENTRIES, table);
    for (uint32_t i = 0; i < ENTRIES; i++, at += DISK_SEEK_ENTRY) {
        disk_seek_entry_encode(100 + i, DISK_FRAME_BYTES - i, at);
        disk_frames_add(frames, 100 + i, DISK_FRAME_BYTES - i);
    }
    disk_seek_footer_encode(ENTRIES, at);
    return (size_t)(at + DISK_SEEK_FOOTER - (table + HEADER));
}

static int
table_read(const uint8_t *content, size_t len, size_t step, struct disk_frames *ret)
{
    struct disk_seek_reader reader;

    disk_seek_reader_init(&reader, (uint32_t)len);
    for (size_t at = 0; at < len; at += step)
        disk_seek_reader_feed(&reader, content + at, len - at < step ? len - at : step);
    return disk_seek_reader_finish(&reader, ret);
}

static void
seek_table_has_the_bytes_of_the_document(void **state)
{
    static const uint8_t want[] = {0x5e, 0x2a, 0x4d, 0x18, 17,   0,    0,   0, 44,
                                   1,    0,    0,    0,    0,    2,    0,   1, 0,
                                   0,    0,    0,    0xb1, 0xea, 0x92, 0x8f};
    uint8_t table[HEADER + DISK_SEEK_ENTRY + DISK_SEEK_FOOTER];

    (void)state;
    disk_seek_header_encode(1, table);
    disk_seek_entry_encode(300, 131072, table + HEADER);
    disk_seek_footer_encode(1, table + HEADER + DISK_SEEK_ENTRY);
    assert_int_equal(sizeof(want), sizeof(table));
    assert_memory_equal(table, want, sizeof(table));
}

static void
seek_table_is_read_in_any_pieces(void **state)
{
    uint8_t table[HEADER + ENTRIES * DISK_SEEK_ENTRY + DISK_SEEK_FOOTER];
    struct disk_frames want, got;
    size_t len = table_make(table, &want);

    (void)state;
    for (size_t step = 1; step <= len; step++) {
        assert_int_equal(table_read(table + HEADER, len, step, &got), 0);
        assert_true(disk_frames_equal(&want, &got));
    }
}

static void
seek_table_with_checksums_lists_the_same_frames(void **state)
{
    uint8_t content[ENTRIES * 12 + DISK_SEEK_FOOTER] = {0};
    struct disk_frames want = {0}, got;

    (void)state;
    for (uint32_t i = 0; i < ENTRIES; i++) {
        disk_seek_entry_encode(7 * i, i, content + (size_t)i * 12);
        memset(content + (size_t)i * 12 + 8, 0xcc, 4);
        disk_frames_add(&want, 7 * i, i);
    }
    disk_seek_footer_encode(ENTRIES, content + ENTRIES * 12);
    content[ENTRIES * 12 + 4] = 0x80;
    assert_int_equal(table_read(content, sizeof(content), 5, &got), 0);
    assert_true(disk_frames_equal(&want, &got));
}

static void
changed_seek_table_is_noticed(void **state)
{
    uint8_t table[HEADER + ENTRIES * DISK_SEEK_ENTRY + DISK_SEEK_FOOTER];
    struct disk_frames want, got;
    size_t len = table_make(table, &want);

    (void)state;
    for (size_t i = 0; i < len; i++) {
        /* The lowest two bits of the descriptor say nothing. */
        uint8_t bit = i == len - 5 ? 0x04 : 0x01;

        table[HEADER + i] ^= bit;
        if (table_read(table + HEADER, len, len, &got) == 0)
            assert_false(disk_frames_equal(&want, &got));
        table[HEADER + i] ^= bit;
    }
    for (size_t cut = 0; cut < len; cut++)
        assert_int_equal(table_read(table + HEADER, cut, 64, &got), -EBADMSG);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(metadata_frame_is_that_of_the_original),
        cmocka_unit_test(each_type_comes_back),
        cmocka_unit_test(byte_that_the_original_forgets_does_not_matter),
        cmocka_unit_test(damaged_metadata_tells_no_type),
        cmocka_unit_test(kinds_of_frames_are_told_by_their_magic),
        cmocka_unit_test(seek_table_has_the_bytes_of_the_document),
        cmocka_unit_test(seek_table_is_read_in_any_pieces),
        cmocka_unit_test(seek_table_with_checksums_lists_the_same_frames),
        cmocka_unit_test(changed_seek_table_is_noticed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
