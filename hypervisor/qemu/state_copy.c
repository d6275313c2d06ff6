/* SPDX-License-Identifier: BSD-3-Clause */
/* hypervisor/qemu/state_copy.c - a child process that copies the RAM of a VM. */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <event2/event.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "hypervisor/qemu/state_file_internal.h"

#define PIECE_BYTES (1u << 20)

/* Shared with the child. */
struct copy_result {
    bool is_done; /* the child came to its end */
    int status;
    struct vmt_err err;
};

struct qemu_copy {
    struct qemu_copy_spec spec; /* on_done is NULL once cancelled */
    struct copy_result *result; /* owned, a shared mapping */
    pid_t pid;                  /* 0: reaped, or none yet */
    int pidfd;                  /* owned */
    struct event *exited;       /* owned */
};

static void
copy_free(struct qemu_copy *copy)
{
    if (!copy)
        return;
    if (copy->exited)
        event_free(copy->exited);
    if (copy->result)
        (void)munmap(copy->result, sizeof(*copy->result));
    vmt_closep(&copy->pidfd);
    free(copy);
}
VMT_DEFINE_FREEP(struct qemu_copy, copy_free)

static bool
is_zero(const uint8_t *page, size_t len)
{
    return page[0] == 0 && memcmp(page, page + 1, len - 1) == 0;
}

static int
write_all(int fd, const uint8_t *data, size_t len, off_t at)
{
    while (len > 0) {
        ssize_t n = pwrite(fd, data, len, at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        data += n;
        at += n;
        len -= (size_t)n;
    }
    return 0;
}

/* RAM on its way between its file and that of the state. */
struct ram_copy {
    int from, to;
    off_t from_at, to_at; /* where RAM begins */
    off_t bytes;
    uint64_t hash;
};

/* Write what is not zero, and hash it; zeroes are where nothing is written. at counts
 * from the begin of RAM. */
static int
write_used(struct ram_copy *copy, const uint8_t *data, size_t len, off_t at)
{
    size_t from = 0, i = 0;
    int r = 0;

    for (; i < len && r == 0; i += STATE_PAGE_BYTES) {
        if (!is_zero(data + i, STATE_PAGE_BYTES)) {
            copy->hash = state_hash_page(copy->hash, (uint64_t)at + i, data + i);
            continue;
        }
        r = write_all(copy->to, data + from, i - from, copy->to_at + at + (off_t)from);
        from = i + STATE_PAGE_BYTES;
    }
    if (r == 0 && from < i)
        r = write_all(copy->to, data + from, i - from, copy->to_at + at + (off_t)from);
    return r;
}

static int
read_all(int fd, uint8_t *data, size_t len, off_t at)
{
    while (len > 0) {
        ssize_t n = pread(fd, data, len, at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        data += n;
        at += n;
        len -= (size_t)n;
    }
    return 0;
}

/* Copy one stretch of data, of whole pages. */
static int
copy_stretch(struct ram_copy *copy, off_t at, off_t end)
{
    static uint8_t piece[PIECE_BYTES];
    int r = 0;

    while (at < end && r == 0) {
        size_t want = end - at < PIECE_BYTES ? (size_t)(end - at) : PIECE_BYTES;

        r = read_all(copy->from, piece, want, copy->from_at + at);
        if (r == 0)
            r = write_used(copy, piece, want, at);
        at += (off_t)want;
    }
    return r;
}

/* The next stretch at or behind at that is no hole, in whole pages: a file system may
 * have smaller blocks. Returns -ENXIO when only a hole is left. */
static int
find_stretch(const struct ram_copy *copy, off_t at, off_t *ret_at, off_t *ret_end)
{
    const off_t page = STATE_PAGE_BYTES;
    off_t data = lseek(copy->from, copy->from_at + at, SEEK_DATA), hole;

    hole = data < 0 ? -1 : lseek(copy->from, data, SEEK_HOLE);
    if (hole < 0)
        return -errno;
    data = (data - copy->from_at) / page * page;
    hole = (hole - copy->from_at + page - 1) / page * page;
    if (data >= copy->bytes)
        return -ENXIO;
    *ret_at = data;
    *ret_end = hole < copy->bytes ? hole : copy->bytes;
    return 0;
}

static int
copy_ram(struct ram_copy *copy)
{
    off_t at = 0, end;
    int r = 0;

    copy->hash = STATE_HASH_EMPTY;
    if (copy->bytes % STATE_PAGE_BYTES)
        return -EINVAL;
    while (r == 0 && at < copy->bytes) {
        r = find_stretch(copy, at, &at, &end);
        if (r == 0)
            r = copy_stretch(copy, at, end);
        at = end;
    }
    return r == -ENXIO ? 0 : r;
}

static int
hash_stream(int fd, const struct state_file *file, uint64_t *ret_hash)
{
    static uint8_t piece[PIECE_BYTES];
    off_t at = (off_t)state_stream_at(file), end = at + (off_t)file->stream_bytes;
    uint64_t hash = STATE_HASH_EMPTY;

    while (at < end) {
        size_t want = end - at < PIECE_BYTES ? (size_t)(end - at) : PIECE_BYTES;
        ssize_t n = pread(fd, piece, want, at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        hash = state_hash(hash, piece, (size_t)n);
        at += n;
    }
    *ret_hash = hash;
    return 0;
}

static int
run_save(const struct qemu_copy_spec *spec, struct vmt_err *err)
{
    struct state_file file = spec->file;
    struct ram_copy copy = {.from = spec->ram_fd,
                            .to = spec->file_fd,
                            .to_at = STATE_RAM_AT,
                            .bytes = (off_t)file.ram_bytes};
    int r = copy_ram(&copy);

    if (r == 0)
        r = hash_stream(spec->file_fd, &file, &file.stream_hash);
    if (r < 0)
        return vmt_err_set(err, -r, "write the saved state");
    file.ram_hash = copy.hash;
    return state_file_write(spec->file_fd, &file, err);
}

static int
run_fill(const struct qemu_copy_spec *spec, struct vmt_err *err)
{
    struct ram_copy copy = {.from = spec->file_fd,
                            .to = spec->ram_fd,
                            .from_at = STATE_RAM_AT,
                            .bytes = (off_t)spec->file.ram_bytes};
    uint64_t hash = 0;
    int r = hash_stream(spec->file_fd, &spec->file, &hash);

    if (r == 0 && hash != spec->file.stream_hash)
        return vmt_err_setx(err, EINVAL, "the saved state is damaged");
    if (r == 0)
        r = copy_ram(&copy);
    if (r < 0)
        return vmt_err_set(err, -r, "read the saved state");
    if (copy.hash != spec->file.ram_hash)
        return vmt_err_setx(err, EINVAL,
                            "the saved state is damaged: the memory in it is not what "
                            "was saved");
    return 0;
}

/* The child has what we have open; only these two are its business, and others may wait
 * for the end of a pipe that it would hold. */
static void
close_others(int a, int b)
{
    unsigned low = (unsigned)(a < b ? a : b), high = (unsigned)(a < b ? b : a);

    if (low > 0)
        (void)syscall(SYS_close_range, 0u, low - 1, 0u);
    if (high - low > 1)
        (void)syscall(SYS_close_range, low + 1, high - 1, 0u);
    (void)syscall(SYS_close_range, high + 1, ~0u, 0u);
}

static void __attribute__((noreturn))
child_main(const struct qemu_copy_spec *spec, struct copy_result *result, pid_t parent)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) /* it died before that */
        _exit(1);
    close_others(spec->file_fd, spec->ram_fd);
    result->status = spec->kind == QEMU_COPY_SAVE ? run_save(spec, &result->err)
                                                  : run_fill(spec, &result->err);
    result->is_done = true;
    _exit(0);
}

static void
copy_on_exit(evutil_socket_t fd, short what, void *arg)
{
    VMT_CLEANUP(copy_freep) struct qemu_copy *copy = arg;
    const struct qemu_copy_spec spec = copy->spec;
    struct vmt_err err;
    int status;

    (void)fd;
    (void)what;
    (void)waitpid(copy->pid, NULL, WNOHANG);
    if (!spec.on_done)
        return;
    status = copy->result->is_done ? copy->result->status : -EIO;
    err = copy->result->err;
    if (!copy->result->is_done)
        (void)vmt_err_setx(&err, EIO, "the process that copies memory was killed");
    spec.on_done(spec.arg, status, status < 0 ? &err : NULL);
}

static int
copy_fork(struct qemu_copy *copy)
{
    const pid_t self = getpid();

    copy->pid = fork();
    if (copy->pid < 0)
        return -errno;
    if (copy->pid == 0)
        child_main(&copy->spec, copy->result, self);
    copy->pidfd = (int)syscall(SYS_pidfd_open, copy->pid, 0u);
    if (copy->pidfd >= 0)
        copy->exited =
            event_new(copy->spec.base, copy->pidfd, EV_READ, copy_on_exit, copy);
    if (copy->exited && event_add(copy->exited, NULL) == 0)
        return 0;
    (void)kill(copy->pid, SIGKILL);
    (void)waitpid(copy->pid, NULL, 0);
    return -ENOMEM;
}

int
qemu_copy_start(const struct qemu_copy_spec *spec, struct qemu_copy **ret_copy,
                struct vmt_err *err)
{
    VMT_CLEANUP(copy_freep) struct qemu_copy *copy = calloc(1, sizeof(*copy));
    void *shared = mmap(NULL, sizeof(struct copy_result), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int r;

    if (!copy || shared == MAP_FAILED) {
        if (shared != MAP_FAILED)
            (void)munmap(shared, sizeof(struct copy_result));
        return vmt_err_set(err, ENOMEM, "copy memory");
    }
    *copy = (struct qemu_copy){.spec = *spec, .result = shared, .pidfd = -1};
    r = copy_fork(copy);
    if (r < 0)
        return vmt_err_set(err, -r, "copy memory");
    *ret_copy = vmt_take_ptr(&copy);
    return 0;
}

void
qemu_copy_cancel(struct qemu_copy *copy)
{
    if (!copy)
        return;
    copy->spec.on_done = NULL;
    (void)kill(copy->pid, SIGKILL);
}
