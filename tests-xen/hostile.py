"""A domain that means harm: it writes anything into the shared memory, and our side bears it."""

ROUNDS = 25
# Emulated, and with other domains on the one processor.
LIMIT_MS = 5000


def spoiled(lab, server, client, victim):
    lab.empty_directories = True
    path = lab.peers.path(server, client, "spoilt")
    jobs = {}
    for role, place, other in (("server", server, client), ("client", client, server)):
        does = "bear" if role == victim else "spoil"
        command = f"spoil {does} {role} {lab.guests.domid(other)} {path} {ROUNDS} 7"
        jobs[does] = lab.machine.run(place, lab.peers.command("ours" if role == victim else "original", command))
    jobs["bear"].must_end()
    jobs["spoil"].must_end()
    bore = jobs["bear"].value("bore")
    lab.note(f"{jobs['spoil'].value('spoiled')} acts; calls borne: {bore}")
    if int(bore.split("longest ")[1].split(",")[0]) > LIMIT_MS:
        lab.fail(f"a call took too long: {bore}")
    if "no errno" in bore:
        lab.fail(f"a call failed without errno: {bore}")


def tests(lab):
    if "ours" not in lab.peers.implementations:
        return
    lab.guests.need(pv1="pv", pv2="pv")
    for server, client in (("dom0", "pv1"), ("pv1", "dom0"), ("pv1", "pv2")):
        for victim in ("server", "client"):
            lab.check(f"hostile domain: server {server}, client {client}, the {victim} is ours", spoiled, server, client,
                      victim)
