#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Compare concierge's method table with the original's bus interface, and what is made from it or
stands beside it, introspection data and proto/vm_concierge_ipc.proto, with both. Methods and
signals of our own carry messages of package vmt; only those may be added.

bus.py DUMP_PROGRAM TABLE_FOLDER
"""
import pathlib
import re
import subprocess
import sys
import xml.etree.ElementTree

INTERFACE = "org.chromium.VmConcierge"
# enum ipc_fds: none, "h", "ah", "ah" or left out
FDS = ["", "h", "ah", "ah?"]


def read_table(path):
    """methods: name -> (request, reply, fds in, fds out); signals: name -> message"""
    methods, signals, ours = {}, {}, False
    for line in path.read_text().splitlines():
        if line.startswith("## "):
            ours = f"interface: {INTERFACE} " in line
        words = line.split(" ", 2)
        if not ours or words[0] not in ("method", "signal"):
            continue
        name, what = words[1].rstrip(":"), words[2]
        if words[0] == "signal":
            signals[name] = message_of(what)
        else:
            methods[name] = [f(side) for f in (message_of, fds_of) for side in what.split(" -> ")]
    return methods, signals


def message_of(side):
    found = re.match(r"ay (\S+?)(;|$)", side)
    return found[1] if found else "-"


def fds_of(side):
    found = re.search(r"; (ah|h) \((.*)\)", side)
    return (found[1] + "?" * ("optional" in found[2])) if found else ""


def known_messages(folder):
    return {m for p in folder.glob("*.txt")
            for m in re.findall(r"^message (\S+)$", p.read_text(), re.M)}


def read_dump(program):
    methods, signals, service = {}, {}, None
    text = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    for words in map(str.split, text.splitlines()):
        if words[0] == "service":
            service = words[1:]
        elif words[0] == "method":
            methods[words[1]] = words[2:4] + [FDS[int(words[4])], FDS[int(words[5])]]
        else:
            signals[words[1]] = words[2]
    return methods, signals, service


def compare_table(methods, signals, program, known):
    have_methods, have_signals, service = read_dump(program)
    if service != [INTERFACE, "/org/chromium/VmConcierge", "vm_tools.concierge.VmConcierge"]:
        yield f"the service is called {service}"
    for name in sorted(set(methods) | set(have_methods)):
        want, have = methods.get(name), have_methods.get(name)
        if want:  # messages that no table describes are taken and given as empty ones
            want = [m if m in known or m.startswith("vmt.") or i > 1 or m == "-"
                    else "vm_tools.EmptyMessage"
                    for i, m in enumerate(want)]
        if want != have:
            yield f"method {name} is {have}, not {want}"
    for name in sorted(set(signals) | set(have_signals)):
        if signals.get(name) != have_signals.get(name):
            yield f"signal {name} carries {have_signals.get(name)}, not {signals.get(name)}"


def compare_xml(methods, signals, program):
    text = subprocess.run([program, "xml"], capture_output=True, text=True, check=True).stdout
    node = xml.etree.ElementTree.fromstring(text)
    names = [i.get("name") for i in node]
    if names != ["org.freedesktop.DBus." + s for s in ("Peer", "Introspectable", "Properties")] + [INTERFACE]:
        yield f"the interfaces are {names}"
    have = {}
    for member in node[-1]:
        args = [(a.get("type"), a.get("direction")) for a in member if a.tag == "arg"]
        have[member.tag, member.get("name")] = args or member.get("type")
    want = {("property", "Version"): "s", ("property", "Capabilities"): "as"}
    for name, (request, reply, fds_in, fds_out) in methods.items():
        args = [("ay", "in")] * (request != "-") + [(fds_in.rstrip("?"), "in")] * bool(fds_in)
        args += [("ay", "out")] * (reply != "-") + [(fds_out, "out")] * bool(fds_out)
        want["method", name] = args or None
    for name in signals:
        want["signal", name] = [("ay", None)]
    for key in sorted(set(want) | set(have)):
        if want.get(key) != have.get(key) or (key in want) != (key in have):
            yield f"introspection of {key} is {have.get(key)}, not {want.get(key)}"


def compare_proto(program, path):
    """The gRPC service that clients make stubs from."""
    def message(name):
        return "vm_tools.EmptyMessage" if name == "-" else name

    methods, signals, _ = read_dump(program)
    want = {n: (message(m[0]), "", message(m[1])) for n, m in methods.items()}
    want |= {n: ("vm_tools.EmptyMessage", "stream ", m) for n, m in signals.items()}
    want["SubscribeSignals"] = ("vm_tools.EmptyMessage", "stream ", "vmt.Signal")
    have = {m[0]: m[1:] for m in re.findall(
        r"rpc (\w+)\(\.(\S+)\)\s+returns \((stream |)\.(\S+)\);", path.read_text())}
    for name in sorted(set(want) | set(have)):
        if want.get(name) != have.get(name):
            yield f"{path.name}: {name} is {have.get(name)}, not {want.get(name)}"


def add_our_own(methods, signals, program):
    have_methods, have_signals, _ = read_dump(program)
    methods |= {n: m for n, m in have_methods.items()
                if n not in methods and m[0].startswith("vmt.")}
    signals |= {n: m for n, m in have_signals.items()
                if n not in signals and m.startswith("vmt.")}


def main():
    program, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    methods, signals = read_table(folder / "dbus.txt")
    if not methods or not signals:
        sys.exit("the wire table is empty")
    add_our_own(methods, signals, program)
    findings = list(compare_table(methods, signals, program, known_messages(folder)))
    findings += compare_xml(methods, signals, program)
    findings += compare_proto(program, folder.parents[2] / "proto" / "vm_concierge_ipc.proto")
    for finding in findings:
        print(finding)
    print(f"compared: {len(methods)} methods, {len(signals)} signals; {len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
