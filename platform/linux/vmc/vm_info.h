/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vmc/vm_info.h - show a VM as text or JSON. */
#pragma once

#include <jansson.h>

typedef struct VmTools__Concierge__VmInfo VmTools__Concierge__VmInfo;

/* "running", "starting" and so on; "unknown" for what is none. */
const char *vm_status_name(int status);
/* "termina" and so on. */
const char *vm_type_name(int type);

/* A new object with name, owner_id, status and all of info (NULL: nothing of it); NULL
 * without memory. The caller decrefs. */
json_t *vm_info_json(const char *name, const char *owner, int status,
                     const VmTools__Concierge__VmInfo *info);

/* Print json, which is taken over, and a newline on stdout. Returns 0, or -ENOMEM for
 * NULL, -EIO when stdout is full. */
struct vmt_err;
int print_json(json_t *json, struct vmt_err *err);
