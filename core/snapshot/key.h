/* SPDX-License-Identifier: BSD-3-Clause */
/* core/snapshot/key.h - what a saved state depends on, as text that is compared. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vmt_err;

/* Everything that decides whether a state may be restored; texts without newlines. */
struct snapshot_facts {
    const char *owner;      /* states are never shared between owners */
    const char *hypervisor; /* name of the backend */
    const char *build_id;   /* of the backend, hypervisor_ops.build_id */
    const char *accel;      /* "kvm" or "tcg" */
    uint32_t cpus, mem_mib;
    unsigned net;         /* enum hypervisor_net */
    unsigned spare_slots; /* vm_spec.spare_slots */
    bool hugepages;
    const char *cmdline; /* of the kernel, complete */
    /* Which files, and as of which change of theirs: host_state_ops.identify. The agent
     * is in the initrd and the image, so its version is among this. "" for none. */
    const char *kernel, *initrd, *root;
};

/* Hexadecimal digits of a 128 bit number, and a NUL. */
#define SNAPSHOT_NAME_MAX 33

/* The key of facts, malloc'ed: two are equal when the texts are. Returns 0, -ENOMEM, or
 * -EINVAL for a fact with a newline. */
int snapshot_key(const struct snapshot_facts *facts, char **ret_key, struct vmt_err *err);

/* A file name for text. Two texts may share one, by an accident or an owner's own making:
 * who finds a file by it compares the text. Returns name. */
const char *snapshot_name(const char *text, char name[SNAPSHOT_NAME_MAX]);
