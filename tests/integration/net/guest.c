/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/integration/net/guest.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/test.h"

#define VNET 10 /* the header of IFF_VNET_HDR, all zeroes: nothing offloaded */
#define ETHER 14
#define IP 20
#define UDP 8
#define FRAME_MAX 2048
#define RECEIVE_MS 20000

void
wire_init(struct wire *wire, int fd, const char *tap, const uint8_t mac[6],
          uint32_t address)
{
    struct ifreq request = {0};
    int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    (void)snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", tap);
    assert_int_equal(ioctl(s, SIOCGIFHWADDR, &request), 0);
    (void)close(s);
    *wire = (struct wire){.fd = fd, .address = address};
    memcpy(wire->host_mac, request.ifr_hwaddr.sa_data, 6);
    memcpy(wire->mac, mac, 6);
}

static void
put16(uint8_t *at, unsigned v)
{
    at[0] = (uint8_t)(v >> 8);
    at[1] = (uint8_t)v;
}

static void
put32(uint8_t *at, uint32_t v)
{
    put16(at, v >> 16);
    put16(at + 2, v & 0xffff);
}

static uint32_t
get32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/* RFC 1071 */
static unsigned
checksum(const uint8_t *data, size_t len)
{
    uint32_t sum = 0;

    for (size_t i = 0; i + 1 < len; i += 2)
        sum += (uint32_t)data[i] << 8 | data[i + 1];
    if (len % 2)
        sum += (uint32_t)data[len - 1] << 8;
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return ~sum & 0xffff;
}

/* body stands at frame + VNET + ETHER + IP already. */
static void
send_ip(struct wire *wire, uint8_t *frame, unsigned protocol, uint32_t source,
        uint32_t target, size_t body)
{
    uint8_t *ether = frame + VNET, *ip = ether + ETHER;
    size_t len = VNET + ETHER + IP + body;

    memset(frame, 0, VNET);
    memcpy(ether, wire->host_mac, 6);
    memcpy(ether + 6, wire->mac, 6);
    put16(ether + 12, 0x0800);
    memset(ip, 0, IP);
    ip[0] = 0x45;
    put16(ip + 2, (unsigned)(IP + body));
    ip[8] = 64;
    ip[9] = (uint8_t)protocol;
    put32(ip + 12, source);
    put32(ip + 16, target);
    put16(ip + 10, checksum(ip, IP));
    assert_int_equal(write(wire->fd, frame, len), (ssize_t)len);
}

void
wire_send_udp(struct wire *wire, uint32_t source, uint32_t target, uint16_t port,
              const char *text)
{
    uint8_t frame[FRAME_MAX] = {0}, *udp = frame + VNET + ETHER + IP;
    size_t len = strlen(text);

    put16(udp, 1000);
    put16(udp + 2, port);
    put16(udp + 4, (unsigned)(UDP + len));
    memcpy(udp + UDP, text, len);
    send_ip(wire, frame, IPPROTO_UDP, source, target, UDP + len);
}

void
wire_send_ping(struct wire *wire, uint32_t source, uint32_t target, uint16_t number)
{
    uint8_t frame[FRAME_MAX] = {0}, *icmp = frame + VNET + ETHER + IP;

    icmp[0] = 8;
    put16(icmp + 4, number);
    put16(icmp + 2, checksum(icmp, 8));
    send_ip(wire, frame, IPPROTO_ICMP, source, target, 8);
}

static void
answer_arp(struct wire *wire, uint8_t *frame)
{
    uint8_t *arp = frame + VNET + ETHER, asker[10];

    if (arp[7] != 1 || get32(arp + 24) != wire->address)
        return;
    memcpy(asker, arp + 8, sizeof(asker));
    memcpy(frame + VNET, wire->host_mac, 6);
    memcpy(frame + VNET + 6, wire->mac, 6);
    arp[7] = 2;
    memcpy(arp + 8, wire->mac, 6);
    put32(arp + 14, wire->address);
    memcpy(arp + 18, asker, sizeof(asker));
    memset(frame, 0, VNET);
    assert_int_equal(write(wire->fd, frame, VNET + ETHER + 28), VNET + ETHER + 28);
}

/* Is it for us to tell? */
static bool
read_ip(const uint8_t *ip, size_t len, char *text, size_t cap)
{
    const uint8_t *body = ip + IP;

    if (len < IP + UDP || ip[0] != 0x45)
        return false;
    if (ip[9] == IPPROTO_ICMP && body[0] == 0)
        return snprintf(text, cap, "pong %u", (unsigned)body[4] << 8 | body[5]) > 0;
    if (ip[9] != IPPROTO_UDP)
        return false;
    len = ((size_t)body[4] << 8 | body[5]) - UDP;
    return snprintf(text, cap, "%.*s", (int)len, (const char *)body + UDP) >= 0;
}

bool
wire_receive(struct wire *wire, char *text, size_t cap)
{
    for (;;) {
        struct pollfd poll_fd = {.fd = wire->fd, .events = POLLIN};
        uint8_t frame[FRAME_MAX];
        ssize_t n;

        if (poll(&poll_fd, 1, RECEIVE_MS) <= 0)
            return false;
        n = read(wire->fd, frame, sizeof(frame));
        if (n < VNET + ETHER)
            continue;
        if (frame[VNET + 12] == 0x08 && frame[VNET + 13] == 0x06)
            answer_arp(wire, frame);
        else if (frame[VNET + 12] == 0x08 && frame[VNET + 13] == 0x00 &&
                 read_ip(frame + VNET + ETHER, (size_t)n - VNET - ETHER, text, cap))
            return true;
    }
}
