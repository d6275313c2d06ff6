/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/linux/vm_concierge/options.h"

#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/base/str.h"

/* The template of a small guest has about 70 MiB: only what it uses is kept. */
#define TEMPLATE_COUNT 4u
#define TEMPLATE_COUNT_MAX 64u
#define TEMPLATE_BYTES (2ull << 30)
#define SNAPSHOT_COUNT 16u
#define SNAPSHOT_COUNT_MAX 1024u
#define SNAPSHOT_BYTES (32ull << 30)

#define SHUTDOWN_LIMIT_S 85u
#define SHUTDOWN_LIMIT_MIN_S 5u

typedef bool set_fn(struct options *opt, const char *value);

static bool
set_user(struct options *opt, const char *value)
{
    (void)value;
    opt->system_mode = false;
    return true;
}

static bool
set_system(struct options *opt, const char *value)
{
    (void)value;
    opt->system_mode = true;
    return true;
}

/* It never goes to the background; the option is there for service files. */
static bool
set_foreground(struct options *opt, const char *value)
{
    (void)opt;
    (void)value;
    return true;
}

static bool
set_release_cgroup(struct options *opt, const char *value)
{
    (void)value;
    opt->release_cgroup = true;
    return true;
}

static bool
set_ready_fd(struct options *opt, const char *value)
{
    uint64_t n;

    if (vmt_parse_u64(value, INT_MAX, &n) < 0)
        return false;
    opt->ready_fd = (int)n;
    return true;
}

static bool
set_idle_exit(struct options *opt, const char *value)
{
    uint64_t n;

    if (vmt_parse_u64(value, 86400, &n) < 0)
        return false;
    opt->idle_exit_s = (uint32_t)n;
    return true;
}

static bool
set_dbus(struct options *opt, const char *value)
{
    opt->dbus = value;
    return *value != '\0';
}

static bool
set_shutdown_limit(struct options *opt, const char *value)
{
    uint64_t n;

    if (vmt_parse_u64(value, 3600, &n) < 0 || n < SHUTDOWN_LIMIT_MIN_S)
        return false;
    opt->shutdown_limit_s = (uint32_t)n;
    return true;
}

static bool
set_require_mitigations(struct options *opt, const char *value)
{
    (void)value;
    opt->require_mitigations = true;
    return true;
}

static bool
set_sleep_bus(struct options *opt, const char *value)
{
    opt->sleep_bus = value;
    return *value != '\0';
}

static bool
set_hypervisor(struct options *opt, const char *value)
{
    opt->hypervisor = value;
    return *value != '\0';
}

static bool
set_hypervisor_binary(struct options *opt, const char *value)
{
    opt->hypervisor_binary = value;
    return *value != '\0';
}

static bool
set_service_user(struct options *opt, const char *value)
{
    if (opt->nservice_users == VMT_ARRAY_SIZE(opt->service_users))
        return false;
    opt->service_users[opt->nservice_users++] = value;
    return *value != '\0';
}

static bool
set_vm_vsock(struct options *opt, const char *value)
{
    opt->vm_vsock = value;
    return *value != '\0';
}

static bool
set_network(struct options *opt, const char *value)
{
    return network_set_mode(&opt->network, value);
}

static bool
set_subnet(struct options *opt, const char *value)
{
    return network_set_subnets(&opt->network, value);
}

static bool
set_container_subnet(struct options *opt, const char *value)
{
    return network_set_containers(&opt->network, value);
}

static bool
set_offer_port(struct options *opt, const char *value)
{
    return network_add_port(&opt->network, value);
}

static bool
set_no_sandbox(struct options *opt, const char *value)
{
    (void)value;
    opt->no_sandbox = true;
    return true;
}

static bool
set_no_templates(struct options *opt, const char *value)
{
    (void)value;
    opt->template_count = 0;
    return true;
}

static bool
set_template_count(struct options *opt, const char *value)
{
    uint64_t n;

    if (vmt_parse_u64(value, TEMPLATE_COUNT_MAX, &n) < 0)
        return false;
    opt->template_count = (uint32_t)n;
    return true;
}

static bool
set_template_bytes(struct options *opt, const char *value)
{
    return vmt_parse_u64(value, INT64_MAX, &opt->template_bytes) == 0;
}

static bool
set_vm_disk(struct options *opt, const char *value)
{
    opt->vm_disk = value;
    return *value != '\0';
}

static bool
set_snapshot_count(struct options *opt, const char *value)
{
    uint64_t n;

    if (vmt_parse_u64(value, SNAPSHOT_COUNT_MAX, &n) < 0)
        return false;
    opt->snapshot_count = (uint32_t)n;
    return true;
}

static bool
set_snapshot_bytes(struct options *opt, const char *value)
{
    return vmt_parse_u64(value, INT64_MAX, &opt->snapshot_bytes) == 0;
}

static bool
set_log_level(struct options *opt, const char *value)
{
    static const struct {
        const char *name;
        enum vmt_log_level level;
    } levels[] = {{"error", VMT_LOG_ERROR},
                  {"warning", VMT_LOG_WARNING},
                  {"notice", VMT_LOG_NOTICE},
                  {"info", VMT_LOG_INFO},
                  {"debug", VMT_LOG_DEBUG}};

    for (size_t i = 0; i < VMT_ARRAY_SIZE(levels); i++) {
        if (strcmp(value, levels[i].name) != 0)
            continue;
        opt->log_level = levels[i].level;
        return true;
    }
    return false;
}

static const struct {
    const char *name;
    const char *value; /* NULL: takes none */
    const char *help;
    set_fn *set;
} rows[] = {
    {"user", NULL, "serve one user, without any rights (default)", set_user},
    {"system", NULL, "serve the whole host", set_system},
    {"foreground", NULL, "stay in the foreground, as always", set_foreground},
    {"ready-fd", "N", "write one byte to descriptor N when listening", set_ready_fd},
    {"idle-exit", "SECONDS", "end after that long without VMs and clients; 0: never",
     set_idle_exit},
    {"dbus", "BUS", "also serve on system, session, an address, or none", set_dbus},
    {"shutdown-limit", "SECONDS",
     "be done with SIGTERM in that time, whatever hangs (85)", set_shutdown_limit},
    {"require-mitigations", NULL, "refuse VMs on a processor that leaks to guests",
     set_require_mitigations},
    {"sleep-bus", "BUS", "where logind tells that the host sleeps (system), or none",
     set_sleep_bus},
    {"service-user", "USER", "a user that other daemons of vm_tools run as; repeatable",
     set_service_user},
    {"hypervisor", "NAME", "backend for VMs (qemu)", set_hypervisor},
    {"hypervisor-binary", "PATH", "program of the backend", set_hypervisor_binary},
    {"no-sandbox", NULL, "let the backend open every file that its user may",
     set_no_sandbox},
    {"vm-vsock", "PATH", "program of the vsock device", set_vm_vsock},
    {"network", "MODE", "of VMs that ask for none: auto, user, tap or none", set_network},
    {"subnet", "RANGE", "IPv4 addresses of VMs with a tap (100.115.92.0/24)", set_subnet},
    {"container-subnet", "RANGE", "and of containers in them (100.115.92.192/26)",
     set_container_subnet},
    {"offer-port", "PORT", "of the host for VMs with a tap: tcp:N or udp:N; repeatable",
     set_offer_port},
    {"no-templates", NULL, "boot every VM; forget the templates that there are",
     set_no_templates},
    {"template-count", "N", "templates to keep of one owner (4)", set_template_count},
    {"template-bytes", "BYTES", "and of all owners together (2 GiB)", set_template_bytes},
    {"vm-disk", "PATH", "program that works on disk images", set_vm_disk},
    {"release-cgroup", NULL,
     "give the unit's cgroup back, and end: for ExecStopPost=", set_release_cgroup},
    {"snapshot-count", "N", "snapshots that an owner may have (16)", set_snapshot_count},
    {"snapshot-bytes", "BYTES", "no new ones beyond that of an owner (32 GiB)",
     set_snapshot_bytes},
    {"log-level", "LEVEL", "error, warning, notice, info or debug", set_log_level},
};

static void
print_help(void)
{
    (void)printf("usage: vm_concierge [OPTION]...\n\n"
                 "Start virtual machines and look after them.\n\n");
    for (size_t i = 0; i < VMT_ARRAY_SIZE(rows); i++) {
        char left[40];

        (void)snprintf(left, sizeof(left), "--%s%s%s", rows[i].name,
                       rows[i].value ? "=" : "", rows[i].value ? rows[i].value : "");
        (void)printf("  %-28s %s\n", left, rows[i].help);
    }
    (void)printf("  %-28s %s\n  %-28s %s\n", "--help", "print this and exit", "--version",
                 "print the version and exit");
}

static enum options_outcome
usage(const char *what, const char *arg)
{
    (void)fprintf(stderr, "vm_concierge: %s%s; try --help\n", what, arg);
    return OPTIONS_USAGE;
}

enum options_outcome
options_parse(int argc, char **argv, struct options *opt)
{
    enum { HELP = VMT_ARRAY_SIZE(rows), VERSION, COUNT };
    struct option longs[COUNT + 1] = {0};
    int c, index;

    *opt = (struct options){.ready_fd = -1,
                            .shutdown_limit_s = SHUTDOWN_LIMIT_S,
                            .hypervisor = "qemu",
                            .template_count = TEMPLATE_COUNT,
                            .template_bytes = TEMPLATE_BYTES,
                            .snapshot_count = SNAPSHOT_COUNT,
                            .snapshot_bytes = SNAPSHOT_BYTES,
                            .log_level = VMT_LOG_INFO};
    network_options_init(&opt->network);
    for (size_t i = 0; i < VMT_ARRAY_SIZE(rows); i++)
        longs[i] = (struct option){
            rows[i].name, rows[i].value ? required_argument : no_argument, NULL, 1};
    longs[HELP] = (struct option){"help", no_argument, NULL, 1};
    longs[VERSION] = (struct option){"version", no_argument, NULL, 1};
    opterr = 0;
    while ((c = getopt_long(argc, argv, ":", longs, &index)) != -1) {
        if (c != 1)
            return usage(c == ':' ? "missing value of " : "unknown option ",
                         argv[optind - 1]);
        if (index == HELP || index == VERSION) {
            index == HELP ? print_help() : (void)printf("vm_concierge %s\n", VMT_VERSION);
            return OPTIONS_DONE;
        }
        if (!rows[index].set(opt, optarg))
            return usage("bad value of --", rows[index].name);
    }
    return optind < argc ? usage("unexpected argument ", argv[optind]) : OPTIONS_RUN;
}
