/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/linux/vmc/doctor_host.c - the machine and what is installed on it. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "platform/linux/vmc/doctor.h"
#include "platform/linux/vmc/vmc.h"

/* A Debian guest without a desktop is comfortable in that. */
#define MEMORY_WANTED_MIB 512u
#define MEMORY_NEEDED_MIB 192u
/* Image, cached packages and a build beside the old image. */
#define DISK_WANTED_MIB 2048u
#define STATE_NEEDED_MIB 16u

void
doctor_check_rights(struct doctor *doctor)
{
    const struct os_paths *paths = &doctor->vmc->paths;
    const char *all[] = {paths->runtime, paths->state, paths->data, paths->cache};

    for (size_t i = 0; i < VMT_ARRAY_SIZE(all); i++)
        if (access(all[i], R_OK | W_OK | X_OK) < 0) {
            doctor_add(doctor, DOCTOR_BAD, "rights", "give yourself write access to it",
                       "no write access to %s: %m", all[i]);
            return;
        }
    doctor_add(doctor, DOCTOR_OK, "rights", NULL, "uid %u; sockets in %s, images in %s",
               (unsigned)getuid(), paths->runtime, paths->data);
}

/* A value of /proc/meminfo in KiB, 0 if it is not there. */
static uint64_t
meminfo(const char *name)
{
    VMT_CLEANUP(vmt_fclosep) FILE *f = fopen("/proc/meminfo", "re");
    char line[256];
    size_t len = strlen(name);
    uint64_t kib = 0;

    while (f && fgets(line, sizeof(line), f))
        if (strncmp(line, name, len) == 0 && line[len] == ':')
            kib = strtoull(line + len + 1, NULL, 10);
    return kib;
}

void
doctor_check_memory(struct doctor *doctor)
{
    uint64_t free_mib = meminfo("MemAvailable") / 1024;
    enum doctor_state state = free_mib >= MEMORY_WANTED_MIB   ? DOCTOR_OK
                              : free_mib >= MEMORY_NEEDED_MIB ? DOCTOR_NOTE
                                                              : DOCTOR_BAD;

    doctor_add(
        doctor, state, "memory", "end other programs, or start small VMs with --mem",
        "%" PRIu64 " MiB available of %" PRIu64, free_mib, meminfo("MemTotal") / 1024);
}

static bool
free_mib(const char *path, uint64_t *ret_mib)
{
    struct statvfs fs;

    if (statvfs(path, &fs) < 0)
        return false;
    *ret_mib = (uint64_t)fs.f_bavail * fs.f_frsize >> 20;
    return true;
}

void
doctor_check_disk(struct doctor *doctor)
{
    const struct os_paths *paths = &doctor->vmc->paths;
    uint64_t data = 0, state = 0;

    if (!free_mib(paths->data, &data) || !free_mib(paths->state, &state)) {
        doctor_add(doctor, DOCTOR_BAD, "disk", NULL, "cannot look at %s: %m",
                   paths->data);
        return;
    }
    if (state < STATE_NEEDED_MIB)
        doctor_add(doctor, DOCTOR_BAD, "disk", "make room there",
                   "%" PRIu64 " MiB free for the state of VMs in %s", state,
                   paths->state);
    doctor_add(doctor, data >= DISK_WANTED_MIB ? DOCTOR_OK : DOCTOR_NOTE, "disk",
               "make room there before building an image",
               "%" PRIu64 " MiB free for images in %s", data, paths->data);
}

void
doctor_check_programs(struct doctor *doctor)
{
    static const char *const names[] = {"vm_concierge", "vm_vsock"};
    VMT_CLEANUP(vmt_freep) char *dir = vmc_program_dir();

    for (size_t i = 0; i < VMT_ARRAY_SIZE(names); i++) {
        VMT_CLEANUP(vmt_freep) char *path = vmc_find_program(names[i]);

        if (path && strchr(path, '/'))
            doctor_add(doctor, DOCTOR_OK, "programs", NULL, "%s", path);
        else
            doctor_add(
                doctor, DOCTOR_NOTE, "programs",
                "install vm_tools whole, so that all its programs are in one folder",
                "%s is not beside vmc in %s; it must be in PATH", names[i],
                dir ? dir : "?");
    }
}

/* Is a module of that name loaded? One that is built in is not listed. */
static bool
module_loaded(const char *name)
{
    VMT_CLEANUP(vmt_fclosep) FILE *f = fopen("/proc/modules", "re");
    char line[512];
    size_t len = strlen(name);

    while (f && fgets(line, sizeof(line), f))
        if (strncmp(line, name, len) == 0 && line[len] == ' ')
            return true;
    return false;
}

/* Looks only: on some kernels opening the device is not free of side effects. */
void
doctor_check_vsock(struct doctor *doctor)
{
    struct stat st;

    doctor_add(doctor, DOCTOR_OK, "vsock", NULL,
               "hybrid: unix sockets and our own device in user space, works everywhere");
    if (stat("/dev/vhost-vsock", &st) == 0)
        doctor_add(
            doctor, DOCTOR_OK, "vsock", NULL, "kernel: /dev/vhost-vsock is there%s",
            access("/dev/vhost-vsock", R_OK | W_OK) == 0 ? "" : ", but not for you");
    else
        doctor_add(doctor, DOCTOR_OK, "vsock", NULL,
                   "kernel: no /dev/vhost-vsock, module vhost_vsock is %s; not needed",
                   module_loaded("vhost_vsock") ? "loaded" : "not loaded");
}
