"""The table of pairings, and of measurements, for a Markdown file: the text between two markers is replaced."""

BEGIN, END = "<!-- pairings:begin -->", "<!-- pairings:end -->"
NAMES = {"original": "libxenvchan", "ours": "vchan-rs"}
HEAD = """# Compatibility

"""
LIMIT = [
    "A PVH or HVM guest can't have a channel with itself: when its client maps the server's pages, Xen takes them away from",
    "the server, with both implementations. This library refuses it (`EACCES`).",
    "",
    "Each end watches one node that vanishes with its peer's domain, and no other domain's. In dom0 this is the domain's",
    "`domid`. A guest's client watches the server's `ring-ref`, and a guest's server a node created there by a client of this",
    "library. A server in a guest therefore does not notice the destruction of a domain whose client used the original",
    "library; it does notice the death of the client's process.",
    "",
    "The server's program may remove the nodes of a channel once its client has connected, as Qubes OS' libvchan does. In dom0",
    "that changes nothing. Between two guests each end is woken for it at most once, and from then on does not notice the",
    "destruction of the peer's domain, as with the original. The client can't tell whether nodes were removed by the program",
    "or vanished with the domain. It assumes the latter if they still existed at the server's first event: such programs",
    "remove them before they do anything else. If they vanish earlier, the domain counts as destroyed when the server sends no",
    "event for five seconds. When xenstored ends, this detection ends with it; the channel stays as it is.",
]
KINDS = {"dom0": "dom0", "pv1": "PV guest", "pv2": "another PV guest", "pvh1": "PVH guest", "pvh2": "another PVH guest"}


def sides(server, client):
    """The two places in words."""
    return f"{KINDS[server]} | {'itself' if server == client else KINDS[client]}"


def whose(key):
    """The two implementations in words."""
    return f"{NAMES[key[0]]} → {NAMES[key[1]]}"


def pairings(results):
    """One row per pair of places, one column per pair of implementations."""
    columns = list(dict.fromkeys(key[2:] for key in results))
    yield "| server in | client in | " + " | ".join(map(whose, columns)) + " |"
    yield "|---|---|" + "---|" * len(columns)
    for places in dict.fromkeys(key[:2] for key in results):
        cells = ["works" if results[places + column] else "**fails**" for column in columns]
        yield f"| {sides(*places)} | " + " | ".join(cells) + " |"


def speed(results):
    """One row per measurement."""
    yield "| server in | client in | server → client | MiB/s | events per MiB | round trip, µs |"
    yield "|---|---|---|---|---|---|"
    for key, figures in results.items():
        cells = f"{figures['MiB/s']:.1f} | {figures['events per MiB']:.2f} | {figures['round trip us']:.0f}"
        yield f"| {sides(*key[:2])} | {whose(key[2:])} | {cells} |"


def rewrite(path, results):
    """Writes the tables into the file."""
    lines = [BEGIN, "", "Written by `make check-xen`, on Xen 4.17 under QEMU's emulation. Each cell stands for channels "
             "with rings of", "orders 10/11, 12, 16 and 20, both directions at once, every byte compared by SHA-256; "
             "implementations are given as", "server → client.", "", *pairings(results["pairings"]), ""]
    if results.get("speed"):
        lines += ["Measured in the same run, 64 KiB rings; emulated, so only the comparison counts. Throughput is "
                  "from client to", "server, events are those sent by both sides.", "", *speed(results["speed"]), ""]
    lines += [*LIMIT, "", END]
    with open(path, encoding="utf-8") as file:
        text = file.read() or HEAD
    if BEGIN in text:
        text = text[:text.index(BEGIN)] + "\n".join(lines) + text[text.index(END) + len(END):]
    else:
        text = text.rstrip("\n") + "\n\n## Pairings on real Xen\n\n" + "\n".join(lines) + "\n"
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
