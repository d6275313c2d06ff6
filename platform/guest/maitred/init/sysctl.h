/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/init/sysctl.h - the kernel's knobs that an image wants set. */
#pragma once

#include <limits.h>
#include <stdbool.h>

struct report;

/* One line of sysctl.d(5): "net.ipv4.ip_forward = 1". line is changed. */
struct sysctl_line {
    char path[PATH_MAX]; /* below /proc/sys */
    const char *value;   /* into the line */
    bool may_fail;       /* a '-' stood before it */
};

/* Returns false for an empty line, a comment, and what is none. A name with a '/' before
 * the first '.' is a path, else '.' parts and '/' is a dot: sysctl.d(5). */
bool sysctl_parse(char *line, struct sysctl_line *ret);

/* Set what the files *.conf of /etc/sysctl.d, /run/sysctl.d and /usr/lib/sysctl.d say, in
 * the order of their names; one of the same name in an earlier folder replaces it. A knob
 * that the kernel does not have is skipped. */
void sysctl_apply(struct report *report);

/* Have the kernel hand core dumps to the program; without it the kernel's own way stays,
 * which writes none unless somebody raises the limit. */
void sysctl_core_pattern(const char *collector, struct report *report);
