/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vmc/doctor.h - what this machine has for VMs, and how to mend the rest.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct vmc;

enum doctor_state {
    DOCTOR_OK,
    DOCTOR_NOTE, /* worse than it could be, but VMs run */
    DOCTOR_BAD,  /* something needed is missing */
};

struct doctor_finding {
    enum doctor_state state;
    const char *check; /* literal */
    char text[640];
    char mend[640]; /* "" when there is nothing to do */
};

#define DOCTOR_FINDINGS_MAX 32

struct doctor {
    struct vmc *vmc;   /* borrowed */
    const char *image; /* borrowed; name or folder */
    bool no_boot;      /* leave out what boots a kernel */
    struct doctor_finding findings[DOCTOR_FINDINGS_MAX];
    size_t n;
};

/* Add a finding; mend is NULL or literal. */
void doctor_add(struct doctor *doctor, enum doctor_state state, const char *check,
                const char *mend, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));

/* doctor_host.c: rights, memory, disk, our own programs, ways to reach a guest. */
void doctor_check_rights(struct doctor *doctor);
void doctor_check_memory(struct doctor *doctor);
void doctor_check_disk(struct doctor *doctor);
void doctor_check_programs(struct doctor *doctor);
void doctor_check_vsock(struct doctor *doctor);

/* doctor_net.c: how VMs can be connected. */
void doctor_check_network(struct doctor *doctor);

/* doctor_daemon.c: vm_concierge, if it runs. */
void doctor_check_daemon(struct doctor *doctor);

/* doctor_vm.c: hypervisor, guest image, accelerator. */
void doctor_check_hypervisor(struct doctor *doctor);
void doctor_check_image(struct doctor *doctor);
void doctor_check_accelerator(struct doctor *doctor);
