/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vmc/vm_end.h - how a VM ended, for people and for programs. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "platform/linux/vsh/end_words.h"

/* Was it stopped, or did the guest end by itself without a failure? */
bool vm_end_is_in_order(const Vmt__VmEnd *end);
/* Exit code of a command that waited for it: that of the program which the VM was there
 * for, 128 and its signal, 0, or 1 when the VM did not end in order. */
int vm_end_exit_code(const Vmt__VmEnd *end);
/* A new object, NULL without memory. */
json_t *vm_end_json(const Vmt__VmEnd *end);
