/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/vshd/account.h - users and groups straight from their files.
 * No NSS: vshd is linked statically and serves before any name service runs. */
#pragma once

#include <stddef.h>
#include <sys/types.h>

struct vmt_err;

struct account {
    char *name; /* owned */
    uid_t uid;
    gid_t gid;
    char *home;    /* owned, "/" if the file has none */
    char *shell;   /* owned, "/bin/sh" if the file has none */
    gid_t *groups; /* owned, ngroups of them: gid first, then those that list name */
    size_t ngroups;
};

/* Find a user in the text of a passwd file and the groups in that of a group file; see
 * passwd(5), group(5). name NULL: by uid, and when no line has it the account is the
 * number alone with home "/". Broken lines are skipped. Returns 0, -ENOENT (no such
 * user), -ENOMEM. */
int account_parse(const char *passwd, const char *group, const char *name, uid_t uid,
                  struct account *ret_account, struct vmt_err *err);

/* The same from /etc/passwd and /etc/group; missing files count as empty. */
int account_load(const char *name, uid_t uid, struct account *ret_account,
                 struct vmt_err *err);
void account_done(struct account *account);

/* The id of a group, or -1 when the text has no such group. */
gid_t account_group_id(const char *group, const char *name);
/* The group that owns terminals on this system, "tty", or -1. */
gid_t account_tty_group(void);
