/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/integration/vm/hostile_root.c - what root of a guest can do below its sockets.
 *
 *   hostile_root freeze PID          stop a process, even PID 1, and stay
 *   hostile_root poke FOLDER COUNT   drive the PCI device at a sysfs folder that no
 * driver has, its rings full of junk, then anywhere */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

static int
freeze(pid_t pid)
{
    int status;

    if (ptrace(PTRACE_SEIZE, pid, NULL, NULL) < 0 ||
        ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) < 0 || waitpid(pid, &status, 0) < 0) {
        perror("freeze");
        return 1;
    }
    printf("frozen\n");
    (void)fflush(stdout);
    for (;;)
        (void)pause();
}

/* struct virtio_pci_common_cfg, virtio 1.2, 4.1.4.3; the second page of four is for
 * interrupts, the fourth for bells, as QEMU lays the BAR out. */
struct registers {
    uint32_t device_feature_select, device_feature, driver_feature_select, driver_feature;
    uint16_t config_vector, num_queues;
    uint8_t device_status, config_generation;
    uint16_t queue_select, queue_size, queue_vector, queue_enable, queue_notify_off;
    uint32_t queue_at[6]; /* descriptors, available, used; low half first */
};
#define BAR_BYTES 16384
#define BELLS 0x3000

/* Where pages of ours are in the guest's memory, full of junk: rings that the device may
 * read and write without harm to the guest. */
#define PAGES 64
static uint64_t junk_pages[PAGES];

static int
make_junk_pages(void)
{
    const size_t page = 4096;
    int map = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    uint8_t *at = mmap(NULL, PAGES * page, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE | MAP_LOCKED, -1, 0);

    if (map < 0 || at == MAP_FAILED)
        return -1;
    for (size_t i = 0; i < PAGES * page; i++)
        at[i] = (uint8_t)(random() % 4 ? random() % 4 : random());
    for (size_t i = 0; i < PAGES; i++) {
        uint64_t entry = 0;
        off_t where = (off_t)(((uintptr_t)at / page + i) * sizeof(entry));

        if (pread(map, &entry, sizeof(entry), where) != sizeof(entry))
            return -1;
        junk_pages[i] = (entry & ((1ull << 55) - 1)) * page;
    }
    return close(map);
}

/* A ring in pages of junk, or anywhere. 16 entries fit into a quarter of a page. */
static void
junk_ring(volatile struct registers *reg, unsigned queue, int wild)
{
    reg->queue_select = (uint16_t)queue;
    reg->queue_size = (uint16_t)(1u << random() % (wild ? 12 : 5));
    for (int i = 0; i < 6; i += 2) {
        uint64_t at = junk_pages[random() % PAGES] + (uint64_t)(random() % 8) * 256;

        if (wild)
            at = ((uint64_t)random() << 33) ^ (uint64_t)random();
        reg->queue_at[i] = (uint32_t)at;
        reg->queue_at[i + 1] = (uint32_t)(at >> 32);
    }
    reg->queue_enable = 1;
}

static void
junk_device(volatile uint8_t *bar, int wild)
{
    volatile struct registers *reg = (volatile void *)bar;

    reg->device_status = 0;
    reg->device_status = 3; /* ACKNOWLEDGE, DRIVER */
    reg->driver_feature_select = 1;
    reg->driver_feature = 1; /* VERSION_1 */
    reg->device_status = 11; /* FEATURES_OK */
    for (unsigned queue = 0; queue < 3; queue++)
        junk_ring(reg, queue, wild);
    reg->device_status = 15; /* DRIVER_OK */
    for (unsigned i = 0; i < 12; i++) {
        *(volatile uint16_t *)(bar + BELLS + i % 3 * 4) = (uint16_t)(i % 3);
        (void)usleep(1000);
    }
}

static int
poke(const char *folder, unsigned count)
{
    const uint16_t command = 0x0406; /* memory, bus master, no INTx */
    char path[256];
    int config, fd;
    volatile uint8_t *bar;

    (void)snprintf(path, sizeof(path), "%s/config", folder);
    config = open(path, O_RDWR | O_CLOEXEC);
    (void)snprintf(path, sizeof(path), "%s/resource4", folder);
    fd = open(path, O_RDWR | O_SYNC | O_CLOEXEC);
    bar = mmap(NULL, BAR_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (bar == MAP_FAILED || make_junk_pages() < 0 ||
        pwrite(config, &command, 2, 4) != 2) {
        perror("poke");
        return 1;
    }
    for (unsigned i = 0; i < count; i++)
        junk_device(bar, i >= count / 4 * 3);
    printf("poked %u\n", count);
    return 0;
}

int
main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "freeze") == 0)
        return freeze(atoi(argv[2]));
    if (argc == 4 && strcmp(argv[1], "poke") == 0)
        return poke(argv[2], (unsigned)atoi(argv[3]));
    (void)fprintf(stderr, "usage: hostile_root freeze PID | poke FOLDER COUNT\n");
    return 2;
}
