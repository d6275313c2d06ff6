/* SPDX-License-Identifier: BSD-3-Clause */
/* hypervisor/qemu/cmdline.c - QEMU's command line for one VM, built without any I/O.
 *
 * Facts come from the manual pages qemu(1) and qemu-qmp-ref(7) of QEMU 7.2 and were tried
 * with Debian's 7.2.22. Text that comes from outside (names, paths, serials, OEM strings)
 * stands in options as a value with its commas doubled, which is how QemuOpts and keyval
 * quote them; no other byte has a meaning inside a value. */
#include "hypervisor/qemu/cmdline_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include <jansson.h>

#include "core/adapter/hypervisor.h"
#include "core/base/argv.h"
#include "core/base/cleanup.h"
#include "core/base/err.h"
#include "core/base/limits.h"
#include "hypervisor/qemu/blockdev_internal.h"
#include "hypervisor/qemu/peripheral_internal.h"

/* text with each comma doubled; the caller frees it. NULL: no memory. */
static char *
comma_doubled(const char *text)
{
    char *out = malloc(2 * strlen(text) + 1);
    char *o = out;

    if (!out)
        return NULL;
    for (; *text; text++) {
        if (*text == ',')
            *o++ = ',';
        *o++ = *text;
    }
    *o = '\0';
    return out;
}

static bool
is_printable(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            return false;
    return true;
}

static int
check_numbers(const struct vm_spec *spec, struct vmt_err *err)
{
    if (spec->cid < VMT_CID_GUEST_MIN || spec->cid == UINT32_MAX)
        return vmt_err_setx(err, EINVAL, "cid %" PRIu32 " is reserved", spec->cid);
    if (spec->mem_mib == 0)
        return vmt_err_setx(err, EINVAL, "a vm needs memory");
    if (spec->vcpus == 0)
        return vmt_err_setx(err, EINVAL, "a vm needs at least one vcpu");
    if (spec->accel == HYPERVISOR_ACCEL_AUTO)
        return vmt_err_setx(err, EINVAL, "the accelerator has not been decided");
    if (spec->net == HYPERVISOR_NET_TAP && spec->tap_fd < 1)
        return vmt_err_setx(err, EINVAL, "the network has no tap");
    return 0;
}

static int
check_texts(const struct vm_spec *spec, struct vmt_err *err)
{
    if (!spec->name || !spec->name[0] || !is_printable(spec->name))
        return vmt_err_setx(err, EINVAL, "the vm has no printable name");
    if (spec->kernel_fd < 0 && spec->firmware_fd < 1)
        return vmt_err_setx(err, EINVAL, "no kernel to boot");
    if (spec->kernel_fd >= 0 && spec->firmware_fd > 0)
        return vmt_err_setx(err, EINVAL, "a kernel boots without firmware");
    if (spec->pflash_fd > 0 && spec->firmware_fd < 1)
        return vmt_err_setx(err, EINVAL, "variables need their firmware");
    if (spec->vsock == HYPERVISOR_VSOCK_VHOST_USER) {
        if (!spec->vsock_socket || spec->vsock_socket[0] != '/')
            return vmt_err_setx(err, EINVAL, "the vsock device has no absolute path");
        if (strlen(spec->vsock_socket) >= sizeof(((struct sockaddr_un *)0)->sun_path))
            return vmt_err_setx(err, EINVAL, "vsock socket path is too long: %s",
                                spec->vsock_socket);
    }
    for (size_t i = 0; spec->oem_strings && spec->oem_strings[i]; i++)
        if (!spec->oem_strings[i][0])
            return vmt_err_setx(err, EINVAL, "oem string %zu is empty", i);
    return 0;
}

int
qemu_cmdline_check_disk(const struct hypervisor_disk *disk, struct vmt_err *err)
{
    uint32_t bs = disk->block_size;

    if (disk->path && disk->path[0] != '/')
        return vmt_err_setx(err, EINVAL, "path %s is not absolute", disk->path);
    if (!disk->path && disk->fd < 0)
        return vmt_err_setx(err, EINVAL, "it has neither path nor descriptor");
    if (disk->serial && (strlen(disk->serial) > QEMU_DISK_SERIAL_MAX ||
                         !disk->serial[0] || !is_printable(disk->serial)))
        return vmt_err_setx(err, EINVAL, "the serial must have 1 to %d printable bytes",
                            QEMU_DISK_SERIAL_MAX);
    /* QEMU's own rule for logical_block_size; beyond 4 KiB Linux has no use for it. */
    if (bs != 0 && (bs < 512 || bs > 4096 || (bs & (bs - 1)) != 0))
        return vmt_err_setx(err, EINVAL,
                            "block size %" PRIu32 " is not 512, 1024, 2048 or 4096", bs);
    return 0;
}

/* Slots must be there, and hold one disk each. */
static int
check_slots(const struct vm_spec *spec, struct vmt_err *err)
{
    uint32_t used = 0;

    if (spec->spare_slots > QEMU_SLOTS_MAX)
        return vmt_err_setx(err, EINVAL, "%u spare slots are more than %u",
                            spec->spare_slots, QEMU_SLOTS_MAX);
    for (size_t i = 0; i < spec->ndisks; i++) {
        unsigned slot = spec->disks[i].slot;

        if (slot > spec->spare_slots)
            return vmt_err_setx(err, EINVAL, "disk %zu: there is no slot %u", i, slot);
        if (slot > 0 && (used & 1u << slot))
            return vmt_err_setx(err, EINVAL, "disk %zu: slot %u is taken", i, slot);
        if (slot > 0 && !spec->disks[i].serial)
            return vmt_err_setx(err, EINVAL,
                                "disk %zu: without a serial nobody can "
                                "take it out of its slot",
                                i);
        used |= 1u << slot;
    }
    return 0;
}

static int
check_disks(const struct vm_spec *spec, struct vmt_err *err)
{
    if (spec->ndisks > QEMU_DISKS_MAX)
        return vmt_err_setx(err, EINVAL, "%zu disks are more than %d", spec->ndisks,
                            QEMU_DISKS_MAX);
    for (size_t i = 0; i < spec->ndisks; i++) {
        int r = qemu_cmdline_check_disk(&spec->disks[i], err);

        if (r < 0)
            return vmt_err_wrap(err, r, "disk %zu", i);
    }
    return check_slots(spec, err);
}

static int
check_spec(const struct vm_spec *spec, struct vmt_err *err)
{
    int r = check_numbers(spec, err);

    if (r == 0)
        r = check_texts(spec, err);
    return r < 0 ? r : check_disks(spec, err);
}

/* Add before and text, its commas doubled, as one argument. */
static void
add_quoted(struct vmt_argv *argv, const char *before, const char *text)
{
    VMT_CLEANUP(vmt_freep) char *quoted = comma_doubled(text);

    if (!quoted) {
        argv->status = -ENOMEM;
        return;
    }
    vmt_argv_addf(argv, "%s%s", before, quoted);
}

static void
add_process(struct vmt_argv *argv, const struct qemu_cmdline *in)
{
    vmt_argv_add(argv, in->binary);
    vmt_argv_add(argv, "-name");
    add_quoted(argv, "guest=", in->spec->name);
    vmt_argv_add(argv, "-nodefaults");
    vmt_argv_add(argv, "-no-user-config");
    /* Not -nographic: that also sends SeaBIOS's messages to the serial console. */
    vmt_argv_add(argv, "-display");
    vmt_argv_add(argv, "none");
    vmt_argv_add(argv, "-msg");
    vmt_argv_add(argv, "timestamp=on");
    vmt_argv_add(argv, "-sandbox");
    vmt_argv_add(argv, "on,obsolete=deny,elevateprivileges=deny,spawn=deny,"
                       "resourcecontrol=deny");
    /* The process ends with the guest, whatever ended it: we decide about restarts. */
    vmt_argv_add(argv, "-action");
    vmt_argv_add(argv, "reboot=shutdown,shutdown=poweroff,panic=shutdown");
}

static void
add_machine(struct vmt_argv *argv, const struct qemu_cmdline *in)
{
    const struct vm_spec *spec = in->spec;
    bool kvm = spec->accel == HYPERVISOR_ACCEL_KVM;

    vmt_argv_add(argv, "-machine");
    /* Without what no guest of ours uses: less to scan at boot, less to attack. */
    vmt_argv_addf(argv, "q35,memory-backend=mem0,sata=off,smbus=off,vmport=off%s%s",
                  spec->firmware_fd > 0 ? ",pflash0=flash0" : "",
                  spec->pflash_fd > 0 ? ",pflash1=flash1" : "");
    vmt_argv_add(argv, "-accel");
    vmt_argv_add(argv, kvm ? "kvm" : "tcg");
    vmt_argv_add(argv, "-cpu");
    /* Without fast string operations: Linux would copy and clear byte by byte, which is
     * one turn each under emulation, instead of eight bytes at a time. */
    vmt_argv_add(argv, kvm ? in->kvm_cpu : "max,erms=off");
    vmt_argv_add(argv, "-smp");
    vmt_argv_addf(argv, "%" PRIu32, spec->vcpus);
    vmt_argv_add(argv, "-m");
    vmt_argv_addf(argv, "%" PRIu32 "M", spec->mem_mib);
    /* share=on always: without it QEMU accepts a vhost-user device without a word, but
     * the device process cannot see what the guest writes. QEMU asks for transparent
     * huge pages by itself (madvise), and gets them where shmem_enabled allows that. */
    vmt_argv_add(argv, "-object");
    vmt_argv_addf(argv, "memory-backend-memfd,id=mem0,size=%" PRIu32 "M,share=on%s",
                  spec->mem_mib, in->hugetlb ? ",hugetlb=on,hugetlbsize=2M" : "");
}

/* A listening socket instead of a connected one: QEMU accepts again after its client went
 * away, so a restarted daemon gets its control back. */
static void
add_qmp(struct vmt_argv *argv)
{
    vmt_argv_add(argv, "-chardev");
    vmt_argv_addf(argv, "socket,id=qmp0,fd=%d,server=on,wait=off", QEMU_FD_QMP);
    vmt_argv_add(argv, "-mon");
    vmt_argv_add(argv, "chardev=qmp0,mode=control");
}

/* A file or pipe, never a socket: one that nobody drains blocks the guest. */
static void
add_console(struct vmt_argv *argv, const struct vm_spec *spec)
{
    if (spec->console_fd < 0) {
        vmt_argv_add(argv, "-serial");
        vmt_argv_add(argv, "null");
        return;
    }
    vmt_argv_add(argv, "-add-fd");
    vmt_argv_addf(argv, "fd=%d,set=0", QEMU_FD_CONSOLE);
    vmt_argv_add(argv, "-chardev");
    vmt_argv_add(argv, "file,id=ser0,path=/dev/fdset/0,append=on");
    vmt_argv_add(argv, "-serial");
    vmt_argv_add(argv, "chardev:ser0");
}

/* Flash of the machine: the firmware's code, and the variables that it keeps. */
static void
add_flash(struct vmt_argv *argv, int fd, unsigned n, bool read_only)
{
    vmt_argv_add(argv, "-add-fd");
    vmt_argv_addf(argv, "fd=%d,set=%u", fd, QEMU_FDSET_FLASH + n);
    vmt_argv_add(argv, "-blockdev");
    vmt_argv_addf(argv,
                  "{\"driver\":\"raw\",\"node-name\":\"flash%u\",\"read-only\":%s,"
                  "\"file\":{\"driver\":\"file\",\"filename\":\"/dev/fdset/%u\","
                  "\"read-only\":%s}}",
                  n, read_only ? "true" : "false", QEMU_FDSET_FLASH + n,
                  read_only ? "true" : "false");
}

static void
add_kernel(struct vmt_argv *argv, const struct vm_spec *spec)
{
    if (spec->firmware_fd > 0) {
        add_flash(argv, QEMU_FD_FIRMWARE, 0, true);
        if (spec->pflash_fd > 0)
            add_flash(argv, QEMU_FD_PFLASH, 1, false);
        return;
    }
    vmt_argv_add(argv, "-kernel");
    vmt_argv_addf(argv, "/proc/self/fd/%d", QEMU_FD_KERNEL);
    if (spec->initrd_fd >= 0) {
        vmt_argv_add(argv, "-initrd");
        vmt_argv_addf(argv, "/proc/self/fd/%d", QEMU_FD_INITRD);
    }
    if (spec->cmdline) {
        vmt_argv_add(argv, "-append");
        vmt_argv_add(argv, spec->cmdline);
    }
}

/* The node that reads and writes the file. A disk given by descriptor is fd set i + 1;
 * set 0 is the console. */
static void
add_file_node(struct vmt_argv *argv, const struct hypervisor_disk *disk, size_t i,
              const char *options)
{
    VMT_CLEANUP(vmt_freep) char *path = disk->path ? comma_doubled(disk->path) : NULL;

    if (disk->path && !path) {
        argv->status = -ENOMEM;
        return;
    }
    if (!path) {
        vmt_argv_add(argv, "-add-fd");
        vmt_argv_addf(argv, "fd=%zu,set=%zu", QEMU_FD_DISK + i, i + 1);
    }
    vmt_argv_add(argv, "-blockdev");
    if (path)
        vmt_argv_addf(argv, "driver=file,node-name=file%zu,filename=%s%s", i, path,
                      options);
    else
        vmt_argv_addf(argv, "driver=file,node-name=file%zu,filename=/dev/fdset/%zu%s", i,
                      i + 1, options);
}

/* The node that knows the format, which is never guessed: a guest could write another
 * one's header. JSON, because only there "no backing file" can be said, whatever the
 * image asks for. */
static void
add_format_node(struct vmt_argv *argv, const struct hypervisor_disk *disk, size_t i)
{
    vmt_argv_add(argv, "-blockdev");
    vmt_argv_addf(argv,
                  "{\"driver\":\"%s\",\"node-name\":\"disk%zu\",\"file\":\"file%zu\","
                  "\"read-only\":%s%s%s%s}",
                  disk->qcow2 ? "qcow2" : "raw", i, i, disk->read_only ? "true" : "false",
                  disk->read_only ? "" : ",\"discard\":\"unmap\"",
                  disk->direct ? ",\"cache\":{\"direct\":true}" : "",
                  disk->qcow2 ? ",\"backing\":null" : "");
}

static void
add_disk_device(struct vmt_argv *argv, const struct hypervisor_disk *disk, size_t i)
{
    VMT_CLEANUP(vmt_freep) char *serial = comma_doubled(disk->serial ? disk->serial : "");
    char blocks[80] = "", kind[QEMU_DEVICE_ID_MAX] = "";

    if (!serial) {
        argv->status = -ENOMEM;
        return;
    }
    if (disk->block_size)
        (void)snprintf(blocks, sizeof(blocks),
                       ",logical_block_size=%" PRIu32 ",physical_block_size=%" PRIu32,
                       disk->block_size, disk->block_size);
    if (disk->serial)
        qemu_peripheral_disk(disk->serial, kind);
    vmt_argv_add(argv, "-device");
    /* The name is "vblk<i>-<hex>", without the "disk" of the kind. */
    vmt_argv_addf(argv, "virtio-blk-pci,id=vblk%zu%s,drive=disk%zu%s%s%s", i,
                  disk->serial ? strchr(kind, '-') : "", i, blocks,
                  disk->serial ? ",serial=" : "", serial);
}

/* Add json, which is taken, as one argument. */
static void
add_json(struct vmt_argv *argv, const char *option, json_t *json)
{
    VMT_CLEANUP(vmt_freep) char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;

    json_decref(json);
    if (!text) {
        argv->status = -ENOMEM;
        return;
    }
    vmt_argv_add(argv, option);
    vmt_argv_add(argv, text);
}

/* A disk in a slot looks like one that was plugged there later. */
static void
add_plugged_disk(struct vmt_argv *argv, const struct hypervisor_disk *disk, size_t i)
{
    char kind[QEMU_DEVICE_ID_MAX], id[2 * QEMU_DEVICE_ID_MAX];

    qemu_peripheral_disk(disk->serial, kind);
    (void)snprintf(id, sizeof(id), "slot%u-%s", disk->slot, kind);
    if (!disk->path) {
        vmt_argv_add(argv, "-add-fd");
        vmt_argv_addf(argv, "fd=%zu,set=%u", QEMU_FD_DISK + i,
                      QEMU_FDSET_SLOT + disk->slot);
    }
    add_json(argv, "-blockdev", qemu_blockdev_node(disk, disk->slot));
    add_json(argv, "-device", qemu_blockdev_device(disk, disk->slot, id));
}

/* pcie.0 itself takes nothing while the guest runs. Ports are used by ACPI, QEMU's own
 * choice for q35: under TCG Debian's 6.1 sees a disk after 0.1 s and lets go of it in
 * 0.15 s; native hot-plug takes 0.2 s and 6.3 s. Chassis and slot numbers tell ports
 * apart; QEMU wants them unique. Eight functions of one PCI slot cost the guest more time
 * to scan than eight PCI slots. */
static void
add_port(struct vmt_argv *argv, unsigned n, const char *id)
{
    vmt_argv_add(argv, "-device");
    vmt_argv_addf(argv, "pcie-root-port,id=%s,chassis=%u,slot=%u", id, n + 1, n + 1);
}

/* The vsock device has a port of its own, used or not: where everything is must not
 * depend on whether a VM has one, or a saved state would fit only some VMs. */
static void
add_ports(struct vmt_argv *argv, const struct vm_spec *spec)
{
    if (spec->spare_slots == 0)
        return;
    add_port(argv, 0, QEMU_VSOCK_PORT);
    for (unsigned n = 1; n <= spec->spare_slots; n++) {
        char id[16];

        (void)snprintf(id, sizeof(id), "rp%u", n);
        add_port(argv, n, id);
    }
}

/* Disk i is file node "file<i>", format node "disk<i>" and device "vblk<i>..". What a
 * guest discards becomes a hole in the file. */
static void
add_disk(struct vmt_argv *argv, const struct hypervisor_disk *disk, size_t i)
{
    char options[64];

    (void)snprintf(options, sizeof(options), "%s%s",
                   disk->read_only ? ",read-only=on" : ",discard=unmap",
                   disk->direct ? ",cache.direct=on" : "");
    add_file_node(argv, disk, i, options);
    add_format_node(argv, disk, i);
    add_disk_device(argv, disk, i);
}

/* When core gives no address: 52:54 has the bit of locally administered addresses set and
 * the multicast bit clear; the cid fills the rest. */
static void
make_mac(const struct vm_spec *spec, uint8_t mac[HYPERVISOR_MAC_LEN])
{
    static const uint8_t none[HYPERVISOR_MAC_LEN];
    uint32_t cid = spec->cid;
    const uint8_t made[] = {0x52,
                            0x54,
                            (uint8_t)(cid >> 24),
                            (uint8_t)(cid >> 16),
                            (uint8_t)(cid >> 8),
                            (uint8_t)cid};

    memcpy(mac, memcmp(spec->mac, none, sizeof(none)) ? spec->mac : made, sizeof(made));
}

/* vhost=off: the kernel's back end would need rights on a device node.
 * guest_announce=off: when a state is loaded that was saved with no announcement under
 * way, QEMU 7.2 gives the timer for announcements up, and its next reset of the device,
 * which is at the end of the guest, dies of that: SIGSEGV in timer_del, of
 * virtio_net_reset. A restored VM stays where its address is routed to and has nothing to
 * announce. */
static void
add_net(struct vmt_argv *argv, const struct vm_spec *spec)
{
    uint8_t mac[HYPERVISOR_MAC_LEN];

    if (spec->net == HYPERVISOR_NET_NONE)
        return;
    make_mac(spec, mac);
    vmt_argv_add(argv, "-netdev");
    if (spec->net == HYPERVISOR_NET_TAP)
        vmt_argv_addf(argv, "tap,id=net0,fd=%d,vhost=off", QEMU_FD_TAP);
    else
        vmt_argv_add(argv, "user,id=net0");
    vmt_argv_add(argv, "-device");
    vmt_argv_addf(argv,
                  "virtio-net-pci,id=vnet0,netdev=net0,"
                  "mac=%02x:%02x:%02x:%02x:%02x:%02x,romfile=,guest_announce=off",
                  mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
}

static void
add_vsock(struct vmt_argv *argv, const struct vm_spec *spec)
{
    if (spec->vsock == HYPERVISOR_VSOCK_KERNEL) {
        vmt_argv_add(argv, "-device");
        vmt_argv_addf(argv, "vhost-vsock-pci,id=vsock0,guest-cid=%" PRIu32, spec->cid);
    }
    if (spec->vsock != HYPERVISOR_VSOCK_VHOST_USER)
        return;
    vmt_argv_add(argv, "-chardev");
    add_quoted(argv, "socket,id=vsock0,path=", spec->vsock_socket);
    vmt_argv_add(argv, "-device");
    vmt_argv_addf(argv, "vhost-user-vsock-pci,id=" QEMU_VSOCK_ID ",chardev=vsock0%s",
                  spec->spare_slots ? ",bus=" QEMU_VSOCK_PORT : "");
}

/* pvpanic sits on the ISA bus, because there it adds no PCI function to scan. */
static void
add_helpers(struct vmt_argv *argv)
{
    vmt_argv_add(argv, "-device");
    vmt_argv_add(argv, "virtio-rng-pci,id=rng0");
    vmt_argv_add(argv, "-device");
    vmt_argv_add(argv, "virtio-balloon-pci,id=balloon0,free-page-reporting=on,"
                       "deflate-on-oom=on");
    vmt_argv_add(argv, "-device");
    vmt_argv_add(argv, "pvpanic");
}

/* As with the vsock port, whether a VM has it must not depend on what it is for. */
static void
add_generation(struct vmt_argv *argv, const struct vm_spec *spec)
{
    if (!spec->generation && spec->spare_slots == 0)
        return;
    vmt_argv_add(argv, "-device");
    add_quoted(argv, "vmgenid,id=generation0,guid=",
               spec->generation ? spec->generation : "auto");
}

/* Wait for a state, and with it do nothing until we say so. */
static void
add_incoming(struct vmt_argv *argv, const struct vm_spec *spec)
{
    if (spec->restore_fd < 1)
        return;
    vmt_argv_add(argv, "-S");
    vmt_argv_add(argv, "-incoming");
    vmt_argv_add(argv, "defer");
}

static void
add_oem_strings(struct vmt_argv *argv, const struct vm_spec *spec)
{
    for (size_t i = 0; spec->oem_strings && spec->oem_strings[i]; i++) {
        vmt_argv_add(argv, "-smbios");
        add_quoted(argv, "type=11,value=", spec->oem_strings[i]);
    }
}

int
qemu_cmdline_build(const struct qemu_cmdline *in, struct vmt_argv *argv,
                   struct vmt_err *err)
{
    const struct vm_spec *spec = in->spec;
    int r = check_spec(spec, err);

    if (r < 0)
        return r;
    add_process(argv, in);
    add_machine(argv, in);
    if (in->qmp)
        add_qmp(argv);
    add_console(argv, spec);
    add_kernel(argv, spec);
    add_ports(argv, spec);
    for (size_t i = 0; i < spec->ndisks; i++)
        (spec->disks[i].slot ? add_plugged_disk : add_disk)(argv, &spec->disks[i], i);
    add_net(argv, spec);
    add_vsock(argv, spec);
    add_helpers(argv);
    add_generation(argv, spec);
    add_oem_strings(argv, spec);
    add_incoming(argv, spec);
    return vmt_argv_finish(argv, err);
}

size_t
qemu_cmdline_fds(const struct vm_spec *spec, int qmp_fd, int stderr_fd,
                 struct spawn_fd *fds)
{
    const struct spawn_fd fixed[] = {
        {stderr_fd, QEMU_FD_STDERR},
        {qmp_fd, QEMU_FD_QMP},
        {spec->console_fd, QEMU_FD_CONSOLE},
        {spec->kernel_fd, QEMU_FD_KERNEL},
        {spec->initrd_fd, QEMU_FD_INITRD},
        {spec->net == HYPERVISOR_NET_TAP ? spec->tap_fd : -1, QEMU_FD_TAP},
        {spec->firmware_fd > 0 ? spec->firmware_fd : -1, QEMU_FD_FIRMWARE},
        {spec->pflash_fd > 0 ? spec->pflash_fd : -1, QEMU_FD_PFLASH},
    };
    size_t n = 0;

    for (size_t i = 0; i < VMT_ARRAY_SIZE(fixed); i++)
        if (fixed[i].from >= 0)
            fds[n++] = fixed[i];
    for (size_t i = 0; i < spec->ndisks; i++)
        if (!spec->disks[i].path)
            fds[n++] = (struct spawn_fd){spec->disks[i].fd, (int)(QEMU_FD_DISK + i)};
    return n;
}
