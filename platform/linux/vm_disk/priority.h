/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vm_disk/priority.h - long work stands back behind VMs. */
#pragma once

#include "platform/linux/vm_disk/options.h"

/* For this process and its children. What the kernel refuses is left as it is. */
void priority_set(enum priority priority);
