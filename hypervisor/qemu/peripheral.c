/* SPDX-License-Identifier: BSD-3-Clause */
#include "hypervisor/qemu/peripheral_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* The number at *text, which it moves behind; -1: none below 100. */
static int
take_number(const char **text)
{
    int n = -1;

    for (int digits = 0; digits < 2 && **text >= '0' && **text <= '9'; digits++)
        n = (n < 0 ? 0 : n * 10) + (*(*text)++ - '0');
    return n;
}

/* Does text begin with prefix and a number? Then text is behind both. */
static bool
take_numbered(const char **text, const char *prefix, int *ret_number)
{
    const char *rest = *text;
    size_t len = strlen(prefix);

    if (strncmp(rest, prefix, len) != 0)
        return false;
    rest += len;
    *ret_number = take_number(&rest);
    *text = rest;
    return *ret_number >= 0;
}

void
qemu_peripheral_disk(const char *serial, char kind[QEMU_DEVICE_ID_MAX])
{
    int used = snprintf(kind, QEMU_DEVICE_ID_MAX, "disk-");

    for (; *serial && used + 3 < QEMU_DEVICE_ID_MAX; serial++)
        used += snprintf(kind + used, (size_t)(QEMU_DEVICE_ID_MAX - used), "%02x",
                         (unsigned char)*serial);
}

static void
found(struct qemu_peripheral *p, const char *name, unsigned slot, unsigned index)
{
    p->found = true;
    p->slot = slot;
    p->index = index;
    (void)snprintf(p->id, sizeof(p->id), "%s", name);
}

static void
read_name(struct qemu_peripheral *p, const char *name, const char *kind)
{
    const char *rest = name;
    int n;

    if (take_numbered(&rest, "rp", &n) && !*rest && n >= 1 && n <= (int)QEMU_SLOTS_MAX) {
        p->slots |= 1u << n;
    } else if (take_numbered(&rest, "slot", &n) && *rest == '-' && n >= 1 &&
               n <= (int)QEMU_SLOTS_MAX) {
        p->used |= 1u << n;
        if (strcmp(rest, "-usb0") == 0 || strcmp(rest, "-usb1") == 0)
            p->usb_slot[rest[4] - '0'] = (unsigned)n;
        if (kind && strcmp(rest + 1, kind) == 0)
            found(p, name, (unsigned)n, 0);
    } else if (take_numbered(&rest, "vblk", &n) && *rest == '-') {
        if (kind && strncmp(kind, "disk-", 5) == 0 && strcmp(rest + 1, kind + 5) == 0)
            found(p, name, 0, (unsigned)n);
    } else if (take_numbered(&rest, "usb", &n) && !*rest && n >= 1 &&
               n <= (int)HYPERVISOR_USB_PORT_MAX) {
        p->usb_ports |= 1u << n;
    } else if (strcmp(name, "rpvsock") == 0) {
        p->has_vsock_port = true;
    } else if (strcmp(name, QEMU_VSOCK_ID) == 0) {
        p->has_vsock = true;
    }
}

void
qemu_peripheral_read(const json_t *list, const char *kind,
                     struct qemu_peripheral *ret_peripheral)
{
    struct qemu_peripheral p = {0};

    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *name =
            json_string_value(json_object_get(json_array_get(list, i), "name"));

        if (name && strlen(name) < QEMU_DEVICE_ID_MAX)
            read_name(&p, name, kind);
    }
    *ret_peripheral = p;
}

int
qemu_peripheral_choose(const struct qemu_peripheral *peripheral, unsigned wanted,
                       uint32_t reserved)
{
    uint32_t taken = peripheral->used | reserved;

    if (wanted > QEMU_SLOTS_MAX)
        return -ENOSPC;
    if (wanted > 0) {
        if (!(peripheral->slots & 1u << wanted))
            return -ENOSPC;
        return taken & 1u << wanted ? -EBUSY : (int)wanted;
    }
    for (unsigned n = 1; n <= QEMU_SLOTS_MAX; n++)
        if (peripheral->slots & ~taken & 1u << n)
            return (int)n;
    return -ENOSPC;
}
