#!/bin/bash
# The crate xenstore-rs is GPL-3.0-only. Only builds with the feature of that name may contain it, not the
# installed C
# library. Checks cargo's dependency tree of each artefact, and the files themselves.
# Argument: the directory of the built files.
set -euo pipefail
cd "$(dirname "$0")/.."
built=${1:?which directory}
fail() {
    echo "check-no-gpl: $1" >&2
    exit 1
}
has_crate() { # PACKAGE OPTION...
    cargo tree -p "$1" -e normal --prefix none "${@:2}" | grep '^xenstore-rs ' >/dev/null
}
# Panic messages contain the paths of a crate's sources.
has_code() { # FILE
    grep -F -a '/xenstore-rs-' "$1" >/dev/null
}
for package in vchan-rs vchan-cats; do
    has_crate $package || fail "$package has no xenstore-rs by default: is this check still valid?"
    ! has_crate $package --no-default-features || fail "$package contains xenstore-rs without the feature"
done
! has_crate vchan-xenstore || fail 'vchan-xenstore contains xenstore-rs'
! has_crate vchan-rs-capi || fail 'the C library contains xenstore-rs'
has_crate vchan-rs-capi --features xenstore-rs || fail 'the C library has no xenstore-rs with the feature'
has_code "$built/xencat" || fail "$built/xencat contains no xenstore-rs: is this check still valid?"
for file in libvchan_rs.a libvchan_rs.so lib/libvchan-rs.so.0 lib/libvchan-rs-preload.so xencat-c; do
    ! has_code "$built/$file" || fail "$built/$file contains xenstore-rs"
done
echo 'check-no-gpl: the C library is free of xenstore-rs'
