/* SPDX-License-Identifier: BSD-3-Clause */
/* vmc usb: devices of the host's USB for a VM that runs. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "concierge_service.pb-c.h"
#include "core/base/cleanup.h"
#include "platform/linux/vmc/vmc.h"
#include "platform/linux/vsh/concierge_client.h"

#define USB_TIMEOUT_MS 120000u
#define TEXT_MAX 512
#define NODE_MAX 64

typedef VmTools__Concierge__AttachUsbDeviceRequest attach_t;
typedef VmTools__Concierge__AttachUsbDeviceResponse attached_t;
typedef VmTools__Concierge__ListUsbDeviceResponse list_t;

/* A decimal number of 1 to max. Returns 0 for anything else. */
static uint32_t
number_of(const char *text, uint32_t max)
{
    char *end;
    unsigned long n = strtoul(text, &end, 10);

    return *text >= '0' && *text <= '9' && *end == '\0' && n <= max ? (uint32_t)n : 0;
}

/* The node of "BUS:DEVICE", as lsusb numbers them, or a path. Source: udev's names,
 * /dev/bus/usb/BBB/DDD. */
static int
find_node(const char *text, attach_t *request, char node[NODE_MAX], struct vmt_err *err)
{
    unsigned bus, device;
    int end = 0;

    if (text[0] == '/') {
        (void)snprintf(node, NODE_MAX, "%s", text);
        return 0;
    }
    if (sscanf(text, "%3u:%3u%n", &bus, &device, &end) != 2 || text[end] != '\0' ||
        bus > 255 || device > 255)
        return vmt_err_setx(err, EINVAL, "%s is neither BUS:DEVICE nor a path", text);
    request->bus_number = bus;
    request->port_number = device;
    (void)snprintf(node, NODE_MAX, "/dev/bus/usb/%03u/%03u", bus, device);
    return 0;
}

static int
attach_call(struct vmc *vmc, const attach_t *request, int fd, uint32_t *ret_port,
            struct vmt_err *err)
{
    const struct concierge_call call = {
        .method = "AttachUsbDevice",
        .request = &request->base,
        .reply = &vm_tools__concierge__attach_usb_device_response__descriptor,
        .fds = &fd,
        .nfds = 1,
        .timeout_ms = USB_TIMEOUT_MS,
    };
    struct ProtobufCMessage *reply = NULL;
    const attached_t *response;
    char text[TEXT_MAX];
    int r = vmc_call(vmc, &call, &reply, err);

    if (r < 0)
        return r;
    response = (const attached_t *)(const void *)reply;
    *ret_port = response->guest_port;
    if (!response->success)
        r = vmt_err_setx(err, EIO, "%s",
                         vmc_escape(text, sizeof(text), response->reason));
    protobuf_c_message_free_unpacked(reply, NULL);
    return r;
}

static int
usb_attach(struct vmc *vmc, char *name, const char *what, struct vmt_err *err)
{
    VMT_CLEANUP(vmt_closep) int fd = -1;
    char node[NODE_MAX];
    attach_t request;
    uint32_t port = 0;
    int r;

    vm_tools__concierge__attach_usb_device_request__init(&request);
    request.vm_name = name;
    request.owner_id = (char *)(uintptr_t)vmc->owner;
    r = find_node(what, &request, node, err);
    if (r < 0)
        return r;
    fd = open(node, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return vmt_err_set(err, errno, "open %s", node);
    r = attach_call(vmc, &request, fd, &port, err);
    if (r == 0)
        (void)(vmc->json ? printf("{\n  \"port\": %u\n}\n", port)
                         : printf("port %u\n", port));
    return r;
}

static int
usb_detach(struct vmc *vmc, char *name, const char *what, struct vmt_err *err)
{
    VmTools__Concierge__DetachUsbDeviceRequest request;

    vm_tools__concierge__detach_usb_device_request__init(&request);
    request.vm_name = name;
    request.owner_id = (char *)(uintptr_t)vmc->owner;
    request.guest_port = number_of(what, 255);
    if (request.guest_port == 0)
        return vmt_err_setx(err, EINVAL, "%s is no port; see vmc usb list", what);
    return vmc_call_plain(vmc, "DetachUsbDevice", &request.base, USB_TIMEOUT_MS, err);
}

static void
print_list(const struct vmc *vmc, const list_t *list)
{
    json_t *array = json_array();

    for (size_t i = 0; i < list->n_usb_devices; i++) {
        const VmTools__Concierge__UsbDeviceMessage *d = list->usb_devices[i];

        if (!vmc->json)
            (void)printf("port %u: %04x:%04x\n", d->guest_port, d->vendor_id,
                         d->product_id);
        (void)json_array_append_new(array, json_pack("{s:I,s:I,s:I}", "port",
                                                     (json_int_t)d->guest_port, "vendor",
                                                     (json_int_t)d->vendor_id, "product",
                                                     (json_int_t)d->product_id));
    }
    if (vmc->json && array && json_dumpf(array, stdout, JSON_INDENT(2)) == 0)
        (void)printf("\n");
    json_decref(array);
}

static int
usb_list(struct vmc *vmc, char *name, const char *what, struct vmt_err *err)
{
    VmTools__Concierge__ListUsbDeviceRequest request;
    struct concierge_call call = {
        .method = "ListUsbDevices",
        .request = &request.base,
        .reply = &vm_tools__concierge__list_usb_device_response__descriptor,
        .timeout_ms = USB_TIMEOUT_MS,
    };
    struct ProtobufCMessage *reply = NULL;
    int r;

    (void)what;
    vm_tools__concierge__list_usb_device_request__init(&request);
    request.vm_name = name;
    request.owner_id = (char *)(uintptr_t)vmc->owner;
    r = vmc_call(vmc, &call, &reply, err);
    if (r < 0)
        return r;
    print_list(vmc, (const list_t *)(const void *)reply);
    protobuf_c_message_free_unpacked(reply, NULL);
    return 0;
}

static const struct usb_verb {
    const char *name;
    size_t operands; /* verb and VM among them */
    int (*run)(struct vmc *vmc, char *name, const char *what, struct vmt_err *err);
} verbs[] = {
    {"list", 2, usb_list},
    {"attach", 3, usb_attach},
    {"detach", 3, usb_detach},
};

static int
usb_run(struct vmc *vmc, int argc, char **argv)
{
    static const struct vmc_syntax syntax = {.operands_min = 2, .operands_max = 3};
    const struct usb_verb *verb = NULL;
    struct vmt_err err;
    char **operands;
    size_t n;
    int r = vmc_begin(vmc, &vmc_usb, argc, argv, &syntax, NULL, &operands, &n);

    if (r >= 0)
        return r;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(verbs); i++)
        if (strcmp(verbs[i].name, operands[0]) == 0 && verbs[i].operands == n)
            verb = &verbs[i];
    if (!verb) {
        (void)fprintf(stderr,
                      "vmc: usb %s is not called like this\n"
                      "Try vmc usb --help.\n",
                      operands[0]);
        return VMC_USAGE;
    }
    r = vmc_require(vmc, operands[1], &err);
    if (r == 0)
        r = verb->run(vmc, operands[1], n > 2 ? operands[2] : NULL, &err);
    return r < 0 ? vmc_fail(r, &err) : VMC_DONE;
}

const struct vmc_command vmc_usb = {
    .name = "usb",
    .summary = "give USB devices of this host to a VM that runs",
    .usage = "list NAME\n"
             "       vmc usb attach NAME BUS:DEVICE|NODE\n"
             "       vmc usb detach NAME PORT\n"
             "\n"
             "BUS and DEVICE are the numbers that lsusb shows; NODE is a device node, "
             "such as\n"
             "/dev/bus/usb/001/004. You need to be allowed to read and write it.\n",
    .run = usb_run,
};
