/* SPDX-License-Identifier: BSD-3-Clause */
/* hypervisor/qemu/state_file_internal.h - the file of a saved state, and who fills it.
 *
 * A page with what follows, then RAM as it is at STATE_RAM_AT, with holes where it was
 * never used or is zero, then QEMU's migration stream with everything but RAM. RAM is not
 * in the stream (capability x-ignore-shared), because QEMU 7.2 touches every page when it
 * reads one: that costs all the memory of the VM and a second for each GiB. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct event_base;
struct qemu_copy;
struct vmt_err;

#define STATE_VERSION 3u
#define STATE_RAM_AT (1u << 20)

struct state_file {
    uint64_t ram_bytes;
    uint64_t stream_bytes; /* at STATE_RAM_AT + ram_bytes */
    uint64_t stream_hash;  /* state_hash over it */
    uint64_t ram_hash;     /* state_hash_page over its pages that are not zero */
};

/* FNV-1a of 64 bits, http://www.isthe.com/chongo/tech/comp/fnv: finds damage, not malice.
 * Begin with STATE_HASH_EMPTY. */
#define STATE_HASH_EMPTY UINT64_C(0xcbf29ce484222325)
uint64_t state_hash(uint64_t hash, const void *data, size_t len);
/* Hash a page of RAM and the place where it is: eight of FNV's steps side by side, each
 * on a word of this machine's byte order, because memory is large and a hash byte by byte
 * takes longer than copying it. A word that is wrong is always found. */
#define STATE_PAGE_BYTES 4096u
uint64_t state_hash_page(uint64_t hash, uint64_t at,
                         const uint8_t page[STATE_PAGE_BYTES]);

uint64_t state_stream_at(const struct state_file *file);

/* Returns 0; -EINVAL with a sentence: not a state of ours, or cut short; -errno. */
int state_file_read(int fd, struct state_file *ret_file, struct vmt_err *err);
int state_file_write(int fd, const struct state_file *file, struct vmt_err *err);

enum qemu_copy_kind {
    QEMU_COPY_SAVE, /* RAM to file, then the head: the stream is there already */
    QEMU_COPY_FILL, /* file to RAM, which is all zeroes; stream and RAM are checked */
};

struct qemu_copy_spec {
    struct event_base *base; /* borrowed */
    enum qemu_copy_kind kind;
    int file_fd, ram_fd; /* borrowed for the call */
    struct state_file file;
    /* Runs once from the loop; err is NULL on success, else borrowed for the call. */
    void (*on_done)(void *arg, int result, const struct vmt_err *err);
    void *arg; /* borrowed until on_done or cancel */
};

/* Copy in a child process: disks may be slow, and the loop must not wait for them. */
int qemu_copy_start(const struct qemu_copy_spec *spec, struct qemu_copy **ret_copy,
                    struct vmt_err *err);
/* End it; on_done will not run. The child is reaped from the loop. NULL is legal. */
void qemu_copy_cancel(struct qemu_copy *copy);
