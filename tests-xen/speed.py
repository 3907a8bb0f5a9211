"""Speed and number of events: our library compared with the original, in one boot. Under emulation only the ratio is meaningful."""

SIZE = 32 << 20
PINGS = 1000
PLACES = [("dom0", "pv1"), ("pv1", "pv2"), ("pv1", "pvh1")]


def measure(lab, server, client, who):
    """A stream from the client to the server, then round trips."""
    lab.empty_directories = who[0] == "original"
    options = f"--pings {PINGS} --move {SIZE} --chunk 65536"
    one, other = lab.peers.open(server, client, "speed", who, options, options)
    lab.peers.use(one, who[0])
    lab.peers.use(other, who[1])
    other.must_end()
    one.must_end()
    moved, micros, received = map(int, one.value("moved").split())
    sent = int(other.value("moved").split()[2])
    lab.same("what was moved", SIZE, moved)
    figures = {
        "MiB/s": moved / (1 << 20) / (micros / 1e6),
        "events per MiB": (received + sent) / (moved / (1 << 20)),
        "round trip us": float(one.value("pings").split()[1]),
    }
    lab.note(", ".join(f"{what} {figure:.1f}" for what, figure in figures.items()))
    lab.results["speed"][(server, client) + who] = figures


def tests(lab):
    lab.guests.need(pv1="pv", pv2="pv", pvh1="pvh")
    lab.results["speed"] = {}
    for server, client in PLACES:
        for who in lab.peers.pairs():
            lab.check(f"speed: server {server} {who[0]}, client {client} {who[1]}", measure, server, client, who)
