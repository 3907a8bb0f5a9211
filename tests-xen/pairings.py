"""Every pairing of places, kinds of guest, implementations and ring sizes, both directions at once."""

RINGS = "10/11,12/12,16/16,20/20"
DESCRIPTORS = 5  # the maximum per end of our library without a descriptor to poll
PLACES = [("dom0", "dom0"), ("dom0", "pv1"), ("pv1", "dom0"), ("dom0", "pvh1"), ("pvh1", "dom0"), ("pv1", "pv2"),
          ("pvh1", "pvh2"), ("pv1", "pvh1"), ("pvh1", "pv1"), ("pv1", "pv1")]


def pairing(lab, server, client, who):
    """Channels of all sizes, one after another; a size is the orders of the server's read ring and write ring."""
    lab.empty_directories = who[0] == "original"
    options = f"--rings {RINGS} --pings 5"
    one = lab.peers.server(server, client, "rings", who[0], options)
    one.sees("listening")
    other = lab.peers.client(client, server, "rings", who[1], options + " --retry 60")
    lab.peers.completed(one, other)
    lab.peers.use(one, who[0])
    lab.peers.use(other, who[1])
    for rings, seen, mine in zip(RINGS.split(","), one.values("connected"), other.values("connected"), strict=True):
        read, write = map(int, rings.split("/"))
        lab.same(f"the server's write ring of {rings}", 1 << write, int(seen))
        lab.same(f"the client's write ring of {rings}", 1 << read, int(mine))
    for job, implementation in ((one, who[0]), (other, who[1])):
        most = max(map(int, job.values("descriptors")))
        if implementation == "ours" and most > DESCRIPTORS:
            lab.fail(f"{job} has {most} descriptors")
    lab.same("how many channels", len(RINGS.split(",")), len(one.values("received")))
    lab.results["pairings"][(server, client) + who] = True


def translated_loop_back(lab):
    """If Xen translates a domain's memory, mapping its own pages removes them from their old address: our library refuses
    that on both sides. The original must not be tried here, since the guest would not survive."""
    features = lab.machine.output("pvh1", "cat /sys/hypervisor/properties/features")
    lab.same("the bit of translated memory", 4, int(features, 16) & 4)
    for job, what in ((lab.peers.server("pvh1", "pvh1", "loop", "ours"), "server"),
                      (lab.peers.client("pvh1", "pvh1", "loop", "ours"), "client")):
        job.must_end(2)
        lab.same("the error", f"{what}_init EACCES", job.value("error"))


def tests(lab):
    lab.guests.need(pv1="pv", pv2="pv", pvh1="pvh", pvh2="pvh")
    lab.results["pairings"] = {(*places, *who): False for places in PLACES for who in lab.peers.pairs()}
    for server, client in PLACES:
        for who in lab.peers.pairs():
            lab.check(f"pairing: server {server} {who[0]}, client {client} {who[1]}", pairing, server, client, who)
    if "ours" in lab.peers.implementations:
        lab.check("loop-back in a PVH guest is refused", translated_loop_back)
