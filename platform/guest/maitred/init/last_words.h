/* SPDX-License-Identifier: BSD-3-Clause */
/* platform/guest/maitred/init/last_words.h - tell the host why process 1 dies, from a
 * signal handler: without memory, locks or a loop. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define LAST_WORDS_MAX 100
#define LAST_WORDS_BYTES_MAX 512

/* One call of vmt.GuestListener/ReportEvent as bytes of HTTP/2, with the text, of which
 * LAST_WORDS_MAX bytes are taken. buf has LAST_WORDS_BYTES_MAX bytes. Returns how many
 * were written. Source: RFC 9113; RFC 7541, appendix A; gRPC over HTTP2 (grpc.io). */
size_t last_words_encode(const char *text, uint8_t *buf);

/* Say it to the port of the host by AF_VSOCK. Waits for at most three seconds. */
void last_words_send(uint32_t port, const char *text);
