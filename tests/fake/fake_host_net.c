/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/fake/fake_host_net.h"

#include <assert.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/base/err.h"

#define TAPS_MAX 128
#define RANGES_MAX 16

struct fake_net_range {
    uint32_t address;
    unsigned prefix;
};

struct fake_host_net {
    struct host_net base;
    struct host_net_vm taps[TAPS_MAX];
    size_t n;
    unsigned next;
    struct fake_net_range ranges[RANGES_MAX];
    size_t nranges;
    int refusal, add_error;
    unsigned refreshs;
    bool flushed;
};

static struct fake_host_net *
self_of(const struct host_net *net)
{
    return VMT_CONTAINER_OF((struct host_net *)(uintptr_t)net, struct fake_host_net,
                            base);
}

static int
fake_check(struct host_net *net, struct vmt_err *err)
{
    int error = self_of(net)->refusal;

    return error ? vmt_err_set(err, error, "make a tap") : 0;
}

static int
fake_ranges(struct host_net *net, host_net_range_fn *fn, void *arg, struct vmt_err *err)
{
    struct fake_host_net *self = self_of(net);

    (void)err;
    for (size_t i = 0; i < self->nranges; i++)
        fn(arg, self->ranges[i].address, self->ranges[i].prefix);
    return 0;
}

static int
fake_add(struct host_net *net, struct host_net_vm *vm, int *ret_fd, struct vmt_err *err)
{
    struct fake_host_net *self = self_of(net);
    int error = self->add_error;

    self->add_error = 0;
    if (error)
        return vmt_err_set(err, error, "make a tap");
    assert(self->n < TAPS_MAX && !vm->tap[0]);
    (void)snprintf(vm->tap, sizeof(vm->tap), "vmtap%u", self->next++);
    self->taps[self->n++] = *vm;
    *ret_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    return 0;
}

static int
fake_remove(struct host_net *net, const struct host_net_vm *vm, struct vmt_err *err)
{
    struct fake_host_net *self = self_of(net);

    (void)err;
    for (size_t i = 0; i < self->n; i++)
        if (strcmp(self->taps[i].tap, vm->tap) == 0)
            self->taps[i] = self->taps[--self->n];
    return 0;
}

static int
fake_spare(struct host_net *net, int *ret_fd, struct vmt_err *err)
{
    (void)net;
    (void)err;
    *ret_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    return 0;
}

static int
fake_adopt(struct host_net *net, const struct host_net_vm *vms, size_t n,
           struct vmt_err *err)
{
    struct fake_host_net *self = self_of(net);

    (void)err;
    assert(n <= TAPS_MAX);
    if (n)
        memcpy(self->taps, vms, n * sizeof(*vms));
    self->n = n;
    return 0;
}

static int
fake_refresh(struct host_net *net, struct vmt_err *err)
{
    struct fake_host_net *self = self_of(net);
    bool flushed = self->flushed;

    (void)err;
    self->refreshs++;
    self->flushed = false;
    return flushed;
}

static void
fake_free(struct host_net *net)
{
    if (net)
        free(self_of(net));
}

static const struct host_net_ops ops = {.check = fake_check,
                                        .ranges = fake_ranges,
                                        .add = fake_add,
                                        .remove = fake_remove,
                                        .spare = fake_spare,
                                        .adopt = fake_adopt,
                                        .refresh = fake_refresh,
                                        .free = fake_free};

struct host_net *
fake_host_net_new(void)
{
    struct fake_host_net *self = calloc(1, sizeof(*self));

    if (!self)
        return NULL;
    self->base.ops = &ops;
    return &self->base;
}

void
fake_host_net_refuse(struct host_net *net, int error)
{
    self_of(net)->refusal = error;
}

void
fake_host_net_fail_add(struct host_net *net, int error)
{
    self_of(net)->add_error = error;
}

void
fake_host_net_add_range(struct host_net *net, uint32_t address, unsigned prefix)
{
    struct fake_host_net *self = self_of(net);

    assert(self->nranges < RANGES_MAX);
    self->ranges[self->nranges++] = (struct fake_net_range){address, prefix};
}

size_t
fake_host_net_count(const struct host_net *net)
{
    return self_of(net)->n;
}

const struct host_net_vm *
fake_host_net_find(const struct host_net *net, const char *tap)
{
    const struct fake_host_net *self = self_of(net);

    for (size_t i = 0; i < self->n; i++)
        if (strcmp(self->taps[i].tap, tap) == 0)
            return &self->taps[i];
    return NULL;
}

unsigned
fake_host_net_refreshs(const struct host_net *net)
{
    return self_of(net)->refreshs;
}

void
fake_host_net_flush(struct host_net *net)
{
    self_of(net)->flushed = true;
}

void
fake_host_net_leave(struct host_net *net)
{
    struct fake_host_net *self = self_of(net);

    assert(self->n < TAPS_MAX);
    self->taps[self->n++] = (struct host_net_vm){.tap = "vmtap99"};
}
