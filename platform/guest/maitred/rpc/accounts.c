/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/rpc/accounts.c - a guest need not have the tools of shadow(5).
 * Source of the formats: passwd(5), group(5), shadow(5), gshadow(5). */
#include "platform/guest/maitred/rpc/accounts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/buf.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/str.h"

#define GID_MIN 1000u
#define GID_MAX 59999u

void
account_files_done(struct account_files *files)
{
    for (int i = 0; i < ACCOUNT_FILE_COUNT; i++) {
        free(files->text[i]);
        files->text[i] = NULL;
    }
}

bool
account_name_is_valid(const char *name)
{
    static const char first[] = "abcdefghijklmnopqrstuvwxyz";
    static const char more[] = "abcdefghijklmnopqrstuvwxyz0123456789-_";
    size_t len = strlen(name), body;

    if (len == 0 || len > ACCOUNT_NAME_MAX || !strchr(first, name[0]))
        return false;
    body = strspn(name, more);
    return body == len || (body == len - 1 && name[body] == '$');
}

/* One line of a file: fields between colons, without the newline. */
struct line {
    const char *at;
    size_t len;
};

/* The line at *pos, which moves behind it. */
static bool
next_line(const char **pos, struct line *ret)
{
    if (!**pos)
        return false;
    ret->at = *pos;
    ret->len = strcspn(*pos, "\n");
    *pos += ret->len + ((*pos)[ret->len] == '\n');
    return true;
}

/* Field number n from 0, empty when there are fewer. */
static struct line
field(const struct line *line, unsigned n)
{
    const char *at = line->at, *end = line->at + line->len;
    struct line f;

    for (; n > 0 && at < end; n--) {
        const char *colon = memchr(at, ':', (size_t)(end - at));

        at = colon ? colon + 1 : end;
    }
    f.at = at;
    f.len = (size_t)(end - at);
    if (at < end && memchr(at, ':', f.len))
        f.len = (size_t)((const char *)memchr(at, ':', f.len) - at);
    return f;
}

static bool
is(const struct line *f, const char *text)
{
    return f->len == strlen(text) && memcmp(f->at, text, f->len) == 0;
}

static bool
number_of(const struct line *f, uint32_t *ret)
{
    char digits[16];
    uint64_t n;

    if (f->len == 0 || f->len >= sizeof(digits))
        return false;
    memcpy(digits, f->at, f->len);
    digits[f->len] = '\0';
    if (vmt_parse_u64(digits, UINT32_MAX, &n) < 0)
        return false;
    *ret = (uint32_t)n;
    return true;
}

static bool
find_name(const char *text, const char *name, struct line *ret)
{
    while (next_line(&text, ret)) {
        struct line f = field(ret, 0);

        if (is(&f, name))
            return true;
    }
    return false;
}

/* By the number in field n. */
static bool
find_number(const char *text, unsigned n, uint32_t number, struct line *ret)
{
    while (next_line(&text, ret)) {
        struct line f = field(ret, n);
        uint32_t have;

        if (number_of(&f, &have) && have == number)
            return true;
    }
    return false;
}

static bool
is_member(const struct line *members, const char *name)
{
    const char *at = members->at, *end = members->at + members->len;

    while (at < end) {
        struct line m = {at, (size_t)(end - at)};
        const char *comma = memchr(at, ',', m.len);

        if (comma)
            m.len = (size_t)(comma - at);
        if (is(&m, name))
            return true;
        at += m.len + 1;
    }
    return false;
}

static bool
is_wanted(const struct account_request *rq, const struct line *group)
{
    for (size_t i = 0; i < rq->ngroups; i++)
        if (is(group, rq->groups[i]))
            return true;
    return false;
}

/* Has it as many fields as group(5) says? Others are kept as they are. */
static bool
is_whole(const struct line *line)
{
    unsigned colons = 0;

    for (size_t i = 0; i < line->len; i++)
        colons += line->at[i] == ':';
    return colons == 3;
}

/* The file with rq->name in the last field of every group that it wants, and extra as a
 * last line ("": none). NULL: no memory. */
static char *
with_member(const char *text, const struct account_request *rq, const char *extra)
{
    VMT_CLEANUP(vmt_buf_done) struct vmt_buf out = {0};
    struct line line;
    int r = 0;

    while (r >= 0 && next_line(&text, &line)) {
        struct line group = field(&line, 0), members = field(&line, 3);

        r = vmt_buf_append(&out, line.at, line.len);
        if (r >= 0 && is_whole(&line) && is_wanted(rq, &group) &&
            !is_member(&members, rq->name)) {
            if (members.len)
                r = vmt_buf_append(&out, ",", 1);
            if (r >= 0)
                r = vmt_buf_append(&out, rq->name, strlen(rq->name));
        }
        if (r >= 0)
            r = vmt_buf_append(&out, "\n", 1);
    }
    if (r >= 0)
        r = vmt_buf_append(&out, extra, strlen(extra) + 1);
    return r < 0 ? NULL : strdup((const char *)out.data);
}

static char *
with_line(const char *text, const char *extra)
{
    static const struct account_request nobody = {.name = ""};

    return with_member(text, &nobody, extra);
}

static int
check_groups(const struct account_files *files, const struct account_request *rq,
             struct vmt_err *err)
{
    struct line line;

    for (size_t i = 0; i < rq->ngroups; i++)
        if (!find_name(files->text[ACCOUNT_GROUP], rq->groups[i], &line))
            return vmt_err_setx(err, ENOENT, "there is no group %s", rq->groups[i]);
    return 0;
}

/* The group of the account's name; made with the account's number if that is free. */
static int
choose_group(const struct account_files *files, const struct account_request *rq,
             uint32_t *ret_gid, bool *ret_new, struct vmt_err *err)
{
    const char *text = files->text[ACCOUNT_GROUP];
    struct line line, f;

    *ret_new = !find_name(text, rq->name, &line);
    if (!*ret_new) {
        f = field(&line, 2);
        if (number_of(&f, ret_gid))
            return 0;
        return vmt_err_setx(err, ENOSPC, "the group %s has no number", rq->name);
    }
    *ret_gid = rq->uid;
    for (uint32_t gid = GID_MIN; find_number(text, 2, *ret_gid, &line); gid++) {
        if (gid > GID_MAX)
            return vmt_err_setx(err, ENOSPC, "no group number is free");
        *ret_gid = gid;
    }
    return 0;
}

static int
fill_groups(const struct account_files *files, const struct account_request *rq,
            bool new_group, struct account_result *ret)
{
    char group[ACCOUNT_NAME_MAX + 32] = "", gshadow[ACCOUNT_NAME_MAX + 32] = "";

    if (new_group) {
        (void)snprintf(group, sizeof(group), "%s:x:%u:\n", rq->name, ret->gid);
        (void)snprintf(gshadow, sizeof(gshadow), "%s:!::\n", rq->name);
    } else if (rq->ngroups == 0) {
        return 0;
    }
    ret->files.text[ACCOUNT_GROUP] = with_member(files->text[ACCOUNT_GROUP], rq, group);
    if (!ret->files.text[ACCOUNT_GROUP])
        return -ENOMEM;
    if (!files->text[ACCOUNT_GSHADOW])
        return 0;
    ret->files.text[ACCOUNT_GSHADOW] =
        with_member(files->text[ACCOUNT_GSHADOW], rq, gshadow);
    return ret->files.text[ACCOUNT_GSHADOW] ? 0 : -ENOMEM;
}

/* No password opens the account. */
static int
fill_account(const struct account_files *files, const struct account_request *rq,
             struct account_result *ret)
{
    char line[4 * ACCOUNT_NAME_MAX + 64];
    struct line old;

    (void)snprintf(line, sizeof(line), "%s:x:%u:%u::/home/%s:/bin/bash\n", rq->name,
                   rq->uid, ret->gid, rq->name);
    ret->files.text[ACCOUNT_PASSWD] = with_line(files->text[ACCOUNT_PASSWD], line);
    if (!ret->files.text[ACCOUNT_PASSWD])
        return -ENOMEM;
    if (!files->text[ACCOUNT_SHADOW] ||
        find_name(files->text[ACCOUNT_SHADOW], rq->name, &old))
        return 0;
    (void)snprintf(line, sizeof(line), "%s:!:%ld:0:99999:7:::\n", rq->name, rq->today);
    ret->files.text[ACCOUNT_SHADOW] = with_line(files->text[ACCOUNT_SHADOW], line);
    return ret->files.text[ACCOUNT_SHADOW] ? 0 : -ENOMEM;
}

/* Who is there already? Returns whether that is the whole answer. */
static bool
is_settled(const struct account_files *files, const struct account_request *rq,
           struct account_result *ret)
{
    const char *text = files->text[ACCOUNT_PASSWD];
    struct line line, f;
    uint32_t uid;

    ret->outcome = ACCOUNT_NEW;
    if (find_number(text, 2, rq->uid, &line)) {
        f = field(&line, 0);
        (void)snprintf(ret->owner, sizeof(ret->owner), "%.*s", (int)f.len, f.at);
        if (!is(&f, rq->name)) {
            ret->outcome = ACCOUNT_UID_TAKEN;
            return true;
        }
    }
    if (!find_name(text, rq->name, &line))
        return false;
    f = field(&line, 2);
    if (!number_of(&f, &uid) || uid != rq->uid) {
        ret->outcome = ACCOUNT_NAME_TAKEN;
        return true;
    }
    ret->outcome = ACCOUNT_THERE;
    f = field(&line, 3);
    (void)number_of(&f, &ret->gid);
    return false;
}

int
accounts_plan(const struct account_files *files, const struct account_request *rq,
              struct account_result *ret, struct vmt_err *err)
{
    struct account_result result = {.gid = rq->uid};
    bool new_group = false;
    int r = check_groups(files, rq, err);

    if (r < 0)
        return r;
    if (is_settled(files, rq, &result)) {
        *ret = result;
        return 0;
    }
    if (result.outcome == ACCOUNT_NEW) {
        r = choose_group(files, rq, &result.gid, &new_group, err);
        if (r < 0)
            return r;
        r = fill_account(files, rq, &result);
    }
    if (r == 0)
        r = fill_groups(files, rq, new_group, &result);
    if (r < 0) {
        account_files_done(&result.files);
        return vmt_err_set(err, -r, "write the account files anew");
    }
    *ret = result;
    return 0;
}
