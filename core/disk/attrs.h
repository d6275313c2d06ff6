/* SPDX-License-Identifier: BSD-3-Clause */
/* core/disk/attrs.h - what is known about an image besides its bytes, and the text that
 * keeps it where files have no extended attributes. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Names of the original.
 * Source: platform2 3050786c, vm_tools/concierge.
 * The first has the value "1" with its NUL, of which only the
 * presence counts; the second is a decimal number of at most two digits, without one. */
#define DISK_ATTR_USER_CHOSEN_SIZE "user.crostini.user_chosen_size"
#define DISK_ATTR_VM_TYPE "user.crostini.vm_type"
#define DISK_VM_TYPE_UNKNOWN (-1)

struct disk_attrs {
    bool user_chosen_size;
    int vm_type; /* 0 to 99, or DISK_VM_TYPE_UNKNOWN */
};

/* Bytes of the text, with its NUL. */
#define DISK_ATTRS_TEXT 96

/* One line NAME=VALUE for each attribute that is set. Returns its length. */
size_t disk_attrs_format(const struct disk_attrs *attrs, char text[DISK_ATTRS_TEXT]);
/* Lines that say nothing known are skipped. */
void disk_attrs_parse(const char *text, size_t len, struct disk_attrs *ret_attrs);

/* The value of the attribute for the type: 0 to 99, or DISK_VM_TYPE_UNKNOWN when it is
 * no such number. */
int disk_vm_type_parse(const char *value, size_t len);
