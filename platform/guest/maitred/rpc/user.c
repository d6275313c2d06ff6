/* SPDX-License-Identifier: BSD-3-Clause */
/* SetUpUser: an account for the host's user. */
#include <errno.h>
#include <fcntl.h>
#include <shadow.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <vm_guest.pb-c.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/log.h"
#include "platform/guest/maitred/agent/agent.h"
#include "platform/guest/maitred/proc/worker.h"
#include "platform/guest/maitred/rpc/accounts.h"
#include "platform/guest/maitred/rpc/handlers.h"
#include "platform/linux/os/paths.h"

#define USER_TIMEOUT_MS 20000
#define UID_DEFAULT 1000u /* specification of SetUpUser */
#define FILE_MAX (4ul * 1024 * 1024)
#define SKEL "/etc/skel"
#define SKEL_FILE_MAX (1024ul * 1024)
#define LINGER "/var/lib/systemd/linger"

static const char *const paths[] = {
    [ACCOUNT_SHADOW] = "/etc/shadow",
    [ACCOUNT_GSHADOW] = "/etc/gshadow",
    [ACCOUNT_GROUP] = "/etc/group",
    [ACCOUNT_PASSWD] = "/etc/passwd",
};
_Static_assert(VMT_ARRAY_SIZE(paths) == ACCOUNT_FILE_COUNT, "a file lacks its path");

static int
read_files(struct account_files *files, struct vmt_err *err)
{
    for (int i = 0; i < ACCOUNT_FILE_COUNT; i++) {
        unsigned long len;
        int r = os_read_file(paths[i], FILE_MAX, &files->text[i], &len, err);

        if (r < 0 && (r != -ENOENT || i == ACCOUNT_GROUP || i == ACCOUNT_PASSWD))
            return r;
    }
    return 0;
}

static int
write_all(int fd, const char *text)
{
    size_t len = strlen(text);

    while (len > 0) {
        ssize_t n = write(fd, text, len);

        if (n < 0 && errno != EINTR)
            return -errno;
        text += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
    }
    return fsync(fd) < 0 ? -errno : 0;
}

/* With the owner and rights of the file before: who may read shadow is not ours to say.
 */
static int
replace(const char *path, const char *text, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_closep) int fd = -1;
    char temporary[64];
    struct stat st;
    int r;

    (void)snprintf(temporary, sizeof(temporary), "%s.maitred", path);
    (void)unlink(temporary);
    fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || stat(path, &st) < 0)
        return vmt_err_set(err, errno, "replace %s", path);
    r = write_all(fd, text);
    if (r == 0 && (fchown(fd, st.st_uid, st.st_gid) < 0 ||
                   fchmod(fd, st.st_mode & 07777) < 0 || rename(temporary, path) < 0))
        r = -errno;
    if (r < 0)
        (void)unlink(temporary);
    return r < 0 ? vmt_err_set(err, -r, "replace %s", path) : 0;
}

static void
copy_skel(int home, const char *name, uint32_t uid, uint32_t gid)
{
    char path[512];
    VMT_CLEANUP(vmt_freep) char *data = NULL;
    VMT_CLEANUP(vmt_closep) int fd = -1;
    unsigned long len;

    (void)snprintf(path, sizeof(path), SKEL "/%s", name);
    if (os_read_file(path, SKEL_FILE_MAX, &data, &len, NULL) < 0)
        return;
    fd = openat(home, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0 || write_all(fd, data) < 0 || fchown(fd, uid, gid) < 0)
        (void)unlinkat(home, name, 0);
}

/* A home that is there already belongs to somebody, who keeps it as it is. */
static int
make_home(const char *name, uint32_t uid, uint32_t gid, struct vmt_err *err)
{
    static const char *const skel[] = {".bashrc", ".profile", ".bash_logout",
                                       ".bash_profile"};
    char path[ACCOUNT_NAME_MAX + 8];
    VMT_CLEANUP(vmt_closep) int fd = -1;

    (void)mkdir("/home", 0755);
    (void)snprintf(path, sizeof(path), "/home/%s", name);
    if (mkdir(path, 0700) < 0)
        return errno == EEXIST ? 0 : vmt_err_set(err, errno, "make %s", path);
    fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return vmt_err_set(err, errno, "make %s", path);
    for (size_t i = 0; i < VMT_ARRAY_SIZE(skel); i++)
        copy_skel(fd, skel[i], uid, gid);
    if (fchown(fd, uid, gid) < 0 || fchmod(fd, 0755) < 0)
        return vmt_err_set(err, errno, "give %s to its user", path);
    return 0;
}

/* What loginctl enable-linger leaves behind: the user's services run without a login.
 * Source: systemd 252, src/login/logind-dbus.c, method_set_user_linger. */
static void
linger(const char *name)
{
    char path[sizeof(LINGER) + ACCOUNT_NAME_MAX + 2];
    VMT_CLEANUP(vmt_closep) int fd = -1;

    if (access("/run/systemd/system", F_OK) < 0)
        return;
    (void)os_mkdir_p(LINGER, 0755, NULL);
    (void)snprintf(path, sizeof(path), LINGER "/%s", name);
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0)
        vmt_log_debug("the user does not linger: %s", strerror(errno));
}

/* The two refusals that the caller has to tell apart come back as codes, the owner of the
 * number as the words. */
static int
refuse(const struct account_result *result, struct vmt_err *err)
{
    if (result->outcome == ACCOUNT_UID_TAKEN)
        return vmt_err_setx(err, EEXIST, "%s", result->owner);
    return vmt_err_setx(err, EALREADY, "the account has another uid");
}

static int
apply(const struct account_request *rq, struct vmt_err *err)
{
    VMT_CLEANUP(account_files_done) struct account_files files = {0};
    struct account_result result = {0};
    int r = read_files(&files, err);

    if (r == 0)
        r = accounts_plan(&files, rq, &result, err);
    if (r < 0)
        return r;
    if (result.outcome == ACCOUNT_UID_TAKEN || result.outcome == ACCOUNT_NAME_TAKEN)
        return refuse(&result, err);
    if (result.outcome == ACCOUNT_NEW)
        r = make_home(rq->name, rq->uid, result.gid, err);
    for (int i = 0; i < ACCOUNT_FILE_COUNT && r == 0; i++)
        if (result.files.text[i])
            r = replace(paths[i], result.files.text[i], err);
    account_files_done(&result.files);
    if (r == 0)
        linger(rq->name);
    return r;
}

/* A worker_fn. Others that change the files wait, and so do we; see lckpwdf(3). */
static int
do_set_up(void *arg, struct vmt_err *err)
{
    struct account_request *rq = arg;
    int r;

    rq->today = (long)(time(NULL) / 86400);
    if (lckpwdf() < 0)
        return vmt_err_set(err, EBUSY, "lock the account files");
    r = apply(rq, err);
    (void)ulckpwdf();
    return r;
}

/* What the answer needs of the request, which is gone by then. */
struct set_up {
    struct rpc_server_call *call; /* borrowed */
    char name[ACCOUNT_NAME_MAX + 1];
};

static void
answer(struct set_up *s, bool success, const char *why, const char *name)
{
    VmTools__SetUpUserResponse response;

    vm_tools__set_up_user_response__init(&response);
    response.success = success;
    response.failure_reason = (char *)(uintptr_t)why;
    response.username = (char *)(uintptr_t)name;
    rpc_server_call_reply(s->call, &response.base);
}

static void
on_done(void *arg, int status, const struct vmt_err *err)
{
    VMT_CLEANUP(vmt_freep) struct set_up *s = arg;

    if (status == 0)
        answer(s, true, "", s->name);
    else if (status == -EEXIST)
        answer(s, false, "the uid belongs to another account", err->msg);
    else if (status == -EALREADY)
        answer(s, false, err->msg, s->name);
    else if (status == -ENOENT)
        rpc_server_call_fail(s->call, RPC_INVALID_ARGUMENT, "%s", err->msg);
    else
        rpc_server_call_fail(s->call, RPC_INTERNAL, "%s", err->msg);
}

static int
check(const VmTools__SetUpUserRequest *req, uint32_t uid, struct vmt_err *err)
{
    if (!account_name_is_valid(req->username))
        return vmt_err_setx(err, EINVAL, "this is no name of an account");
    if (uid == 0 || uid == UINT32_MAX)
        return vmt_err_setx(err, EINVAL, "uid %u is not for this", uid);
    if (req->n_group_names > ACCOUNT_GROUPS_MAX)
        return vmt_err_setx(err, EINVAL, "too many groups");
    for (size_t i = 0; i < req->n_group_names; i++)
        if (!account_name_is_valid(req->group_names[i]))
            return vmt_err_setx(err, EINVAL, "a group has an impossible name");
    return 0;
}

void
handle_set_up_user(void *ctx, struct rpc_server_call *call,
                   const ProtobufCMessage *request)
{
    const VmTools__SetUpUserRequest *req = (const VmTools__SetUpUserRequest *)request;
    struct agent *agent = ctx;
    bool has_uid = req->_uid_case == VM_TOOLS__SET_UP_USER_REQUEST___UID_UID;
    struct account_request rq = {
        .name = req->username,
        .uid = has_uid ? req->uid : UID_DEFAULT,
        .groups = (const char *const *)req->group_names,
        .ngroups = req->n_group_names,
    };
    struct set_up *s;
    struct worker_spec spec = {.fn = do_set_up,
                               .fn_arg = &rq,
                               .timeout_ms = USER_TIMEOUT_MS,
                               .on_done = on_done};
    struct vmt_err err = {0};

    if (check(req, rq.uid, &err) < 0) {
        rpc_server_call_fail(call, RPC_INVALID_ARGUMENT, "%s", err.msg);
        return;
    }
    s = calloc(1, sizeof(*s));
    if (!s) {
        rpc_server_call_fail(call, RPC_RESOURCE_EXHAUSTED, "out of memory");
        return;
    }
    s->call = call;
    (void)snprintf(s->name, sizeof(s->name), "%s", req->username);
    spec.arg = s;
    if (worker_start(&agent->procs, &spec, &err) < 0) {
        free(s);
        rpc_server_call_fail(call, RPC_RESOURCE_EXHAUSTED, "%s", err.msg);
    }
}
