#!/bin/sh
# Regenerates the headers and compares; compiles them alone and together with Xen's, in each language; compares sizes
# and offsets with Xen's own header if installed.
set -eu
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
CC=${CC:-cc} CXX=${CXX:-c++}

mkdir "$work/new"
VCHAN_RS_HEADERS=$work/new ${CARGO:-cargo} build --quiet --release -p vchan-rs-capi --features headers
for header in libxenvchan.h vchan-rs.h; do
    if ! diff -u "include/$header" "$work/new/$header"; then
        echo "check-headers: include/$header does not match capi/: run 'make headers'" >&2
        exit 1
    fi
done

try() {
    compiler=$1 suffix=$2
    shift 2
    $compiler "$@" -Wall -Wextra -Werror -pedantic -Iinclude -fsyntax-only "$work/try.$suffix"
}
for header in libxenvchan.h vchan-rs.h; do
    for suffix in c cc; do
        printf '#include <%s>\n#include <%s>\nint main(void) { return 0; }\n' $header $header >"$work/try.$suffix"
    done
    for xen in -DVCHAN_RS_NO_XEN_HEADERS -DWITH_XEN_IF_THERE; do
        try "$CC" c -std=c99 $xen
        try "$CC" c -std=c11 $xen
        try "$CXX" cc -std=c++17 $xen
    done
done

if [ -e /usr/include/libxenvchan.h ]; then
    for xen in xenevtchn.h xengnttab.h xentoollog.h xenctrl.h xen/io/libxenvchan.h; do
        printf '#include <%s>\n#include <vchan-rs.h>\nint main(void) { return 0; }\n' $xen >"$work/try.c"
        $CC -std=gnu11 -Wall -Wextra -Werror -Iinclude -fsyntax-only "$work/try.c"
    done
    # Not xenctrl.h: it must precede all of Xen's other headers, as with Xen's own libxenvchan.h.
    for xen in xenevtchn.h xengnttab.h xentoollog.h; do
        printf '#include <vchan-rs.h>\n#include <%s>\nint main(void) { return 0; }\n' $xen >"$work/try.c"
        $CC -std=gnu11 -Wall -Wextra -Werror -Iinclude -fsyntax-only "$work/try.c"
    done
    $CC -o "$work/theirs" tests-c/capi/layout.c
    $CC -DVCHAN_RS_NO_XEN_HEADERS -Iinclude -o "$work/ours" tests-c/capi/layout.c
    "$work/theirs" >"$work/theirs.txt"
    "$work/ours" >"$work/ours.txt"
    if ! diff -u "$work/theirs.txt" "$work/ours.txt"; then
        echo "check-headers: sizes or offsets differ from those of Xen's header" >&2
        exit 1
    fi
else
    echo 'check-headers: Xen'\''s header is not installed (libxen-dev): layout not compared' >&2
fi
