/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/opening_internal.h - files that callers name, opened by a child process:
 * the server of a network file system, or a user's own, may be silent for ever, and only
 * who asked for the file waits for it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct concierge;
struct ipc_caller;
struct opening;
struct vmt_err;

/* As long as somebody waits for a file. */
#define OPENING_MS 20000u
/* What a file system that is silent may hold of ours, and of each caller. */
#define OPENINGS_MAX 256u
#define OPENINGS_PER_CALLER_MAX 32u

/* Of one request: disks, kernel, initial file system, firmware and its variables. */
#define OPENING_FILES_MAX 16u

enum opening_kind {
    OPENING_IMAGE,  /* as host_file_ops.image_open */
    OPENING_FOLDER, /* as image_folder there */
    OPENING_STORE,  /* as host_disk_ops.open */
    OPENING_AGAIN,  /* as host_file_ops.image_reopen */
};

struct opening_file {
    enum opening_kind kind;
    const char *name; /* path, or file of OPENING_STORE; NULL for OPENING_AGAIN */
    int fd;           /* OPENING_AGAIN: whose file, borrowed until fn; else ignored */
    bool writable;
    bool may_miss; /* then its descriptor is -1, and that is no failure */
};

struct opening_request {
    const char *owner; /* of the files of OPENING_STORE */
    const struct ipc_caller *caller;
    const struct opening_file *files;
    size_t n; /* at most OPENING_FILES_MAX */
};

/* Runs once, from the loop. fds are in the order of the request; what is taken has to be
 * replaced by -1 there, the rest is closed. They are NULL when one could not be opened,
 * for err. */
typedef void opening_fn(void *arg, int *fds, const struct vmt_err *err);

/* Open all files of a request, which is borrowed for this call only. Returns 0, -EAGAIN
 * when too many do not answer, -errno; then fn does not run. */
int opening_start(struct concierge *c, const struct opening_request *request,
                  opening_fn *fn, void *arg, struct opening **ret_opening,
                  struct vmt_err *err);
/* fn will not run any more; NULL is legal. */
void opening_cancel(struct opening *opening);
/* Forget all of them, for the end of the daemon. */
void openings_done(struct concierge *c);
