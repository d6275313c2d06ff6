/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/unit/rpc/alloc.h - make one allocation of ours fail. Programs that link this wrap
 * malloc, calloc and realloc by the linker; libraries below keep their memory. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* n more allocations succeed, then one fails; those after it succeed. */
void alloc_fail_after(size_t n);
/* Every allocation fails from now on. */
void alloc_fail_all(void);
/* No more failures. Returns whether the one that was asked for happened. */
bool alloc_fail_over(void);
