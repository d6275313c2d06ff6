/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/vshd/account.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/str.h"
#include "platform/linux/os/paths.h"

#define FILE_BYTES_MAX                                                                   \
    (1024u * 1024)       /* thousands of users; vshd reads it per session                \
                          */
#define GROUPS_MAX 4096u /* far below NGROUPS_MAX of the kernel, 65536 */
#define PASSWD_FIELDS 7
#define GROUP_FIELDS 4

struct field {
    const char *at;
    size_t len;
};

/* Split the line at text into exactly n fields at ':'. Returns whether it has that many;
 * *next is moved to the following line, or to NULL. */
static bool
line_split(const char *text, struct field *fields, unsigned n, const char **next)
{
    const char *end = strchrnul(text, '\n');
    const char *at = text, *colon = text;
    unsigned found = 0;

    *next = *end ? end + 1 : NULL;
    while (colon && found < n) {
        colon = memchr(at, ':', (size_t)(end - at));
        fields[found].at = at;
        fields[found++].len = (size_t)((colon ? colon : end) - at);
        at = colon ? colon + 1 : end;
    }
    return found == n && !colon;
}

static bool
field_is(const struct field *field, const char *text)
{
    return strlen(text) == field->len && memcmp(field->at, text, field->len) == 0;
}

/* Ids are 32 bit; the last one means "no id" to the kernel. */
static bool
field_id(const struct field *field, uint32_t *ret_id)
{
    char digits[16];
    uint64_t v;

    if (field->len == 0 || field->len >= sizeof(digits))
        return false;
    memcpy(digits, field->at, field->len);
    digits[field->len] = '\0';
    if (vmt_parse_u64(digits, UINT32_MAX - 1, &v) < 0)
        return false;
    *ret_id = (uint32_t)v;
    return true;
}

static char *
field_dup(const struct field *field, const char *otherwise)
{
    return field->len ? strndup(field->at, field->len) : strdup(otherwise);
}

static bool
member_listed(const struct field *members, const char *name)
{
    const char *at = members->at, *end = members->at + members->len;

    while (at < end) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        struct field one = {at, (size_t)((comma ? comma : end) - at)};

        if (field_is(&one, name))
            return true;
        at = comma ? comma + 1 : end;
    }
    return false;
}

static int
groups_add(struct account *account, gid_t gid)
{
    gid_t *grown;

    for (size_t i = 0; i < account->ngroups; i++)
        if (account->groups[i] == gid)
            return 0;
    if (account->ngroups == GROUPS_MAX)
        return 0;
    grown = reallocarray(account->groups, account->ngroups + 1, sizeof(gid_t));
    if (!grown)
        return -ENOMEM;
    account->groups = grown;
    account->groups[account->ngroups++] = gid;
    return 0;
}

static int
groups_find(const char *group, struct account *account)
{
    int r = groups_add(account, account->gid);

    for (const char *line = group, *next; r == 0 && line; line = next) {
        struct field f[GROUP_FIELDS];
        uint32_t gid;

        if (line_split(line, f, GROUP_FIELDS, &next) && field_id(&f[2], &gid) &&
            member_listed(&f[3], account->name))
            r = groups_add(account, gid);
    }
    return r;
}

static int
account_fill(const struct field *f, uint32_t uid, uint32_t gid, struct account *account)
{
    account->name = field_dup(&f[0], "");
    account->home = field_dup(&f[5], "/");
    account->shell = field_dup(&f[6], "/bin/sh");
    account->uid = uid;
    account->gid = gid;
    return account->name && account->home && account->shell ? 0 : -ENOMEM;
}

/* Returns 1 when a line was taken, 0 when none matches. */
static int
passwd_find(const char *passwd, const char *name, uid_t uid, struct account *account)
{
    for (const char *line = passwd, *next; line; line = next) {
        struct field f[PASSWD_FIELDS];
        uint32_t id, gid;

        if (!line_split(line, f, PASSWD_FIELDS, &next) || f[0].len == 0 ||
            !field_id(&f[2], &id) || !field_id(&f[3], &gid))
            continue;
        if (name ? field_is(&f[0], name) : id == uid)
            return account_fill(f, id, gid, account) < 0 ? -ENOMEM : 1;
    }
    return 0;
}

static int
account_nameless(uid_t uid, struct account *account)
{
    if (asprintf(&account->name, "%u", (unsigned)uid) < 0)
        account->name = NULL;
    account->home = strdup("/");
    account->shell = strdup("/bin/sh");
    account->uid = uid;
    account->gid = (gid_t)uid;
    return account->name && account->home && account->shell ? 0 : -ENOMEM;
}

int
account_parse(const char *passwd, const char *group, const char *name, uid_t uid,
              struct account *ret_account, struct vmt_err *err)
{
    VMT_CLEANUP(account_done) struct account account = {0};
    int r = passwd_find(passwd, name, uid, &account);

    if (r == 0 && name)
        return vmt_err_setx(err, ENOENT, "no user named %s", name);
    if (r == 0)
        r = account_nameless(uid, &account);
    if (r >= 0)
        r = groups_find(group, &account);
    if (r < 0)
        return vmt_err_set(err, -r, "look up user");
    *ret_account = account;
    memset(&account, 0, sizeof(account));
    return 0;
}

/* The text of a file, "" if there is none; NULL without memory. */
static char *
file_text(const char *path)
{
    char *text = NULL;
    unsigned long len;

    if (os_read_file(path, FILE_BYTES_MAX, &text, &len, NULL) < 0)
        return strdup("");
    return text;
}

int
account_load(const char *name, uid_t uid, struct account *ret_account,
             struct vmt_err *err)
{
    VMT_CLEANUP(vmt_freep) char *passwd = file_text("/etc/passwd");
    VMT_CLEANUP(vmt_freep) char *group = file_text("/etc/group");

    if (!passwd || !group)
        return vmt_err_set(err, ENOMEM, "read user files");
    return account_parse(passwd, group, name, uid, ret_account, err);
}

void
account_done(struct account *account)
{
    free(account->name);
    free(account->home);
    free(account->shell);
    free(account->groups);
    memset(account, 0, sizeof(*account));
}

gid_t
account_group_id(const char *group, const char *name)
{
    for (const char *line = group, *next; line; line = next) {
        struct field f[GROUP_FIELDS];
        uint32_t gid;

        if (line_split(line, f, GROUP_FIELDS, &next) && field_id(&f[2], &gid) &&
            field_is(&f[0], name))
            return gid;
    }
    return (gid_t)-1;
}

gid_t
account_tty_group(void)
{
    VMT_CLEANUP(vmt_freep) char *group = file_text("/etc/group");

    return group ? account_group_id(group, "tty") : (gid_t)-1;
}
