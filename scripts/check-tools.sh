#!/bin/sh
# check-tools.sh DIRECTORY: the end-to-end suite of the tools over their builds in C, with themselves and with those in
# Rust (which with themselves are tested by `cargo test`). The tools in C are in DIRECTORY.
set -eu
cd "$(dirname "$0")/.."
c=$1/unixcat-c
case $c in
    /*) ;;
    *) c=$PWD/$c ;;
esac
suite() {
    echo "check-tools: $1"
    shift
    # More threads than processors: most of these tests wait for something most of the time.
    env "$@" RUST_TEST_THREADS="${RUST_TEST_THREADS:-4}" ${CARGO:-cargo} test --quiet -p vchan-cats --test '*'
}

suite 'C and C' UNIXCAT_SERVER="$c" UNIXCAT_CLIENT="$c" XENCAT="${c%unixcat-c}xencat-c"
suite 'a server in Rust and clients in C' UNIXCAT_CLIENT="$c"
suite 'a server in C and clients in Rust' UNIXCAT_SERVER="$c"
