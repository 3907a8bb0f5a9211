"""Programs made for libxenvchan: Debian's vchan-socket-proxy, in both modes, against the test program."""

BYTES = 300007
USR1 = 10


def proxy_start(lab, place, implementation, mode, peer, path):
    """The proxy on standard input and output. It ends with its input, so that stays open after the data."""
    proxy = lab.peers.command(implementation, f"vchan-socket-proxy --mode={mode} {lab.guests.domid(peer)} {path} -")
    lab.machine.output(place, f"cd /run; rm -f hold; mkfifo hold; head -c {BYTES} /dev/urandom >proxy.in")
    return lab.machine.shell(place, "cd /run; exec 3<>hold; { cat proxy.in; read -r _ <hold; } 3<&- | "
                                    f"{{ {proxy} 3<&- >proxy.out; echo proxy=$?; echo >&3; }}")


def proxy_completed(lab, place, proxy, peer, from_server):
    """Both directions, then the peer leaves and the proxy follows."""
    peer.sees("state idle")
    lab.machine.output(place, f"i=0; until [ $(wc -c </run/proxy.out) = {BYTES} ] || [ $i = 600 ]; do "
                              "sleep 0.1; i=$((i + 1)); done")
    sums = lab.machine.output(place, "cd /run; sha256sum <proxy.in; sha256sum <proxy.out").split()
    lab.same("what the peer received", f"{BYTES} {sums[0]}", peer.value("received"))
    lab.same("what the proxy received", lab.peers.digest(from_server, BYTES), f"{BYTES} {sums[2]}")
    peer.signal(USR1)
    peer.must_end()
    proxy.sees("proxy=")
    proxy.wait()


def proxy_server(lab, place, peer_place, who):
    """The proxy is the server."""
    lab.empty_directories = who[0] == "original"
    path = lab.peers.path(place, peer_place, "proxy")
    proxy = proxy_start(lab, place, who[0], "server", peer_place, path)
    peer = lab.peers.client(peer_place, place, "proxy", who[1],
                            f"--retry 60 --send {BYTES} --receive {BYTES} --end idle")
    proxy_completed(lab, place, proxy, peer, False)
    lab.machine.output("dom0", f"! xenstore-exists {path}/ring-ref")


def proxy_client(lab, place, peer_place, who):
    """The proxy is the client."""
    lab.empty_directories = who[1] == "original"
    peer = lab.peers.server(peer_place, place, "proxy", who[1], f"--send {BYTES} --receive {BYTES} --end idle")
    peer.sees("listening")
    path = lab.peers.path(peer_place, place, "proxy")
    proxy_completed(lab, place, proxy_start(lab, place, who[0], "client", peer_place, path), peer, True)


def tests(lab):
    lab.guests.need(pv1="pv", pv2="pv")
    for who in lab.peers.pairs_of_interest():
        for place, peer in (("dom0", "pv1"), ("pv1", "dom0"), ("pv1", "pv2")):
            sides = f"in {place} {who[0]}, peer in {peer} {who[1]}"
            lab.check(f"vchan-socket-proxy as server: {sides}", proxy_server, place, peer, who)
            lab.check(f"vchan-socket-proxy as client: {sides}", proxy_client, place, peer, who)
