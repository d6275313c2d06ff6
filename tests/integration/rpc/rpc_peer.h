/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/integration/rpc/rpc_peer.h - the two halves of the test program. */
#pragma once

struct os_loop;
struct stream;

/* Make the calls that argv (after the socket) asks for and print a line for each: code,
 * number of replies, bytes of data in all of them, number and text of the last one,
 * status text, initial and trailing metadata as KEY:HEX with commas between, how many
 * replies came compressed, all separated by tabs. meta=KEY:HEX sends metadata along;
 * gzip=1 compresses every second request; pause=1 pauses replies after each, for a turn
 * of the loop; sends=N sends N requests in each call, the next ones when the last were
 * taken. Stops the loop with 0 after the last. Returns 0 or 2. */
int rpc_peer_call(struct os_loop *loop, struct stream *stream, int argc, char **argv);
