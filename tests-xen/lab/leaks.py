"""What channels may leave behind in any domain: event channels, pages shared by gntalloc, mapped pages, nodes.

Dom0's own services hold some, so that what counts is what was not there before.
"""

from collections import Counter

from machine import Failure


class Leaks:
    """Compares what there is now with what there was."""

    def __init__(self, machine, guests):
        self.machine, self.guests = machine, guests
        self.before, self.domains = None, None

    def snapshot(self):
        """Everything that is held, with its number."""
        places = self.guests.places()
        grants = {place: self.machine.run(place, "grants used") for place in places}
        numbers = " ".join(str(self.guests.domid(place)) for place in places)
        held = Counter(self.machine.run("dom0", f"census {numbers}").must_end().split())
        for place, job in grants.items():
            job.must_end()
            held[f"shared:{place}"] = int(job.value("used"))
        return held

    def begin(self):
        """Before a test: a new snapshot if the domains have changed."""
        domains = {place: self.guests.domid(place) for place in self.guests.places()}
        if self.before is None or domains != self.domains:
            self.before, self.domains = self.snapshot(), domains

    def forget(self):
        """The next test starts from what is there then."""
        self.before = None

    def grown(self, empty_directories):
        """What there is more of. A server of Xen's library leaves directories: those may be there, and go now."""
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
        """Fails if something is left; the kernel gives some things back a moment late."""
        more = {}

        def look():
            nonlocal more
            more = self.grown(empty_directories)
            return not more

        for _ in range(limit):
            if look():
                return
        raise Failure("left behind: " + ", ".join(f"{what} {count}" for what, count in sorted(more.items())))
