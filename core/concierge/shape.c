/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/shape.c - how many processors and how much memory a VM gets.
 * Under QEMU vcpus are threads that the host's scheduler places, under one socket: the
 * affinity and capacity lists of the original (spec 6.3) are for crosvm on machines with
 * unlike cores, and are left out. */
#include "core/concierge/shape_internal.h"

#include <errno.h>

#include "concierge_service.pb-c.h"
#include "core/adapter/host.h"
#include "core/base/err.h"
#include "core/concierge/concierge_internal.h"
#include "core/vm/memory.h"

#define MEM_MIN_MIB 64u
#define CPU_WEIGHT_MAX 10000u /* cgroup-v2.rst of Linux, cpu.weight */

static uint64_t
promised_mib(const struct concierge *c)
{
    uint64_t sum = 0;

    VMT_LIST_FOREACH(at, following, &c->vms)
    sum += VMT_CONTAINER_OF(at, struct concierge_vm, node)->mem_mib;
    return sum;
}

static int
shape_memory(struct concierge *c, const VmTools__Concierge__StartVmRequest *request,
             struct start_plan *plan, struct vmt_err *err)
{
    struct host *host = c->config.host;
    uint64_t mem = host->facts->mem_mib(host);
    struct host_memory now = {0};

    plan->mem_mib = request->memory_mib;
    if (plan->mem_mib == 0) {
        host->memory->now(host, &now);
        plan->mem_mib = vm_memory_default(mem, promised_mib(c), now.available >> 20);
    }
    if (plan->mem_mib < MEM_MIN_MIB || plan->mem_mib > mem)
        return vmt_err_setx(err, EINVAL,
                            "%u MiB of memory were asked for; from %u to the host's "
                            "%llu are possible",
                            plan->mem_mib, MEM_MIN_MIB, (unsigned long long)mem);
    return 0;
}

/* More vcpus than time to run them would only wait for each other. */
static uint32_t
default_cpus(struct host *host)
{
    uint32_t cpus = host->facts->cpus(host), limit = host->cgroups->cpu_limit(host);

    return limit > 0 && limit < cpus ? limit : cpus;
}

int
plan_shape(struct concierge *c, const VmTools__Concierge__StartVmRequest *request,
           struct start_plan *plan, struct vmt_err *err)
{
    uint32_t caps = c->config.hypervisor->ops->caps;

    plan->cpus = request->cpus ? request->cpus : default_cpus(c->config.host);
    plan->cpu_weight = request->cpu_weight;
    plan->hugepages = request->hugepages;
    plan->storage_ballooning = /* spec 12: always for this type */
        request->storage_ballooning || plan->vm_type == (int)VM_TYPE(BRUSCHETTA);
    if (plan->cpu_weight > CPU_WEIGHT_MAX)
        return vmt_err_setx(err, EINVAL,
                            "a cpu_weight of %u was asked for; 1 to %u are "
                            "possible, 100 is usual",
                            plan->cpu_weight, CPU_WEIGHT_MAX);
    if (plan->hugepages && !(caps & HYPERVISOR_CAP_HUGEPAGES))
        return vmt_err_setx(err, ENOTSUP, "this hypervisor cannot use huge pages");
    return shape_memory(c, request, plan, err);
}
