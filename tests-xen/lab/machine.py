"""The machine as seen from outside: dom0 and the guests are places, where jobs run.

All communication uses one serial line to dom0's agent (guest/agent.c), which forwards the guests' messages.
"""

import re
import socket
import threading
import time

LIMIT = 120  # default time limit in seconds; a busy machine is slow

LOST = 97  # the status of a job whose domain went away


class Failure(Exception):
    """A failed check."""


class GuestGone(Failure):
    """A guest ended without being destroyed by a test."""


class MachineGone(Exception):
    """The emulator ended, or the time of the whole run is over."""


class Job:
    """A command running in a place."""

    def __init__(self, machine, place, number, command):
        self.machine, self.place, self.number, self.command = machine, place, number, command
        self.lines = []
        self.status = None

    def sees(self, pattern, limit=LIMIT):
        """Waits for a line that begins with pattern; returns it."""
        found = []

        def look():
            found.extend(line for line in self.lines if re.match(pattern, line))
            return found or self.status is not None

        self.machine.until(look, limit, self.place)
        if not found:
            raise Failure(f"{self} did not print '{pattern}': {self.summary()}")
        return found[0]

    def wait(self, limit=LIMIT):
        """Waits for the end; returns the status."""
        if not self.machine.until(lambda: self.status is not None, limit, self.place):
            raise Failure(f"{self} did not end: {self.summary()}")
        return self.status

    def must_end(self, status=0, limit=LIMIT):
        """Waits for the end with this status; returns the output."""
        seen = self.wait(limit)
        if seen == LOST:
            raise GuestGone(f"{self} ended with its guest")
        if seen != status:
            raise Failure(f"{self} ended with {seen}, not {status}: {self.summary()}")
        return "\n".join(self.lines)

    def value(self, word):
        """The text after a word at the beginning of a line; the last such line."""
        for line in reversed(self.lines):
            if line.startswith(word + " "):
                return line[len(word) + 1:]
        raise Failure(f"{self} did not print '{word}': {self.summary()}")

    def values(self, word):
        """The same for all such lines."""
        return [line[len(word) + 1:] for line in self.lines if line.startswith(word + " ")]

    def signal(self, number):
        """Sends the process a signal."""
        self.machine.start(self.place, "kill", f"{number} {self.number}").must_end()

    def summary(self):
        """The last lines, for a message."""
        return " / ".join(self.lines[-3:]) or "no output"

    def __str__(self):
        return f"[{self.place}] {self.command[:60]}"


class Machine:
    """The other end of the serial line."""

    def __init__(self, path, deadline, log):
        self.changed = threading.Condition()
        self.deadline = deadline
        self.log = log
        self.jobs = {}
        self.ready, self.gone = set(), set()
        self.over = False
        self.count = 0
        self.line = socket.socket(socket.AF_UNIX)
        while True:
            try:
                self.line.connect(path)
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        threading.Thread(target=self._listen, daemon=True).start()

    def until(self, condition, limit, place="dom0"):
        """Waits until condition() holds; False if that takes too long. Raises if the place ends meanwhile."""
        end = min(time.monotonic() + limit, self.deadline)
        with self.changed:
            while not condition():
                if self.over or time.monotonic() > self.deadline:
                    raise MachineGone("the machine stopped" if self.over else "the time for all tests is over")
                if place in self.gone:
                    raise GuestGone(f"{place} is gone")
                left = end - time.monotonic()
                if left <= 0:
                    return False
                self.changed.wait(left)
        return True

    def start(self, place, verb, command):
        """Starts a job; verb is run, sh, kill or another command of the agent."""
        with self.changed:
            self.count += 1
            job = Job(self, place, self.count, command)
            self.jobs[place, self.count] = job
            if place in self.gone:
                job.status = LOST
                return job
        self._note(f"> {place} {job.number} {verb} {command}")
        self.line.sendall(f"{place} {job.number} {verb} {command}\n".encode())
        return job

    def run(self, place, command):
        """Starts a program, without a shell."""
        return self.start(place, "run", command)

    def shell(self, place, command):
        """Starts a shell command."""
        return self.start(place, "sh", command)

    def output(self, place, command):
        """The output of a shell command; it must succeed."""
        return self.shell(place, command).must_end()

    def forget(self, place):
        """Called before a guest of that name is started."""
        with self.changed:
            self.ready.discard(place)
            self.gone.discard(place)

    def give_up(self):
        """Forgets the jobs that have not ended, so that one failure is reported once."""
        with self.changed:
            for job in self.jobs.values():
                job.status = LOST if job.status is None else job.status

    def running(self):
        """The running jobs, of places that exist."""
        with self.changed:
            return [job for job in self.jobs.values() if job.status is None]

    def _note(self, text):
        print(f"{time.monotonic():.2f} {text}", file=self.log, flush=True)

    def _listen(self):
        buffer = b""
        while True:
            try:
                got = self.line.recv(65536)
            except OSError:
                got = b""
            if not got:
                break
            *lines, buffer = (buffer + got).split(b"\n")
            with self.changed:
                for line in lines:
                    self._heard(line.decode(errors="replace").rstrip("\r"))
                self.changed.notify_all()
        with self.changed:
            self.over = True
            self.changed.notify_all()

    def _lose_jobs(self, place):
        """Ends the jobs of a domain that is gone."""
        for job in self.jobs.values():
            if job.place == place and job.status is None:
                job.status = LOST

    def _heard(self, line):
        self._note(f"< {line}")
        said = re.match(r"@(\S+) (\d+)([|=!])(.*)$", line)
        if not said:
            return
        place, number, kind, rest = said.groups()
        job = self.jobs.get((place, int(number)))
        if kind == "!":
            (self.ready if rest == "ready" else self.gone).add(place)
            if rest == "gone":
                self._lose_jobs(place)
        elif job and kind == "|":
            job.lines.append(rest)
        elif job:
            job.status = int(rest)
