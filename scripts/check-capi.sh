#!/bin/sh
# check-capi.sh LIBRARY: C programs over the shared library, on the Unix transport. SANITIZE=address,undefined builds
# the programs (not the library) with these sanitizers, without valgrind. VALGRIND=none omits it, too.
set -eu
here=$(CDPATH="" cd -- "$(dirname -- "$0")/.." && pwd)
library=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
CC=${CC:-cc}
SANITIZE=${SANITIZE:-}

cp "$library" "$work/libvchan-rs.so.0"
mkdir -m 700 "$work/root"
export VCHAN_TRANSPORT=unix XEN_ROOT="$work/root" LD_LIBRARY_PATH="$work"
build() {
    name=$1
    shift
    $CC -std=gnu11 -D_GNU_SOURCE -g -Wall -Wextra -Werror \
        ${SANITIZE:+"-fsanitize=$SANITIZE" -fno-sanitize-recover=all} -I"$here/include" -o "$work/$name" "$here/tests-c/capi/$name.c" \
        "$work/libvchan-rs.so.0" -lpthread "$@"
}

build smoke
build extensions
build ending
build half_close
build cancel
build handlers
build hostile
build many
build interrupted
build destructors
"$work/smoke"
"$work/extensions"
"$work/ending"
"$work/half_close"
"$work/cancel"
timeout 60 "$work/handlers"
"$work/hostile" 400
"$work/many"
"$work/interrupted"
"$work/destructors"
if [ -z "$SANITIZE" ]; then
    # It replaces the allocator, as the sanitizers do.
    build allocations
    "$work/allocations"
    build busy
    "$work/busy"
    # The sanitizers handle SIGBUS themselves.
    build bus -ldl
    cp "$library" "$work/copy.so"
    "$work/bus" "$work/copy.so"
fi
if [ "$(find "$work/root" -mindepth 1)" ]; then
    echo 'check-capi: leftover files of the programs:' >&2
    find "$work/root" >&2
    exit 1
fi

if [ -e /usr/include/xentoollog.h ]; then
    build logger -lxentoollog
    said=$("$work/logger")
    case $said in
        *silent*) problem='what no logger was passed for' ;;
        *vchan:*/vchan/told*) problem= ;;
        *) problem='something else' ;;
    esac
    if [ -n "$problem" ]; then
        echo "check-capi: the logger got $problem: $said" >&2
        exit 1
    fi
fi

if [ -z "$SANITIZE" ] && command -v "${VALGRIND:-valgrind}" >/dev/null; then
    for program in smoke extensions ending half_close 'cancel 5' 'hostile 20' interrupted destructors; do
        "${VALGRIND:-valgrind}" --quiet --error-exitcode=9 --leak-check=full --show-leak-kinds=definite,indirect,possible \
            --errors-for-leak-kinds=definite,indirect --child-silent-after-fork=yes "$work/"$program
    done
fi
