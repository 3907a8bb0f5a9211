#!/bin/sh
# check-musl.sh DIRECTORY: checks the musl tools in DIRECTORY; then runs the end-to-end suite with a musl tool on one
# side and a tool for the system's C library on the other.
set -eu
directory=$(realpath "$1")
cd "$(dirname "$0")/.."
fail() {
    echo "check-musl: $1" >&2
    exit 1
}
for tool in unixcat xencat; do
    file=$directory/$tool
    [ -x "$file" ] || fail "there is no $file"
    readelf -hW "$file" | grep -q 'Type: *DYN' || fail "$file is not position-independent"
    ! readelf -lW "$file" | grep -q INTERP || fail "$file needs a dynamic loader"
    ! readelf -dW "$file" | grep -q NEEDED || fail "$file needs a library"
    "$file" --version | grep -q "^$tool " || fail "$file does not run"
done
suite() {
    echo "check-musl: $1"
    shift
    # Mostly waiting, so more threads than CPUs.
    env "$@" XENCAT="$directory/xencat" RUST_TEST_THREADS="${RUST_TEST_THREADS:-4}" \
        ${CARGO:-cargo} test --quiet -p vchan-cats --test '*'
}
suite 'a server on musl' UNIXCAT_SERVER="$directory/unixcat"
suite 'clients on musl' UNIXCAT_CLIENT="$directory/unixcat"
