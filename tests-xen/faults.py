"""Faults: a side dies, comes too early or too late, lacks permission, or gets no memory. Where Xen's library is known
to misbehave, its actual behaviour is checked, and the correct one of ours."""

import time

TOLD = 30  # seconds within which a survivor must know; on an idle machine it takes a tenth of one
KILL, USR1 = 9, 10
STATES = ["read", "write", "stream"]


def survives(lab, survivor, since, what):
    """The survivor detects the end of its peer and ends in order. Notes the time."""
    survivor.must_end(0, TOLD)
    lab.peers.closed_in_order(survivor.value("ended"))
    lab.note(f"{what}: detected within {time.monotonic() - since:.2f} s")


def remove_leftovers(lab, *paths):
    """The nodes of a killed server must still exist; removes them."""
    for path in paths:
        lab.machine.output("dom0", f"xenstore-exists {path}/ring-ref && xenstore-rm {path}")
    lab.empty_directories = True


def remove_marks(lab, server, client, who):
    """A killed end of ours leaves its mark in its domain's tree, where both are guests; a client only for a server of ours.
    Those that survived have removed theirs."""
    expected = 0
    if "dom0" not in (server, client) and who[0] == "ours":
        expected = len(STATES) * (2 if who[1] == "ours" else 1)
    marks = "xenstore-ls -f /local/domain | grep -cE '/data/vchan-alive/[0-9]+/(server|client)-[0-9]+ ' || true"
    lab.same("the marks of killed ends", expected, int(lab.machine.output("dom0", marks)))
    remove = "for d in $(xenstore-list /local/domain); do xenstore-rm /local/domain/$d/data/vchan-alive 2>/dev/null; done; true"
    lab.machine.output("dom0", remove)


def kill_sides(lab, server, client, who):
    """kill -9 of the server or the client, in each state: six channels."""
    channels = []
    for victim in ("server", "client"):
        for state in STATES:
            name = f"{victim}-{state}"
            options = f"--end {state}"
            channels.append((victim, state, name, *lab.peers.open(server, client, name, who, options, options)))
    for victim, state, name, one, other in channels:
        one.sees(f"state {state}")
        other.sees(f"state {state}")
        killed, survivor = (one, other) if victim == "server" else (other, one)
        killed.signal(KILL)
        since = time.monotonic()
        survives(lab, survivor, since, f"{victim} killed in {state}")
        killed.must_end(128 + KILL)
        if victim == "server":
            remove_leftovers(lab, lab.peers.path(server, client, name))
    remove_marks(lab, server, client, who)
    lab.empty_directories = True


def leftovers(lab, server, client, who):
    """A server without a client is killed; a client is refused, and the next server replaces the leftover nodes."""
    lab.empty_directories = who[0] == "original"
    one = lab.peers.server(server, client, "leftovers", who[0])
    one.sees("listening")
    one.signal(KILL)
    one.must_end(128 + KILL)
    other = lab.peers.client(client, server, "leftovers", who[1])
    other.must_end(2)
    lab.same("the error with leftovers", "client_init " + ("EINVAL" if who[1] == "original" else "ENOENT"),
             other.value("error"))
    lab.peers.works(server, client, "leftovers", who)


def client_first(lab, server, client, who):
    """Without a server the client fails; a retry succeeds once there is one."""
    lab.empty_directories = who[0] == "original"
    other = lab.peers.client(client, server, "first", who[1])
    other.must_end(2)
    # A guest cannot read the parent, so the missing node is reported as EACCES.
    expected = "EACCES" if who[1] == "original" and client != "dom0" else "ENOENT"
    lab.same("the error", f"client_init {expected}", other.value("error"))
    other = lab.peers.client(client, server, "first", who[1], "--retry 60 --send 1000 --receive 2000")
    other.sees("library")
    one = lab.peers.server(server, client, "first", who[0], "--send 2000 --receive 1000")
    lab.peers.completed(one, other)


def second_client(lab, server, client, who):
    """A second client is refused."""
    lab.empty_directories = who[0] == "original"
    one, first = lab.peers.open(server, client, "second", who, "--end read", "--end idle")
    second = lab.peers.client(client, server, "second", who[1])
    second.must_end(2)
    lab.same("its error", "client_init " + ("EINVAL" if who[1] == "original" else "ENOENT"), second.value("error"))
    first.signal(USR1)
    survives(lab, one, time.monotonic(), "first client left")


def third_domain(lab, server, client, other, who):
    """A domain other than the server's client is refused."""
    lab.empty_directories = who[0] == "original"
    one = lab.peers.server(server, client, "third", who[0], "--send 1000 --receive 2000")
    one.sees("listening")
    third = lab.peers.client(other, server, "third", who[1], path=lab.peers.path(server, client, "third"))
    third.must_end(2)
    lab.same("its error", "client_init " + ("EACCES" if who[1] == "original" else "ENOENT"), third.value("error"))
    lab.peers.completed(one, lab.peers.client(client, server, "third", who[1], "--send 2000 --receive 1000"))


def exhausted(lab, server, client, implementation):
    """All pages that gntalloc can share are in use."""
    lab.empty_directories = implementation == "original"
    holder = lab.machine.run(server, "grants hold 20")
    holder.sees("holding 1004")
    one = lab.peers.server(server, client, "full", implementation)
    one.must_end(2)
    lab.same("its error", "server_init ENOSPC", one.value("error"))
    holder.signal(KILL)
    holder.must_end(128 + KILL)
    lab.peers.works(server, client, "full", (implementation, "original"))


def too_large(lab, implementation):
    """Rings over 1 MiB."""
    one = lab.peers.server("dom0", "pv1", "large", implementation, "--read-min 1048577")
    one.must_end(2)
    lab.same("its error", "server_init " + ("0" if implementation == "original" else "EINVAL"), one.value("error"))


def conflicts(lab, server, client):
    """Other programs change the same directory continuously: our transactions get EAGAIN, and succeed after retries."""
    lab.empty_directories = True
    storm = lab.machine.run("dom0", f"storm {lab.peers.path(server, client, '')[:-1]}")
    storm.sees("blowing")
    one = lab.peers.server(server, client, "stormy", "ours", "--opens 50 --send 2000 --receive 1000")
    one.sees("listening")
    other = lab.peers.client(client, server, "stormy", "ours", "--send 1000 --receive 2000")
    lab.peers.completed(one, other)
    storm.signal(USR1)
    storm.must_end()
    count = int(one.value("conflicts"))
    lab.note(f"{count} conflicts, against {storm.value('changes')} foreign changes")
    if not count:
        lab.fail("no transaction had a conflict")


def events(lab, server, client, who):
    """A program's own events, by the channel's handle and port."""
    lab.empty_directories = who[0] == "original"
    one, other = lab.peers.open(server, client, "events", who, "--wakes 10", "--wakes 10")
    lab.peers.use(one, who[0])
    for job in (other, one):
        job.sees("quiet", 30)
    for job in (other, one):
        job.must_end()
        lab.same("how many events", "10", job.value("woken"))


def no_zombies(lab):
    """A destroyed domain stays in the list while its pages are mapped."""
    for _ in range(40):
        if "(null)" not in lab.machine.output("dom0", "xl list"):
            return
    lab.fail("the destroyed domain still exists: " + lab.machine.output("dom0", "xl list"))


def survivors():
    """The expected survivors when the guest `gone` is destroyed: (survivor's place, its role, victim's implementation)."""
    for place in ("dom0", "pv1"):
        for role in ("server", "client"):
            for victim in ("original", "ours"):
                # A guest's server only detects the end of a client of our library.
                if (place, role, victim) != ("pv1", "server", "original"):
                    yield place, role, victim


def destroy(lab, kind):
    """Destroys the peers' guest, with channels in all states. Xen's library sleeps for ever."""
    lab.guests.need(gone=kind)
    channels = []
    for number, (place, role, victim) in enumerate(survivors()):
        state = STATES[number % len(STATES)]
        name = f"destroy-{number}"
        options = f"--end {state}"
        sides = (place, "gone", name, ("ours", victim)) if role == "server" else ("gone", place, name, (victim, "ours"))
        one, other = lab.peers.open(*sides, options, options)
        one.sees(f"state {state}")
        other.sees(f"state {state}")
        channels.append((f"{role} in {place} in {state}, peer was {victim}", one if role == "server" else other))
    # The original, for comparison; killed afterwards.
    asleep, _ = lab.peers.open("dom0", "gone", "asleep", ("original", "original"), "--end read", "--end read")
    since = time.monotonic()
    destroyed = lab.guests.destroy("gone")
    for what, survivor in channels:
        survives(lab, survivor, since, what)
    destroyed.must_end()
    lab.note(f"the original's server in dom0: {'asleep for ever' if asleep.status is None else 'woken'}, a known defect")
    asleep.signal(KILL)
    asleep.must_end(128 + KILL)
    no_zombies(lab)
    remove_leftovers(lab, lab.peers.path("dom0", "gone", "asleep"))


def tests(lab):
    lab.guests.need(pv1="pv", pv2="pv", pvh1="pvh")
    for who in lab.peers.pairs_of_interest():
        for server, client in (("dom0", "pv1"), ("pv1", "dom0"), ("pvh1", "pv1")):
            sides = f"server {server} {who[0]}, client {client} {who[1]}"
            lab.check(f"kill -9 of each side in each state: {sides}", kill_sides, server, client, who)
            lab.check(f"leftovers of a killed server: {sides}", leftovers, server, client, who)
            lab.check(f"client first: {sides}", client_first, server, client, who)
        lab.check(f"second client refused: server dom0 {who[0]}, clients pv1 {who[1]}", second_client, "dom0", "pv1", who)
        for server, client in (("dom0", "pv1"), ("pv1", "pvh1")):
            lab.check(f"third domain refused: server {server} {who[0]}, clients {who[1]}",
                      third_domain, server, client, "pv2", who)
        for server, client in (("dom0", "pv1"), ("pv1", "dom0"), ("pv1", "pvh1")):
            lab.check(f"xenevtchn_notify on the event field: server {server} {who[0]}, client {client} {who[1]}",
                      events, server, client, who)
    for who in lab.peers.implementations:
        lab.check(f"gntalloc exhausted in dom0: {who}", exhausted, "dom0", "pv1", who)
        lab.check(f"gntalloc exhausted in pv1: {who}", exhausted, "pv1", "dom0", who)
        lab.check(f"ring over 1 MiB refused: {who}", too_large, who)
    if "ours" in lab.peers.implementations:
        for server, client in (("dom0", "pv1"), ("pv1", "dom0")):
            lab.check(f"transaction conflicts: server in {server}", conflicts, server, client)
        for kind in ("pv", "pvh"):
            lab.check(f"xl destroy of a {kind} guest under many channels", destroy, kind)
