/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/vshd/options.h"

#include <errno.h>
#include <getopt.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/str.h"

const char options_usage[] =
    "usage: vshd [options]\n"
    "Serve shells to the host on vsock port 9001.\n"
    "\n"
    "  --forward_to_host_port=PORT  connect to that port of the host, serve one session\n"
    "                               and exit, instead of listening\n"
    "  --listen-unix=PATH           listen on a unix socket instead, open to the own "
    "user\n"
    "  --default_user=NAME          user of sessions that name none (root)\n"
    "  --[no]allow_to_switch_user   let sessions choose their user (yes)\n"
    "  --[no]inherit_env            start from vshd's own environment (no)\n"
    "  --[no]log_kmsg               log to the kernel log, else to syslog (yes)\n"
    "  --help, --version\n";

static int
set_port(struct options *o, const char *value, struct vmt_err *err)
{
    uint64_t port;

    if (vmt_parse_u64(value, UINT32_MAX - 1, &port) < 0)
        return vmt_err_setx(err, EINVAL, "%s is no port number", value);
    o->forward_to_host_port = (uint32_t)port;
    return 0;
}

static int
set_user(struct options *o, const char *value, struct vmt_err *err)
{
    if (*value == '\0')
        return vmt_err_setx(err, EINVAL, "the name of the default user is empty");
    o->default_user = value;
    return 0;
}

static int
set_unix(struct options *o, const char *value, struct vmt_err *err)
{
    if (*value == '\0')
        return vmt_err_setx(err, EINVAL, "the path of the socket is empty");
    o->listen_unix = value;
    return 0;
}

/* An option with a value has set; a switch has the place of its bool, and a twin "no..."
 * that means the opposite. */
static const struct {
    const char *name;
    int (*set)(struct options *o, const char *value, struct vmt_err *err);
    size_t flag;
} rows[] = {
    {"forward_to_host_port", set_port, 0},
    {"default_user", set_user, 0},
    {"listen-unix", set_unix, 0},
    {"inherit_env", NULL, offsetof(struct options, inherit_env)},
    {"allow_to_switch_user", NULL, offsetof(struct options, allow_to_switch_user)},
    {"log_kmsg", NULL, offsetof(struct options, log_kmsg)},
    {"help", NULL, offsetof(struct options, help)},
    {"version", NULL, offsetof(struct options, version)},
};
#define ROWS VMT_ARRAY_SIZE(rows)
#define NEGATED 1000 /* added to the row number of a "no..." twin */

static int
set_flag(bool *flag, bool on, const char *value, struct vmt_err *err)
{
    if (value && strcmp(value, "true") != 0 && strcmp(value, "false") != 0)
        return vmt_err_setx(err, EINVAL, "a switch takes true or false, not %s", value);
    *flag = value ? (strcmp(value, "true") == 0) == on : on;
    return 0;
}

static int
option_apply(struct options *o, int key, const char *value, struct vmt_err *err)
{
    size_t row = (size_t)(key % NEGATED);

    if (rows[row].set)
        return rows[row].set(o, value, err);
    return set_flag((bool *)((char *)o + rows[row].flag), key < NEGATED, value, err);
}

int
options_parse(int argc, char **argv, struct options *ret_options, struct vmt_err *err)
{
    struct options o = {
        .allow_to_switch_user = true, .log_kmsg = true, .default_user = "root"};
    struct option longs[2 * ROWS + 1] = {0};
    char negated[ROWS][32];
    size_t n = 0;
    int key, r = 0;

    for (size_t i = 0; i < ROWS; i++) {
        int has = rows[i].set ? required_argument : optional_argument;

        longs[n++] = (struct option){rows[i].name, has, NULL, (int)i};
        if (rows[i].set)
            continue;
        (void)snprintf(negated[i], sizeof(negated[i]), "no%s", rows[i].name);
        longs[n++] = (struct option){negated[i], no_argument, NULL, (int)i + NEGATED};
    }
    optind = 0; /* start over, also its state: GNU */
    while (r == 0 && (key = getopt_long(argc, argv, "+:", longs, NULL)) != -1)
        r = key == '?' || key == ':'
                ? vmt_err_setx(err, EINVAL, "unknown or incomplete option %s",
                               argv[optind - 1])
                : option_apply(&o, key, optarg, err);
    if (r == 0 && optind < argc)
        r = vmt_err_setx(err, EINVAL, "unexpected argument %s", argv[optind]);
    if (r == 0 && o.listen_unix && o.forward_to_host_port)
        r = vmt_err_setx(err, EINVAL,
                         "--listen-unix and --forward_to_host_port exclude each other");
    if (r == 0)
        *ret_options = o;
    return r;
}
