/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/rpc/alloc.h"

#include <stdint.h>

/* The linker puts these in front of the allocator for our own rooms. */
void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);

static size_t alloc_left = SIZE_MAX; /* this many succeed, then one fails */
static bool alloc_none;              /* none succeeds */

void
alloc_fail_after(size_t n)
{
    alloc_left = n;
}

void
alloc_fail_all(void)
{
    alloc_none = true;
}

bool
alloc_fail_over(void)
{
    bool happened = alloc_left == SIZE_MAX;

    alloc_left = SIZE_MAX;
    alloc_none = false;
    return happened;
}

static bool
alloc_fails(void)
{
    if (alloc_left == SIZE_MAX)
        return alloc_none;
    if (alloc_left == 0) {
        alloc_left = SIZE_MAX;
        return true;
    }
    alloc_left--;
    return false;
}

void *
__wrap_malloc(size_t size)
{
    return alloc_fails() ? NULL : __real_malloc(size);
}

void *
__wrap_calloc(size_t n, size_t size)
{
    return alloc_fails() ? NULL : __real_calloc(n, size);
}

void *
__wrap_realloc(void *p, size_t size)
{
    return alloc_fails() ? NULL : __real_realloc(p, size);
}
