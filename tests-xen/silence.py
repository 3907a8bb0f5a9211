"""Spurious wake-ups: a sleeping end is woken by its peer, and by no other domain. Programs such as Qubes OS' libvchan treat
the first wake-up as their client's, and then remove their publication."""

USR1 = 10
ROUNDS = 3
PLACES = [("dom0", "pv1"), ("pv1", "dom0"), ("pv1", "pv2")]


def waiter(lab, role, place, peer, path, implementation, options):
    """Starts one end."""
    command = f"waiter {role} {lab.guests.domid(peer)} {path} {options}"
    return lab.machine.run(place, lab.peers.command(implementation, command))


class Pair:
    """A server, and later its client."""

    def __init__(self, lab, server, client, who, options):
        self.lab, self.who, self.sides, self.options = lab, who, (server, client), options
        number = lab.machine.count
        self.path = lab.peers.path(server, client, f"silence-{number}")
        self.server = waiter(lab, "server", server, client, self.path, who[0], options)
        self.server.sees("listening")
        lab.peers.use(self.server, who[0])
        self.client = None

    def connect(self):
        """Starts the client, which wakes the server."""
        server, client = self.sides
        self.client = waiter(self.lab, "client", client, server, self.path, self.who[1], self.options)
        self.lab.same(f"{self.server} after its client had come, libxenvchan_is_open", "1", self.server.sees("woken")[6:])
        for job in (self.client, self.server):
            job.sees("idle")
        self.lab.peers.use(self.client, self.who[1])

    def asleep(self):
        """Fails if an end was woken."""
        for job in (self.server, self.client):
            for line in job.lines if job else []:
                if line.startswith("disturbed") or line.startswith("woken") and not self.client:
                    self.lab.fail(f"{job}, {self.who[job is self.client]}, {self.options or 'waiting'}, had a spurious wake-up: {line}")

    def finish(self):
        """Sends the last byte."""
        self.client.signal(USR1)
        for job in (self.client, self.server):
            job.must_end()
        self.asleep()


def create_and_destroy(lab):
    """Creates and destroys another domain, and waits until all watches have fired."""
    watch = lab.machine.shell("dom0", "exec xenstore-watch @releaseDomain")
    watch.sees("@releaseDomain")
    lab.machine.output("dom0", "sed 's/^name = .*/name = \"passing\"/' /run/pv1.cfg >/run/passing.cfg; "
                               "xl create -p -e -q /run/passing.cfg >/run/passing.log 2>&1 && xl destroy passing")
    lab.machine.until(lambda: len(watch.lines) > 1, 60)
    if len(watch.lines) < 2:
        lab.fail("no domain has ended")
    watch.signal(9)
    watch.wait()


def settled(lab, pairs):
    """A round trip, after which earlier events have reached the waiter."""
    for place in ("dom0", "pv1", "pv2"):
        lab.machine.output(place, "true")
    for pair in pairs:
        pair.asleep()


def silence(lab, who, options):
    """Other domains come and go before the clients connect, and then beside idle connected channels."""
    lab.empty_directories = who[0] == "original"
    pairs = [Pair(lab, server, client, who, options) for server, client in PLACES]
    create_and_destroy(lab)
    settled(lab, pairs)
    for pair in pairs:
        pair.connect()
    create_and_destroy(lab)
    settled(lab, pairs)
    for pair in pairs:
        pair.finish()


def unpublished(lab, server, client, who, options):
    """The server treats the first wake-up as its client's, and removes its publication."""
    lab.empty_directories = True
    for _ in range(ROUNDS):
        pair = Pair(lab, server, client, who, options + "unpublish")
        pair.connect()
        pair.finish()


def tests(lab):
    lab.guests.need(pv1="pv", pv2="pv")
    # The original on both sides is the reference.
    for who in lab.peers.pairs():
        for options in ("", "poll"):
            how = options or "wait"
            lab.check(f"other domains cause no wake-ups in {how}: server {who[0]}, client {who[1]}", silence, who, options)
        for server, client in PLACES:
            lab.check(f"nodes removed after the first wake-up: server {server} {who[0]}, client {client} {who[1]}",
                      unpublished, server, client, who, "")
