/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/vm/mitigation.h"

#include <stddef.h>
#include <string.h>

#define SAFE "Not affected"

static size_t
length(const char *text)
{
    return strcspn(text, "\n");
}

static bool
starts(const char *text, size_t len, const char *with)
{
    return len >= strlen(with) && strncmp(text, with, strlen(with)) == 0;
}

static bool
equals(const char *text, size_t len, const char *what)
{
    return len == strlen(what) && strncmp(text, what, len) == 0;
}

/* The field before the next of sep, at *at, which moves behind it. Without the blanks
 * around it. */
static const char *
next_field(const char **at, size_t *left, char sep, size_t *ret_len)
{
    const char *field = *at;
    const char *end = memchr(field, sep, *left);
    size_t len = end ? (size_t)(end - field) : *left;
    size_t used = end ? len + 1 : len;

    *at += used;
    *left -= used;
    while (len > 0 && *field == ' ') {
        field++;
        len--;
    }
    while (len > 0 && field[len - 1] == ' ')
        len--;
    *ret_len = len;
    return field;
}

/* "VMX: conditional cache flushes, SMT vulnerable" */
static bool
vmx_is_safe(const char *at, size_t left)
{
    size_t len;
    const char *field = next_field(&at, &left, ',', &len);

    if (!starts(field, len, "VMX: "))
        return false;
    field += strlen("VMX: ");
    len -= strlen("VMX: ");
    if (!starts(field, len, "cache flushes") &&
        !starts(field, len, "flush not necessary"))
        return false;
    while (left > 0) {
        field = next_field(&at, &left, ',', &len);
        if (!starts(field, len, "SMT "))
            return false;
    }
    return true;
}

static bool
l1tf_is_safe(const char *text)
{
    const char *at = text;
    size_t left = length(text), len;
    const char *field = next_field(&at, &left, ';', &len);

    if (equals(field, len, SAFE))
        return left == 0;
    if (!equals(field, len, "Mitigation: PTE Inversion"))
        return false;
    return left == 0 || vmx_is_safe(at, left);
}

static bool
mds_is_safe(const char *text)
{
    const char *at = text;
    size_t left = length(text), len;
    const char *field = next_field(&at, &left, ';', &len);

    if (equals(field, len, SAFE))
        return left == 0;
    if (!equals(field, len, "Mitigation: Clear CPU buffers"))
        return false;
    if (left == 0)
        return true;
    field = next_field(&at, &left, ';', &len);
    return left == 0 && starts(field, len, "SMT ");
}

bool
vm_mitigation_check(const char *l1tf, const char *mds, const char **ret_why)
{
    if (l1tf && !l1tf_is_safe(l1tf)) {
        *ret_why = "the processor leaks its first level cache to guests (l1tf); boot the "
                   "host with l1tf=full,force";
        return false;
    }
    if (mds && !mds_is_safe(mds)) {
        *ret_why = "the processor leaks its buffers to guests (mds); boot the host with "
                   "mds=full";
        return false;
    }
    return true;
}
