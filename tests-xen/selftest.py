"""The lab itself: it reports failures and leaks."""

from machine import Failure

USR1 = 10


def status_of(lab, place):
    """Output and status of commands."""
    job = lab.machine.shell(place, "echo seen; exit 7")
    lab.same("the status", 7, job.wait())
    lab.same("the output", ["seen"], job.lines)
    lab.same("the output of a program", "a b", lab.machine.run(place, "echo a b").must_end())
    job = lab.machine.run(place, "sleep 100")
    job.signal(9)
    lab.same("the status of a killed program", 137, job.wait())


def side_by_side(lab, place):
    """The first job can only end while the second one runs."""
    first = lab.machine.shell(place, "rm -f /run/meet; mkfifo /run/meet; echo waiting; cat /run/meet")
    first.sees("waiting")
    lab.machine.output(place, "echo met >/run/meet")
    first.must_end()
    lab.same("the first job's output", ["waiting", "met"], first.lines)


def leaks_seen(lab, server, client):
    """An open channel looks like a leak: every kind of resource must be reported."""
    lab.empty_directories = True
    one, other = lab.peers.open(server, client, "leak", ("original", "original"), "--end idle", "--end idle")
    more = lab.leaks.grown(True)
    ids = f"{lab.guests.domid(server)}:{lab.guests.domid(client)}"
    node = f"node:{lab.peers.path(server, client, 'leak')}/ring-ref"
    for what in (node, f"ports:{ids}", f"shared:{server}", f"mapped:{ids}"):
        if not more[what]:
            lab.fail(f"{what} is not among {dict(more)}")
    for job in (other, one):
        job.signal(USR1)
        job.must_end()


def directories_seen(lab):
    """The directory that the original's server leaves is a leak if only our servers have run."""
    path = lab.peers.path("dom0", "pv1", "x")[:-2]
    lab.machine.output("dom0", f"xenstore-write {path} ''")
    if not lab.leaks.grown(False)[f"node:{path}"]:
        lab.fail("an empty directory is not reported")
    lab.same("what is reported of it where it is known", {}, dict(lab.leaks.grown(True)))


def wrong_is_failure(lab):
    """Failures are reported."""
    def fails(what, *arguments):
        try:
            what(*arguments)
        except Failure:
            return
        raise AssertionError(f"{what} passes")

    job = lab.machine.shell("dom0", "echo said; exit 3")
    for wrong in ((lab.same, "it", 1, 2), (lab.fail, "x"), (job.must_end, 0), (job.sees, "never"),
                  (job.value, "unsaid"), (lab.peers.use, job, "ours"), (lab.peers.closed_in_order, "0 0 1")):
        fails(*wrong)
    fails(lab.machine.shell("dom0", "sleep 0.2").wait, 0)


def tests(lab):
    lab.guests.need(pv1="pv")
    for place in ("dom0", "pv1"):
        lab.check(f"lab: status and output of a command in {place}", status_of, place)
        lab.check(f"lab: two commands at a time in {place}", side_by_side, place)
    lab.check("lab: leaks of dom0 are reported", leaks_seen, "dom0", "pv1")
    lab.check("lab: leaks of a guest are reported", leaks_seen, "pv1", "dom0")
    lab.check("lab: leftover directories are reported", directories_seen)
    lab.check("lab: failures are reported", wrong_is_failure)
