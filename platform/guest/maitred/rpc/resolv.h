/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/rpc/resolv.h - /etc/resolv.conf. */
#pragma once

#include <stddef.h>

struct vmt_buf;
struct vmt_err;

#define RESOLV_SERVERS_MAX 3  /* what libc reads: resolv.conf(5), MAXNS */
#define RESOLV_DOMAINS_MAX 32 /* far more than a host hands down */

/* Write the file's text into out: a line for each of the first RESOLV_SERVERS_MAX
 * servers, one for the domains if there are any, and the options of the original. Servers
 * are IPv4 or IPv6 addresses, the latter with a zone if need be; domains are names of
 * letters, digits, '-', '_' and '.'. Returns 0, -EINVAL, -ENOMEM.
 * Source: platform2 vm_tools/maitred/service_impl.cc, WriteResolvConf; resolv.conf(5). */
int resolv_format(char *const *servers, size_t nservers, char *const *domains,
                  size_t ndomains, struct vmt_buf *out, struct vmt_err *err);
