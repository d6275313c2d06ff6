/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/linux/vsh/endpoint.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/limits.h"
#include "core/base/str.h"

static const struct {
    const char *prefix;
    enum vsh_endpoint_kind kind;
} kinds[] = {
    {"hybrid:", VSH_ENDPOINT_HYBRID},
    {"vsock:", VSH_ENDPOINT_VSOCK},
    {"tcp:", VSH_ENDPOINT_TCP},
    {"unix:", VSH_ENDPOINT_UNIX},
};

static int
endpoint_fill(enum vsh_endpoint_kind kind, const char *address, struct vsh_endpoint *ret,
              struct vmt_err *err)
{
    uint64_t cid = VMT_CID_GUEST_MIN; /* the name of the only VM of our own transport */

    if (kind == VSH_ENDPOINT_VSOCK &&
        (vmt_parse_u64(address, UINT32_MAX - 1, &cid) < 0 || cid < VMT_CID_GUEST_MIN))
        return vmt_err_setx(err, EINVAL, "%s is no CID of a VM: 3 to 4294967294",
                            address);
    if (strlen(address) == 0 || strlen(address) >= sizeof(ret->address))
        return vmt_err_setx(err, EINVAL, "the address of the VM is empty or too long");
    ret->kind = kind;
    ret->cid = (uint32_t)cid;
    (void)snprintf(ret->address, sizeof(ret->address), "%s", address);
    return 0;
}

int
vsh_endpoint_parse(const char *text, struct vsh_endpoint *ret_endpoint,
                   struct vmt_err *err)
{
    for (size_t i = 0; i < VMT_ARRAY_SIZE(kinds); i++)
        if (vmt_str_has_prefix(text, kinds[i].prefix))
            return endpoint_fill(kinds[i].kind, text + strlen(kinds[i].prefix),
                                 ret_endpoint, err);
    return vmt_err_setx(err, EINVAL, "unknown transport %s", text);
}
