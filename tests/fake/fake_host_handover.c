/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/fake/fake_host_handover.c - the real one, but for faults: what a child of the
 * fake spawn opens comes from this very process. */
#include "platform/linux/host/host.h"
#include "tests/fake/fake_host.h"
#include "tests/fake/fake_host_internal.h"

static int
fake_handover_make(struct host *host, int *ret_ours, int *ret_childs, struct vmt_err *err)
{
    int r = fake_host_may_fail(host, "make a way for descriptors", err);

    return r < 0 ? r : linux_host_handover.make(host, ret_ours, ret_childs, err);
}

static int
fake_handover_give(struct host *host, int childs, const void *data, size_t len, int fd)
{
    return linux_host_handover.give(host, childs, data, len, fd);
}

static int
fake_handover_take(struct host *host, int ours, void *data, size_t len, int *ret_fd)
{
    return linux_host_handover.take(host, ours, data, len, ret_fd);
}

const struct host_handover_ops fake_host_handover = {
    .make = fake_handover_make,
    .give = fake_handover_give,
    .take = fake_handover_take,
};
