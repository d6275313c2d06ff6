/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/contract/transport/main.c - transport_contract fake|hybrid|tcp|vsock. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "platform/linux/os/loop.h"
#include "tests/contract/transport/transport_contract.h"

int
main(int argc, char **argv)
{
    int failed;

    os_process_init();
    /* Only to keep TCP ports of runs side by side apart. */
    srand((unsigned)getpid());
    if (argc != 2) {
        (void)fprintf(stderr, "usage: transport_contract fake|hybrid|tcp|vsock\n");
        return 2;
    }
    failed = transport_contract_run(argv[1]);
    return failed == 0 ? 0 : 1;
}
