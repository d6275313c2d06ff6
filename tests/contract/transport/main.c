/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/contract/transport/main.c - transport_contract fake|hybrid|tcp|tls. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "platform/linux/os/loop.h"
#include "tests/contract/transport/transport_contract.h"

static const struct {
    const char *name;
    contract_make_fn *make;
} worlds[] = {
    {"fake", contract_world_fake},
    {"hybrid", contract_world_hybrid},
    {"tcp", contract_world_tcp},
    {"tls", contract_world_tls},
};

int
main(int argc, char **argv)
{
    os_process_init();
    os_raise_nofile();
    /* Only to keep TCP ports of runs side by side apart. */
    srand((unsigned)getpid());
    for (size_t i = 0; argc == 2 && i < VMT_ARRAY_SIZE(worlds); i++) {
        if (strcmp(worlds[i].name, argv[1]) == 0)
            return transport_contract_run(argv[1], worlds[i].make) == 0 ? 0 : 1;
    }
    (void)fprintf(stderr, "usage: transport_contract fake|hybrid|tcp|tls\n");
    return 2;
}
