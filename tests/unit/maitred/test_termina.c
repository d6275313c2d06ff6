/* SPDX-License-Identifier: BSD-3-Clause */
#include "platform/guest/maitred/rpc/termina.h"

#include "core/base/cleanup.h"
#include "tests/unit/test.h"

static void
a_net_of_containers_is_an_address_and_its_bits(void **state)
{
    static const char *const good[] = {"100.115.92.193/28", "10.0.0.0/8",
                                       "192.168.7.1/30"};
    static const char *const bad[] = {"",
                                      "/",
                                      "/28",
                                      "100.115.92.193",
                                      "100.115.92.193/",
                                      "100.115.92.193/31",
                                      "100.115.92.193/7",
                                      "100.115.92.193/28 ",
                                      "100.115.92.193/ 28",
                                      "100.115.92.193/28/1",
                                      "100.115.92.193/28\n",
                                      "100.115.92.256/28",
                                      "100.115.92/28",
                                      "0100.115.92.193/28",
                                      "fd00::1/28",
                                      "-x/28",
                                      "100.115.92.193/00000000028",
                                      "100.115.92.193/4294967324"};

    (void)state;
    for (size_t i = 0; i < VMT_ARRAY_SIZE(good); i++)
        assert_true(termina_subnet_is_valid(good[i]));
    for (size_t i = 0; i < VMT_ARRAY_SIZE(bad); i++)
        if (termina_subnet_is_valid(bad[i]))
            fail_msg("%s was taken", bad[i]);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_net_of_containers_is_an_address_and_its_bits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
