/* SPDX-License-Identifier: BSD-3-Clause */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "core/base/buf.h"
#include "core/base/cleanup.h"
#include "core/disk/attrs.h"
#include "core/disk/seekable.h"
#include "platform/linux/vm_disk/pack.h"
#include "platform/linux/vm_disk/sink.h"
#include "platform/linux/vm_disk/source.h"
#include "platform/linux/vm_disk/unpack.h"
#include "tests/unit/test.h"

/* Small, but two frames: one that does not compress, and the first bytes of another. */
#define DISK_BYTES (DISK_FRAME_BYTES + 512u)
#define LIMIT (16ull << 20)

/* Bytes that come in pieces. */
struct feed {
    const uint8_t *data; /* borrowed */
    size_t len, piece;
};

static ssize_t
feed_read(void *arg, uint8_t *data, size_t len)
{
    struct feed *feed = arg;
    size_t n = len < feed->piece ? len : feed->piece;

    if (n > feed->len)
        n = feed->len;
    if (n)
        memcpy(data, feed->data, n);
    feed->data += n;
    feed->len -= n;
    return (ssize_t)n;
}

static int
memory_file(void)
{
    int fd = memfd_create("disk", MFD_CLOEXEC);

    assert_true(fd >= 0);
    return fd;
}

/* How unpacking an input goes, into fd or nowhere. */
struct run {
    enum source_kind kind;
    size_t piece;
    uint64_t max;
    int fd, vm_type;
};

static int
run_unpack(struct run *run, const uint8_t *data, size_t len)
{
    struct feed feed = {data, len, run->piece};
    VMT_CLEANUP(source_done)
    struct source source = {.read = feed_read, .arg = &feed};
    struct sink sink = {.fd = run->fd, .max = run->max};
    int r = run->kind == SOURCE_ZIP ? unpack_zip(&source, &sink, "b.img", NULL)
                                    : unpack_zstd(&source, &sink, &run->vm_type, NULL);

    return r < 0 ? r : sink_finish(&sink, NULL);
}

static void
disk_fill(uint8_t disk[DISK_BYTES])
{
    uint32_t x = 1;

    for (size_t i = 0; i < DISK_BYTES; i++) {
        x = x * 1664525u + 1013904223u;
        disk[i] = (uint8_t)(x >> 24);
    }
    memset(disk + 8192, 0, 8192); /* becomes a hole */
}

static void
read_all(int fd, struct vmt_buf *ret)
{
    struct stat st;

    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(vmt_buf_reserve(ret, (size_t)st.st_size + 1), 0);
    assert_int_equal(pread(fd, vmt_buf_tail(ret), (size_t)st.st_size, 0), st.st_size);
    vmt_buf_commit(ret, (size_t)st.st_size);
}

/* The disk as it is exported. */
static void
export_make(const uint8_t disk[DISK_BYTES], unsigned threads, struct vmt_buf *ret)
{
    VMT_CLEANUP(vmt_closep) int from = memory_file();
    VMT_CLEANUP(vmt_closep) int to = memory_file();
    const struct pack pack = {.from_fd = from,
                              .to_fd = to,
                              .vm_type = 7,
                              .threads = threads,
                              .size = DISK_BYTES};
    char sha256[65];

    assert_int_equal(write(from, disk, DISK_BYTES), DISK_BYTES);
    assert_int_equal(pack_run(&pack, sha256, NULL), 0);
    read_all(to, ret);
}

static void
assert_disk(int fd, const uint8_t disk[DISK_BYTES])
{
    VMT_CLEANUP(vmt_buf_done) struct vmt_buf got = {0};

    read_all(fd, &got);
    assert_int_equal(got.len, DISK_BYTES);
    assert_memory_equal(got.data, disk, DISK_BYTES);
}

static void
export_comes_back_in_any_pieces(void **state)
{
    static const size_t pieces[] = {1, 7, 4096, SIZE_MAX};
    static uint8_t disk[DISK_BYTES];
    VMT_CLEANUP(vmt_buf_done) struct vmt_buf packed = {0};

    (void)state;
    disk_fill(disk);
    export_make(disk, 2, &packed);
    for (size_t i = 0; i < VMT_ARRAY_SIZE(pieces); i++) {
        VMT_CLEANUP(vmt_closep) int fd = memory_file();
        struct run run = {SOURCE_ZSTD, pieces[i], LIMIT, fd, DISK_VM_TYPE_UNKNOWN};

        assert_int_equal(run_unpack(&run, packed.data, packed.len), 0);
        assert_int_equal(run.vm_type, 7);
        assert_disk(fd, disk);
    }
}

static void
threads_do_not_change_a_byte(void **state)
{
    static uint8_t disk[DISK_BYTES];
    VMT_CLEANUP(vmt_buf_done) struct vmt_buf one = {0};
    VMT_CLEANUP(vmt_buf_done) struct vmt_buf two = {0};

    (void)state;
    disk_fill(disk);
    export_make(disk, 1, &one);
    export_make(disk, 2, &two);
    assert_int_equal(one.len, two.len);
    assert_memory_equal(one.data, two.data, one.len);
}

static void
export_cut_anywhere_is_refused(void **state)
{
    static uint8_t disk[DISK_BYTES];
    VMT_CLEANUP(vmt_buf_done) struct vmt_buf packed = {0};

    (void)state;
    disk_fill(disk);
    export_make(disk, 1, &packed);
    for (size_t len = 0; len < packed.len; len += len < packed.len - 700 ? 997 : 1) {
        struct run run = {SOURCE_ZSTD, SIZE_MAX, LIMIT, -1, 0};
        int r = run_unpack(&run, packed.data, len);

        /* The first frame alone is what plain zstd makes of a smaller disk. */
        assert_true(len == 0 ? r == 0 : r == -EIO);
    }
}

static void
limit_ends_a_bomb(void **state)
{
    const size_t size = 8u << 20;
    VMT_CLEANUP(vmt_freep) uint8_t *zeros = calloc(1, size);
    VMT_CLEANUP(vmt_freep) uint8_t *packed = malloc(ZSTD_compressBound(size));
    struct run run = {SOURCE_ZSTD, SIZE_MAX, size - 1, -1, 0};
    size_t n;

    (void)state;
    assert_true(zeros && packed);
    n = ZSTD_compress(packed, ZSTD_compressBound(size), zeros, size, 1);
    assert_false(ZSTD_isError(n));
    assert_int_equal(run_unpack(&run, packed, n), -EFBIG);
    run.max = size;
    assert_int_equal(run_unpack(&run, packed, n), 0);
}

static void
zeros_become_holes(void **state)
{
    VMT_CLEANUP(vmt_closep) int fd = memory_file();
    VMT_CLEANUP(vmt_freep) uint8_t *data = calloc(1, 1u << 20);
    struct sink sink = {.fd = fd, .max = LIMIT};

    (void)state;
    assert_non_null(data);
    data[500000] = 1;
    assert_int_equal(sink_write(&sink, data, 12345, NULL), 0);
    assert_int_equal(sink_write(&sink, data + 12345, (1u << 20) - 12345, NULL), 0);
    assert_int_equal(sink_skip(&sink, 4096, NULL), 0);
    assert_int_equal(sink_finish(&sink, NULL), 0);
    assert_int_equal(lseek(fd, 0, SEEK_DATA), 500000 / 4096 * 4096);
    assert_int_equal(lseek(fd, 500000, SEEK_HOLE), 500000 / 4096 * 4096 + 4096);
    assert_int_equal(lseek(fd, 0, SEEK_END), (1 << 20) + 4096);
}

/* A zip with one entry. */
static void
zip_make(const uint8_t *disk, struct vmt_buf *ret)
{
    struct archive *writer = archive_write_new();
    struct archive_entry *entry = archive_entry_new();
    size_t used = 0;

    assert_int_equal(vmt_buf_reserve(ret, 2 * DISK_BYTES), 0);
    assert_int_equal(archive_write_set_format_zip(writer), ARCHIVE_OK);
    assert_int_equal(
        archive_write_open_memory(writer, vmt_buf_tail(ret), 2 * DISK_BYTES, &used),
        ARCHIVE_OK);
    archive_entry_set_pathname(entry, "b.img");
    archive_entry_set_filetype(entry, S_IFREG);
    archive_entry_set_size(entry, DISK_BYTES);
    assert_int_equal(archive_write_header(writer, entry), ARCHIVE_OK);
    assert_int_equal(archive_write_data(writer, disk, DISK_BYTES), DISK_BYTES);
    assert_int_equal(archive_write_close(writer), ARCHIVE_OK);
    archive_entry_free(entry);
    assert_int_equal(archive_write_free(writer), ARCHIVE_OK);
    vmt_buf_commit(ret, used);
}

static void
zip_comes_back_in_any_pieces_and_not_when_cut(void **state)
{
    static const size_t pieces[] = {1, 4096, SIZE_MAX};
    static uint8_t disk[DISK_BYTES];
    VMT_CLEANUP(vmt_buf_done) struct vmt_buf zip = {0};

    (void)state;
    disk_fill(disk);
    zip_make(disk, &zip);
    for (size_t i = 0; i < VMT_ARRAY_SIZE(pieces); i++) {
        VMT_CLEANUP(vmt_closep) int fd = memory_file();
        struct run run = {SOURCE_ZIP, pieces[i], LIMIT, fd, 0};

        assert_int_equal(run_unpack(&run, zip.data, zip.len), 0);
        assert_disk(fd, disk);
    }
    /* Zeros take no room. What comes after the data is the directory, which a stream does
     * not need. */
    for (size_t len = 0; len < DISK_BYTES - 16384; len += 997) {
        struct run run = {SOURCE_ZIP, SIZE_MAX, LIMIT, -1, 0};

        assert_true(run_unpack(&run, zip.data, len) < 0);
    }
}

static void
kind_is_told_by_the_first_bytes(void **state)
{
    static const struct {
        const char *bytes;
        enum source_kind kind;
    } cases[] = {
        {"\x28\xb5\x2f\xfd", SOURCE_ZSTD},
        {"\x5e\x2a\x4d\x18", SOURCE_ZSTD},
        {"PK\x03\x04", SOURCE_ZIP},
        {"QFI\xfb", SOURCE_QCOW2},
        {"XFSB", SOURCE_RAW},
        {"abcd", SOURCE_AUTO},
    };

    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(cases); i++) {
        struct feed feed = {(const uint8_t *)cases[i].bytes, 4, 1};
        VMT_CLEANUP(source_done)
        struct source source = {.read = feed_read, .arg = &feed};
        enum source_kind kind = SOURCE_AUTO;

        assert_int_equal(unpack_detect(&source, &kind, NULL), 0);
        assert_int_equal(kind, cases[i].kind);
        source_done(&source);
        feed = (struct feed){(const uint8_t *)cases[i].bytes, 3, 1};
        source = (struct source){.read = feed_read, .arg = &feed};
        assert_int_equal(unpack_detect(&source, &kind, NULL), -EBADMSG);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(export_comes_back_in_any_pieces),
        cmocka_unit_test(threads_do_not_change_a_byte),
        cmocka_unit_test(export_cut_anywhere_is_refused),
        cmocka_unit_test(limit_ends_a_bomb),
        cmocka_unit_test(zeros_become_holes),
        cmocka_unit_test(zip_comes_back_in_any_pieces_and_not_when_cut),
        cmocka_unit_test(kind_is_told_by_the_first_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
