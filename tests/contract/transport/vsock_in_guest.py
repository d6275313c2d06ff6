#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Run the transport contract against AF_VSOCK, by the loopback of a guest's own kernel."""
import os
import pathlib
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "integration/vsock"))
import vsock_guest  # noqa: E402  pylint: disable=wrong-import-position

INIT = pathlib.Path(os.environ["VMT_BIN"]) / "transport_contract_init"


def initrd():
    entries = [("dev", 0o40755, b""), ("lib", 0o40755, b""), ("lib/modules", 0o40755, b"")]
    names = []
    for path in vsock_guest.module_files(os.environ["VMT_TEST_MODULES"], ("vsock_loopback",)):
        names.append(os.path.basename(path))
        entries.append((f"lib/modules/{names[-1]}", 0o100644, pathlib.Path(path).read_bytes()))
    entries.append(("lib/modules/load.list", 0o100644, "".join(n + "\n" for n in names).encode()))
    entries.append(("init", 0o100755, INIT.read_bytes()))
    return vsock_guest.cpio(entries)


def run(folder):
    """Boot the suite; what it said on the console."""
    (folder / "initrd").write_bytes(initrd())
    vmm = subprocess.run(
        ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none",
         "-M", "q35", "-accel", "tcg", "-cpu", "max", "-m", "256",
         "-kernel", os.environ["VMT_TEST_KERNEL"], "-initrd", str(folder / "initrd"),
         "-append", "console=ttyS0 panic=-1 quiet", "-action", "reboot=shutdown,panic=shutdown",
         "-serial", f"file:{folder}/console"],
        stdin=subprocess.DEVNULL, timeout=300, check=False)
    text = (folder / "console").read_text(errors="replace")
    if vmm.returncode:
        text += f"\nqemu ended with {vmm.returncode}"
    return text


def main():
    vsock_guest.requirements()
    if not INIT.exists():
        vsock_guest.skip("no static libevent_core to link the suite with")
    with tempfile.TemporaryDirectory(prefix="vmt-contract-") as folder:
        text = run(pathlib.Path(folder))
    print(text)
    return 0 if re.search(r"^contract: 0 failed\r?$", text, re.M) else 1


if __name__ == "__main__":
    sys.exit(main())
