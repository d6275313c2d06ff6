/* SPDX-License-Identifier: BSD-3-Clause */
/* core/vm/id.h - the pair (owner, name) that names a VM. */
#pragma once

#include <stdint.h>

#include "core/base/limits.h"

struct vmt_err;

/* The owner is part of file names (255 bytes), together with an encoded name. */
#define VM_OWNER_MAX 128
#define VM_KEY_MAX (VM_OWNER_MAX + 1 + (VMT_VM_NAME_MAX + 2) / 3 * 4 + 1)

struct vm_id {
    char owner[VM_OWNER_MAX + 1];   /* [0-9A-Fa-f]+ */
    char name[VMT_VM_NAME_MAX + 1]; /* valid UTF-8, no control characters */
};

/* Are both of a form that some VM could have? Returns 0 or -EINVAL with words. */
int vm_id_check(const char *owner, const char *name, struct vmt_err *err);
int vm_owner_check(const char *owner, struct vmt_err *err);

/* Fill in the id of a new VM, which has stricter rules: the name has at most
 * VMT_VM_NAME_MAX bytes, is valid UTF-8 and holds no control characters. Returns 0 or
 * -EINVAL with words. */
int vm_id_set(struct vm_id *id, const char *owner, const char *name, struct vmt_err *err);

/* Bytewise order by owner, then name. */
int vm_id_compare(const struct vm_id *id, const char *owner, const char *name);

/* A file name for the VM: owner, "-", base64url of the name without padding (RFC 4648,
 * 5). key has room for VM_KEY_MAX bytes. Returns key. */
const char *vm_id_key(const struct vm_id *id, char *key);

/* A number that hardly any two keys share; it says the same in every build. Not meant
 * against somebody who looks for a collision. */
uint64_t vm_key_hash(const char *key);
