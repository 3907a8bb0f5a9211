#!/bin/bash
# The requirements of `make check`.
#
#   needs.sh            fails, with one line to copy, if something required is missing
#   needs.sh skipped    prints what was skipped for lack of a program
#   needs.sh packages   prints the Debian packages of all that, and of the tests on Xen
#
# Checks for programs and files, not packages, so it also works on other distributions; the line is for Debian.
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
# PROGRAM-OR-FILE PACKAGE WHAT IS SKIPPED WITHOUT IT
optional='valgrind valgrind the C programs of check-capi under valgrind
strace strace the count of system calls of a crowded root
mandoc mandoc the check of the manual pages
shellcheck shellcheck the check of the shell scripts
codespell codespell the spelling check
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
            is_there "$found" || echo "SKIPPED, $package is missing: $what"
        done <<<"$optional"
        ;;
    '')
        lacking=$(missing <<<"$required")
        if [ -n "$lacking" ]; then
            echo "make check: missing packages: apt-get install -y$lacking$(missing <<<"$optional")" >&2
            exit 1
        fi
        cargo=${CARGO:-cargo}
        minimum=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
        if ! version=$($cargo --version 2>/dev/null); then
            echo "make check requires Rust $minimum or newer; install it from https://rustup.rs" >&2
            exit 1
        fi
        version=$(cut -d' ' -f2 <<<"$version")
        if [ "$(printf '%s\n' "$minimum" "$version" | sort -V | head -1)" != "$minimum" ]; then
            echo "make check needs Rust $minimum or newer, and $cargo is $version: rustup update stable" >&2
            exit 1
        fi
        lacking=$(missing <<<"$optional")
        if [ -n "$lacking" ]; then echo "make check: some tests are skipped; for all: apt-get install -y$lacking"; fi
        ;;
    *)
        echo "needs.sh: unknown argument $1" >&2
        exit 64
        ;;
esac
