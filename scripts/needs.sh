#!/bin/bash
# What `make check` needs of the machine.
#
#   needs.sh            fails, with one line to copy, where something is missing that the tests can't do without
#   needs.sh skipped    prints what was left out for want of a program
#   needs.sh packages   prints the Debian packages of all that, and of the tests on Xen
#
# Looks for programs and files rather than packages, so it also works on other distributions; the line is for Debian.
set -euo pipefail
cd "$(dirname "$0")/.."

# PROGRAM-OR-FILE PACKAGE
required='cc gcc
c++ g++
make make
pkg-config pkg-config
python3 python3
readelf binutils
/usr/include/xenctrl.h libxen-dev'
# PROGRAM-OR-FILE PACKAGE WHAT IS LEFT OUT WITHOUT IT
optional='valgrind valgrind the C programs of check-capi under valgrind
strace strace the count of system calls of a crowded root
mandoc mandoc the check of the manual pages
/usr/lib/xen-4.17/bin/xenstored xen-utils-4.17 the tests against the real xenstored, and vchan-socket-proxy'

is_there() {
    case $1 in
        /*) [ -e "$1" ] ;;
        *) command -v "$1" >/dev/null ;;
    esac
}

missing() {
    local found package
    while read -r found package _; do
        is_there "$found" || printf ' %s' "$package"
    done
}

case ${1:-} in
    packages)
        awk '{ printf "%s ", $2 } END { print "cpio lz4" }' <<<"$required
$optional"
        ;;
    skipped)
        while read -r found package what; do
            is_there "$found" || echo "SKIPPED, for want of $package: $what"
        done <<<"$optional"
        ;;
    '')
        lacking=$(missing <<<"$required")
        if [ -n "$lacking" ]; then
            echo "make check needs what is not here: apt-get install -y$lacking$(missing <<<"$optional")" >&2
            exit 1
        fi
        cargo=${CARGO:-cargo}
        minimum=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
        if ! version=$($cargo --version 2>/dev/null); then
            echo "make check needs Rust $minimum or newer; https://rustup.rs installs it" >&2
            exit 1
        fi
        version=$(cut -d' ' -f2 <<<"$version")
        if [ "$(printf '%s\n' "$minimum" "$version" | sort -V | head -1)" != "$minimum" ]; then
            echo "make check needs Rust $minimum or newer, and $cargo is $version: rustup update stable" >&2
            exit 1
        fi
        lacking=$(missing <<<"$optional")
        if [ -n "$lacking" ]; then echo "make check: leaves some tests out; for all: apt-get install -y$lacking"; fi
        ;;
    *)
        echo "needs.sh: unknown argument $1" >&2
        exit 64
        ;;
esac
