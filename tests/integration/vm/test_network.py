#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Outbound user networking works, and the shell does not depend on it."""
import http.server
import threading

import harness


class Hello(http.server.BaseHTTPRequestHandler):
    def do_GET(self):  # noqa: N802 (the name is the library's)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello from the host\n")

    def log_message(self, *args):
        pass


class Network(harness.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.world.start("net")

    @classmethod
    def tearDownClass(cls):
        cls.world.vmc("stop", "net")
        super().tearDownClass()

    def test_1_address_route_and_loopback_are_up(self):
        self.assertIn("10.0.2.15/24", self.world.guest("net", "ip -4 -o addr show eth0"))
        self.assertIn("default via 10.0.2.2", self.world.guest("net", "ip -4 route"))
        self.assertIn("127.0.0.1/8", self.world.guest("net", "ip -4 -o addr show lo"))

    def test_2_the_guest_reaches_a_server_outside(self):
        """10.0.2.2 is the host's loopback as the user network shows it."""
        with http.server.HTTPServer(("127.0.0.1", 0), Hello) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            try:
                port = server.server_address[1]
                text = self.world.guest("net", "exec 3<>/dev/tcp/10.0.2.2/" + str(port) +
                                        "; printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3",
                                        shell="bash")
                self.assertIn("hello from the host", text)
            finally:
                server.shutdown()
                thread.join()

    def test_3_the_shell_works_without_a_network(self):
        self.world.guest("net", "ip link set eth0 down")
        self.assertEqual(self.world.guest("net", "cat /sys/class/net/eth0/operstate"), "down")


if __name__ == "__main__":
    harness.main()
