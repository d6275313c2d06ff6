/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/proc/login.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/str.h"
#include "platform/guest/maitred/init/file.h"

#define ACCOUNTS_BYTES_MAX (1024ul * 1024)
#define LINE_FIELDS_MAX 7
#define LINE_MAX 8192 /* a longer one is taken for damaged, and for nobody's */

/* One line of passwd(5) or group(5), cut at its colons. */
struct entry {
    char text[LINE_MAX];
    const char *fields[LINE_FIELDS_MAX]; /* into text; "" where there are fewer */
};

/* Take the line at *pos, which moves behind it. False at the end. */
static bool
next_entry(const char **pos, struct entry *ret)
{
    size_t len = strcspn(*pos, "\n");
    const char *line = *pos;
    char *at = ret->text;

    if (!*line)
        return false;
    *pos += len + (line[len] == '\n');
    if (len >= sizeof(ret->text))
        len = 0;
    memcpy(ret->text, line, len);
    ret->text[len] = '\0';
    for (int i = 0; i < LINE_FIELDS_MAX; i++) {
        size_t n = strcspn(at, ":");

        ret->fields[i] = at;
        at += n;
        if (*at)
            *at++ = '\0';
    }
    return true;
}

static bool
parse_id(const char *text, uint32_t *ret)
{
    uint64_t n;

    if (vmt_parse_u64(text, UINT32_MAX - 1, &n) < 0) /* the last one means "as it is" */
        return false;
    *ret = (uint32_t)n;
    return true;
}

/* The entry of a name, or else of a number, whose field 2 is the id. */
static bool
find_entry(const char *text, const char *wanted, struct entry *ret)
{
    uint32_t number = 0, id;
    bool is_number = parse_id(wanted, &number);

    while (next_entry(&text, ret)) {
        if (!parse_id(ret->fields[2], &id))
            continue;
        if (strcmp(ret->fields[0], wanted) == 0 || (is_number && id == number))
            return true;
    }
    return false;
}

static int
find_user(const char *passwd, const char *user, struct login *ret, bool *ret_has_group,
          struct vmt_err *err)
{
    struct entry e;
    uint32_t uid = 0, gid = 0;

    *ret_has_group = true;
    if (find_entry(passwd, *user ? user : "0", &e)) {
        (void)parse_id(e.fields[2], &uid);
        if (!parse_id(e.fields[3], &gid))
            return vmt_err_setx(err, ENOENT, "account %.64s has no group", user);
        (void)snprintf(ret->name, sizeof(ret->name), "%s", e.fields[0]);
        (void)snprintf(ret->home, sizeof(ret->home), "%s", e.fields[5]);
        (void)snprintf(ret->shell, sizeof(ret->shell), "%s", e.fields[6]);
    } else if (*user && !parse_id(user, &uid)) {
        return vmt_err_setx(err, ENOENT, "there is no user %.64s", user);
    } else {
        *ret_has_group = !*user; /* root is there without an account, too */
    }
    ret->uid = uid;
    ret->gid = gid;
    return 0;
}

static int
find_group(const char *group_file, const char *group, gid_t *ret, struct vmt_err *err)
{
    struct entry e;
    uint32_t gid = 0;

    if (!parse_id(group, &gid)) {
        if (!find_entry(group_file, group, &e))
            return vmt_err_setx(err, ENOENT, "there is no group %.64s", group);
        (void)parse_id(e.fields[2], &gid);
    }
    *ret = gid;
    return 0;
}

/* Is name one of the members, which commas part? */
static bool
is_member(const char *members, const char *name)
{
    size_t len = strlen(name);

    for (const char *at = members; *at; at += strcspn(at, ","), at += *at == ',')
        if (strcspn(at, ",") == len && strncmp(at, name, len) == 0)
            return true;
    return false;
}

static void
collect_groups(const char *group_file, struct login *login)
{
    struct entry e;
    uint32_t gid;

    while (*login->name && login->ngroups < LOGIN_GROUPS_MAX &&
           next_entry(&group_file, &e)) {
        if (is_member(e.fields[3], login->name) && parse_id(e.fields[2], &gid) &&
            gid != login->gid)
            login->groups[login->ngroups++] = gid;
    }
}

int
login_parse(const char *passwd, const char *group_file, const char *user,
            const char *group, struct login *ret, struct vmt_err *err)
{
    struct login login = {.ngroups = 0};
    bool has_group;
    int r = find_user(passwd, user, &login, &has_group, err);

    if (r < 0)
        return r;
    if (!has_group && !*group)
        return vmt_err_setx(err, ENOENT,
                            "user %.64s has no account: give a group as well", user);
    if (*group)
        r = find_group(group_file, group, &login.gid, err);
    if (r < 0)
        return r;
    collect_groups(group_file, &login);
    *ret = login;
    return 0;
}

/* A guest without the file has no accounts. */
static int
read_accounts(const char *path, char **ret, struct vmt_err *err)
{
    long n = file_read(path, ACCOUNTS_BYTES_MAX, ret);

    return n < 0 && n != -ENOENT ? vmt_err_set(err, (int)-n, "read %s", path) : 0;
}

int
login_find(const char *user, const char *group, struct login *ret, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_freep) char *passwd = NULL;
    VMT_CLEANUP(vmt_freep) char *groups = NULL;
    int r = read_accounts("/etc/passwd", &passwd, err);

    if (r == 0)
        r = read_accounts("/etc/group", &groups, err);
    if (r < 0)
        return r;
    return login_parse(passwd ? passwd : "", groups ? groups : "", user, group, ret, err);
}
