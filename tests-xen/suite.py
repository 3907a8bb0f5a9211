"""The behaviour suite's programs that act like Qubes OS' libvchan and qrexec, both ends in dom0: tests-c/behaviour, linked with Xen's
library, and with ours preloaded."""

import os

PROGRAM = "behaviour-original"
TESTS = ["qubes.server", "qubes.client", "qrexec.restart", "qrexec.restart-beside-children"]


def behaves(lab, implementation, test):
    """One test of the suite, with two processes."""
    job = lab.machine.run("dom0", lab.peers.command(implementation, f"{PROGRAM} -t 100 {test}"))
    job.wait()
    if job.status:
        lab.fail(" / ".join(job.lines))
    lab.note(" / ".join(line.removeprefix(f"{test}: ") for line in job.lines if ": at=" in line))


def tests(lab):
    if not os.path.exists(os.path.join(lab.work, "test", PROGRAM)):
        print(f"# no {PROGRAM} was given", flush=True)
        return
    for implementation in lab.peers.implementations:
        for test in TESTS:
            lab.check(f"{test} in dom0: {implementation}", behaves, implementation, test)
