/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/copy/copy.h - send files into a stream, and make files of one. Both
 * block: they are for processes that do nothing else. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vmt_err;

/* How far a copy is. */
struct copy_totals {
    uint64_t files; /* that are complete; folders and links count, too */
    uint64_t bytes; /* of their content, without holes */
    uint64_t total; /* bytes that are expected, or COPY_SIZE_UNKNOWN */
};

/* What both directions have. All borrowed for the call. */
struct copy_side {
    const char *program; /* begins the lines on stderr */
    const char *label;   /* before each path in them: "VM:", or "" for this host */
    /* After each piece of a file, and each file; NULL for nobody. path is of the other
     * side: escape it. */
    void (*on_progress)(void *arg, const struct copy_totals *totals, const char *path);
    void *arg;
    size_t complaints; /* what could not be copied; counted by the call */
    struct copy_totals totals;
};

struct copy_send {
    struct copy_side side;
    int out;        /* the stream */
    bool recursive; /* folders, and symbolic links as such */
    const char *const *sources;
    size_t nsources;
    /* Instead of sources: send this descriptor to its end, as a file of this name. */
    int content;
    const char *content_name;
};

struct copy_receive {
    struct copy_side side;
    int in; /* the stream */
    /* A folder, in which the copy gets the names it has, or the new name of what is
     * copied. */
    const char *destination;
    bool want_folder; /* the destination has to be a folder */
    bool keep;        /* replace nothing that is there */
    /* Only these names may come, NULL for any: the other side is not trusted. */
    const char *const *names;
    size_t nnames;
    int content; /* not -1: write the one file that comes to this descriptor */
};

/* Both return 0 when the stream is whole, even when side.complaints tells that some files
 * could not be copied; they were named on stderr. Else -errno: -EPIPE when the other side
 * went away, -EBADMSG when it does not speak our language, -EINTR after a signal. */
int copy_send(struct copy_send *send, struct vmt_err *err);
/* Files appear under their names only when they are whole; an unfinished one is removed.
 * Nothing is made or changed outside the destination, whatever comes. */
int copy_receive(struct copy_receive *receive, struct vmt_err *err);

/* Hand on what comes to in, as a copy of these names, until it is whole. */
struct copy_relay {
    struct copy_side side;
    int in, out;
    const char *const *names; /* nnames of them: only these may come */
    size_t nnames;
};
/* Returns 0 when the stream is whole and written, else as copy_receive. */
int copy_relay(struct copy_relay *relay, struct vmt_err *err);

/* From now on SIGHUP, SIGINT and SIGTERM make the calls above end in order. */
void copy_watch_signals(void);

/* The program in the guest; returns its exit code. */
int copy_tool_main(int argc, char **argv);
