#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Run the transport contract against AF_VSOCK, by the loopback of a guest's own kernel. Beside it
vm_vsock is the guest's way to the host, where a listener that is full makes callers hang."""
import os
import pathlib
import re
import socket
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "integration/vsock"))
import vsock_guest  # noqa: E402  pylint: disable=wrong-import-position

INIT = pathlib.Path(os.environ["VMT_BIN"]) / "transport_contract_init"


MODULES = ("vsock_loopback", "virtio_pci", "vmw_vsock_virtio_transport")
HUNG_PORT = 20000  # of worlds.c


def initrd():
    entries = [("dev", 0o40755, b""), ("lib", 0o40755, b""), ("lib/modules", 0o40755, b"")]
    names = []
    for path in vsock_guest.module_files(os.environ["VMT_TEST_MODULES"], MODULES):
        names.append(os.path.basename(path))
        entries.append((f"lib/modules/{names[-1]}", 0o100644, pathlib.Path(path).read_bytes()))
    entries.append(("lib/modules/load.list", 0o100644, "".join(n + "\n" for n in names).encode()))
    entries.append(("init", 0o100755, INIT.read_bytes()))
    return vsock_guest.cpio(entries)


def full_listener(path):
    """A listening socket that lets nobody in any more, and what fills it."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    listener.listen(0)
    held = [listener]
    while True:
        caller = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        held.append(caller)
        try:
            caller.connect(path)
        except BlockingIOError:
            return held


class Suite(vsock_guest.Guest):
    """The suite as a guest with vm_vsock as its device, which lasts until it powers off."""

    def start(self):
        pathlib.Path(f"{self.dir}/initrd").write_bytes(initrd())
        self.console = f"{self.dir}/console"
        self.held = full_listener(f"{self.dir}/vsock_{HUNG_PORT}")
        self.start_device()
        self.start_vmm()

    def wait_ready(self):
        self.qemu.wait(600)


def main():
    vsock_guest.requirements()
    if not INIT.exists():
        vsock_guest.skip("no static libevent_core to link the suite with")
    with Suite() as suite:
        text = pathlib.Path(suite.console).read_text(errors="replace")
        if suite.qemu.returncode:
            text += f"\nqemu ended with {suite.qemu.returncode}"
    print(text)
    return 0 if re.search(r"^contract: 0 failed\r?$", text, re.M) else 1


if __name__ == "__main__":
    sys.exit(main())
