/* SPDX-License-Identifier: BSD-3-Clause */
/* hypervisor/qemu/accel_internal.h - what is known about KVM before and after a probe. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "core/adapter/hypervisor.h"
#include "hypervisor/qemu/qemu_internal.h"

#define ACCEL_REASON_MAX 256

/* A failed boot is tried again after a day: a host may get mended without a trace in the
 * key. A successful one stays true until the key changes. */
#define ACCEL_NEGATIVE_SECONDS (24 * 60 * 60)

/* Verdicts that are kept; one per kernel image and QEMU in use, the oldest leaves. */
#define ACCEL_CACHE_MAX 16

struct accel_verdict {
    enum hypervisor_accel accel;   /* KVM or TCG */
    char cpu[QEMU_KVM_CPU_MAX];    /* value of -cpu under KVM */
    char reason[ACCEL_REASON_MAX]; /* one sentence */
};

/* kvm.c: cheap tests that can only say no. Returns whether KVM may work; if not, reason
 * says why and what to do. Opens device (normally /dev/kvm) and makes an empty VM. */
bool accel_kvm_may_work(const char *device, char *reason, size_t cap);

/* kvm.c: does the host look as if its /dev/kvm were not the real thing? No proof of
 * anything: it only shortens the probe's patience. */
bool accel_kvm_is_suspicious(void);

/* accel_key.c: all that a verdict depends on, as a JSON object of strings; NULL: no
 * memory. binary is looked up in PATH as exec would. */
json_t *accel_key_new(const char *binary, int kernel_fd);

/* accel_key.c: the first cap - 1 bytes of a file, "" on failure; for files of the kernel
 * that have no size. Returns buf. */
const char *accel_read_text(const char *path, char *buf, size_t cap);

/* accel_cache.c: find the verdict for key in dir; now_sec is wall time. False: none, or
 * an old negative one. */
bool accel_cache_find(const char *dir, const json_t *key, int64_t now_sec,
                      struct accel_verdict *ret_verdict);

/* accel_cache.c: remember a verdict, replacing an earlier one for key. dir is made if its
 * parent exists. Returns 0 or -errno. */
int accel_cache_store(const char *dir, const json_t *key, int64_t now_sec,
                      const struct accel_verdict *verdict);
