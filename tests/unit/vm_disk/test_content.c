/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/disk/attrs.h"
#include "core/disk/format.h"
#include "core/disk/qcow2.h"
#include "core/disk/size.h"
#include "core/disk/superblock.h"
#include "tests/unit/test.h"

#define GIB (1024ull * 1024 * 1024)

static struct disk_probe
probe(const uint8_t *data, size_t len)
{
    VMT_CLEANUP(vmt_freep) uint8_t *exact = malloc(len ? len : 1);
    struct disk_probe found;

    assert_non_null(exact);
    memcpy(exact, data, len);
    disk_probe(exact, len, &found);
    return found;
}

/* 3 GiB of blocks of 4 KiB. */
static void
ext_make(uint8_t *disk)
{
    memset(disk, 0, DISK_PROBE_BYTES);
    memcpy(disk + 1024 + 0x38, "\x53\xef", 2);
    memcpy(disk + 1024 + 0x4, "\0\0\x0c\0", 4);
    disk[1024 + 0x18] = 2;
}

static void
size_of_ext4_is_blocks_times_their_size(void **state)
{
    uint8_t disk[DISK_PROBE_BYTES];

    (void)state;
    ext_make(disk);
    assert_int_equal(probe(disk, sizeof(disk)).content, DISK_CONTENT_EXT);
    assert_true(probe(disk, sizeof(disk)).size == 3 * GIB);
    disk[1024 + 0x150] = 1; /* not used by a file system of 32 bits */
    assert_true(probe(disk, sizeof(disk)).size == 3 * GIB);
    disk[1024 + 0x60] = 0x80;
    assert_true(probe(disk, sizeof(disk)).size == 3 * GIB + (16384 * GIB));
}

static void
hostile_ext4_has_no_size_instead_of_a_wrong_one(void **state)
{
    uint8_t disk[DISK_PROBE_BYTES];

    (void)state;
    ext_make(disk);
    disk[1024 + 0x18] = 200;
    assert_true(probe(disk, sizeof(disk)).size == 0);
    disk[1024 + 0x18] = 6;
    disk[1024 + 0x60] = 0x80;
    memset(disk + 1024 + 0x150, 0xff, 4);
    assert_true(probe(disk, sizeof(disk)).size == 0);
}

static void
other_contents_are_told_by_name(void **state)
{
    static const struct {
        size_t at;
        const char *bytes;
        size_t len;
        enum disk_content content;
        const char *name;
    } cases[] = {
        {65536 + 0x40, "_BHRfS_M", 8, DISK_CONTENT_BTRFS, "btrfs"},
        {510, "\x55\xaa", 2, DISK_CONTENT_PARTITIONS, "mbr"},
        {512, "EFI PART", 8, DISK_CONTENT_PARTITIONS, "gpt"},
        {0, "XFSB", 4, DISK_CONTENT_OTHER, "xfs"},
        {32769, "CD001", 5, DISK_CONTENT_OTHER, "iso9660"},
    };
    uint8_t disk[DISK_PROBE_BYTES];

    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(cases); i++) {
        memset(disk, 0, sizeof(disk));
        memcpy(disk + cases[i].at, cases[i].bytes, cases[i].len);
        assert_int_equal(probe(disk, sizeof(disk)).content, cases[i].content);
        assert_string_equal(probe(disk, sizeof(disk)).name, cases[i].name);
        /* One byte less, and it is not there. */
        assert_int_equal(probe(disk, cases[i].at + cases[i].len - 1).content,
                         DISK_CONTENT_UNKNOWN);
    }
}

static void
size_of_btrfs_is_its_bytes(void **state)
{
    uint8_t disk[DISK_PROBE_BYTES] = {0};

    (void)state;
    memcpy(disk + 65536 + 0x40, "_BHRfS_M", 8);
    disk[65536 + 0x70 + 4] = 5;
    assert_true(probe(disk, sizeof(disk)).size == 5ull << 32);
}

static void
short_disk_is_nothing(void **state)
{
    uint8_t disk[DISK_PROBE_BYTES];

    (void)state;
    ext_make(disk);
    for (size_t len = 0; len < 2048; len++)
        (void)probe(disk, len); /* the sanitizer looks */
    assert_int_equal(probe(disk, 0).content, DISK_CONTENT_UNKNOWN);
}

/* Version 3, 1 GiB. */
static void
qcow2_make(uint8_t header[DISK_QCOW2_HEADER])
{
    memset(header, 0, DISK_QCOW2_HEADER);
    memcpy(header, "QFI\xfb\0\0\0\3", 8);
    header[28] = 0x40;
}

static void
qcow2_without_other_files_is_taken(void **state)
{
    uint8_t header[DISK_QCOW2_HEADER];
    uint64_t size = 0;

    (void)state;
    qcow2_make(header);
    assert_int_equal(disk_qcow2_check(header, sizeof(header), &size, NULL), 0);
    assert_true(size == GIB);
    header[7] = 2; /* its header is shorter */
    assert_int_equal(disk_qcow2_check(header, 72, &size, NULL), 0);
}

static void
qcow2_with_other_files_or_keys_is_refused(void **state)
{
    static const struct {
        size_t at;
        uint8_t value;
        const char *word;
    } cases[] = {
        {15, 1, "backing"},   {19, 1, "backing"}, {35, 1, "encrypted"},
        {79, 4, "data file"}, {7, 4, "version"},  {0, 'q', "header"},
    };
    uint8_t header[DISK_QCOW2_HEADER];
    struct vmt_err err;
    uint64_t size = 7;

    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(cases); i++) {
        qcow2_make(header);
        header[cases[i].at] = cases[i].value;
        assert_int_equal(disk_qcow2_check(header, sizeof(header), &size, &err), -EBADMSG);
        assert_non_null(strstr(err.msg, cases[i].word));
    }
    qcow2_make(header);
    for (size_t len = 0; len < sizeof(header); len++)
        assert_int_equal(disk_qcow2_check(header, len, &size, NULL), -EBADMSG);
    assert_true(size == 7);
}

static void
sizes_follow_the_rule_of_the_original(void **state)
{
    (void)state;
    assert_true(disk_size_align(4095) == 0);
    assert_true(disk_size_align(10 * GIB + 4097) == 10 * GIB + 4096);
    assert_true(disk_size_auto(10 * GIB, 100 * GIB, false) == 9 * GIB);
    assert_true(disk_size_auto(10 * GIB, 100 * GIB, true) == 95 * GIB);
    assert_true(disk_size_auto(4096, 8192, false) == GIB);
    assert_true(disk_size_auto(12345678901, 0, false) ==
                12345678901 * 9 / 10 / 4096 * 4096);
    assert_true(disk_size_auto(UINT64_MAX, UINT64_MAX, true) > UINT64_MAX / 100 * 94);
}

static void
attributes_come_back_from_their_text(void **state)
{
    static const struct disk_attrs cases[] = {{false, DISK_VM_TYPE_UNKNOWN},
                                              {true, DISK_VM_TYPE_UNKNOWN},
                                              {false, 0},
                                              {true, 99}};
    char text[DISK_ATTRS_TEXT];
    struct disk_attrs got;

    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(cases); i++) {
        size_t len = disk_attrs_format(&cases[i], text);

        disk_attrs_parse(text, len, &got);
        assert_int_equal(got.vm_type, cases[i].vm_type);
        assert_int_equal(got.user_chosen_size, cases[i].user_chosen_size);
    }
}

static void
text_of_others_is_read_with_care(void **state)
{
    static const struct {
        const char *text;
        int vm_type;
    } cases[] = {
        {"", -1},
        {"user.crostini.vm_type=", -1},
        {"user.crostini.vm_type=123\n", -1},
        {"user.crostini.vm_type=-1\n", -1},
        {"user.crostini.vm_type=7", 7},
        {"new=1\nuser.crostini.vm_type=7\nmore", 7},
        {"\n\n\n=\n", -1},
    };
    struct disk_attrs got;

    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(cases); i++) {
        disk_attrs_parse(cases[i].text, strlen(cases[i].text), &got);
        assert_int_equal(got.vm_type, cases[i].vm_type);
        assert_false(got.user_chosen_size);
    }
}

static void
formats_have_names(void **state)
{
    enum disk_format format = DISK_RAW;

    (void)state;
    assert_int_equal(disk_format_parse("qcow2", &format), 0);
    assert_int_equal(format, DISK_QCOW2);
    assert_int_equal(disk_format_parse("vmdk", &format), -EINVAL);
    assert_int_equal(disk_format_of_name("YQ==.qcow2"), DISK_QCOW2);
    assert_int_equal(disk_format_of_name("YQ==.img"), DISK_RAW);
    assert_int_equal(disk_format_of_name("qcow2"), DISK_RAW);
    assert_string_equal(disk_format_name(DISK_RAW), "raw");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(size_of_ext4_is_blocks_times_their_size),
        cmocka_unit_test(hostile_ext4_has_no_size_instead_of_a_wrong_one),
        cmocka_unit_test(other_contents_are_told_by_name),
        cmocka_unit_test(size_of_btrfs_is_its_bytes),
        cmocka_unit_test(short_disk_is_nothing),
        cmocka_unit_test(qcow2_without_other_files_is_taken),
        cmocka_unit_test(qcow2_with_other_files_or_keys_is_refused),
        cmocka_unit_test(sizes_follow_the_rule_of_the_original),
        cmocka_unit_test(attributes_come_back_from_their_text),
        cmocka_unit_test(text_of_others_is_read_with_care),
        cmocka_unit_test(formats_have_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
