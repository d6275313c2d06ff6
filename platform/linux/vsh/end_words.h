/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vsh/end_words.h - how a VM ended, for people. */
#pragma once

#include <stddef.h>

typedef struct Vmt__VmEnd Vmt__VmEnd;

/* "killed after 12 s (signal 9): last words; it is started again". Returns buf. */
const char *vm_end_words(const Vmt__VmEnd *end, char *buf, size_t cap);
