/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/rpc/accounts.h - the text files of user accounts, as text. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vmt_err;

#define ACCOUNT_NAME_MAX 32 /* bytes; utmp(5) has no room for more */
#define ACCOUNT_GROUPS_MAX 64

enum account_file {
    ACCOUNT_SHADOW = 0, /* in the order in which they are to be written: */
    ACCOUNT_GSHADOW,
    ACCOUNT_GROUP,
    ACCOUNT_PASSWD, /* last: with it the account is there */
    ACCOUNT_FILE_COUNT
};

/* Texts, each NUL-terminated, NULL: there is no such file, and none is made. */
struct account_files {
    char *text[ACCOUNT_FILE_COUNT]; /* owned */
};
void account_files_done(struct account_files *files);

struct account_request {
    const char *name;
    uint32_t uid;
    const char *const *groups; /* the account's further groups */
    size_t ngroups;
    long today; /* days since 1970-01-01, for shadow(5) */
};

enum account_outcome {
    ACCOUNT_THERE = 0,  /* nothing to do, or only groups */
    ACCOUNT_NEW,        /* the account is in the new texts */
    ACCOUNT_UID_TAKEN,  /* by the name in owner */
    ACCOUNT_NAME_TAKEN, /* the name has another uid */
};

struct account_result {
    enum account_outcome outcome;
    char owner[ACCOUNT_NAME_MAX + 1]; /* of the uid, cut */
    uint32_t gid;                     /* primary group of the account */
    struct account_files files;       /* NULL: as before */
};

/* May an account be called so? [a-z][-a-z0-9_]*$? of at most ACCOUNT_NAME_MAX bytes.
 * Source: specification of SetUpUser; useradd(8). */
bool account_name_is_valid(const char *name);

/* What the files have to be for the account to exist. Pure. files must have passwd and
 * group. The caller releases ret->files. Returns 0; -ENOENT: there is no such group, and
 * the words say which; -ENOSPC: no group id is free; -ENOMEM. */
int accounts_plan(const struct account_files *files,
                  const struct account_request *request, struct account_result *ret,
                  struct vmt_err *err);
