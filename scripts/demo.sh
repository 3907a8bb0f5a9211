#!/bin/bash
# Moves a file of MIB (256) MiB through two unixcat processes and compares the checksums.
set -euo pipefail
cd "$(dirname "$0")/.."
unixcat=${UNIXCAT:-${CARGO_TARGET_DIR:-target}/release/unixcat}
mib=${MIB:-256}
work=$(mktemp -d)
server=
cleanup() {
    if [ -n "$server" ]; then kill "$server" 2>/dev/null && wait "$server" || :; fi
    rm -rf "$work"
}
trap cleanup EXIT
export XEN_ROOT=$work/root
mkdir -m 700 "$XEN_ROOT"

echo "demo: making a file of $mib MiB of random bytes"
head -c "${mib}M" /dev/urandom > "$work/sent"

echo "demo: unixcat -l 1 demo > received   (server, domain 0)"
VCHAN_DOMID=0 "$unixcat" -l 1 demo --recv-only --buffer-size 1M > "$work/received" &
server=$!
echo "demo: unixcat 0 demo < sent          (client, domain 1)"
begun=$(date +%s%N)
VCHAN_DOMID=1 "$unixcat" 0 demo --wait=30 < "$work/sent"
wait "$server"
server=
ended=$(date +%s%N)

sent=$(sha256sum < "$work/sent")
received=$(sha256sum < "$work/received")
echo "sent     $sent"
echo "received $received"
[ "$sent" = "$received" ] || { echo "demo: THE FILES DIFFER"; exit 1; }
echo "demo: identical, $((mib * 1000000000 / (ended - begun))) MiB/s with start and end of both programs"
