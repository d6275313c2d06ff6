/* SPDX-License-Identifier: BSD-3-Clause */
/* vmc info: one VM in detail. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "concierge_service.pb-c.h"

#include "core/base/cleanup.h"
#include "platform/linux/vmc/vm_end.h"
#include "platform/linux/vmc/vm_info.h"
#include "platform/linux/vmc/vmc.h"
#include "platform/linux/vsh/concierge_client.h"
#include "vmt_life.pb-c.h"

#define INFO_TIMEOUT_MS 30000u
#define TEXT_MAX 512

typedef VmTools__Concierge__GetVmInfoResponse pb_response;

/* Of a VM that is over. */
static json_t *
ended_json(const char *name, const char *owner, const Vmt__VmEnd *end)
{
    return json_pack("{ss ss ss so}", "name", name, "owner_id", owner, "state", "ended",
                     "end", vm_end_json(end));
}

static int
info_ask(struct vmc *vmc, const char *name, pb_response **ret_response,
         struct vmt_err *err)
{
    VmTools__Concierge__GetVmInfoRequest request;
    struct concierge_call call = {
        .method = "GetVmInfo",
        .request = &request.base,
        .reply = &vm_tools__concierge__get_vm_info_response__descriptor,
        .timeout_ms = INFO_TIMEOUT_MS,
    };
    struct ProtobufCMessage *reply = NULL;
    int r;

    vm_tools__concierge__get_vm_info_request__init(&request);
    request.name = (char *)(uintptr_t)name;
    request.owner_id = (char *)(uintptr_t)vmc->owner;
    r = vmc_call(vmc, &call, &reply, err);
    if (r == 0)
        *ret_response = (pb_response *)(void *)reply;
    return r;
}

/* The answer for a VM that is there; *ret_end tells of one that has ended, as JSON. */
static int
info_get(struct vmc *vmc, const char *name, pb_response **ret_response, json_t **ret_end,
         struct vmt_err *err)
{
    char text[TEXT_MAX], words[TEXT_MAX];
    int r = info_ask(vmc, name, ret_response, err);

    if (r < 0 || !*ret_response) /* it has a result: the call would have failed */
        return r;
    if ((*ret_response)->success && (*ret_response)->vm_info)
        return 0;
    if ((*ret_response)->last_end)
        r = vmt_err_setx(err, ENOENT, "no VM named %s runs; the last one ended: %s",
                         vmc_escape(text, sizeof(text), name),
                         vm_end_words((*ret_response)->last_end, words, sizeof(words)));
    else
        r = vmt_err_setx(err, ENOENT, "no VM named %s runs; vmc list shows those that do",
                         vmc_escape(text, sizeof(text), name));
    if ((*ret_response)->last_end && ret_end)
        *ret_end = ended_json(name, vmc->owner, (*ret_response)->last_end);
    protobuf_c_message_free_unpacked(&(*ret_response)->base, NULL);
    return r;
}

int
vmc_is_known(struct vmc *vmc, const char *name, bool *ret_known, struct vmt_err *err)
{
    pb_response *response = NULL;
    int r = info_ask(vmc, name, &response, err);

    if (r < 0 || !response)
        return r;
    *ret_known = response->success || response->last_end;
    protobuf_c_message_free_unpacked(&response->base, NULL);
    return 0;
}

int
vmc_require(struct vmc *vmc, const char *name, struct vmt_err *err)
{
    pb_response *response = NULL;
    int r = info_get(vmc, name, &response, NULL, err);

    if (r == 0 && response)
        protobuf_c_message_free_unpacked(&response->base, NULL);
    return r;
}

/* A number in a unit for people, under a name without its unit. */
static void
info_print_number(const char *key, json_int_t n)
{
    static const struct {
        const char *end, *unit;
        json_int_t size;
    } units[] = {{"_bytes", " MiB", 1 << 20}, {"_ms", " s", 1000}};
    size_t len = strlen(key);
    int shown = (int)len;
    const char *unit = "";

    for (size_t i = 0; i < VMT_ARRAY_SIZE(units); i++) {
        size_t end = strlen(units[i].end);

        if (len <= end || strcmp(key + len - end, units[i].end) != 0)
            continue;
        shown = (int)(len - end);
        unit = units[i].unit;
        n /= units[i].size;
        break;
    }
    (void)printf("%-14.*s %lld%s\n", shown, key, (long long)n, unit);
}

/* The same pairs as the JSON form, one a line. */
static void
info_print_text(json_t *vm)
{
    const char *key;
    json_t *value;

    json_object_foreach(vm, key, value)
    {
        char text[TEXT_MAX];

        if (json_is_string(value))
            (void)printf("%-14s %s\n", key,
                         vmc_escape(text, sizeof(text), json_string_value(value)));
        else
            info_print_number(key, json_integer_value(value));
    }
}

static int
info_run(struct vmc *vmc, int argc, char **argv)
{
    static const struct vmc_syntax syntax = {.operands_min = 1, .operands_max = 1};
    pb_response *response = NULL;
    struct vmt_err err;
    char **operands;
    size_t n;
    json_t *vm, *end = NULL;
    int r = vmc_begin(vmc, &vmc_info, argc, argv, &syntax, NULL, &operands, &n);

    if (r >= 0)
        return r;
    r = info_get(vmc, operands[0], &response, vmc->json ? &end : NULL, &err);
    if (end)
        (void)print_json(end, NULL);
    if (r < 0 || !response)
        return vmc_fail(r, &err);
    vm = vm_info_json(operands[0], vmc->owner, (int)response->vm_info->status,
                      response->vm_info);
    protobuf_c_message_free_unpacked(&response->base, NULL);
    if (vm && !vmc->json) {
        info_print_text(vm);
        json_decref(vm);
        return VMC_DONE;
    }
    r = print_json(vm, &err);
    return r < 0 ? vmc_fail(r, &err) : VMC_DONE;
}

const struct vmc_command vmc_info = {
    .name = "info",
    .summary = "show one VM",
    .usage = "[--json] NAME\n",
    .run = info_run,
};
