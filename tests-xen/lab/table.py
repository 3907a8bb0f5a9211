"""The table of pairings, and of measurements, for a Markdown file: what stands between two markers is replaced."""

BEGIN, END = "<!-- pairings:begin -->", "<!-- pairings:end -->"
NAMES = {"original": "libxenvchan", "ours": "vchan-rs"}
HEAD = """# Compatibility

"""
KINDS = {"dom0": "dom0", "pv1": "PV guest", "pv2": "another PV guest", "pvh1": "PVH guest", "pvh2": "another PVH guest"}


def sides(server, client):
    """The two places in words."""
    return f"{KINDS[server]} | {'itself' if server == client else KINDS[client]}"


def whose(key):
    """The two implementations in words."""
    return f"{NAMES[key[0]]} → {NAMES[key[1]]}"


def pairings(results):
    """One row for two places, one column for two implementations."""
    columns = list(dict.fromkeys(key[2:] for key in results))
    yield "| server in | client in | " + " | ".join(map(whose, columns)) + " |"
    yield "|---|---|" + "---|" * len(columns)
    for places in dict.fromkeys(key[:2] for key in results):
        cells = ["works" if results[places + column] else "**fails**" for column in columns]
        yield f"| {sides(*places)} | " + " | ".join(cells) + " |"


def speed(results):
    """One row for each measurement."""
    yield "| server in | client in | server → client | MiB/s | events per MiB | round trip, µs |"
    yield "|---|---|---|---|---|---|"
    for key, figures in results.items():
        cells = f"{figures['MiB/s']:.1f} | {figures['events per MiB']:.2f} | {figures['round trip us']:.0f}"
        yield f"| {sides(*key[:2])} | {whose(key[2:])} | {cells} |"


def rewrite(path, results):
    """Puts the tables into the file."""
    lines = [BEGIN, "", "Written by `make check-xen`, on Xen 4.17 under QEMU's emulation. Each cell stands for channels "
             "with rings of", "orders 10/11, 12, 16 and 20, both directions at once, every byte compared by SHA-256; "
             "implementations are given as", "server → client.", "", *pairings(results["pairings"]), ""]
    if results.get("speed"):
        lines += ["Measured in the same run, 64 KiB rings; emulated, so that only the comparison counts. Throughput is "
                  "from client to", "server, events are those that both sides sent.", "", *speed(results["speed"]), ""]
    lines.append(END)
    with open(path, encoding="utf-8") as file:
        text = file.read() or HEAD
    if BEGIN in text:
        text = text[:text.index(BEGIN)] + "\n".join(lines) + text[text.index(END) + len(END):]
    else:
        text = text.rstrip("\n") + "\n\n## Pairings on real Xen\n\n" + "\n".join(lines) + "\n"
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
