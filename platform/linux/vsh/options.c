/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/linux/vsh/options.h"

#include <errno.h>
#include <getopt.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/str.h"
#include "platform/linux/vsh/escape.h"

#define KEEPALIVE_MAX (24u * 60 * 60)

const char options_usage[] =
    "usage: vsh [options] -- [NAME=VALUE]... [COMMAND [ARG]...]\n"
    "Run a command in a VM, or a login shell without one.\n"
    "\n"
    "Which VM, one of:\n"
    "  --vm_name=NAME     a VM of vm_concierge\n"
    "  --vsock-dir=DIR    the directory of its sockets\n"
    "  --cid=CID          its vsock CID\n"
    "  --tcp=ADDRESS      a numeric address\n"
    "  --unix=PATH        the socket of a vshd started with --listen-unix\n"
    "\n"
    "  --owner_id=ID      owner of the VM (ours)\n"
    "  --user=NAME        user in the guest (the guest's default)\n"
    "  --cwd=DIR|PID      directory to start in, or the process whose directory to take\n"
    "  --tty, --no-tty    also -t, -T: give the command a terminal, or none; by default\n"
    "                     when stdin and stdout are terminals\n"
    "  --no-stdin         also -n: leave stdin alone, as in a loop that reads it\n"
    "  --escape=C         on a terminal, C and a dot at the beginning of a line leave "
    "the\n"
    "                     session (~; none: nothing does)\n"
    "  --keepalive=SECONDS|none\n"
    "                     look for the guest when nothing came for so long (30)\n"
    "  --reconnect        a new session when the connection was lost and the VM runs "
    "again\n"
    "\n"
    "  -L [BIND:]PORT:HOST:HOSTPORT, -L PATH:..., -L ...:PATH\n"
    "                     carry connections to a port or socket here to one of the "
    "guest\n"
    "  -R (likewise)      carry connections to a port or socket of the guest to one "
    "here\n"
    "  -A                 let the guest use the SSH agent\n"
    "  -N                 run no command\n"
    "  --list             tell who runs what in the VM by vsh, and what is forwarded\n"
    "  --json             as JSON\n"
    "  --help, --version\n";

static int
set_endpoint(struct options *o, const char *kind, const char *value, struct vmt_err *err)
{
    char text[VSH_ENDPOINT_ADDRESS_MAX + 16];

    if (o->endpoint_set || o->vm_name)
        return vmt_err_setx(err, EINVAL, "name one VM, not several");
    (void)snprintf(text, sizeof(text), "%s:%s", kind, value);
    o->endpoint_set = true;
    return vsh_endpoint_parse(text, &o->endpoint, err);
}

static int
set_cid(struct options *o, const char *value, struct vmt_err *err)
{
    return set_endpoint(o, "vsock", value, err);
}

static int
set_vsock_dir(struct options *o, const char *value, struct vmt_err *err)
{
    return set_endpoint(o, "hybrid", value, err);
}

static int
set_tcp(struct options *o, const char *value, struct vmt_err *err)
{
    return set_endpoint(o, "tcp", value, err);
}

static int
set_unix(struct options *o, const char *value, struct vmt_err *err)
{
    return set_endpoint(o, "unix", value, err);
}

static int
set_vm_name(struct options *o, const char *value, struct vmt_err *err)
{
    if (o->endpoint_set || o->vm_name)
        return vmt_err_setx(err, EINVAL, "name one VM, not several");
    if (*value == '\0')
        return vmt_err_setx(err, EINVAL, "the name of the VM is empty");
    o->vm_name = value;
    return 0;
}

static int
set_owner_id(struct options *o, const char *value, struct vmt_err *err)
{
    (void)err;
    o->owner_id = value;
    return 0;
}

static int
set_user(struct options *o, const char *value, struct vmt_err *err)
{
    (void)err;
    o->user = value;
    return 0;
}

static int
set_cwd(struct options *o, const char *value, struct vmt_err *err)
{
    uint64_t pid;
    int r = vmt_parse_u64(value, INT32_MAX, &pid);

    if (r == -ERANGE)
        return vmt_err_setx(err, EINVAL, "%s is no process id", value);
    o->cwd_pid = r == 0 ? (int32_t)pid : 0;
    o->cwd = r == 0 ? "" : value;
    return 0;
}

static int
set_container(struct options *o, const char *value, struct vmt_err *err)
{
    (void)o;
    (void)value;
    return vmt_err_setx(err, ENOTSUP,
                        "shells in containers need vm_cicerone, which is not part of "
                        "this version; run the container's own tool in the VM");
}

static int
add_forward(const char *value, struct vsh_forward_spec *specs, size_t *n,
            struct vmt_err *err)
{
    int r;

    if (*n == VSH_LISTENERS_MAX)
        return vmt_err_setx(err, EINVAL, "more than %u of them", VSH_LISTENERS_MAX);
    r = vsh_forward_parse(value, &specs[*n], err);
    if (r == 0)
        (*n)++;
    return r;
}

static int
set_local(struct options *o, const char *value, struct vmt_err *err)
{
    return add_forward(value, o->local, &o->nlocal, err);
}

static int
set_remote(struct options *o, const char *value, struct vmt_err *err)
{
    return add_forward(value, o->remote, &o->nremote, err);
}

static int
set_agent(struct options *o, const char *value, struct vmt_err *err)
{
    (void)value;
    (void)err;
    o->agent = true;
    return 0;
}

static int
set_no_command(struct options *o, const char *value, struct vmt_err *err)
{
    (void)value;
    (void)err;
    o->no_command = true;
    return 0;
}

static int
set_list(struct options *o, const char *value, struct vmt_err *err)
{
    (void)value;
    (void)err;
    o->list = true;
    return 0;
}

static int
set_json(struct options *o, const char *value, struct vmt_err *err)
{
    (void)value;
    (void)err;
    o->json = true;
    return 0;
}

static int
set_tty(struct options *o, const char *value, struct vmt_err *err)
{
    (void)value;
    (void)err;
    o->tty = VSH_TTY_ALWAYS;
    return 0;
}

static int
set_no_tty(struct options *o, const char *value, struct vmt_err *err)
{
    (void)value;
    (void)err;
    o->tty = VSH_TTY_NEVER;
    return 0;
}

static int
set_no_stdin(struct options *o, const char *value, struct vmt_err *err)
{
    (void)value;
    (void)err;
    o->no_stdin = true;
    return 0;
}

static int
set_reconnect(struct options *o, const char *value, struct vmt_err *err)
{
    (void)value;
    (void)err;
    o->reconnect = true;
    return 0;
}

static int
set_keepalive(struct options *o, const char *value, struct vmt_err *err)
{
    uint64_t seconds;

    if (strcmp(value, "none") == 0) {
        o->keepalive_ms = VSH_KEEPALIVE_NEVER;
        return 0;
    }
    if (vmt_parse_u64(value, KEEPALIVE_MAX, &seconds) < 0 || seconds == 0)
        return vmt_err_setx(err, EINVAL, "--keepalive takes 1 to %u seconds, or none",
                            KEEPALIVE_MAX);
    o->keepalive_ms = (unsigned)seconds * 1000;
    return 0;
}

static int
set_escape(struct options *o, const char *value, struct vmt_err *err)
{
    if (vsh_escape_parse(value, &o->escape) < 0)
        return vmt_err_setx(err, EINVAL,
                            "an escape is one character, ^ and a letter, or none");
    return 0;
}

static int
set_help(struct options *o, const char *value, struct vmt_err *err)
{
    (void)value;
    (void)err;
    o->help = true;
    return 0;
}

static int
set_version(struct options *o, const char *value, struct vmt_err *err)
{
    (void)value;
    (void)err;
    o->version = true;
    return 0;
}

static const struct {
    const char *name;
    int has_arg;
    int (*set)(struct options *o, const char *value, struct vmt_err *err);
} rows[] = {
    {"cid", required_argument, set_cid},
    {"vm_name", required_argument, set_vm_name},
    {"owner_id", required_argument, set_owner_id},
    {"user", required_argument, set_user},
    {"cwd", required_argument, set_cwd},
    {"vsock-dir", required_argument, set_vsock_dir},
    {"tcp", required_argument, set_tcp},
    {"unix", required_argument, set_unix},
    {"target_container", required_argument, set_container},
    {"listen_port", required_argument, set_container},
    {"container_features", required_argument, set_container},
    {"list", no_argument, set_list},
    {"json", no_argument, set_json},
    {"tty", no_argument, set_tty},
    {"no-tty", no_argument, set_no_tty},
    {"no-stdin", no_argument, set_no_stdin},
    {"escape", required_argument, set_escape},
    {"keepalive", required_argument, set_keepalive},
    {"reconnect", no_argument, set_reconnect},
    {"help", no_argument, set_help},
    {"version", no_argument, set_version},
};
#define ROWS VMT_ARRAY_SIZE(rows)

/* The same without a long name: letters as ssh(1) has them. */
static const struct {
    char letter;
    int (*set)(struct options *o, const char *value, struct vmt_err *err);
} letters[] = {
    {'L', set_local},  {'R', set_remote},   {'A', set_agent}, {'N', set_no_command},
    {'T', set_no_tty}, {'n', set_no_stdin}, {'t', set_tty},
};

static int
letter_set(struct options *o, int letter, const char *value, struct vmt_err *err)
{
    for (size_t i = 0; i < VMT_ARRAY_SIZE(letters); i++)
        if (letters[i].letter == letter)
            return letters[i].set(o, value, err);
    return vmt_err_setx(err, EINVAL, "unknown option -%c", letter);
}

static int
options_read(struct options *o, int argc, char **argv, struct vmt_err *err)
{
    struct option longs[ROWS + 1] = {0};
    int key;

    for (size_t i = 0; i < ROWS; i++)
        longs[i] = (struct option){rows[i].name, rows[i].has_arg, NULL, (int)i};
    optind = 0; /* start over, also its state: GNU */
    while ((key = getopt_long(argc, argv, "+:L:R:ANTnt", longs, NULL)) != -1) {
        int r = key == '?' || key == ':'
                    ? vmt_err_setx(err, EINVAL, "unknown or incomplete option %s",
                                   argv[optind - 1])
                : key >= (int)ROWS ? letter_set(o, key, optarg, err)
                                   : rows[key].set(o, optarg, err);

        if (r < 0)
            return r;
    }
    if (o->help || o->version)
        return 0;
    if (!o->endpoint_set && !o->vm_name)
        return vmt_err_setx(err, EINVAL, "say which VM, with --vm_name or --vsock-dir");
    if ((o->no_command || o->list) && optind < argc)
        return vmt_err_setx(err, EINVAL, "%s and a command exclude each other",
                            o->list ? "--list" : "-N");
    if (o->json && !o->list)
        return vmt_err_setx(err, EINVAL, "--json goes with --list");
    return vsh_words_split(argv + optind, (size_t)(argc - optind), &o->words, err);
}

int
options_parse(int argc, char **argv, struct options *ret_options, struct vmt_err *err)
{
    struct options o = {.user = "", .cwd = ""};
    int r = options_read(&o, argc, argv, err);

    if (r == 0)
        *ret_options = o;
    else
        options_done(&o);
    return r;
}

void
options_done(struct options *options)
{
    for (size_t i = 0; i < options->nlocal; i++)
        vsh_forward_spec_done(&options->local[i]);
    for (size_t i = 0; i < options->nremote; i++)
        vsh_forward_spec_done(&options->remote[i]);
    vsh_words_done(&options->words);
}
