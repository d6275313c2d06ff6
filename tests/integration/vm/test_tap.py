#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A VM with a tap, on a host and in a world of network namespaces: it reaches its gateway and a
server outside, keeps its addresses, and its network outlives the daemon.

Everything runs inside namespaces of this test; the machine's own network is not touched.
"""
import ctypes
import ipaddress
import os
import shutil
import signal
import socket
import subprocess
import sys

import harness

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
WORLD = "192.0.2.2"
CLOSED = 8002


def shell(command, **kw):
    return subprocess.run(command, shell=True, capture_output=True, text=True, check=False, **kw)


def skip(why):
    print(why)
    sys.exit(harness.SKIP)


def enter():
    """This process becomes the host; a child holds the world."""
    for tool in ("ip", "nft"):
        if not shutil.which(tool) and not os.access(f"/usr/sbin/{tool}", os.X_OK):
            skip(f"{tool} is not installed")
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        skip("no access to /dev/net/tun")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) < 0 and libc.unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0:
        skip("no network namespaces here")
    world = subprocess.Popen(["unshare", "-n", "sh", "-c", "echo ready; exec cat"],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    world.stdout.readline()
    for command in ("ip link set lo up", "ip link add veth0 type veth peer name veth1",
                    f"ip link set veth1 netns {world.pid}", "ip addr add 192.0.2.1/24 dev veth0",
                    "ip link set veth0 up", "ip route add default via 192.0.2.2",
                    f"nsenter -t {world.pid} -n ip link set lo up",
                    f"nsenter -t {world.pid} -n ip addr add {WORLD}/24 dev veth1",
                    f"nsenter -t {world.pid} -n ip link set veth1 up"):
        done = shell(command)
        if done.returncode:
            skip(f"{command}: {done.stderr.strip()}")
    return world


SERVER = """
import socket
s = socket.create_server(("192.0.2.2", 80))
print("ready", flush=True)
while True:
    c, peer = s.accept()
    c.sendall(("you are " + peer[0]).encode())
    c.close()
"""


class Tap(harness.Case):
    @classmethod
    def setUpClass(cls):
        cls.outside = enter()
        cls.server = subprocess.Popen(["nsenter", "-t", str(cls.outside.pid), "-n", sys.executable,
                                       "-c", SERVER], stdout=subprocess.PIPE)
        cls.server.stdout.readline()
        super().setUpClass()
        cls.world.start("net", "--network", "tap", "--container-network")

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        left = shell("ip -o link | grep vmtap; nft list ruleset; "
                     "cat /proc/sys/net/ipv4/conf/veth0/forwarding").stdout
        for process in (cls.server, cls.outside):
            process.kill()
            process.wait()
        if left != "0\n":
            raise AssertionError(f"left behind: {left}")

    def connect(self, address, port, check=0):
        """What a TCP server says to the guest."""
        return self.world.guest("net", f"timeout 10 bash -c 'cat </dev/tcp/{address}/{port}'",
                                check=check)

    def daemon(self):
        return self.world.processes("vm_concierge")[0]

    def test_1_the_guest_has_the_address_that_is_told(self):
        told = harness.info(self.world, "net")
        self.assertEqual(told["network"], "tap")
        address = ipaddress.ip_address(told["ipv4_address"])
        self.assertIn(address, ipaddress.ip_network("100.115.92.0/24"))
        self.assertIn(f"{address}/30", self.world.guest("net", "ip -4 -o addr show eth0"))
        self.assertIn(told["mac_address"], self.world.guest("net", "ip link show eth0"))
        self.assertIn(f"default via {address - 1}", self.world.guest("net", "ip -4 route"))

    def test_2_the_guest_reaches_the_gateway_and_a_server_outside(self):
        gateway = self.world.guest("net", "ip -4 route show default").split()[2]
        self.assertEqual(self.connect(WORLD, 80), "you are 192.0.2.1")
        self.assertEqual(shell(f"ping -c 1 -W 60 {self.address()}").returncode, 0)
        self.assertIn("REACHABLE", shell(f"ip neigh show {self.address()}").stdout +
                      self.world.guest("net", f"ip neigh show {gateway}"))

    def address(self):
        return harness.info(self.world, "net")["ipv4_address"]

    def test_3_the_host_reaches_the_guest_and_its_containers(self):
        self.world.guest("net", "ip addr add 100.115.92.193/28 dev lo; "
                         "ip addr show lo | grep 100.115.92")
        self.assertEqual(shell("ping -c 1 -W 60 100.115.92.193").returncode, 0)
        self.assertIn("via " + self.address(), shell("ip route get 100.115.92.193").stdout)

    def test_4_services_of_the_host_are_out_of_reach(self):
        gateway = self.world.guest("net", "ip -4 route show default").split()[2]
        with socket.create_server(("0.0.0.0", CLOSED)) as server:
            server.settimeout(0)
            self.connect(gateway, CLOSED, check=124)  # as timeout(1) says
            with self.assertRaises(BlockingIOError):
                server.accept()

    def test_5_the_network_outlives_the_daemon(self):
        before = harness.info(self.world, "net")
        old = self.daemon()
        os.kill(old, signal.SIGKILL)
        harness.eventually("the daemon is gone", lambda: old not in
                           self.world.processes("vm_concierge"))
        self.assertEqual(shell("ip -o link | grep -c vmtap").stdout, "1\n")
        after = harness.info(self.world, "net")
        for key in ("ipv4_address", "mac_address", "network", "pid"):
            self.assertEqual(before[key], after[key])
        self.assertEqual(self.connect(WORLD, 80), "you are 192.0.2.1")

    def test_6_addresses_are_the_same_after_a_restart_of_the_vm(self):
        before = harness.info(self.world, "net")
        self.world.vmc("stop", "net")
        self.assertEqual(shell("ip -o link | grep -c vmtap").stdout, "0\n")
        self.world.start("net", "--network", "tap", "--container-network")
        after = harness.info(self.world, "net")
        for key in ("ipv4_address", "mac_address"):
            self.assertEqual(before[key], after[key])

    def test_7_two_vms_do_not_reach_each_other(self):
        self.world.start("other", "--network", "tap")
        other = harness.info(self.world, "other")["ipv4_address"]
        out = self.world.guest("net", f"timeout 5 bash -c '</dev/tcp/{other}/22' 2>&1; echo $?")
        self.assertNotIn("refused", out)  # it would be, if the packet came through
        self.assertTrue(out.endswith("124") or "unreachable" in out, out)
        self.world.vmc("stop", "other")
        self.assertEqual(self.connect(WORLD, 80), "you are 192.0.2.1")

    def test_8_a_killed_vm_leaves_nothing(self):
        os.kill(harness.info(self.world, "net")["pid"], signal.SIGKILL)
        harness.eventually("the tap is gone", lambda:
                           shell("ip -o link | grep -c vmtap").stdout == "0\n")
        harness.eventually("the rules are gone", lambda:
                           shell("nft list ruleset").stdout == "")
        self.nothing_left()

    def test_9_a_vm_from_a_template_has_its_own_network(self):
        self.world.start("one", "--network", "tap", cold=False)
        one = harness.info(self.world, "one")
        harness.eventually("a template is made", lambda: list(
            self.world.root.glob("state/vm_tools/templates/*/*.record")), 300)
        self.world.start("two", "--network", "tap", cold=False)
        two = harness.info(self.world, "two")
        self.assertEqual(two["start_mode"], "warm")
        self.assertNotEqual(one["mac_address"], two["mac_address"])
        out = self.world.guest("two", "ip link show eth0; ip -4 addr show eth0; "
                               f"timeout 10 bash -c 'cat </dev/tcp/{WORLD}/80'")
        for want in (two["mac_address"], two["ipv4_address"] + "/30", "you are 192.0.2.1"):
            self.assertIn(want, out)
        self.world.vmc("stop", "--all")


if __name__ == "__main__":
    harness.main()
