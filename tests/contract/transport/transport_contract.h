/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/contract/transport/transport_contract.h - what every transport owes to core, as
 * functions that run against any of them. Free of cmocka: it also runs inside a guest. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct transport;

/* Two sides that can reach each other over the transport under test. Neither has added
 * the other yet. */
struct contract_world {
    struct transport *host;  /* the side of a daemon */
    struct transport *guest; /* the side of a program in the vm */
    uint32_t vm_cid;         /* what host calls the guest */
    uint32_t host_cid;       /* what guest calls the host */
    const char *vm_address;  /* for host's vm_add */
    const char *host_address;
    uint32_t port;       /* first of 16 that nobody uses */
    bool names_vm;       /* the listener learns the cid of the caller */
    bool checks_callers; /* a side lets in only what it added */
    /* Run the loop until *done; false after a deadline of 30 s. */
    bool (*run_until)(struct contract_world *w, const bool *done);
    /* Run what is due now and a little beyond. */
    void (*run_turns)(struct contract_world *w);
    /* Make the vm accept nothing and answer nothing, or NULL: cannot be done here. */
    void (*set_hung)(struct contract_world *w, bool hung);
    void (*free)(struct contract_world *w);
};

/* Make the world of a transport by name. Returns NULL, with words on stderr, when it is
 * unknown or cannot be made here. */
struct contract_world *contract_world_new(const char *name);

/* Run every check in a fresh world each; prints one line per check. Returns how many
 * failed, or -1 when no world could be made. */
int transport_contract_run(const char *name);
