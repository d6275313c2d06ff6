/* SPDX-License-Identifier: BSD-3-Clause */
/* Strings of the host that end up in files and mount options of the guest: resolv.conf,
 * names of users and groups, options of a share. Lines of the input are the strings; what
 * is accepted must not have begun a line or an option of its own. */
#include <stdlib.h>
#include <string.h>

#include "core/base/buf.h"
#include "core/base/cleanup.h"
#include "platform/guest/maitred/rpc/accounts.h"
#include "platform/guest/maitred/rpc/ipv6.h"
#include "platform/guest/maitred/rpc/resolv.h"
#include "platform/guest/maitred/rpc/share.h"
#include "tests/fuzz/fuzz.h"

#define STRINGS_MAX 40u

static void
expect(bool ok)
{
    if (!ok)
        abort();
}

static size_t
count(const char *text, size_t len, char c)
{
    size_t n = 0;

    for (size_t i = 0; i < len; i++)
        n += text[i] == c;
    return n;
}

static void
try_resolv(char *const *strings, size_t n)
{
    VMT_CLEANUP(vmt_buf_done) struct vmt_buf out = {0};
    size_t servers = n / 2, written, lines;

    if (resolv_format(strings, servers, strings + servers, n - servers, &out, NULL) < 0)
        return;
    written = servers > RESOLV_SERVERS_MAX ? RESOLV_SERVERS_MAX : servers;
    lines = written + (n > servers) + 1; /* servers, search, options */
    expect(count((const char *)out.data, out.len, '\n') == lines);
}

static void
try_share(char *const *strings, size_t n)
{
    const struct share_setup setup = {
        .aname = strings[0], .uname = strings[1 % n], .access = strings[2 % n]};
    char out[SHARE_OPTIONS_MAX];
    size_t commas = 6;

    if (share_format(&setup, 3, out, NULL) < 0)
        return;
    commas += (setup.aname[0] != '\0') + (setup.uname[0] != '\0');
    expect(strlen(out) < sizeof(out) - 1 && count(out, strlen(out), ',') == commas);
}

static void
try_user(const char *name)
{
    if (account_name_is_valid(name))
        expect(name[0] && !strpbrk(name, ":\n,/ ") && strlen(name) <= 32);
}

/* The string's own bytes, cut in two. */
static void
try_ipv6(const char *text)
{
    size_t len = strlen(text), cut = len > IPV6_LEN ? IPV6_LEN : len;
    const struct ipv6_request request = {.address = (const uint8_t *)text,
                                         .naddress = cut,
                                         .gateway = (const uint8_t *)text + cut,
                                         .ngateway = len - cut,
                                         .prefix_len = (uint8_t)text[0]};
    struct ipv6_setup setup;

    if (ipv6_check(&request, &setup, NULL) == 0)
        expect(setup.prefix_len >= 1 && setup.prefix_len <= 128);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *strings[STRINGS_MAX], *text = calloc(size + 1, 1), *at = text;
    size_t n = 0;

    if (!text)
        return 0;
    memcpy(text, data, size);
    while (n < STRINGS_MAX && at) /* "\1" ends one: a line end may be within */
        strings[n++] = strsep(&at, "\1");
    try_resolv(strings, n);
    try_share(strings, n);
    for (size_t i = 0; i < n; i++) {
        try_user(strings[i]);
        try_ipv6(strings[i]);
    }
    free(text);
    return 0;
}
