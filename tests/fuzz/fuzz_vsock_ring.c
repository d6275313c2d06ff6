/* SPDX-License-Identifier: BSD-3-Clause */
/* Virtqueues in memory that a guest wrote: the input is the memory, from its start. All
 * chains are taken as the device would; each piece must lie in the memory. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "platform/linux/vm_vsock/memory.h"
#include "platform/linux/vm_vsock/virtq.h"
#include "tests/fuzz/fuzz.h"

#define USER 0x1000000ull
#define BYTES 65536u
#define SPLIT                                                                            \
    0x3000u /* two regions meet here, and the guest's addresses have a gap after */
#define SIZE 16u
#define AVAIL 0x100u
#define USED 0x200u

static struct guest_memory *mem;
static uint8_t *base;

static void
memory_init(void)
{
    const struct guest_region regions[] = {
        {0, SPLIT, USER, 0},
        {SPLIT, 0x1000, USER + SPLIT, SPLIT},
        {1ull << 32, BYTES - SPLIT - 0x1000, USER + SPLIT + 0x1000, SPLIT + 0x1000},
    };
    int fd = memfd_create("guest", MFD_CLOEXEC);
    int fds[] = {fd, fd, fd};

    if (fd < 0 || ftruncate(fd, BYTES) < 0 ||
        guest_memory_new(regions, fds, VMT_ARRAY_SIZE(regions), &mem, NULL) < 0)
        abort();
    base = guest_memory_at_user(mem, USER, SPLIT);
    (void)close(fd);
}

/* Touch every byte: an address that is not ours is found by the sanitizer or the kernel.
 */
static void
check_chain(const struct iovec *iov, const struct virtq_chain *chain, bool write)
{
    size_t len = 0;

    for (size_t i = 0; i < chain->niov; i++) {
        uint8_t *p = iov[i].iov_base;

        len += iov[i].iov_len;
        if (!iov[i].iov_len || iov[i].iov_len > BYTES)
            abort();
        if (write)
            memset(p, 0x5a, iov[i].iov_len);
        else
            (void)*(volatile uint8_t *)(p + iov[i].iov_len - 1);
    }
    if (len != chain->len || !chain->niov)
        abort();
}

static void
run(enum virtq_direction direction, bool indirect, bool event_idx)
{
    static struct iovec iov[VIRTQ_PIECES_MAX];
    struct virtq vq = {
        .direction = direction, .indirect = indirect, .event_idx = event_idx};
    struct virtq_chain chain;
    unsigned taken = 0;

    if (virtq_start(&vq, SIZE, base, base + AVAIL, base + USED, 0) < 0)
        abort();
    (void)virtq_enable_notify(&vq);
    while (taken++ < 100 && virtq_pop(&vq, mem, iov, VIRTQ_PIECES_MAX, &chain) == 1) {
        check_chain(iov, &chain, direction == VIRTQ_WRITE);
        virtq_push(&vq, chain.head, (uint32_t)chain.len);
        if (taken % 3 == 0)
            (void)virtq_publish(&vq);
    }
    (void)virtq_publish(&vq);
    virtq_disable_notify(&vq);
    virtq_stop(&vq);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!mem)
        memory_init();
    if (size > SPLIT)
        size = SPLIT;
    for (unsigned mode = 0; mode < 8; mode++) {
        memset(base, 0, SPLIT);
        memcpy(base, data, size);
        run(mode & 1 ? VIRTQ_WRITE : VIRTQ_READ, mode & 2, mode & 4);
    }
    return 0;
}
