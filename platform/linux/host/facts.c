/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "platform/linux/host/host_internal.h"
#include "platform/linux/os/paths.h"

#define RESOLV_CONF_MAX 65536
#define ZONE_TEXT_MAX 256

/* Where systemd-resolved listens for this host alone, and where it says whom it asks.
 * Source: systemd-resolved.service(8). */
static const char *const stubs[] = {"127.0.0.53", "127.0.0.54"};
#define RESOLVED_CONF "/run/systemd/resolve/resolv.conf"

static uint32_t
facts_cpus(struct host *host)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    cpu_set_t ours;

    (void)host;
    /* More than 1024 processors do not fit in it: then it is not known. */
    if (sched_getaffinity(0, sizeof(ours), &ours) == 0 && CPU_COUNT(&ours) < n)
        n = CPU_COUNT(&ours);
    return n < 1 ? 1 : (uint32_t)n;
}

static uint64_t
facts_mem_mib(struct host *host)
{
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);

    struct host_memory memory = {0};

    memory.total = pages < 0 || size < 0 ? 0 : (uint64_t)pages * (uint64_t)size;
    linux_host_memory_limit(VMT_CONTAINER_OF(host, struct linux_host, base), &memory);
    return memory.total >> 20;
}

static int
facts_random(struct host *host, void *buf, size_t len, struct vmt_err *err)
{
    uint8_t *at = buf;

    (void)host;
    while (len > 0) {
        ssize_t n = getrandom(at, len, 0);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return vmt_err_set(err, errno, "get random bytes");
        at += n;
        len -= (size_t)n;
    }
    return 0;
}

/* The link into the zone database, localtime(5). */
static bool
zone_of_link(const char *path, char *buf, size_t cap)
{
    static const char root[] = "zoneinfo/";
    char target[1024];
    ssize_t n = readlink(path, target, sizeof(target) - 1);
    const char *name;

    if (n < 0)
        return false;
    target[n] = '\0';
    name = strstr(target, root);
    if (!name || strlen(name + sizeof(root) - 1) >= cap)
        return false;
    memcpy(buf, name + sizeof(root) - 1, strlen(name + sizeof(root) - 1) + 1);
    return true;
}

void
linux_host_read_zone(const char *link, const char *file, char *buf, size_t cap)
{
    VMT_CLEANUP(vmt_freep) char *data = NULL;
    unsigned long len = 0;

    buf[0] = '\0';
    if (zone_of_link(link, buf, cap) ||
        os_read_file(file, ZONE_TEXT_MAX, &data, &len, NULL) < 0)
        return;
    data[strcspn(data, " \t\r\n")] = '\0';
    if (strlen(data) < cap)
        memcpy(buf, data, strlen(data) + 1);
}

static void
facts_zone(struct host *host, char *buf, size_t cap)
{
    (void)host;
    linux_host_read_zone("/etc/localtime", "/etc/timezone", buf, cap);
}

static void
add_words(char list[][HOST_DNS_TEXT_MAX], size_t *n, char *words)
{
    char *save = NULL;

    for (char *w = strtok_r(words, " \t", &save); w; w = strtok_r(NULL, " \t", &save)) {
        if (*n == HOST_DNS_MAX || strlen(w) >= HOST_DNS_TEXT_MAX)
            continue;
        memcpy(list[(*n)++], w, strlen(w) + 1);
    }
}

/* resolv.conf(5): of several search or domain lines the last one counts. */
static void
parse_line(char *line, struct host_dns *dns)
{
    char *rest = line + strcspn(line, " \t");

    if (*rest)
        *rest++ = '\0';
    if (strcmp(line, "nameserver") == 0)
        add_words(dns->servers, &dns->nservers, rest);
    if (strcmp(line, "search") == 0 || strcmp(line, "domain") == 0) {
        dns->ndomains = 0;
        add_words(dns->domains, &dns->ndomains, rest);
    }
}

static void
read_resolv(const char *path, struct host_dns *dns)
{
    VMT_CLEANUP(vmt_freep) char *data = NULL;
    unsigned long len = 0;
    char *save = NULL;

    dns->nservers = dns->ndomains = 0;
    if (os_read_file(path, RESOLV_CONF_MAX, &data, &len, NULL) < 0)
        return;
    for (char *l = strtok_r(data, "\n", &save); l; l = strtok_r(NULL, "\n", &save))
        parse_line(l, dns);
}

static bool
has_stub(const struct host_dns *dns)
{
    for (size_t i = 0; i < dns->nservers; i++)
        for (size_t k = 0; k < VMT_ARRAY_SIZE(stubs); k++)
            if (strcmp(dns->servers[i], stubs[k]) == 0)
                return true;
    return false;
}

/* Nobody else reaches the stub: whom it asks is what counts. */
void
linux_host_read_dns(const char *resolv, const char *resolved, struct host_dns *ret_dns)
{
    struct host_dns behind;

    read_resolv(resolv, ret_dns);
    if (!has_stub(ret_dns))
        return;
    read_resolv(resolved, &behind);
    if (behind.nservers > 0)
        *ret_dns = behind;
}

static void
facts_dns(struct host *host, struct host_dns *ret_dns)
{
    (void)host;
    linux_host_read_dns("/etc/resolv.conf", RESOLVED_CONF, ret_dns);
}

/* Source: Linux, Documentation/ABI/testing/sysfs-devices-system-cpu, vulnerabilities. */
static bool
facts_vulnerability(struct host *host, const char *name, char *buf, size_t cap)
{
    VMT_CLEANUP(vmt_freep) char *data = NULL;
    unsigned long len = 0;
    char path[128];

    (void)host;
    (void)snprintf(path, sizeof(path), "/sys/devices/system/cpu/vulnerabilities/%s",
                   name);
    if (os_read_file(path, 4096, &data, &len, NULL) < 0)
        return false;
    (void)snprintf(buf, cap, "%s", data);
    return true;
}

const struct host_fact_ops linux_host_facts = {
    .vulnerability = facts_vulnerability,
    .cpus = facts_cpus,
    .mem_mib = facts_mem_mib,
    .random = facts_random,
    .zone = facts_zone,
    .dns = facts_dns,
};
