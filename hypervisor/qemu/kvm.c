/* SPDX-License-Identifier: BSD-3-Clause */
/* hypervisor/qemu/kvm.c - what /dev/kvm says about itself. All of this passes on hosts
 * where no Linux guest ever comes up, so it is never evidence that KVM works. */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "hypervisor/qemu/accel_internal.h"

static bool
say_no(char *reason, size_t cap, const char *text, int error)
{
    if (error)
        (void)snprintf(reason, cap, "%s: %s", text, strerror(error));
    else
        (void)snprintf(reason, cap, "%s", text);
    return false;
}

static bool
explain_open(int error, char *reason, size_t cap)
{
    if (error == ENOENT)
        return say_no(reason, cap,
                      "this host has no /dev/kvm: switch hardware virtualization on in "
                      "the firmware, or nested virtualization around this machine",
                      0);
    if (error == EACCES || error == EPERM)
        return say_no(
            reason, cap,
            "no right to open /dev/kvm: add yourself to group kvm (sudo usermod "
            "-aG kvm $USER) and log in again",
            0);
    return say_no(reason, cap, "cannot open /dev/kvm", error);
}

bool
accel_kvm_may_work(const char *device, char *reason, size_t cap)
{
    VMT_CLEANUP(vmt_closep) int fd = open(device, O_RDWR | O_CLOEXEC);
    VMT_CLEANUP(vmt_closep) int vm = -1;
    int version;

    if (fd < 0)
        return explain_open(errno, reason, cap);
    /* Source: Linux, Documentation/virt/kvm/api.rst 4.1: refuse anything but 12. */
    version = ioctl(fd, KVM_GET_API_VERSION, 0);
    if (version != KVM_API_VERSION)
        return say_no(reason, cap, "/dev/kvm does not speak KVM's API version 12", 0);
    vm = ioctl(fd, KVM_CREATE_VM, 0);
    if (vm < 0)
        return say_no(reason, cap, "/dev/kvm cannot make a VM", errno);
    return true;
}

bool
accel_kvm_is_suspicious(void)
{
    char cpu[8192]; /* the first processor's entry has about 2 KiB */

    (void)accel_read_text("/proc/cpuinfo", cpu, sizeof(cpu));
    if (!strstr(cpu, " vmx") && !strstr(cpu, " svm"))
        return true;
    return access("/sys/module/kvm_intel", F_OK) < 0 &&
           access("/sys/module/kvm_amd", F_OK) < 0;
}
