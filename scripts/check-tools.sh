#!/bin/sh
# check-tools.sh DIRECTORY: one end-to-end suite for all builds of the tools, each with itself and with the other. The
# tools in C are in DIRECTORY, the others are built with the suite.
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
    env "$@" ${CARGO:-cargo} test --quiet -p vchan-cats --test '*'
}

suite 'Rust and Rust'
suite 'C and C' UNIXCAT_SERVER="$c" UNIXCAT_CLIENT="$c" XENCAT="${c%unixcat-c}xencat-c"
suite 'a server in Rust and clients in C' UNIXCAT_CLIENT="$c"
suite 'a server in C and clients in Rust' UNIXCAT_SERVER="$c"
