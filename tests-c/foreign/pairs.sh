#!/bin/bash
# pairs.sh LIBRARY RUST-UNIXCAT C-UNIXCAT TRANSFER: moves MIB (default 1024) MiB from every sender to every receiver of
# {the Rust tool, the C tool, a program for Xen's library with vchan-rs preloaded}, and compares checksums. The receiver
# is the server.
set -euo pipefail
library=$(realpath "$1") rust=$(realpath "$2") c=$(realpath "$3") foreign=$(realpath "$4")
mib=${MIB:-1024}
work=$(mktemp -d -p /dev/shm)
server=
cleanup() {
    if [ -n "$server" ]; then kill "$server" 2>/dev/null || :; fi
    rm -rf "$work"
}
trap cleanup EXIT
export VCHAN_TRANSPORT=unix XEN_ROOT=$work/root
mkdir -m 700 "$XEN_ROOT"
path=/local/domain/0/data/vchan/1/pairs
# Repeats a MiB of random bytes, each time with a number in front: fast, and all blocks differ.
head -c 1048568 /dev/urandom >"$work/block"
data() { for ((i = 0; i < mib; i++)); do printf '%08d' "$i"; cat "$work/block"; done; }
want=$(data | sha256sum)

receive() {
    case $1 in
        rust) "$rust" --quiet --listen --recv-only --path $path 1 ;;
        c) "$c" --quiet --listen --recv-only --path $path 1 ;;
        foreign) LD_PRELOAD=$library "$foreign" receive server 1 $path ;;
    esac
}
sending() {
    case $1 in
        rust) VCHAN_DOMID=1 "$rust" --quiet --wait=60 --path $path 0 ;;
        c) VCHAN_DOMID=1 "$c" --quiet --wait=60 --path $path 0 ;;
        foreign) VCHAN_DOMID=1 LD_PRELOAD=$library "$foreign" send client 0 $path ;;
    esac
}
passed=0 failed=0
for from in rust c foreign; do
    for to in rust c foreign; do
        receive $to | sha256sum >"$work/got" &
        server=$!
        begun=$(date +%s%N)
        status=0
        data | sending $from || status=$?
        wait "$server" || status=$?
        server=
        took=$((($(date +%s%N) - begun) / 1000000))
        if [ $status = 0 ] && [ "$(cat "$work/got")" = "$want" ]; then
            passed=$((passed + 1))
            echo "ok $from to $to: $mib MiB in $took ms, identical"
        else
            failed=$((failed + 1))
            echo "not ok $from to $to: status $status, got $(cat "$work/got"), want $want"
        fi
    done
done
if [ -n "$(ls -A "$XEN_ROOT")" ]; then
    echo "not ok: leftover files: $(find "$XEN_ROOT" | tr '\n' ' ')"
    failed=$((failed + 1))
fi
echo "pairs: $passed passed, $failed failed"
[ $failed = 0 ] && [ $passed = 9 ]
