/* SPDX-License-Identifier: BSD-3-Clause */
/* core/base/cleanup.h - scope cleanup and explicit hand-over of ownership. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* Call fn(&variable) when the variable leaves its scope. */
#define VMT_CLEANUP(fn) __attribute__((cleanup(fn)))

/* Recover the object of the given type whose member is at ptr. */
#define VMT_CONTAINER_OF(ptr, type, member)                                              \
    ((type *)(void *)((uint8_t *)(1 ? (ptr) : &((type *)0)->member) -                    \
                      offsetof(type, member)))

#define VMT_ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* Define fn##p(type **), the cleanup for a local pointer; fn accepts NULL. */
#define VMT_DEFINE_FREEP(type, fn)                                                       \
    static inline void __attribute__((unused)) fn##p(type **p)                           \
    {                                                                                    \
        fn(*p);                                                                          \
    }

/* Hand the value of a local pointer over; the local is NULL afterwards. */
#define vmt_take_ptr(p)                                                                  \
    __extension__({                                                                      \
        __typeof__(p) vmt_take_p = (p);                                                  \
        __typeof__(*vmt_take_p) vmt_take_v = *vmt_take_p;                                \
        *vmt_take_p = NULL;                                                              \
        vmt_take_v;                                                                      \
    })

/* Hand the value of a local descriptor over; the local is -1 afterwards. */
static inline int
vmt_take_fd(int *fd)
{
    int v = *fd;

    *fd = -1;
    return v;
}

/* Cleanup for memory from malloc. p is the address of the local pointer. */
static inline void
vmt_freep(void *p)
{
    free(*(void **)p);
}

static inline void
vmt_fclosep(FILE **f)
{
    if (*f)
        (void)fclose(*f);
}

/* Cleanup for descriptors; anything below 0 is left alone. */
void vmt_closep(int *fd);

/* A close-on-exec copy of a descriptor. Returns it or -errno. */
int vmt_dup_fd(int fd);
