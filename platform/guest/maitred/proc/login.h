/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/proc/login.h - as whom a program runs, from the guest's account
 * files: a static PID 1 has no name service switch. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

struct vmt_err;

#define LOGIN_GROUPS_MAX 64
#define LOGIN_TEXT_MAX 256

struct login {
    uid_t uid;
    gid_t gid;
    gid_t groups[LOGIN_GROUPS_MAX]; /* all but gid; more than that are left out */
    size_t ngroups;
    char name[LOGIN_TEXT_MAX]; /* "": a number that no account has */
    char home[LOGIN_TEXT_MAX];
    char shell[LOGIN_TEXT_MAX];
};

/* user and group are names or numbers; "" is root, and the user's group. passwd and
 * group_file are the texts of passwd(5) and group(5). A user that is a number without an
 * account needs a group. Pure. Returns 0, -ENOENT with words that say what is not there.
 */
int login_parse(const char *passwd, const char *group_file, const char *user,
                const char *group, struct login *ret, struct vmt_err *err);

/* The same from /etc. Returns also what reading gives. */
int login_find(const char *user, const char *group, struct login *ret,
               struct vmt_err *err);
