/* SPDX-License-Identifier: BSD-3-Clause */
/* core/copy/stream.h - files and folders as one stream of bytes, for copies between host
 * and guest.
 *
 * The stream is a sequence of records: kind (one byte), length of the body (LE32), body.
 * Numbers in bodies are little-endian, strings are a LE16 length, the bytes, and a NUL.
 * The order:
 *
 *   START (ENTRY XATTR* (DATA* DONE)?)* END
 *
 * Only regular files have DATA and DONE. What no DATA covers is a hole. A folder's entry
 * comes before what it holds, and its FOLDER_END, with the final mode and time, after
 * that. A stream without END was cut. Unlike tar it takes files whose size nobody knows
 * before they end, and says of a file that it could not be read to its end. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/copy/path.h"

#define COPY_DATA_MAX (128u * 1024)
#define COPY_XATTR_NAME_MAX 255u
#define COPY_XATTR_MAX (64u * 1024) /* of a value: what Linux takes */
#define COPY_HEAD 5u                /* kind and length */
#define COPY_BODY_MAX (COPY_DATA_MAX + 64u)
/* Room for any record, without the bytes of DATA and the values of XATTR. */
#define COPY_RECORD_MAX (COPY_HEAD + 64u + 2u * (COPY_PATH_MAX + 3u))
#define COPY_SIZE_UNKNOWN UINT64_MAX

enum copy_kind {
    COPY_START = 1,
    COPY_ENTRY,
    COPY_XATTR,
    COPY_DATA,
    COPY_DONE,
    COPY_END,
};

enum copy_type {
    COPY_FILE = 1,
    COPY_FOLDER,
    COPY_FOLDER_END,
    COPY_SYMLINK,
    COPY_HARDLINK, /* target: the path, in the same stream, of what it is another name of
                    */
};

struct copy_entry {
    enum copy_type type;
    uint32_t mode; /* permission bits, 0 to 0777 */
    int64_t mtime_s;
    uint32_t mtime_ns;
    uint64_t size;      /* of a file, or COPY_SIZE_UNKNOWN */
    const char *path;   /* copy_path_ok */
    const char *target; /* of links, else "" */
};

/* One decoded record; the members of its kind are set, pointers go into the body. */
struct copy_record {
    enum copy_kind kind;
    uint64_t total; /* START: bytes of all files, or COPY_SIZE_UNKNOWN */
    struct copy_entry entry;
    const char *name;    /* XATTR: of the attribute */
    uint64_t offset;     /* DATA */
    const uint8_t *data; /* DATA, XATTR */
    size_t len;
    bool whole; /* DONE: the file could be read to its end */
};

/* Write a record to out, COPY_RECORD_MAX bytes. Return the bytes written. */
size_t copy_start_encode(uint64_t total, uint8_t *out);
size_t copy_done_encode(bool whole, uint8_t *out);
size_t copy_end_encode(uint8_t *out);
/* Or -ENAMETOOLONG. */
ssize_t copy_entry_encode(const struct copy_entry *entry, uint8_t *out);
/* Without the len bytes of data, which the caller sends next: up to COPY_DATA_MAX, or
 * COPY_XATTR_MAX. */
size_t copy_data_encode(uint64_t offset, size_t len, uint8_t *out);
ssize_t copy_xattr_encode(const char *name, size_t len, uint8_t *out);

/* Take COPY_HEAD bytes apart. Returns 0, or -EBADMSG: no record of ours begins so. */
int copy_head_decode(const uint8_t *head, enum copy_kind *ret_kind, size_t *ret_len);
/* Take a body apart. Returns 0, or -EBADMSG when it is none, or names a path that leaves
 * the place of the copy. */
int copy_body_decode(enum copy_kind kind, const uint8_t *body, size_t len,
                     struct copy_record *ret_record);
