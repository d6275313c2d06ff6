/* SPDX-License-Identifier: BSD-3-Clause */
/* core/concierge/reclaim_internal.h - pushing the RAM of a VM out of the host's. */
#pragma once

struct concierge_vm;

/* Who waits is told no, and the work ends. */
void vm_reclaim_drop(struct concierge_vm *vm);
