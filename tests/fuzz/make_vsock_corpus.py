#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Write the seeds of fuzz_vsock_mux and fuzz_vsock_ring: run it in this folder."""
import os
import struct

REQUEST, RESPONSE, RST, SHUTDOWN, RW, UPDATE, ASK = range(1, 8)
BUF = (1 << 18).to_bytes(3, "big")


def write(target, name, data):
    os.makedirs(f"corpus/{target}", exist_ok=True)
    with open(f"corpus/{target}/{name}", "wb") as f:
        f.write(data)


def packet(op, length=0, flags=0, port=b"\x01\x01", fwd=0):
    return b"\x05" + port + bytes([op]) + struct.pack(">HB", length, flags) + BUF + fwd.to_bytes(3, "big")


def host(end, what, mood):
    return bytes([1, end, what, mood])


FILL = b"\x04\x10\x00\x03"
TICK = b"\x03"
CONNECT = b"\x02\x01"


def mux_seeds():
    to_host = packet(REQUEST) + FILL
    accept = CONNECT + FILL + packet(RESPONSE, port=b"\x01\x04\x00")
    yield "open_write_close", to_host + host(0, 0, 5 * 8) + packet(RW, 1000) + packet(SHUTDOWN, flags=3) + FILL
    yield "slow_reader", to_host + host(0, 0, 8) + packet(RW, 60000) * 3 + packet(RST) + host(0, 2, 40) + TICK * 31
    yield "overrun", to_host + host(0, 0, 0) + packet(RW, 65535) * 5 + FILL
    yield "guest_reads", to_host + host(0, 1, 3) + FILL * 20 + packet(UPDATE, fwd=100000) + FILL
    yield "host_ends", to_host + host(0, 1, 6) + FILL + host(0, 1, 0x86) + FILL + packet(RST)
    yield "host_connects", accept + host(0, 1, 2) + FILL + packet(RW, 10, port=b"\x01\x04\x00")
    yield "no_answer", CONNECT + FILL + TICK * 11 + FILL
    yield "pending_open", packet(REQUEST, port=b"\x01\x02") + packet(RST, port=b"\x01\x02")
    yield "late_open", packet(REQUEST, port=b"\x01\x02") + host(0, 0, 0) + FILL + host(0, 1, 2) + FILL
    yield "late_refusal", packet(REQUEST, port=b"\x01\x02") + host(0, 1, 0) + FILL
    yield "refused", packet(REQUEST, port=b"\x01\x03") + FILL
    yield "no_connection", packet(RW, 5) * 140 + FILL * 40
    yield "raw", b"\x00" + struct.pack("<QQIIIHHIII", 3, 2, 1, 1, 0, 1, 1, 0, 1 << 18, 0)
    yield "credit", to_host + packet(ASK) + packet(UPDATE, fwd=5) + host(0, 1, 0) + FILL


def desc(addr, length, flags=0, following=0):
    return struct.pack("<QIHH", addr, length, flags, following)


def ring(descs, heads, tables=b"", at=0x1000):
    data = bytearray(0x3000)
    table = b"".join(descs)
    data[:len(table)] = table
    avail = struct.pack("<HH", 0, len(heads)) + struct.pack(f"<{len(heads)}H", *heads)
    data[0x100:0x100 + len(avail)] = avail
    data[at:at + len(tables)] = tables
    return bytes(data).rstrip(b"\0")


def ring_seeds():
    yield "plain", ring([desc(0x2000, 44), desc(0x2100, 100)], [0, 1])
    yield "chain", ring([desc(0x2000, 44, 1, 1), desc(0x2100, 100, 1, 2), desc(1 << 32, 50)], [0])
    yield "writable", ring([desc(0x2000, 44, 3, 1), desc(0x2100, 4096, 2)], [0])
    yield "across", ring([desc(0x2f00, 0x300)], [0])
    yield "indirect", ring([desc(0x1000, 32, 4)], [0], desc(0x2000, 44, 1, 1) + desc(0x2100, 10))
    yield "loop", ring([desc(0x2000, 44, 1, 1), desc(0x2000, 44, 1, 0)], [0])
    yield "nested", ring([desc(0x1000, 16, 4)], [0], desc(0x1000, 16, 4))
    yield "outside", ring([desc(0x4001, 44), desc(0xffffffffffffffff, 2)], [0, 1])
    yield "after_a_good_one", ring([desc(0x2000, 44), desc(0, 0)], [0, 1])


if __name__ == "__main__":
    for seed_name, seed in mux_seeds():
        write("vsock_mux", seed_name, seed)
    for seed_name, seed in ring_seeds():
        write("vsock_ring", seed_name, seed)
