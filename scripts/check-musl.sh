#!/bin/sh
# check-musl.sh DIRECTORY: the tools for musl, which are in DIRECTORY, are what they are to be; then the end-to-end suite
# with one of them on one side and a tool for the usual C library on the other.
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
    readelf -hW "$file" | grep -q 'Type: *DYN' || fail "$file can't be loaded at any address"
    ! readelf -lW "$file" | grep -q INTERP || fail "$file asks for a loader"
    ! readelf -dW "$file" | grep -q NEEDED || fail "$file needs a library"
    "$file" --version | grep -q "^$tool " || fail "$file does not run"
done
suite() {
    echo "check-musl: $1"
    shift
    # More threads than processors: most of these tests wait for something most of the time.
    env "$@" XENCAT="$directory/xencat" RUST_TEST_THREADS="${RUST_TEST_THREADS:-4}" \
        ${CARGO:-cargo} test --quiet -p vchan-cats --test '*'
}
suite 'a server on musl' UNIXCAT_SERVER="$directory/unixcat"
suite 'clients on musl' UNIXCAT_CLIENT="$directory/unixcat"
