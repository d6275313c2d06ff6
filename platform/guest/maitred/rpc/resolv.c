/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/rpc/resolv.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "core/base/buf.h"
#include "core/base/err.h"
#include "core/base/log.h"

#define OPTIONS "options single-request timeout:1 attempts:5\n"
#define DOMAIN_MAX 253 /* RFC 1035 in text form */
#define ZONE_MAX 15    /* IFNAMSIZ without its NUL */

static bool
is_name(const char *text, size_t max, const char *extra)
{
    size_t n = strlen(text);

    if (n == 0 || n > max)
        return false;
    for (; *text; text++) {
        bool alnum = (*text >= 'a' && *text <= 'z') || (*text >= 'A' && *text <= 'Z') ||
                     (*text >= '0' && *text <= '9');

        if (!alnum && !strchr(extra, *text))
            return false;
    }
    return true;
}

static bool
is_address(const char *text)
{
    char copy[INET6_ADDRSTRLEN + ZONE_MAX + 1];
    struct in6_addr addr;
    char *zone;

    if (strlen(text) >= sizeof(copy))
        return false;
    memcpy(copy, text, strlen(text) + 1);
    if (inet_pton(AF_INET, copy, &addr) == 1)
        return true;
    zone = strchr(copy, '%');
    if (zone) {
        *zone++ = '\0';
        if (!is_name(zone, ZONE_MAX, "-_.@:"))
            return false;
    }
    return inet_pton(AF_INET6, copy, &addr) == 1;
}

static int
add(struct vmt_buf *out, const char *text)
{
    return vmt_buf_append(out, text, strlen(text));
}

static int
refuse(const char *what, const char *text, struct vmt_err *err)
{
    char shown[80];

    return vmt_err_setx(err, EINVAL, "'%s' is no %s",
                        vmt_log_escape(shown, sizeof(shown), text, strlen(text)), what);
}

static int
format_domains(char *const *domains, size_t n, struct vmt_buf *out, struct vmt_err *err)
{
    int r;

    if (n == 0)
        return 0;
    if (n > RESOLV_DOMAINS_MAX)
        return vmt_err_setx(err, EINVAL, "more than %d search domains",
                            RESOLV_DOMAINS_MAX);
    r = add(out, "search");
    for (size_t i = 0; i < n; i++) {
        if (!is_name(domains[i], DOMAIN_MAX, "-_."))
            return refuse("domain", domains[i], err);
        r |= add(out, " ");
        r |= add(out, domains[i]);
    }
    r |= add(out, "\n");
    return r ? vmt_err_set(err, ENOMEM, "write resolv.conf") : 0;
}

int
resolv_format(char *const *servers, size_t nservers, char *const *domains,
              size_t ndomains, struct vmt_buf *out, struct vmt_err *err)
{
    int r = 0;

    for (size_t i = 0; i < nservers; i++) {
        if (!is_address(servers[i]))
            return refuse("address of a name server", servers[i], err);
        if (i >= RESOLV_SERVERS_MAX)
            continue; /* libc would not read them */
        r |= add(out, "nameserver ");
        r |= add(out, servers[i]);
        r |= add(out, "\n");
    }
    if (r)
        return vmt_err_set(err, ENOMEM, "write resolv.conf");
    r = format_domains(domains, ndomains, out, err);
    if (r < 0)
        return r;
    return add(out, OPTIONS) < 0 ? vmt_err_set(err, ENOMEM, "write resolv.conf") : 0;
}
