"""Peers: both ends of a channel, by guest/peer.c. An implementation is `original`, which is Debian's libxenvchan, or
`ours`, the library given to the runner, preloaded."""

import hashlib
import os

from machine import Failure

PRELOAD = "LD_PRELOAD=/test/libvchan-rs-preload.so"
MASK = (1 << 64) - 1


def stream(from_server, size):
    """The bytes of one direction, as the peer makes them."""
    state, out = 0x5E7FE7 if from_server else 0xC11E47, bytearray()
    while len(out) < size:
        state ^= state << 13 & MASK
        state ^= state >> 7
        state ^= state << 17 & MASK
        out += state.to_bytes(8, "little")
    return bytes(out[:size])


class Peers:
    """Starts peers, and checks their output."""

    def __init__(self, machine, guests, ours):
        self.machine, self.guests = machine, guests
        self.implementations = ["original", "ours"] if ours else ["original"]
        self.streams = {}

    def pairs(self):
        """Each implementation as server with each as client."""
        return [(server, client) for server in self.implementations for client in self.implementations]

    def pairs_of_interest(self):
        """Without the original on both sides, unless there is nothing else to test."""
        return [pair for pair in self.pairs() if "ours" in pair] or self.pairs()

    @staticmethod
    def command(implementation, command):
        """The command that runs a program with the implementation."""
        return command if implementation == "original" else f"{PRELOAD} {command}"

    def path(self, server, client, name):
        """The path where a server in one place publishes for a client in another."""
        domid = self.guests.domid
        return f"/local/domain/{domid(server)}/data/vchan/{domid(client)}/{name}"

    def server(self, place, client, name, implementation, options=""):
        """Starts a server."""
        peer = f"peer server {self.guests.domid(client)} {self.path(place, client, name)} {options}"
        return self.machine.run(place, self.command(implementation, peer))

    def client(self, place, server, name, implementation, options="", path=None):
        """Starts a client."""
        peer = f"peer client {self.guests.domid(server)} {path or self.path(server, place, name)} {options}"
        return self.machine.run(place, self.command(implementation, peer))

    def open(self, server, client, name, who, server_options="", client_options=""):
        """Both ends, connected."""
        one = self.server(server, client, name, who[0], server_options)
        one.sees("listening")
        other = self.client(client, server, name, who[1], client_options)
        other.sees("connected")
        one.sees("connected")
        self.use(one, who[0])
        self.use(other, who[1])
        return one, other

    @staticmethod
    def use(job, implementation):
        """Fails if the library was not preloaded."""
        library = os.path.basename(job.value("library"))
        if not library.startswith("libvchan-rs-preload.so" if implementation == "ours" else "libxenvchan.so."):
            raise Failure(f"{job} runs with {library} instead of {implementation}")

    def digest(self, from_server, size):
        """The expected `received` value of the peer."""
        if len(self.streams.get(from_server, b"")) < size:
            self.streams[from_server] = stream(from_server, size)
        return f"{size} {hashlib.sha256(self.streams[from_server][:size]).hexdigest()}"

    def completed(self, server, client):
        """Both ends ended in order and received every byte."""
        client.must_end()
        server.must_end()
        for job, other, from_server in ((client, server, True), (server, client, False)):
            sent = [self.digest(from_server, int(size)) for size in other.values("sent")]
            if not sent or sent != job.values("received"):
                raise Failure(f"{job} received {job.values('received')}, not {sent}")
        for ended in server.values("ended"):
            self.closed_in_order(ended)

    @staticmethod
    def closed_in_order(ended):
        """The result of a read, and libxenvchan_is_open, after the other side has gone."""
        result, _, is_open = ended.split()
        if (result, is_open) != ("-1", "0"):
            raise Failure(f"after the other side's end this side has '{ended}'")

    def works(self, server, client, name, who):
        """A short exchange."""
        self.completed(*self.open(server, client, name, who, "--send 50000 --receive 70000",
                                  "--send 70000 --receive 50000"))
