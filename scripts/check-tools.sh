#!/bin/sh
# check-tools.sh DIRECTORY: the end-to-end suite over the C tools in DIRECTORY, between each other and with the Rust
# tools (which are tested with each other by `cargo test`).
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
    # Mostly waiting, so more threads than CPUs.
    env "$@" RUST_TEST_THREADS="${RUST_TEST_THREADS:-4}" ${CARGO:-cargo} test --quiet -p vchan-cats --test '*'
}

suite 'C and C' UNIXCAT_SERVER="$c" UNIXCAT_CLIENT="$c" XENCAT="${c%unixcat-c}xencat-c"
suite 'a server in Rust and clients in C' UNIXCAT_CLIENT="$c"
suite 'a server in C and clients in Rust' UNIXCAT_SERVER="$c"
