"""A hostile domain that writes arbitrary values into the shared memory, against our library."""

ROUNDS = 25
# Under emulation, with several domains on one processor.
LIMIT_MS = 5000


def spoiled(lab, server, client, victim):
    lab.empty_directories = True
    path = lab.peers.path(server, client, "spoilt")
    jobs = {}
    for role, place, other in (("server", server, client), ("client", client, server)):
        does = "call" if role == victim else "spoil"
        command = f"spoil {does} {role} {lab.guests.domid(other)} {path} {ROUNDS} 7"
        jobs[does] = lab.machine.run(place, lab.peers.command("ours" if role == victim else "original", command))
    jobs["call"].must_end()
    jobs["spoil"].must_end()
    called = jobs["call"].value("called")
    lab.note(f"{jobs['spoil'].value('spoiled')} writes and events; calls: {called}")
    if int(called.split("longest ")[1].split(",")[0]) > LIMIT_MS:
        lab.fail(f"a call took too long: {called}")
    if "no errno" in called:
        lab.fail(f"a call failed without errno: {called}")


def tests(lab):
    if "ours" not in lab.peers.implementations:
        return
    lab.guests.need(pv1="pv", pv2="pv")
    for server, client in (("dom0", "pv1"), ("pv1", "dom0"), ("pv1", "pv2")):
        for victim in ("server", "client"):
            lab.check(f"hostile domain: server {server}, client {client}, the {victim} is ours", spoiled, server, client,
                      victim)
