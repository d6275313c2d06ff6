/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/linux/vm_vsock/options.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/limits.h"
#include "core/base/str.h"

const char options_usage[] =
    "Usage: vm_vsock --guest-cid=N (--vhost-fd=FD | --vhost-socket=PATH)\n"
    "                (--vsock-fd=FD --uds-dir=DIR | --vsock-socket=PATH) [OPTION...]\n"
    "Serve one VM's virtio socket device to a VMM (vhost-user), between the guest's\n"
    "AF_VSOCK sockets and unix sockets of the host.\n"
    "\n"
    "  --guest-cid=N        context id of the guest, 3 to 4294967294\n"
    "  --vhost-fd=FD        inherited listening socket for the VMM\n"
    "  --vhost-socket=PATH  listen for the VMM at PATH instead\n"
    "  --vsock-fd=FD        inherited listening socket for programs of the host, which\n"
    "                       send \"CONNECT <port>\" to reach the guest\n"
    "  --vsock-socket=PATH  listen for them at PATH instead\n"
    "  --uds-dir=DIR        the guest reaches the host's port P at DIR/vsock_P; without\n"
    "                       it, at PATH_P of --vsock-socket\n"
    "  --log-level=LEVEL    error, warning, notice, info (default) or debug\n"
    "  --no-sandbox         do without the system call filter\n"
    "  --help               show this text\n"
    "  --version            show the version\n"
    "\n"
    "It is two processes: should the one that serves the guest end, or SIGHUP ask for "
    "it,\n"
    "another takes its place, and the guest's connections are reset.\n"
    "SIGTERM ends it, SIGUSR1 logs statistics.\n";

typedef int option_fn(struct options *opt, const char *value, struct vmt_err *err);

static int
set_number(const char *value, uint64_t max, uint64_t *ret, struct vmt_err *err)
{
    if (vmt_parse_u64(value, max, ret) < 0)
        return vmt_err_setx(err, EINVAL, "not a number from 0 to %llu: %s",
                            (unsigned long long)max, value);
    return 0;
}

static int
set_cid(struct options *opt, const char *value, struct vmt_err *err)
{
    uint64_t cid = 0;
    int r = set_number(value, UINT32_MAX - 1, &cid, err);

    if (r == 0 && cid < VMT_CID_GUEST_MIN)
        r = vmt_err_setx(err, EINVAL, "cid %s is reserved", value);
    if (r == 0)
        opt->guest_cid = (uint32_t)cid;
    return r;
}

static int
set_fd(const char *value, int *ret_fd, struct vmt_err *err)
{
    uint64_t fd = 0;
    int r = set_number(value, INT_MAX, &fd, err);

    if (r == 0)
        *ret_fd = (int)fd;
    return r;
}

static int
set_vhost_fd(struct options *opt, const char *value, struct vmt_err *err)
{
    return set_fd(value, &opt->vhost_fd, err);
}

static int
set_vsock_fd(struct options *opt, const char *value, struct vmt_err *err)
{
    return set_fd(value, &opt->vsock_fd, err);
}

static int
set_worker_fd(struct options *opt, const char *value, struct vmt_err *err)
{
    return set_fd(value, &opt->worker_fd, err);
}

static int
set_journal_fd(struct options *opt, const char *value, struct vmt_err *err)
{
    return set_fd(value, &opt->journal_fd, err);
}

static int
set_vhost_socket(struct options *opt, const char *value, struct vmt_err *err)
{
    (void)err;
    opt->vhost_socket = value;
    return 0;
}

static int
set_vsock_socket(struct options *opt, const char *value, struct vmt_err *err)
{
    (void)err;
    opt->vsock_socket = value;
    return 0;
}

static int
set_uds_dir(struct options *opt, const char *value, struct vmt_err *err)
{
    (void)err;
    opt->uds_dir = value;
    return 0;
}

static int
set_log_level(struct options *opt, const char *value, struct vmt_err *err)
{
    static const struct {
        const char *name;
        enum vmt_log_level level;
    } levels[] = {
        {"error", VMT_LOG_ERROR},   {"warning", VMT_LOG_WARNING},
        {"notice", VMT_LOG_NOTICE}, {"info", VMT_LOG_INFO},
        {"debug", VMT_LOG_DEBUG},
    };

    for (size_t i = 0; i < VMT_ARRAY_SIZE(levels); i++) {
        if (strcmp(levels[i].name, value) == 0) {
            opt->log_level = levels[i].level;
            return 0;
        }
    }
    return vmt_err_setx(err, EINVAL, "not a log level: %s", value);
}

static int
set_no_sandbox(struct options *opt, const char *value, struct vmt_err *err)
{
    (void)value;
    (void)err;
    opt->sandbox = false;
    return 0;
}

static int
set_help(struct options *opt, const char *value, struct vmt_err *err)
{
    (void)value;
    (void)err;
    opt->help = true;
    return 0;
}

static int
set_version(struct options *opt, const char *value, struct vmt_err *err)
{
    (void)value;
    (void)err;
    opt->version = true;
    return 0;
}

static const struct {
    struct option getopt;
    option_fn *set;
} option_table[] = {
    {{"guest-cid", required_argument, NULL, 0}, set_cid},
    {{"vhost-fd", required_argument, NULL, 0}, set_vhost_fd},
    {{"vhost-socket", required_argument, NULL, 0}, set_vhost_socket},
    {{"vsock-fd", required_argument, NULL, 0}, set_vsock_fd},
    {{"vsock-socket", required_argument, NULL, 0}, set_vsock_socket},
    {{"uds-dir", required_argument, NULL, 0}, set_uds_dir},
    {{"log-level", required_argument, NULL, 0}, set_log_level},
    {{"no-sandbox", no_argument, NULL, 0}, set_no_sandbox},
    /* How the program starts its worker; of no use to anybody else, so not in the usage.
     */
    {{"worker-fd", required_argument, NULL, 0}, set_worker_fd},
    {{"journal-fd", required_argument, NULL, 0}, set_journal_fd},
    {{"help", no_argument, NULL, 0}, set_help},
    {{"version", no_argument, NULL, 0}, set_version},
};
#define OPTIONS VMT_ARRAY_SIZE(option_table)

static int
options_check_worker(const struct options *opt, struct vmt_err *err)
{
    if (opt->vsock_fd < 0 || opt->journal_fd < 0 || (!opt->uds_dir && !opt->vsock_socket))
        return vmt_err_setx(err, EINVAL,
                            "--worker-fd is for vm_vsock itself, with more options");
    return 0;
}

static int
options_check(const struct options *opt, struct vmt_err *err)
{
    if (opt->help || opt->version)
        return 0;
    if (!opt->guest_cid)
        return vmt_err_setx(err, EINVAL, "--guest-cid is missing");
    if (opt->worker_fd >= 0)
        return options_check_worker(opt, err);
    if ((opt->vhost_fd >= 0) == (opt->vhost_socket != NULL))
        return vmt_err_setx(err, EINVAL, "give one of --vhost-fd and --vhost-socket");
    if ((opt->vsock_fd >= 0) == (opt->vsock_socket != NULL))
        return vmt_err_setx(err, EINVAL, "give one of --vsock-fd and --vsock-socket");
    if (!opt->uds_dir && !opt->vsock_socket)
        return vmt_err_setx(err, EINVAL, "--vsock-fd needs --uds-dir");
    return 0;
}

int
options_parse(int argc, char **argv, struct options *ret_options, struct vmt_err *err)
{
    struct option getopts[OPTIONS + 1] = {0};
    struct options opt = {.vhost_fd = -1,
                          .vsock_fd = -1,
                          .worker_fd = -1,
                          .journal_fd = -1,
                          .log_level = VMT_LOG_INFO,
                          .sandbox = true};
    int index = 0, c, r;

    for (size_t i = 0; i < OPTIONS; i++)
        getopts[i] = option_table[i].getopt;
    opterr = 0;
    while ((c = getopt_long(argc, argv, ":", getopts, &index)) != -1) {
        if (c == ':')
            return vmt_err_setx(err, EINVAL, "%s needs a value", argv[optind - 1]);
        if (c != 0)
            return vmt_err_setx(err, EINVAL, "unknown option %s", argv[optind - 1]);
        r = option_table[index].set(&opt, optarg, err);
        if (r < 0)
            return vmt_err_wrap(err, r, "--%s", getopts[index].name);
    }
    if (optind < argc)
        return vmt_err_setx(err, EINVAL, "unexpected argument %s", argv[optind]);
    r = options_check(&opt, err);
    if (r == 0)
        *ret_options = opt;
    return r;
}
