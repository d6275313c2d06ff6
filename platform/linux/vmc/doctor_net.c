/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vmc/doctor_net.c - how VMs can be connected on this machine. Looks only:
 * what a tap really takes is tried by the daemon that makes it. */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "platform/linux/vmc/doctor.h"

#define TUN "/dev/net/tun"
#define NET_ADMIN 12 /* capability.h */

/* Does the daemon that vmc would start have the right to make taps? */
static bool
has_net_admin(void)
{
    VMT_CLEANUP(vmt_fclosep) FILE *f = fopen("/proc/self/status", "re");
    char line[256];
    uint64_t set = 0;

    while (f && fgets(line, sizeof(line), f))
        if (strncmp(line, "CapEff:", 7) == 0)
            set = strtoull(line + 7, NULL, 16);
    return set >> NET_ADMIN & 1;
}

void
doctor_check_network(struct doctor *doctor)
{
    struct stat st;

    doctor_add(doctor, DOCTOR_OK, "network", NULL,
               "user: reaches out, needs no rights, works everywhere");
    if (stat(TUN, &st) < 0)
        doctor_add(doctor, DOCTOR_OK, "network", NULL,
                   "tap: no " TUN " (module tun); not needed");
    else if (access(TUN, R_OK | W_OK) < 0 || !has_net_admin())
        doctor_add(
            doctor, DOCTOR_OK, "network", NULL,
            "tap: not for you, who lacks %s; the system's vm_concierge can have it",
            access(TUN, R_OK | W_OK) < 0 ? "access to " TUN : "CAP_NET_ADMIN");
    else
        doctor_add(doctor, DOCTOR_OK, "network", NULL,
                   "tap: " TUN " and CAP_NET_ADMIN are there (vmc start --network tap)");
}
