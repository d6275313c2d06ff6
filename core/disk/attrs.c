/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/disk/attrs.h"

#include <stdio.h>
#include <string.h>

int
disk_vm_type_parse(const char *value, size_t len)
{
    int type = 0;

    if (len < 1 || len > 2)
        return DISK_VM_TYPE_UNKNOWN;
    for (size_t i = 0; i < len; i++) {
        if (value[i] < '0' || value[i] > '9')
            return DISK_VM_TYPE_UNKNOWN;
        type = type * 10 + (value[i] - '0');
    }
    return type;
}

size_t
disk_attrs_format(const struct disk_attrs *attrs, char text[DISK_ATTRS_TEXT])
{
    size_t len = 0;

    text[0] = '\0';
    if (attrs->user_chosen_size)
        len +=
            (size_t)snprintf(text, DISK_ATTRS_TEXT, "%s=1\n", DISK_ATTR_USER_CHOSEN_SIZE);
    if (attrs->vm_type >= 0)
        len += (size_t)snprintf(text + len, DISK_ATTRS_TEXT - len, "%s=%d\n",
                                DISK_ATTR_VM_TYPE, attrs->vm_type);
    return len;
}

/* The value when line is NAME=VALUE, or NULL. */
static const char *
attrs_value(const char *line, size_t len, const char *name)
{
    size_t n = strlen(name);

    return len > n && memcmp(line, name, n) == 0 && line[n] == '=' ? line + n + 1 : NULL;
}

void
disk_attrs_parse(const char *text, size_t len, struct disk_attrs *ret_attrs)
{
    const char *end = text + len;

    *ret_attrs = (struct disk_attrs){.vm_type = DISK_VM_TYPE_UNKNOWN};
    while (text < end) {
        const char *stop = memchr(text, '\n', (size_t)(end - text));
        size_t n = (size_t)((stop ? stop : end) - text);
        const char *value = attrs_value(text, n, DISK_ATTR_VM_TYPE);

        if (value)
            ret_attrs->vm_type = disk_vm_type_parse(value, (size_t)(text + n - value));
        if (attrs_value(text, n, DISK_ATTR_USER_CHOSEN_SIZE))
            ret_attrs->user_chosen_size = true;
        text += n + 1;
    }
}
