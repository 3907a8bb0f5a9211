"""Resources that channels can leave behind in any domain: event channels, pages shared by gntalloc, mapped pages, nodes.

Dom0's own services have some, so only additional ones count.
"""

from collections import Counter

from machine import Failure


class Leaks:
    """Compares the current resources with a snapshot."""

    def __init__(self, machine, guests):
        self.machine, self.guests = machine, guests
        self.before, self.domains = None, None

    def snapshot(self):
        """All resources, with their numbers."""
        places = self.guests.places()
        grants = {place: self.machine.run(place, "grants used") for place in places}
        numbers = " ".join(str(self.guests.domid(place)) for place in places)
        held = Counter(self.machine.run("dom0", f"census {numbers}").must_end().split())
        for place, job in grants.items():
            job.must_end()
            held[f"shared:{place}"] = int(job.value("used"))
        return held

    def begin(self):
        """Before a test: takes a new snapshot if the domains have changed."""
        domains = {place: self.guests.domid(place) for place in self.guests.places()}
        if self.before is None or domains != self.domains:
            self.before, self.domains = self.snapshot(), domains

    def forget(self):
        """Makes the next test take a new snapshot."""
        self.before = None

    def grown(self, empty_directories):
        """The additional resources. The directories that a server of Xen's library leaves are allowed, and removed here."""
        more = self.snapshot() - self.before
        nodes = [held for held in more if held.startswith("node:")]
        for held in nodes:
            path = held[5:]
            kept = path.endswith("/data/vchan")
            if kept or empty_directories and not any(other.startswith(held + "/") for other in nodes) \
                    and path.split("/")[-2:-1] == ["vchan"]:
                del more[held]
                if not kept:
                    self.machine.run("dom0", f"xenstore-rm {path}").must_end()
        return more

    def none(self, empty_directories, limit=10):
        """Fails if something is left; the kernel frees some resources with a delay."""
        more = {}

        def look():
            nonlocal more
            more = self.grown(empty_directories)
            return not more

        for _ in range(limit):
            if look():
                return
        raise Failure("left behind: " + ", ".join(f"{what} {count}" for what, count in sorted(more.items())))
