/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vmc/cp.h - what the files of vmc cp share. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct copy_totals;
struct vmc;
struct vmt_err;

/* What is copied, and where to. */
struct cp {
    const char *user; /* in the guest; "": its default */
    bool recursive, keep;
    char *vm_name; /* owned */
    bool to_vm;
    char *source_vm; /* owned; with to_vm: where the sources are, NULL: on this host */
    const char **sources; /* owned list of borrowed paths, of the side that sends */
    size_t nsources;
    const char *destination; /* borrowed; of the side that receives */
    char **names;            /* owned, nsources of them: what the sources are called */
    bool content;            /* "-": the host's side is stdin or stdout */
};

/* Sort out the operands SRC... DST. Returns 0, -EINVAL with words, -ENOMEM; cp_done in
 * any case. */
int cp_operands(struct cp *cp, char *const *words, size_t n, struct vmt_err *err);
void cp_done(struct cp *cp);

/* Copy, and say on stderr what failed. Returns the exit code of the program. */
int cp_run(struct vmc *vmc, const struct cp *cp);
/* The same from VM to VM, without the report; stdin and stdout are gone afterwards. */
int cp_between_run(struct vmc *vmc, const struct cp *cp, struct copy_totals *ret_totals);

/* The session in the guest that sends to our stdout or receives from our stdin. Returns
 * its exit code or -errno. */
int cp_session(struct vmc *vmc, const struct cp *cp, struct vmt_err *err);
/* The end of a worker: say what went wrong, write the totals to result, give its exit
 * code. */
struct copy_side;
int cp_worker_report(const struct copy_side *side, int result, int r,
                     const struct vmt_err *err);

/* The line for a terminal of cols columns. elapsed_ms is since the first byte. */
struct cp_progress {
    uint64_t bytes, total; /* total may be COPY_SIZE_UNKNOWN */
    uint64_t elapsed_ms;
    const char *name; /* fit for a terminal */
    unsigned cols;
};
#define CP_LINE_MAX 512
void cp_progress_line(const struct cp_progress *p, char out[CP_LINE_MAX]);

/* on_progress of struct copy_side: draws on stderr, now and then. arg: zeroed. */
struct cp_progress_view {
    uint64_t begin_ms, drawn_ms;
    bool drawn;
};
void cp_progress_draw(void *arg, const struct copy_totals *totals, const char *path);
void cp_progress_clear(struct cp_progress_view *view);
