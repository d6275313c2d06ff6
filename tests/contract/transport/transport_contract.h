/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/contract/transport/transport_contract.h - what every transport owes to core, as
 * functions that run against any of them. Free of cmocka: it also runs inside a guest. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/adapter/stream.h"

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
    uint32_t port;                   /* first of 16 that nobody uses */
    enum stream_peer_kind peer_kind; /* what the listener learns of the caller */
    const char *identity;            /* of the guest; NULL: none */
    bool names_vm;                   /* the listener learns the cid of the caller */
    bool checks_callers;             /* a side lets in only what it added */
    bool has_fds;                    /* connections are descriptors of this process */
    bool tells_cuts;                 /* a connection that was cut is no regular end */
    uint64_t bulk_bytes;             /* what bulk_goes_through_whole sends */
    /* Run the loop until *done; false after a deadline of 30 s. */
    bool (*run_until)(struct contract_world *w, const bool *done);
    /* Run what is due now and a little beyond. */
    void (*run_turns)(struct contract_world *w);
    /* Run the loop for ms; how often it woke up. */
    unsigned (*turns_within)(struct contract_world *w, unsigned ms);
    /* From now on vm_cid, added to the host, answers nobody. Port is one to try. */
    void (*set_hung)(struct contract_world *w, bool hung);
    /* In a process of its own: connect from the guest to the host's port, say "alive",
     * and wait to be killed. NULL: everybody is in one process here. */
    void (*speak_and_wait)(struct contract_world *w, uint32_t port);
    void (*free)(struct contract_world *w);
};

/* Make a world. Returns NULL when it cannot be made here. */
typedef struct contract_world *contract_make_fn(void);
contract_make_fn contract_world_fake, contract_world_hybrid, contract_world_tcp,
    contract_world_tls, contract_world_vsock;

struct contract_check {
    const char *name;
    bool (*run)(struct contract_world *w);
};
extern const struct contract_check contract_basic[], contract_load[];
extern const size_t contract_nbasic, contract_nload;

/* Run every check in a fresh world each; prints one line per check. Returns how many
 * failed, or -1 when no world could be made. */
int transport_contract_run(const char *name, contract_make_fn *make);
