#!/usr/bin/env python3
"""cases.py WORK LIMIT ONLY OURS TABLE SCRIPT...: runs the tests on a machine whose serial line is at
WORK/agent. A script is a Python file with a function tests(lab), which calls lab.check(NAME, FUNCTION, ARGUMENTS...) for each."""

import importlib.util
import os
import re
import sys
import time
import traceback

from guests import Guests
from leaks import Leaks
from machine import Failure, GuestGone, Machine, MachineGone
from peers import Peers


class Lab:
    """The interface for scripts."""

    def __init__(self, work, limit, only, ours):
        self.work, self.only = work, re.compile(only)
        log = open(os.path.join(work, "talk"), "w", encoding="utf-8")
        self.machine = Machine(os.path.join(work, "agent"), time.monotonic() + limit, log)
        self.guests = Guests(self.machine, os.path.join(work, "console"))
        self.leaks = Leaks(self.machine, self.guests)
        self.peers = Peers(self.machine, self.guests, ours)
        self.passed = self.failed = 0
        self.notes = []
        self.results = {}
        with open(os.path.join(os.path.dirname(__file__), "../../README.md"), encoding="utf-8") as readme:
            self.readme = readme.read()
        # The original's servers leave the client's directory: tests with one set this.
        self.empty_directories = False

    def note(self, text):
        """Adds a note to the result."""
        self.notes.append(text)

    def check(self, name, test, *arguments):
        """Runs one test. It must not leave jobs or resources of channels behind, in any domain."""
        if not self.only.search(name):
            return
        begun = time.monotonic()
        why = self._attempt(test, arguments)
        # The test may have failed before the guest's end was noticed.
        if why is not None and self.guests.crashed_by_emulation():
            print(f"# RETRIED {name}: {why}, by a triple fault of the emulated processor", flush=True)
            self._clean()
            why = self._attempt(test, arguments)
        took = time.monotonic() - begun
        if why is None:
            self.passed += 1
            print(f"ok {name} ({took:.1f} s)")
        else:
            self.failed += 1
            print(f"not ok {name}: {why} ({took:.1f} s)")
        for text in self.notes:
            print(f"#   {text}")
        sys.stdout.flush()
        if why is not None:
            self._clean()

    def _attempt(self, test, arguments):
        self.notes, self.empty_directories = [], False
        try:
            self.guests.restart_gone()
            self.leaks.begin()
            test(self, *arguments)
            if not self.machine.until(lambda: not self.machine.running(), 30):
                raise Failure("still running: " + ", ".join(map(str, self.machine.running())))
            self.leaks.none(self.empty_directories)
            return None
        except Failure as failure:
            return failure
        except (ArithmeticError, LookupError, TypeError, ValueError, AttributeError):
            return Failure("the test itself is wrong:\n" + traceback.format_exc())

    def _clean(self):
        """Ends the jobs of a failed test, so that they cannot disturb the next one."""
        for place in self.guests.places():
            try:
                self.machine.start(place, "sweep", "").wait()
            except GuestGone:
                pass
            self.machine.shell("dom0", f"xenstore-rm /local/domain/{self.guests.domid(place)}/data/vchan").wait()
        self.machine.until(lambda: not self.machine.running(), 30)
        self.machine.give_up()
        self.leaks.forget()

    def fail(self, why):
        """Ends the test."""
        raise Failure(why)

    def same(self, what, expected, seen):
        """Fails if they differ."""
        if expected != seen:
            raise Failure(f"{what} is '{seen}', not '{expected}'")


def no_crashes(lab):
    """Fails after crashes and kernel warnings."""
    for place in lab.guests.places():
        complaints = "segfault|traps:|general protection|BUG|Oops|WARNING"
        found = lab.machine.shell(place, f"dmesg | grep -E '{complaints}' | head -n 3")
        found.wait()
        lab.same(f"the kernel's log in {place}", "", "\n".join(found.lines))


def load(script):
    """Loads the script as a module."""
    spec = importlib.util.spec_from_file_location(os.path.basename(script)[:-3], script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main():
    work, limit, only, ours, table, *scripts = sys.argv[1:]
    begun = time.monotonic()
    lab = Lab(work, int(limit), only, bool(ours))
    try:
        if not lab.machine.until(lambda: "dom0" in lab.machine.ready, 240):
            raise MachineGone("dom0 did not start")
        print(f"# dom0 is up after {time.monotonic() - begun:.1f} s", flush=True)
        for script in scripts:
            print(f"# {os.path.basename(script)} at {time.monotonic() - begun:.1f} s", flush=True)
            try:
                load(script).tests(lab)
            except Failure as failure:
                lab.failed += 1
                print(f"not ok {os.path.basename(script)}: {failure}", flush=True)
        lab.check("no crash in any kernel's log", no_crashes)
        if table and lab.results.get("pairings"):
            import table as tables
            tables.rewrite(table, lab.results)
    except MachineGone as stop:
        lab.failed += 1
        print(f"not ok run: {stop}")
    if not lab.passed and not lab.failed:
        lab.failed = 1
        print("not ok run: no test ran")
    print(f"# {time.monotonic() - begun:.1f} s")
    print(f"{lab.passed} passed, {lab.failed} failed", flush=True)
    sys.exit(lab.failed > 0)


if __name__ == "__main__":
    main()
