#!/bin/bash
# The crate xenstore-rs is GPL-3.0-only. It must be only in what is built with the feature of that name: not in the C library as it
# is installed. Looks at what cargo would link into each artefact, and into the files themselves.
# Arguments: the directory of the built files.
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
# The paths of a crate's sources are in the texts of its panics.
has_code() { # FILE
    grep -F -a '/xenstore-rs-' "$1" >/dev/null
}
for package in vchan-rs vchan-cats; do
    has_crate $package || fail "$package has no xenstore-rs by default: is this check still right?"
    ! has_crate $package --no-default-features || fail "$package contains xenstore-rs without the feature"
done
! has_crate vchan-xenstore || fail 'vchan-xenstore contains xenstore-rs'
! has_crate vchan-rs-capi || fail 'the C library contains xenstore-rs'
has_crate vchan-rs-capi --features xenstore-rs || fail 'the C library has no xenstore-rs with the feature'
has_code "$built/xencat" || fail "$built/xencat shows no xenstore-rs: is this check still right?"
for file in libvchan_rs.a libvchan_rs.so lib/libvchan-rs.so.0 lib/libvchan-rs-preload.so xencat-c; do
    ! has_code "$built/$file" || fail "$built/$file contains xenstore-rs"
done
echo 'check-no-gpl: the C library is free of xenstore-rs'
