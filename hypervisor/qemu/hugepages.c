/* SPDX-License-Identifier: BSD-3-Clause */
/* hypervisor/qemu/hugepages.c - is there room for a VM in the host's huge pages? QEMU
 * does not start when there is not. Another process may be faster to take them: then the
 * start fails, and says why.
 * Source: Linux, Documentation/admin-guide/mm/hugetlbpage.rst: pages that are free, less
 * those that are promised already. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/cleanup.h"
#include "core/base/log.h"
#include "hypervisor/qemu/qemu_internal.h"

#define PAGE_MIB 2u

/* 0 for what cannot be read. */
static uint64_t
read_number(const char *dir, const char *name)
{
    VMT_CLEANUP(vmt_fclosep) FILE *f = NULL;
    char path[256], text[32];

    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    f = fopen(path, "re");
    return f && fgets(text, sizeof(text), f) ? strtoull(text, NULL, 10) : 0;
}

bool
qemu_hugepages_suffice(const char *dir, uint32_t mem_mib)
{
    uint64_t free_pages = read_number(dir, "free_hugepages");
    uint64_t promised = read_number(dir, "resv_hugepages");
    uint64_t pages = free_pages > promised ? free_pages - promised : 0;

    if (mem_mib % PAGE_MIB == 0 && pages >= mem_mib / PAGE_MIB)
        return true;
    vmt_log_notice("no huge pages for this VM: %" PRIu32 " MiB of memory need pages of 2 "
                   "MiB, and %" PRIu64 " are free",
                   mem_mib, pages);
    return false;
}
