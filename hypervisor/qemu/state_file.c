/* SPDX-License-Identifier: BSD-3-Clause */
#include "hypervisor/qemu/state_file_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/err.h"

#define HEAD_BYTES 4096
#define HEAD_FORMAT                                                                      \
    "vm_tools state %u\nram %" PRIu64 "\nstream %" PRIu64 "\nhash %016" PRIx64           \
    " %016" PRIx64 "\nend\n"
#define HASH_LANES 8 /* as many products as a core has on the way */
/* Far above every machine, far below what overflows. */
#define RAM_MAX (UINT64_C(1) << 46)
#define STREAM_MAX (UINT64_C(1) << 32)

uint64_t
state_hash(uint64_t hash, const void *data, size_t len)
{
    const uint8_t *bytes = data;

    for (size_t i = 0; i < len; i++)
        hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    return hash;
}

/* The product carries a difference to higher bits only, the turn brings it down again:
 * without that, two wrong highest bits would undo each other. */
static uint64_t
hash_word(uint64_t hash, uint64_t word)
{
    hash ^= word;
    return (hash << 29 | hash >> 35) * UINT64_C(0x100000001b3);
}

uint64_t
state_hash_page(uint64_t hash, uint64_t at, const uint8_t page[STATE_PAGE_BYTES])
{
    uint64_t lanes[HASH_LANES];

    for (size_t i = 0; i < HASH_LANES; i++)
        lanes[i] = STATE_HASH_EMPTY + i;
    for (size_t i = 0; i < STATE_PAGE_BYTES; i += sizeof(lanes)) {
        uint64_t words[HASH_LANES];

        memcpy(words, page + i, sizeof(words));
        for (size_t k = 0; k < HASH_LANES; k++)
            lanes[k] = hash_word(lanes[k], words[k]);
    }
    hash = hash_word(hash, at);
    for (size_t i = 0; i < HASH_LANES; i++)
        hash = hash_word(hash, lanes[i]);
    return hash;
}

uint64_t
state_stream_at(const struct state_file *file)
{
    return STATE_RAM_AT + file->ram_bytes;
}

/* Writing what was read must give the same bytes: nothing else is a head of ours. */
static int
parse_head(const char *head, struct state_file *ret_file)
{
    struct state_file file;
    char again[HEAD_BYTES];
    unsigned version = 0;
    int n;

    if (sscanf(head,
               "vm_tools state %u ram %" SCNu64 " stream %" SCNu64 " hash %" SCNx64
               " %" SCNx64,
               &version, &file.ram_bytes, &file.stream_bytes, &file.stream_hash,
               &file.ram_hash) != 5 ||
        version != STATE_VERSION)
        return -EINVAL;
    n = snprintf(again, sizeof(again), HEAD_FORMAT, version, file.ram_bytes,
                 file.stream_bytes, file.stream_hash, file.ram_hash);
    if (n < 0 || memcmp(again, head, (size_t)n) != 0 || file.ram_bytes == 0 ||
        file.ram_bytes > RAM_MAX || file.stream_bytes == 0 ||
        file.stream_bytes > STREAM_MAX)
        return -EINVAL;
    *ret_file = file;
    return 0;
}

int
state_file_read(int fd, struct state_file *ret_file, struct vmt_err *err)
{
    char head[HEAD_BYTES + 1] = "";
    struct state_file file;
    struct stat st;
    ssize_t n = pread(fd, head, HEAD_BYTES, 0);

    if (n < 0 || fstat(fd, &st) < 0)
        return vmt_err_set(err, errno, "read the saved state");
    if (!S_ISREG(st.st_mode) || n != HEAD_BYTES || parse_head(head, &file) < 0)
        return vmt_err_setx(err, EINVAL, "this is not a saved state of a vm");
    if ((uint64_t)st.st_size != state_stream_at(&file) + file.stream_bytes)
        return vmt_err_setx(err, EINVAL, "the saved state is not complete");
    *ret_file = file;
    return 0;
}

int
state_file_write(int fd, const struct state_file *file, struct vmt_err *err)
{
    char head[HEAD_BYTES] = "";

    (void)snprintf(head, sizeof(head), HEAD_FORMAT, STATE_VERSION, file->ram_bytes,
                   file->stream_bytes, file->stream_hash, file->ram_hash);
    if (pwrite(fd, head, sizeof(head), 0) != (ssize_t)sizeof(head))
        return vmt_err_set(err, errno ? errno : EIO, "write the saved state");
    return 0;
}
