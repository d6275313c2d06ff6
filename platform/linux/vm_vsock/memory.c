/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/linux/vm_vsock/memory.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"

struct mapping {
    struct guest_region region;
    uint8_t *base; /* owned; start of the file, map_len bytes */
    size_t map_len;
    uint8_t *data; /* region.size bytes inside base */
};

struct guest_memory {
    struct guest_memory *next; /* in live_memories */
    volatile sig_atomic_t lost;
    size_t n;
    struct mapping maps[GUEST_MEMORY_REGIONS_MAX];
};

/* For the signal handler: the objects that exist, changed only while none of their memory
 * is touched. */
static struct guest_memory *live_memories;

static bool
add_overflows(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b;
}

static bool
ranges_meet(uint64_t a, uint64_t a_len, uint64_t b, uint64_t b_len)
{
    return a < b + b_len && b < a + a_len;
}

static int
region_check(const struct guest_region *r, const struct guest_memory *mem,
             struct vmt_err *err)
{
    if (!r->size || add_overflows(r->guest_addr, r->size) ||
        add_overflows(r->user_addr, r->size) || add_overflows(r->mmap_offset, r->size) ||
        r->mmap_offset + r->size > SIZE_MAX / 2)
        return vmt_err_setx(err, EINVAL, "memory region has an impossible size");
    for (size_t i = 0; i < mem->n; i++) {
        const struct guest_region *o = &mem->maps[i].region;

        if (ranges_meet(r->guest_addr, r->size, o->guest_addr, o->size) ||
            ranges_meet(r->user_addr, r->size, o->user_addr, o->size))
            return vmt_err_setx(err, EINVAL, "memory regions overlap");
    }
    return 0;
}

/* The whole file from its start is mapped, since an offset that is good for ordinary
 * pages is not for huge ones. Only address space is spent. */
static int
region_map(struct guest_memory *mem, const struct guest_region *r, int fd,
           struct vmt_err *err)
{
    struct mapping *m = &mem->maps[mem->n];
    struct stat st;
    void *base;

    if (fstat(fd, &st) < 0)
        return vmt_err_set(err, errno, "look at shared memory");
    if (st.st_size < 0 || (uint64_t)st.st_size < r->mmap_offset + r->size)
        return vmt_err_setx(err, EINVAL, "memory region lies outside of its file");
    m->map_len = (size_t)(r->mmap_offset + r->size);
    base =
        mmap(NULL, m->map_len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (base == MAP_FAILED)
        return vmt_err_set(err, errno, "map shared memory");
    (void)madvise(base, m->map_len, MADV_DONTDUMP); /* the guest's secrets */
    m->base = base;
    m->data = m->base + r->mmap_offset;
    m->region = *r;
    mem->n++;
    return 0;
}

VMT_DEFINE_FREEP(struct guest_memory, guest_memory_free)

int
guest_memory_new(const struct guest_region *regions, const int *fds, size_t n,
                 struct guest_memory **ret_mem, struct vmt_err *err)
{
    VMT_CLEANUP(guest_memory_freep) struct guest_memory *mem = NULL;

    if (n < 1 || n > GUEST_MEMORY_REGIONS_MAX)
        return vmt_err_setx(err, EINVAL, "%zu memory regions", n);
    mem = calloc(1, sizeof(*mem));
    if (!mem)
        return vmt_err_set(err, ENOMEM, "take over a memory table");
    mem->next = live_memories;
    live_memories = mem;
    for (size_t i = 0; i < n; i++) {
        int r = region_check(&regions[i], mem, err);

        if (r == 0)
            r = region_map(mem, &regions[i], fds[i], err);
        if (r < 0)
            return r;
    }
    *ret_mem = vmt_take_ptr(&mem);
    return 0;
}

void
guest_memory_free(struct guest_memory *mem)
{
    struct guest_memory **at = &live_memories;

    if (!mem)
        return;
    while (*at && *at != mem)
        at = &(*at)->next;
    if (*at)
        *at = mem->next;
    for (size_t i = 0; i < mem->n; i++)
        (void)munmap(mem->maps[i].base, mem->maps[i].map_len);
    free(mem);
}

/* Bytes from addr to the end of its region, 0 when there is none. */
static uint64_t
guest_span(const struct guest_memory *mem, uint64_t addr, uint8_t **ret_data)
{
    for (size_t i = 0; i < mem->n; i++) {
        const struct mapping *m = &mem->maps[i];

        if (addr >= m->region.guest_addr &&
            addr - m->region.guest_addr < m->region.size) {
            *ret_data = m->data + (addr - m->region.guest_addr);
            return m->region.size - (addr - m->region.guest_addr);
        }
    }
    return 0;
}

void *
guest_memory_at_guest(const struct guest_memory *mem, uint64_t addr, uint64_t len)
{
    uint8_t *data = NULL;

    return guest_span(mem, addr, &data) >= len ? data : NULL;
}

void *
guest_memory_at_user(const struct guest_memory *mem, uint64_t addr, uint64_t len)
{
    for (size_t i = 0; i < mem->n; i++) {
        const struct mapping *m = &mem->maps[i];
        uint64_t off = addr - m->region.user_addr;

        if (addr >= m->region.user_addr && off < m->region.size &&
            len <= m->region.size - off)
            return m->data + off;
    }
    return NULL;
}

int
guest_memory_pieces(const struct guest_memory *mem, uint64_t addr, uint64_t len,
                    struct iovec *iov, size_t max)
{
    size_t n = 0;

    while (len) {
        uint8_t *data = NULL;
        uint64_t span = guest_span(mem, addr, &data);

        if (!span)
            return -EFAULT;
        if (n == max)
            return -E2BIG;
        if (span > len)
            span = len;
        iov[n++] = (struct iovec){.iov_base = data, .iov_len = (size_t)span};
        len -= span;
        addr += span; /* no region ends above 2^64 - 1: this does not wrap */
    }
    return (int)n;
}

bool
guest_memory_lost(const struct guest_memory *mem)
{
    return mem->lost;
}

/* Only mmap, which is a bare system call, and memory that does not change meanwhile. The
 * whole region goes: a huge page could not be replaced in part. */
static void
on_sigbus(int sig, siginfo_t *info, void *context)
{
    uint8_t *addr = info->si_addr;

    (void)context;
    for (struct guest_memory *mem = live_memories; mem; mem = mem->next) {
        for (size_t i = 0; i < mem->n; i++) {
            const struct mapping *m = &mem->maps[i];

            if (addr < m->base || addr >= m->base + m->map_len)
                continue;
            mem->lost = 1;
            if (mmap(m->base, m->map_len, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1,
                     0) != MAP_FAILED)
                return;
        }
    }
    (void)signal(sig, SIG_DFL); /* not ours: the access is repeated and ends us */
}

void
guest_memory_guard(void)
{
    struct sigaction sa = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO};

    (void)sigaction(SIGBUS, &sa, NULL);
}
