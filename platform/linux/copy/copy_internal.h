/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/copy/copy_internal.h - what the files of this room share. */
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include "core/copy/stream.h"
#include "platform/linux/copy/copy.h"

#define OUT_BYTES (256u * 1024)

/* channel.c */
struct copy_out {
    int fd; /* borrowed */
    size_t used;
    uint8_t bytes[OUT_BYTES];
};
/* Queue or write; out_flush at the end. Return 0 or -errno, -EINTR after a signal. */
int out_write(struct copy_out *out, const void *data, size_t len);
int out_flush(struct copy_out *out);

struct copy_in {
    int fd; /* borrowed */
    size_t at, have;
    uint8_t bytes[OUT_BYTES];
    uint8_t body[COPY_BODY_MAX];
};
/* The next record; its pointers hold until the next call. Returns 0, -EPIPE at the end of
 * the bytes, -EBADMSG, -EINTR after a signal, -errno. */
int in_record(struct copy_in *in, struct copy_record *ret_record);
/* write(2) until all is written. */
int write_all(int fd, const void *data, size_t len);
/* Did a signal ask us to end? */
bool copy_stopped(void);

/* report.c */
/* Say what could not be copied, and count it. After some of them only the count grows:
 * the other side decides how many there are. */
void copy_complain(struct copy_side *side, const char *path, int error, const char *what);
void copy_progress(struct copy_side *side, const char *path);
/* How many were counted but not said. */
void copy_complaints_end(const struct copy_side *side);

/* receive.c */
/* Does an entry, and what a hard link means, belong to one of the names? NULL: any. */
bool copy_was_asked_for(const char *const *names, size_t n,
                        const struct copy_entry *entry);

/* send_file.c */
struct sender {
    struct copy_send *config;
    struct copy_out out;
    struct copy_seen *seen; /* owned: files with several names */
    size_t nseen, seen_room;
    const char *source; /* borrowed: of the command line */
    int prefix;         /* bytes of it before the name that the copy has */
    uint8_t piece[COPY_DATA_MAX];
};
int send_entry(struct sender *s, const struct copy_entry *entry);
int send_xattrs(struct sender *s, int fd);
/* The content of a regular file. Returns 0 also when it could not be read to its end. */
int send_content(struct sender *s, int fd, uint64_t size, const char *path);
/* All bytes of a descriptor that has no size. */
int send_stream(struct sender *s, int fd, const char *path);
/* The first path of a file that has several names, NULL when this is it. */
const char *send_seen(struct sender *s, const struct stat *st, const char *path);
void send_seen_done(struct sender *s);

/* place.c: where things are made. Every part of a path is opened below the one before,
 * and none is a symbolic link: no path leads out. */
struct place_made {
    dev_t dev;
    ino_t ino; /* 0: none */
};
struct place {
    int base;          /* owned; the folder that everything is below */
    char *rename;      /* owned; what the first part of paths is replaced with, or NULL */
    const char *shown; /* borrowed: the destination */
    unsigned temporary; /* counts */
    /* The last folder that the copy made, by the number of slashes in its path. */
    struct place_made made[COPY_PATH_MAX / 2 + 1];
};
int place_open(struct place *place, const struct copy_receive *config,
               struct vmt_err *err);
void place_done(struct place *place);
/* The folder of a path, owned by the caller, and its last part, which points into path or
 * place. Returns 0 or -errno, -ELOOP: a part is a symbolic link. */
int place_parent(const struct place *place, const char *path, int *ret_dir,
                 const char **ret_name);
/* A name for something unfinished. */
#define TEMPORARY_MAX 64
void place_temporary(struct place *place, char name[TEMPORARY_MAX]);
/* Give what is complete its name in the folder dir, in place of a file or link, or of
 * nothing with keep. The temporary name is gone afterwards. */
int place_commit(int dir, const char *temporary, const char *name, bool keep);
/* The permissions that something new gets: those of the entry, less the umask's. What is
 * new here is not for everybody because the other side says so. */
mode_t place_mode(uint32_t mode);
int place_folder(struct place *place, const struct copy_entry *entry);
/* A folder that was there before keeps its permissions. */
int place_folder_end(const struct place *place, const struct copy_entry *entry);
int place_symlink(struct place *place, const struct copy_entry *entry, bool keep);
int place_hardlink(struct place *place, const struct copy_entry *entry, bool keep);

/* place_file.c */
struct place_file {
    int fd;  /* owned, -1: none is open */
    int dir; /* owned */
    const char *name;
    char *path; /* owned; as the stream names it */
    char temporary[TEMPORARY_MAX];
    struct copy_entry entry;
    uint64_t end; /* of the data so far */
    int error;    /* 0, or why the rest is not looked at */
};
int place_file_begin(struct place_file *file, struct place *place,
                     const struct copy_entry *entry);
int place_file_data(struct place_file *file, const struct copy_record *record);
int place_file_commit(struct place_file *file, bool keep);
/* Also of one that is not finished: then nothing is left. */
void place_file_done(struct place_file *file);
/* Attributes of users only: others mean something to this system. Returns 0 or -errno. */
int place_xattr(int fd, const struct copy_record *record);
