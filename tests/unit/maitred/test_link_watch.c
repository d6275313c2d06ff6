/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/agent/link_watch.h"

#include "core/base/cleanup.h"
#include "tests/unit/test.h"

/* An event has NULs in it. */
#define EVENT(text) text, sizeof(text) - 1

/* As Linux 6.1 sends them. */
static const struct {
    const char *event;
    unsigned long len;
    enum link_event expected;
} cases[] = {
    {EVENT("bind@/devices/x/virtio4\0ACTION=bind\0SUBSYSTEM=virtio\0"
           "DRIVER=vmw_vsock_virtio_transport\0MODALIAS=virtio:"
           "d00000013v00001AF4\0SEQNUM=1"),
     LINK_EVENT_BOUND},
    {EVENT("unbind@/devices/x\0ACTION=unbind\0MODALIAS=virtio:d00000013v00001AF4"),
     LINK_EVENT_UNBOUND},
    /* There, but nobody drives it yet; and gone, which unbind told before. */
    {EVENT("add@/devices/x\0ACTION=add\0MODALIAS=virtio:d00000013v00001AF4"),
     LINK_EVENT_OTHER},
    {EVENT("remove@/devices/x\0ACTION=remove\0MODALIAS=virtio:d00000013v00001AF4"),
     LINK_EVENT_OTHER},
    /* A disk. */
    {EVENT("bind@/devices/x\0ACTION=bind\0MODALIAS=virtio:d00000002v00001AF4"),
     LINK_EVENT_OTHER},
    {EVENT("bind@/devices/x\0ACTION=bind\0MODALIAS=virtio:d000000134v00001AF4"),
     LINK_EVENT_OTHER},
    {EVENT("bind@/devices/x\0ACTION=bind"), LINK_EVENT_OTHER},
    {EVENT(""), LINK_EVENT_OTHER},
};

static void
only_vsock_devices_with_a_driver_count(void **state)
{
    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(cases); i++)
        assert_int_equal(link_event_of(cases[i].event, cases[i].len), cases[i].expected);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_vsock_devices_with_a_driver_count),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
