/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
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

static uint32_t
facts_cpus(struct host *host)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);

    (void)host;
    return n < 1 ? 1 : (uint32_t)n;
}

static uint64_t
facts_mem_mib(struct host *host)
{
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);

    (void)host;
    return pages < 0 || size < 0 ? 0 : (uint64_t)pages * (uint64_t)size >> 20;
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

/* /etc/localtime is a link into the zone database, localtime(5). */
static void
facts_zone(struct host *host, char *buf, size_t cap)
{
    static const char root[] = "zoneinfo/";
    char target[1024];
    ssize_t n = readlink("/etc/localtime", target, sizeof(target) - 1);
    const char *name;

    (void)host;
    buf[0] = '\0';
    if (n < 0)
        return;
    target[n] = '\0';
    name = strstr(target, root);
    if (!name || strlen(name + sizeof(root) - 1) >= cap)
        return;
    memcpy(buf, name + sizeof(root) - 1, strlen(name + sizeof(root) - 1) + 1);
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
facts_dns(struct host *host, struct host_dns *ret_dns)
{
    VMT_CLEANUP(vmt_freep) char *data = NULL;
    unsigned long len = 0;
    char *save = NULL;

    (void)host;
    ret_dns->nservers = ret_dns->ndomains = 0;
    if (os_read_file("/etc/resolv.conf", RESOLV_CONF_MAX, &data, &len, NULL) < 0)
        return;
    for (char *l = strtok_r(data, "\n", &save); l; l = strtok_r(NULL, "\n", &save))
        parse_line(l, ret_dns);
}

const struct host_fact_ops linux_host_facts = {
    .cpus = facts_cpus,
    .mem_mib = facts_mem_mib,
    .random = facts_random,
    .zone = facts_zone,
    .dns = facts_dns,
};
