/* SPDX-License-Identifier: BSD-3-Clause */
/* vmc doctor: does this machine have what a VM needs? */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "core/base/cleanup.h"
#include "platform/linux/vmc/doctor.h"
#include "platform/linux/vmc/vm_info.h"
#include "platform/linux/vmc/vmc.h"

#define IMAGE_DEFAULT "debian"

static const char *const state_words[] = {
    [DOCTOR_OK] = "ok", [DOCTOR_NOTE] = "note", [DOCTOR_BAD] = "BAD"};

void
doctor_add(struct doctor *doctor, enum doctor_state state, const char *check,
           const char *mend, const char *fmt, ...)
{
    struct doctor_finding *f;
    va_list ap;

    if (doctor->n == DOCTOR_FINDINGS_MAX)
        return;
    f = &doctor->findings[doctor->n++];
    f->state = state;
    f->check = check;
    va_start(ap, fmt);
    (void)vsnprintf(f->text, sizeof(f->text), fmt, ap);
    va_end(ap);
    (void)snprintf(f->mend, sizeof(f->mend), "%s",
                   mend && state != DOCTOR_OK ? mend : "");
}

static int
doctor_print_json(const struct doctor *doctor, struct vmt_err *err)
{
    json_t *all = json_array();

    for (size_t i = 0; all && i < doctor->n; i++) {
        const struct doctor_finding *f = &doctor->findings[i];

        if (json_array_append_new(
                all, json_pack("{s:s, s:s, s:s, s:s}", "check", f->check, "state",
                               f->state == DOCTOR_BAD ? "bad" : state_words[f->state],
                               "text", f->text, "mend", f->mend)) < 0) {
            json_decref(all);
            all = NULL;
        }
    }
    return print_json(all, err);
}

static void
doctor_print_text(const struct doctor *doctor, size_t from)
{
    for (size_t i = from; i < doctor->n; i++) {
        const struct doctor_finding *f = &doctor->findings[i];

        (void)printf("%-4s  %-12s %s\n", state_words[f->state], f->check, f->text);
        if (*f->mend)
            (void)printf("      %-12s -> %s\n", "", f->mend);
    }
    (void)fflush(stdout);
}

static int
set_image(void *target, const char *value, struct vmt_err *err)
{
    (void)err;
    ((struct doctor *)target)->image = value;
    return 0;
}

static int
set_no_boot(void *target, const char *value, struct vmt_err *err)
{
    (void)value;
    (void)err;
    ((struct doctor *)target)->no_boot = true;
    return 0;
}

static void
doctor_check_all(struct doctor *doctor, bool show)
{
    static void (*const checks[])(struct doctor *) = {
        doctor_check_rights,      doctor_check_memory,     doctor_check_disk,
        doctor_check_programs,    doctor_check_daemon,     doctor_check_vsock,
        doctor_check_network,     doctor_check_hypervisor, doctor_check_image,
        doctor_check_accelerator,
    };

    for (size_t i = 0; i < VMT_ARRAY_SIZE(checks); i++) {
        size_t from = doctor->n;

        checks[i](doctor);
        if (show)
            doctor_print_text(doctor, from); /* the last ones take seconds */
    }
}

static int
doctor_run(struct vmc *vmc, int argc, char **argv)
{
    static const struct vmc_option options[] = {
        {"image", true, set_image}, {"no-boot", false, set_no_boot}, {0}};
    static const struct vmc_syntax syntax = {.options = options, .operands_max = 0};
    struct doctor doctor = {.vmc = vmc, .image = IMAGE_DEFAULT};
    struct vmt_err err;
    char **operands;
    size_t n, bad = 0;
    int r = vmc_begin(vmc, &vmc_doctor, argc, argv, &syntax, &doctor, &operands, &n);

    if (r >= 0)
        return r;
    doctor_check_all(&doctor, !vmc->json);
    for (size_t i = 0; i < doctor.n; i++)
        bad += doctor.findings[i].state == DOCTOR_BAD;
    r = vmc->json ? doctor_print_json(&doctor, &err) : 0;
    if (r < 0)
        return vmc_fail(r, &err);
    return bad ? VMC_FAILED : VMC_DONE;
}

const struct vmc_command vmc_doctor = {
    .name = "doctor",
    .summary = "check what this machine has for VMs, and how to mend the rest",
    .usage = "[--image NAME|DIR] [--no-boot] [--json]\n"
             "  --no-boot  do not boot a kernel to find the accelerator\n"
             "The exit code is 1 when something needed is missing.\n",
    .run = doctor_run,
};
