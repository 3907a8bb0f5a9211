"""Who is woken, and for what: an end that sleeps is told of its peer, and of no other domain. Programs as Qubes OS' libvchan take
the first wake-up for their client, and then remove the nodes that it was found by."""

USR1 = 10
ROUNDS = 3
PLACES = [("dom0", "pv1"), ("pv1", "dom0"), ("pv1", "pv2")]


def waiter(lab, role, place, peer, path, implementation, options):
    """Starts one end."""
    command = f"waiter {role} {lab.guests.domid(peer)} {path} {options}"
    return lab.machine.run(place, lab.peers.command(implementation, command))


class Pair:
    """A server that listens, and later its client."""

    def __init__(self, lab, server, client, who, options):
        self.lab, self.who, self.sides, self.options = lab, who, (server, client), options
        number = lab.machine.count
        self.path = lab.peers.path(server, client, f"silence-{number}")
        self.server = waiter(lab, "server", server, client, self.path, who[0], options)
        self.server.sees("listening")
        lab.peers.use(self.server, who[0])
        self.client = None

    def connect(self):
        """The client comes: that is what wakes the server."""
        server, client = self.sides
        self.client = waiter(self.lab, "client", client, server, self.path, self.who[1], self.options)
        self.lab.same(f"{self.server} after its client had come, libxenvchan_is_open", "1", self.server.sees("woken")[6:])
        for job in (self.client, self.server):
            job.sees("idle")
        self.lab.peers.use(self.client, self.who[1])

    def asleep(self):
        """Nobody has been woken."""
        for job in (self.server, self.client):
            for line in job.lines if job else []:
                if line.startswith("disturbed") or line.startswith("woken") and not self.client:
                    self.lab.fail(f"{job}, {self.who[job is self.client]}, {self.options or 'waiting'}, was woken for nothing: {line}")

    def finish(self):
        """The last byte."""
        self.client.signal(USR1)
        for job in (self.client, self.server):
            job.must_end()
        self.asleep()


def pass_by(lab):
    """Another domain comes and goes, and all who watch for that have been told."""
    watch = lab.machine.shell("dom0", "exec xenstore-watch @releaseDomain")
    watch.sees("@releaseDomain")
    lab.machine.output("dom0", "sed 's/^name = .*/name = \"passing\"/' /run/pv1.cfg >/run/passing.cfg; "
                               "xl create -p -e -q /run/passing.cfg >/run/passing.log 2>&1 && xl destroy passing")
    lab.machine.until(lambda: len(watch.lines) > 1, 60)
    if len(watch.lines) < 2:
        lab.fail("no domain has gone")
    watch.signal(9)
    watch.wait()


def settled(lab, pairs):
    """What was on its way to a waiter has arrived before this has gone there and back."""
    for place in ("dom0", "pv1", "pv2"):
        lab.machine.output(place, "true")
    for pair in pairs:
        pair.asleep()


def silence(lab, who, options):
    """Other domains come and go before there are clients, and then beside connected channels in which nothing happens."""
    lab.empty_directories = who[0] == "original"
    pairs = [Pair(lab, server, client, who, options) for server, client in PLACES]
    pass_by(lab)
    settled(lab, pairs)
    for pair in pairs:
        pair.connect()
    pass_by(lab)
    settled(lab, pairs)
    for pair in pairs:
        pair.finish()


def unpublished(lab, server, client, who, options):
    """The server takes the first wake-up for its client's, and removes the nodes of the publication."""
    lab.empty_directories = True
    for _ in range(ROUNDS):
        pair = Pair(lab, server, client, who, options + "unpublish")
        pair.connect()
        pair.finish()


def tests(lab):
    lab.guests.need(pv1="pv", pv2="pv")
    # The original on both sides shows what is right.
    for who in lab.peers.pairs():
        for options in ("", "poll"):
            how = options or "wait"
            lab.check(f"other domains wake nobody in {how}: server {who[0]}, client {who[1]}", silence, who, options)
        for server, client in PLACES:
            lab.check(f"nodes removed after the first wake-up: server {server} {who[0]}, client {client} {who[1]}",
                      unpublished, server, client, who, "")
