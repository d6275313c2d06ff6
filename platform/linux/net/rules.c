/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/net/rules.c - our nftables table. It is always written as a whole, in
 * one transaction, so it cannot drift from what we know, and a table that somebody threw
 * away is whole again with the next change. Nobody else's table is touched. */
#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <nftables/libnftables.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>

#include "core/base/buf.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "platform/linux/net/net_internal.h"

/* Connections that one VM may have the host track at a time: a browser has hundreds, and
 * the host's table has room for 65,536 or more. Without it a VM could fill the table, and
 * the host, too, would get no connection any more. */
#define CONNECTIONS "4096"
#define LIMIT                                                                            \
    "ct state new add @connections { iifname ct count over " CONNECTIONS " } drop\n"

#define ADDRESS "%u.%u.%u.%u"
#define PARTS(a) (a) >> 24, (a) >> 16 & 0xff, (a) >> 8 & 0xff, (a)&0xff

/* The library's own takes no NULL. */
static void
context_freep(struct nft_ctx **ctx)
{
    if (*ctx)
        nft_ctx_free(*ctx);
}

static void
put_sources(FILE *out, const struct host_net_vm *vm, const char *before)
{
    (void)fprintf(out, "%s" ADDRESS, before, PARTS(vm->guest));
    if (vm->container)
        (void)fprintf(out, ", %s" ADDRESS "/%u", before, PARTS(vm->container),
                      vm->container_prefix);
}

/* Which tap, with which address of the device, may send from where. */
static void
put_sets(FILE *out, const struct linux_net *self)
{
    char before[64];

    (void)fprintf(out, "set taps { type ifname; elements = {");
    for (size_t i = 0; i < self->nvms; i++)
        (void)fprintf(out, "%s \"%s\"", i ? "," : "", self->vms[i].tap);
    (void)fprintf(out, " } }\nset allowed { type ifname . ether_addr . ipv4_addr; "
                       "flags interval; elements = {");
    for (size_t i = 0; i < self->nvms; i++) {
        const uint8_t *m = self->vms[i].mac;

        (void)snprintf(before, sizeof(before),
                       "\"%s\" . %02x:%02x:%02x:%02x:%02x:%02x . ", self->vms[i].tap,
                       m[0], m[1], m[2], m[3], m[4], m[5]);
        (void)fprintf(out, "%s", i ? ",\n" : "");
        put_sources(out, &self->vms[i], before);
    }
    (void)fprintf(out, " } }\nset guests { type ipv4_addr; flags interval; elements = {");
    for (size_t i = 0; i < self->nvms; i++)
        put_sources(out, &self->vms[i], i ? ", " : "");
    (void)fprintf(out, " } }\nset uplinks { type ifname; ");
    if (self->uplinks.n)
        (void)fprintf(out, "elements = {");
    for (size_t i = 0; i < self->uplinks.n; i++)
        (void)fprintf(out, "%s \"%s\"", i ? "," : "", self->uplinks.name[i]);
    (void)fprintf(out, "%s }\nset connections { type ifname; flags dynamic; }\n",
                  self->uplinks.n ? " }" : "");
}

static void
put_input(FILE *out, const struct linux_net *self)
{
    (void)fprintf(out, "chain input {\n"
                       "type filter hook input priority filter; policy accept;\n"
                       "iifname != @taps accept\n"
                       "ct state established,related accept\n" LIMIT
                       "icmp type echo-request accept\n");
    for (size_t i = 0; i < self->nports; i++)
        (void)fprintf(out, "%s dport %u accept\n", self->ports[i].udp ? "udp" : "tcp",
                      self->ports[i].port);
    (void)fprintf(out, "drop\n}\n");
}

static const char rest[] =
    /* Before connection tracking: a packet that lies costs nothing. */
    "chain prerouting {\n"
    "type filter hook prerouting priority raw; policy accept;\n"
    "iifname != @taps accept\n"
    "iifname . ether saddr . ip saddr @allowed accept\n"
    "drop\n"
    "}\n"
    "chain forward {\n"
    "type filter hook forward priority filter; policy accept;\n"
    "iifname @taps oifname @taps drop\n"
    "oifname @taps ct state established,related accept\n"
    "oifname @taps drop\n"
    "iifname @taps " LIMIT "iifname @taps accept\n"
    /* What was not forwarded before us; containers' engines mark theirs by DNAT. */
    "meta nfproto ipv4 iifname @uplinks ct state new ct status & dnat == 0 drop\n"
    "}\n"
    "chain postrouting {\n"
    "type nat hook postrouting priority srcnat; policy accept;\n"
    "ip saddr @guests oifname != @taps masquerade\n"
    "}\n"
    "}\n";

static void
put(FILE *out, const struct linux_net *self)
{
    /* Adding first makes the removal of a table that is not there legal. */
    (void)fprintf(out, "add table inet %s\ndelete table inet %s\n", self->table,
                  self->table);
    if (self->nvms == 0)
        return;
    (void)fprintf(out, "table inet %s {\n", self->table);
    put_sets(out, self);
    put_input(out, self);
    (void)fputs(rest, out);
}

int
rules_text(const struct linux_net *self, struct vmt_buf *text)
{
    VMT_CLEANUP(vmt_freep) char *data = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&data, &len);
    bool bad;

    if (!out)
        return -ENOMEM;
    put(out, self);
    bad = ferror(out);
    if (fclose(out) != 0 || bad)
        return -ENOMEM;
    return vmt_buf_append(text, data, len + 1);
}

/* The library ends the process when it gets no netlink socket, so that is tried first. */
static int
new_context(struct nft_ctx **ret_ctx, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_closep)
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
    VMT_CLEANUP(context_freep) struct nft_ctx *ctx = NULL;

    if (fd < 0)
        return vmt_err_set(err, errno, "reach nftables of the kernel");
    ctx = nft_ctx_new(NFT_CTX_DEFAULT);
    if (!ctx || nft_ctx_buffer_error(ctx) != 0 || nft_ctx_buffer_output(ctx) != 0)
        return vmt_err_set(err, ENOMEM, "reach nftables");
    *ret_ctx = vmt_take_ptr(&ctx);
    return 0;
}

/* The library's words, of which the first line has the cause; it leaves errno as the
 * kernel's answer, or 0. */
static int
refused(struct nft_ctx *ctx, int error, struct vmt_err *err)
{
    const char *words = nft_ctx_get_error_buffer(ctx);
    size_t len = words ? strcspn(words, "\n") : 0;

    if (error == EPERM)
        return vmt_err_setx(err, EPERM, "write nftables rules: CAP_NET_ADMIN is missing");
    return vmt_err_setx(err, error ? error : EIO, "write nftables rules: %.*s", (int)len,
                        words ? words : "");
}

static int
run(const char *text, struct vmt_err *err)
{
    VMT_CLEANUP(context_freep) struct nft_ctx *ctx = NULL;
    int r = new_context(&ctx, err);

    if (r < 0)
        return r;
    errno = 0;
    return nft_run_cmd_from_buffer(ctx, text) == 0 ? 0 : refused(ctx, errno, err);
}

int
rules_apply(const struct linux_net *self, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_buf_done) struct vmt_buf text = {0};

    if (rules_text(self, &text) < 0)
        return vmt_err_set(err, ENOMEM, "write nftables rules");
    return run((const char *)text.data, err);
}

/* Everything that a VM's rules need of the kernel is looked up, and nothing takes effect:
 * it is made and removed in one transaction. */
int
rules_check(const struct linux_net *self, struct vmt_err *err)
{
    struct host_net_vm vm = {.tap = "vmtap_try", .guest = 1, .prefix = 30};
    VMT_CLEANUP(vmt_freep) struct linux_net *copy = malloc(sizeof(*copy));
    VMT_CLEANUP(vmt_buf_done) struct vmt_buf text = {0};
    char end[LINUX_NET_TABLE_MAX + 32];
    int r;

    if (!copy)
        return vmt_err_set(err, ENOMEM, "write nftables rules");
    *copy = *self;
    copy->vms = &vm;
    copy->nvms = 1;
    (void)snprintf(copy->table, sizeof(copy->table), "vm_tools_try_%d", (int)getpid());
    (void)snprintf(end, sizeof(end), "delete table inet %s\n", copy->table);
    r = rules_text(copy, &text);
    text.len -= r == 0; /* its NUL */
    if (r == 0)
        r = vmt_buf_append(&text, end, strlen(end) + 1);
    if (r < 0)
        return vmt_err_set(err, -r, "write nftables rules");
    return run((const char *)text.data, err);
}

static int
on_generation_attr(const struct nlattr *a, void *arg)
{
    if (mnl_attr_get_type(a) == NFTA_GEN_ID && mnl_attr_validate(a, MNL_TYPE_U32) == 0)
        *(uint32_t *)arg = ntohl(mnl_attr_get_u32(a));
    return MNL_CB_OK;
}

/* One message, and no end mark. */
static int
on_generation(const struct nlmsghdr *m, void *arg)
{
    (void)mnl_attr_parse(m, sizeof(struct nfgenmsg), on_generation_attr, arg);
    return MNL_CB_STOP;
}

int
rules_generation(uint32_t *ret_generation, struct vmt_err *err)
{
    char buf[64] __attribute__((aligned(8)));
    struct nlmsghdr *m = mnl_nlmsg_put_header(buf);
    struct nfgenmsg *body = mnl_nlmsg_put_extra_header(m, sizeof(*body));
    uint32_t generation = 0;
    int r;

    m->nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN;
    m->nlmsg_flags = NLM_F_REQUEST;
    body->nfgen_family = AF_UNSPEC;
    body->version = NFNETLINK_V0;
    r = netlink_talk(NETLINK_NETFILTER, m, on_generation, &generation);
    if (r < 0)
        return vmt_err_set(err, -r, "ask nftables for its generation");
    *ret_generation = generation;
    return 0;
}

bool
rules_present(const struct linux_net *self)
{
    VMT_CLEANUP(context_freep) struct nft_ctx *ctx = NULL;
    char text[LINUX_NET_TABLE_MAX + 64];

    (void)snprintf(text, sizeof(text), "list chain inet %s prerouting\n", self->table);
    return new_context(&ctx, NULL) == 0 && nft_run_cmd_from_buffer(ctx, text) == 0;
}

/* Names stand in quotes after "elements", and no name of an interface holds one. */
static void
take_names(const char *text, struct uplinks *ret)
{
    const char *at = strstr(text, "elements"), *end;

    while (at && ret->n < UPLINKS_MAX && (at = strchr(at, '"'))) {
        end = strchr(++at, '"');
        if (!end || (size_t)(end - at) >= HOST_NET_NAME_MAX)
            return;
        memcpy(ret->name[ret->n], at, (size_t)(end - at));
        ret->name[ret->n++][end - at] = '\0';
        at = end + 1;
    }
}

void
rules_read_uplinks(const struct linux_net *self, struct uplinks *ret)
{
    VMT_CLEANUP(context_freep) struct nft_ctx *ctx = NULL;
    char text[LINUX_NET_TABLE_MAX + 64];
    const char *output;

    ret->n = 0;
    if (new_context(&ctx, NULL) < 0)
        return;
    (void)snprintf(text, sizeof(text), "list set inet %s uplinks\n", self->table);
    if (nft_run_cmd_from_buffer(ctx, text) != 0)
        return;
    output = nft_ctx_get_output_buffer(ctx);
    if (output)
        take_names(output, ret);
}
