"""xencat: files as in the README, from each side, many clients, several ports, other programs, other domains.

The tools are the files xencat (Rust) and xencat-c (C) that the runner was given, and the README's commands."""

import os
import re

TOOLS = ["xencat", "xencat-c"]
BYTES = 1000003
TERM, USR1 = 15, 10


def source(lab, place):
    """Creates a file to be sent; returns its checksum."""
    return lab.machine.output(place, f"head -c {BYTES} /dev/urandom >/run/source; sha256sum </run/source").split()[0]


def published(lab, server, client, port):
    """Waits until the server has published."""
    path = lab.peers.path(server, client, port)
    lab.machine.output("dom0", f"until xenstore-exists {path}/event-channel; do sleep 0.05; done")


def arrived(lab, place, file, checksum):
    """The file is complete."""
    lab.same("the copy's checksum", checksum, lab.machine.output(place, f"sha256sum <{file}").split()[0])


def readme(lab, tools):
    """The two commands of the README, except the guest's domain ID."""
    lines = dict(re.findall(r"^(dom0|guest)#\s+(xencat .*)$", lab.readme, re.M))
    checksum = source(lab, "dom0")
    lab.machine.output("dom0", "mv /run/source /run/picture.jpg")
    number = lab.guests.domid("pv1")
    port = lines["dom0"].split()[3]
    command = lines["dom0"].replace("-l 3", f"-l {number}").replace("xencat", tools[0], 1)
    one = lab.machine.shell("dom0", f"cd /run; {command}")
    published(lab, "dom0", "pv1", port)
    other = lab.machine.shell("pv1", f"cd /run; {lines['guest'].replace('xencat', tools[1], 1)}")
    other.must_end()
    one.must_end()
    arrived(lab, "pv1", "/run/picture.jpg", checksum)


def transfer(lab, sender, receiver, listener, tools):
    """Transfers a file, with the server on either side; the client waits for it."""
    checksum = source(lab, sender)
    domid = lab.guests.domid
    jobs = []
    for place, peer, tool, ends in ((sender, receiver, tools[0], "</run/source"),
                                    (receiver, sender, tools[1], "--recv-only >/run/copy")):
        role = "-l" if place == listener else "--wait=100"
        jobs.append(lab.machine.shell(place, f"{tool} {role} {domid(peer)} transfer {ends}"))
    for job in jobs:
        job.must_end()
    arrived(lab, receiver, "/run/copy", checksum)


def with_program(lab, server, client, tool, cat_serves):
    """The other side is the test program on Debian's library, at the conventional path."""
    if cat_serves:
        checksum = source(lab, server)
        one = lab.machine.shell(server, f"{tool} -l {lab.guests.domid(client)} mixed </run/source")
        other = lab.peers.client(client, server, "mixed", "original", f"--retry 60 --receive {BYTES} --end read")
        other.must_end()
        one.must_end()
        lab.same("what the program received", f"{BYTES} {checksum}", other.value("received"))
        return
    lab.empty_directories = True
    one = lab.peers.server(server, client, "mixed", "original", f"--send {BYTES} --end idle")
    other = lab.machine.shell(client, f"{tool} --wait=100 {lab.guests.domid(server)} mixed --recv-only >/run/copy")
    one.sees("state idle")
    one.signal(USR1)
    one.must_end()
    other.must_end()
    arrived(lab, client, "/run/copy", lab.peers.digest(True, BYTES).split()[1])


def in_turn(lab, server, client, tools):
    """Ten clients, one after another, on a persistent server."""
    one = lab.machine.shell(server, f"exec {tools[0]} -lk {lab.guests.domid(client)} many --recv-only >/run/many")
    other = lab.machine.shell(client, f"for i in 0 1 2 3 4 5 6 7 8 9; do echo client $i | "
                                      f"{tools[1]} --wait=100 {lab.guests.domid(server)} many || exit 1; done")
    other.must_end(limit=300)
    lab.machine.output(server, "i=0; until [ $(wc -l </run/many) = 10 ] || [ $i = 600 ]; do sleep 0.1; i=$((i+1)); done")
    one.signal(TERM)
    one.must_end()
    lab.same("what the server received", [f"client {i}" for i in range(10)],
             lab.machine.output(server, "cat /run/many").splitlines())


def two_ports(lab, server, client, tools):
    """Two channels between the same two domains."""
    checksum = source(lab, server)
    jobs = []
    for port in ("one", "two"):
        jobs.append(lab.machine.shell(server, f"{tools[0]} -l {lab.guests.domid(client)} {port} </run/source"))
        jobs.append(lab.machine.shell(client, f"{tools[1]} --wait=100 {lab.guests.domid(server)} {port} "
                                              f"--recv-only >/run/{port}"))
    for job in jobs:
        job.must_end()
    for port in ("one", "two"):
        arrived(lab, client, f"/run/{port}", checksum)


def third_domain(lab, tools):
    """A third domain is refused, by name and by path, and the server's client is not disturbed."""
    checksum = source(lab, "dom0")
    one = lab.machine.shell("dom0", f"{tools[0]} -l {lab.guests.domid('pv1')} meant </run/source")
    published(lab, "dom0", "pv1", "meant")
    for where in ("meant", f"--path {lab.peers.path('dom0', 'pv1', 'meant')}"):
        third = lab.machine.shell("pv2", f"{tools[1]} 0 {where}")
        third.must_end(1)
        lab.note(f"the third domain's message: {third.lines[-1]}")
    other = lab.machine.shell("pv1", f"{tools[1]} 0 meant --recv-only >/run/copy")
    other.must_end()
    one.must_end()
    arrived(lab, "pv1", "/run/copy", checksum)


def no_pages_left(lab, tool):
    """No pages left: the message contains advice."""
    holder = lab.machine.run("dom0", "grants hold 20")
    holder.sees("holding 1004")
    one = lab.machine.shell("dom0", f"{tool} -l {lab.guests.domid('pv1')} full")
    one.must_end(1)
    if "xen_gntalloc/parameters/limit" not in one.lines[-1]:
        lab.fail(f"no advice in '{one.lines[-1]}'")
    holder.signal(9)
    holder.must_end(137)


def tests(lab):
    tools = [tool for tool in TOOLS if os.path.exists(os.path.join(lab.work, "test", tool))]
    if not tools:
        print("# no xencat was given", flush=True)
        return
    lab.guests.need(pv1="pv", pv2="pv", pvh1="pvh")
    pairs = [(server, client) for server in tools for client in tools]
    for pair in pairs:
        names = f"{pair[0]} to {pair[1]}"
        lab.check(f"the README's transfer: {names}", readme, pair)
        for sender, receiver, listener in (("pv1", "dom0", "dom0"), ("pv1", "dom0", "pv1"), ("pv1", "pvh1", "pvh1"),
                                           ("pvh1", "pv2", "pvh1")):
            lab.check(f"file from {sender} to {receiver}, server in {listener}: {names}",
                      transfer, sender, receiver, listener, pair)
    for tool in tools:
        for server, client in (("dom0", "pv1"), ("pv1", "pv2"), ("pv1", "dom0")):
            lab.check(f"{tool} serves a program: {server} to {client}", with_program, server, client, tool, True)
            lab.check(f"a program serves {tool}: {server} to {client}", with_program, server, client, tool, False)
        lab.check(f"no pages left for {tool}", no_pages_left, tool)
    for pair in pairs if len(tools) == 1 else [tools, tools[::-1]]:
        for server, client in (("dom0", "pv1"), ("pv1", "dom0")):
            lab.check(f"ten clients in turn: {pair[0]} in {server}, {pair[1]} in {client}", in_turn, server, client, pair)
        lab.check(f"two ports at once: {pair[0]} in pv1, {pair[1]} in dom0", two_ports, "pv1", "dom0", pair)
        lab.check(f"third domain refused: {pair[0]} and {pair[1]}", third_domain, pair)
