#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Write the seeds of fuzz_vsock_mux, fuzz_vsock_ring, fuzz_vhost_user and fuzz_hybrid: run it in this
folder."""
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


def ring(descs, heads, tables=b"", at=0x1000, used_event=0, no_interrupt=0, idx=None):
    data = bytearray(0x3000)
    table = b"".join(descs)
    data[:len(table)] = table
    avail = struct.pack("<HH", no_interrupt, len(heads) if idx is None else idx)
    avail += struct.pack(f"<{len(heads)}H", *heads)
    data[0x100:0x100 + len(avail)] = avail
    data[0x124:0x126] = struct.pack("<H", used_event)
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
    every = [desc(0x2000 + 64 * i, 64, 1, i + 1) for i in range(15)]
    yield "longest_chain", ring(every + [desc(0x2600, 4)], [0])
    yield "longer_than_the_ring", ring(every + [desc(0x2600, 4, 1, 3)], [0])
    yield "full_ring", ring([desc(0x2000 + 64 * i, 64) for i in range(16)], range(16))
    yield "full_ring_writable", ring([desc(0x2000 + 64 * i, 64, 2) for i in range(16)], range(16),
                                     used_event=7)
    yield "interrupt_late", ring([desc(0x2000 + 64 * i, 64) for i in range(16)], range(16),
                                 used_event=15)
    yield "no_interrupt", ring([desc(0x2000, 64)] * 16, range(16), no_interrupt=1)
    yield "ahead_of_the_ring", ring([desc(0x2000, 64)], [0], idx=17)
    yield "far_ahead_of_the_ring", ring([desc(0x2000, 64)], [0], idx=0xffff)
    yield "head_out_of_range", ring([desc(0x2000, 64)], [16])
    yield "next_out_of_range", ring([desc(0x2000, 64, 1, 0xffff)], [0])
    yield "across_all_regions", ring([desc(0x2ffe, 0x1000)], [0])
    yield "to_the_last_byte", ring([desc(1 << 32, 0xc000)], [0])
    yield "one_byte_too_far", ring([desc(1 << 32, 0xc001)], [0])
    yield "length_wraps", ring([desc(0xfffffffffffff000, 0xffffffff)], [0])
    table = b"".join(desc(0x2000 + 32 * i, 32, 1, i + 1) for i in range(15)) + desc(0x2700, 9)
    yield "indirect_long", ring([desc(0x1000, len(table), 4)], [0], table)
    yield "indirect_writable", ring([desc(0x1000, 32, 4)], [0], desc(0x2000, 44, 3, 1) + desc(0x2100, 10, 2))
    yield "indirect_and_direct", ring([desc(0x1000, 32, 4), desc(0x2200, 8), desc(0x2300, 8, 1, 0)], [0, 1, 2],
                                      desc(0x2000, 44, 1, 1) + desc(0x2100, 10))
    yield "indirect_loop", ring([desc(0x1000, 32, 4)], [0], desc(0x2000, 44, 1, 1) + desc(0x2100, 10, 1, 0))
    yield "indirect_odd_size", ring([desc(0x1000, 33, 4)], [0], desc(0x2000, 44))
    yield "indirect_empty", ring([desc(0x1000, 0, 4)], [0])
    yield "indirect_outside", ring([desc(0xfffffff0, 64, 4)], [0])
    yield "indirect_across", ring([desc(0x2ff0, 32, 4)], [0])
    yield "indirect_with_next", ring([desc(0x1000, 16, 5, 1)], [0], desc(0x2000, 44))
    yield "indirect_huge", ring([desc(0x1000, 0xfffffff0, 4)], [0], desc(0x2000, 44))
    yield "indirect_next_outside", ring([desc(0x1000, 16, 4)], [0], desc(0x2000, 44, 1, 5))
    yield "mixed_directions", ring([desc(0x2000, 44, 1, 1), desc(0x2100, 100, 2)], [0])


MEMORY, KICK, PIPE, OTHER = range(4)
USER = 0x1000000
(GET_FEATURES, SET_FEATURES, SET_OWNER, RESET_OWNER, SET_MEM_TABLE, SET_NUM, SET_ADDR, SET_BASE, GET_BASE, SET_KICK,
 SET_CALL, SET_ERR, GET_PROTOCOL, SET_PROTOCOL, GET_QUEUE_NUM, SET_ENABLE, GET_CONFIG) = (
     1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 24)
HELLO, BEGIN, LEFT, RESUME, SERVE = range(0xf1, 0xf6)


def message(request, body=b"", fds=0, kind=MEMORY, flags=0):
    return b"\0" + bytes([request, flags, fds << 4 | kind]) + struct.pack(">H", len(body)) + body


def guest(at, data):
    out = b""
    for i in range(0, len(data), 255):
        part = data[i:i + 255]
        out += b"\2" + struct.pack(">HB", at + i, len(part)) + part
    return out


def u32(*values):
    return struct.pack(f"<{len(values)}I", *values)


def u64(*values):
    return struct.pack(f"<{len(values)}Q", *values)


FEATURES = u64(1 << 32 | 1 << 30 | 1 << 29 | 1 << 28)
SPLIT = 0x8000


def queue(index, size=16, base=0):
    at = USER + 0x1000 * index
    return (message(SET_NUM, u32(index, size)) + message(SET_BASE, u32(index, base)) +
            message(SET_ADDR, u64(index, at, at + 0x400, at + 0x200, 0)) +
            message(SET_CALL, u64(index), 1, KICK) + message(SET_ERR, u64(index), 1, KICK) +
            message(SET_KICK, u64(index), 1, KICK) + message(SET_ENABLE, u32(index, 1)))


TABLE = message(SET_MEM_TABLE, u32(2, 0) + u64(0, SPLIT, USER, 0) +
                u64(SPLIT, SPLIT, USER + SPLIT, SPLIT), 2)
HANDSHAKE = (message(GET_FEATURES) + message(GET_PROTOCOL) + message(SET_PROTOCOL, u64(0x209)) +
             message(GET_QUEUE_NUM) + message(GET_CONFIG, u32(0, 8, 0) + bytes(8)) + message(SET_OWNER) +
             message(SET_FEATURES, FEATURES))
RX = guest(0, b"".join(desc(0x4000 + 0x200 * i, 0x200, 2) for i in range(16))) + \
    guest(0x200, struct.pack("<HH16H", 0, 16, *range(16)))


def tx(*packets):
    descs, out = b"", b""
    for i, (op, port, length) in enumerate(packets):
        at = 0x6000 + 0x200 * i
        out += guest(at, struct.pack("<QQIIIHHIII", 3, 2, 100, port, length, 1, op, 3, 1 << 18, 0))
        descs += desc(at, 44 + length)
    return out + guest(0x1000, descs) + \
        guest(0x1200, struct.pack(f"<HH{len(packets)}H", 0, len(packets), *range(len(packets))))


def vhost_user_seeds():
    up = HANDSHAKE + TABLE + queue(0) + queue(1)
    kept = message(HELLO, u64(3)) + message(BEGIN, u64(0), 1, KICK)
    traffic = RX + tx((REQUEST, 5, 0), (RW, 5, 9), (RW, 77, 3), (SHUTDOWN, 5, 0))
    for name, begin in (("vmm", b"\0"), ("keeper", b"\1" + kept)):
        yield f"{name}_handshake", begin + HANDSHAKE
        yield f"{name}_device", begin + up + message(SERVE)
        yield f"{name}_traffic", begin + up + traffic
        yield f"{name}_pause", begin + up + traffic + message(GET_BASE, u32(0, 0)) + message(GET_BASE, u32(1, 0))
        yield f"{name}_new_memory", begin + up + TABLE + traffic
        yield f"{name}_reset", begin + up + message(RESET_OWNER) + queue(0)
        yield f"{name}_third_queue", begin + up + queue(2, 64)
        yield f"{name}_need_reply", begin + message(SET_PROTOCOL, u64(0x209)) + message(SET_OWNER, flags=8) + \
            message(77, flags=8)
        yield f"{name}_many_descriptors", begin + message(SET_FEATURES, FEATURES, 15, OTHER)
        yield f"{name}_not_a_file", begin + HANDSHAKE + message(SET_MEM_TABLE, u32(1, 0) + u64(0, 1, 0, 0), 1, PIPE)
        yield f"{name}_cut", begin + message(SET_OWNER) + b"\1\x07\1\0\0\0\1\0\0"
        yield f"{name}_bad_version", begin + message(SET_OWNER, flags=2)
    yield "keeper_resume", b"\1" + kept + HANDSHAKE + TABLE + message(RESUME, u64(0)) + queue(1) + queue(0) + traffic
    yield "keeper_left", b"\1" + kept + up + traffic + message(LEFT) + message(BEGIN, u64(1), 1, PIPE) + up


def hybrid_seeds():
    def program(what, index=0, ours=False, data=None):
        out = b"\1" + bytes([what << 3 | (4 if ours else 0) | index])
        return out + (bytes([len(data)]) + data if data is not None else b"")

    def guest_packet(op, known=False, listening=True, extra=b"", fwd=0):
        return b"\0" + bytes([op | (8 if known else 0) | (16 if listening else 0)]) + struct.pack(">H", fwd) + extra

    dial, end_write, end_read, leave, read, accept, say = 0, 1, 2, 3, 4, 5, 6
    ready, none = b"\0", b"\1"
    connect = program(dial) + program(say, data=b"CONNECT 1000\n")
    established = connect + guest_packet(RESPONSE, known=True) + program(read)
    called = guest_packet(REQUEST) + program(accept)
    yield "no_guest", none + connect + program(read)
    yield "connect", ready + established + program(say, data=b"hello") + program(read)
    yield "refused", ready + connect + guest_packet(RST, known=True) + program(read)
    yield "with_data_behind", ready + program(dial) + program(say, data=b"CONNECT 9\nearly") + \
        guest_packet(RESPONSE, known=True)
    yield "byte_by_byte", ready + program(dial) + b"".join(program(say, data=bytes([c])) for c in b"CONNECT 77\n")
    for i, line in enumerate((b"CONNECT 4294967294\n", b"CONNECT 4294967295\n", b"CONNECT -1\n", b"CONNECT \n",
                              b"CONNECT 1 \n", b"connect 1\n", b"\n", b"C" * 32, b"C" * 31 + b"\n", b"CONNECT 0\n",
                              b"CONNECT 1000\r\n", b"CONNECT 00000000000000000000001\n", b"\0" * 20, b"GET /\r\n")):
        yield f"line_{i}", ready + program(dial) + program(say, data=line) + program(read)
    yield "leaves_before_the_answer", ready + connect + program(leave) + guest_packet(RESPONSE, known=True)
    yield "half_closed", ready + established + program(end_write) + \
        guest_packet(RW, known=True, extra=b"\x10\0") + program(read)
    yield "deaf", ready + established + program(end_read) + guest_packet(RW, known=True, extra=b"\x10\0")
    yield "guest_calls", ready + called + guest_packet(RW, extra=b"\0\x09") + program(read, ours=True)
    yield "guest_calls_nobody", ready + guest_packet(REQUEST, listening=False)
    yield "full_backlog", ready + b"".join(b"\0" + bytes([REQUEST | 16 | i << 6]) + b"\0\0" for i in range(4))
    yield "slow_reader", ready + called + guest_packet(RW, extra=b"\xff\xff") * 4 + program(read, ours=True) * 9
    yield "guest_closes", ready + called + guest_packet(SHUTDOWN, extra=b"\3") + program(read, ours=True)
    yield "time_passes", ready + connect + b"\x07" * 11 + program(read)
    yield "four_programs", ready + b"".join(program(dial, i) + program(say, i, data=b"CONNECT %d\n" % i) for i in range(4))


if __name__ == "__main__":
    for seed_name, seed in mux_seeds():
        write("vsock_mux", seed_name, seed)
    for seed_name, seed in ring_seeds():
        write("vsock_ring", seed_name, seed)
    for seed_name, seed in vhost_user_seeds():
        write("vhost_user", seed_name, seed)
    for seed_name, seed in hybrid_seeds():
        write("hybrid", seed_name, seed)
