#!/bin/sh
# Installs into a temporary directory and uses everything from there like a program's author: pkg-config, shared and
# static linking, the library in place of Xen's, vchan-run; then uninstalls and checks for leftovers.
set -eu
here=$(CDPATH="" cd -- "$(dirname -- "$0")/.." && pwd)
cd "$here"
MAKE=${MAKE:-make} CC=${CC:-cc}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -m 700 "$work/root"
# Accessible to the program that runs as another user.
chmod 755 "$work"
export VCHAN_TRANSPORT=unix XEN_ROOT="$work/root"
unset MAKEFLAGS MAKELEVEL LD_LIBRARY_PATH LD_PRELOAD

fail() {
    echo "check-install: $1" >&2
    exit 1
}
step() {
    echo "check-install: $1"
}
# Runs a program, whose only output on either stream must be that of smoke.
runs_well() {
    said=$("$@" 2>&1) || fail "$* failed: $said"
    [ "$said" = 'smoke: all well' ] || fail "$* said: $said"
}
loads() {
    ldd "$1" | grep -q "$2" || fail "$1 does not load $2: $(ldd "$1")"
}

step 'install, and build with pkg-config'
$MAKE --no-print-directory --quiet install DESTDIR="$work/stage" PREFIX=/opt/v LIBDIR=/opt/v/lib/multi
# The tree is relocatable.
mv "$work/stage/opt/v" "$work/moved"
lib=$work/moved/lib/multi
export PKG_CONFIG_PATH="$lib/pkgconfig"
# shellcheck disable=SC2046
{
    $CC -Wall -Wextra -Werror -o "$work/shared" tests-c/capi/smoke.c $(pkg-config --cflags --libs vchan-rs)
    $CC -Wall -Wextra -Werror -static -o "$work/static" tests-c/capi/smoke.c \
        $(pkg-config --static --cflags --libs vchan-rs) 2>"$work/warnings"
    $CC -Wall -Wextra -Werror -o "$work/archive" tests-c/capi/smoke.c \
        $(pkg-config --static --cflags --libs vchan-rs | sed 's/-lvchan-rs/-l:libvchan-rs.a/')
}
# glibc warns of functions that load parts of it at run time; without Xen's libraries nothing calls them.
grep -v -e 'in statically linked applications' -e 'in function' "$work/warnings" && fail 'the static link had warnings'
readelf -d "$work/shared" | grep -q 'NEEDED.*libvchan-rs.so.0' || fail 'the program does not need libvchan-rs.so.0'
nm -D "$work/shared" | grep -q 'libxenvchan_read@VCHAN_RS_0$' || fail "the program does not reference the library's own functions"
export LD_LIBRARY_PATH="$lib"
loads "$work/shared" "$lib/libvchan-rs.so.0"
runs_well "$work/shared"
unset LD_LIBRARY_PATH
runs_well "$work/static"
runs_well "$work/archive"

step 'install where there is no cargo'
$MAKE --no-print-directory --quiet install CARGO=no-cargo DESTDIR="$work/again" PREFIX=/opt/v LIBDIR=/opt/v/lib/multi >/dev/null
diff -r "$work/again/opt/v" "$work/moved" || fail 'the installed files differ'
rm -r "$work/again"
if $MAKE --no-print-directory --quiet install CARGO=no-cargo CARGO_TARGET_DIR="$work/none" DESTDIR="$work/no" >/dev/null 2>&1; then
    fail 'make install succeeded without a build'
fi

step 'the tools'
for cat in unixcat unixcat-c; do
    "$work/moved/bin/$cat" --quiet -l --recv-only --timeout 60 0 tools >"$work/received" &
    echo word | "$work/moved/bin/$cat" --quiet --wait=60 0 tools || fail "$cat failed as a client"
    wait $! || fail "$cat failed as a server"
    [ "$(cat "$work/received")" = word ] || fail "$cat did not transfer the word"
done
for cat in xencat xencat-c; do
    "$work/moved/bin/$cat" --version | grep -q "^$cat " || fail "$cat does not run"
done

compat() {
    $MAKE --no-print-directory --quiet install-compat XEN="$1" DESTDIR="$work/compat-$1" PREFIX=/usr LIBDIR=/usr/lib
    compat=$work/compat-$1/usr/lib
    readelf -d "$compat/libxenvchan.so.$1" | grep -q "SONAME.*\[libxenvchan.so.$1\]" || fail "SONAME for Xen $1"
    # The original's functions, with or without the node; nothing else.
    sed -n "/^vchan_rs_/!s/\$/$2/p" capi/symbols.txt >"$work/expected"
    nm -D --defined-only "$compat/libxenvchan.so.$1" | awk '$2 == "T" { print $3 }' | sort >"$work/found"
    diff -u "$work/expected" "$work/found" || fail "the symbols for Xen $1"
}

step 'in place of the library of Xen 4.14, 4.17, 4.19'
compat 4.14 ''
compat 4.19 '@@libxenvchan_4.19.0'
compat 4.17 '@@VERS_4.17.0'
if $MAKE --no-print-directory --quiet install-compat XEN=4 DESTDIR="$work/no" >/dev/null 2>&1; then
    fail 'install-compat accepted 4 as a version'
fi
# shellcheck disable=SC2046
PKG_CONFIG_PATH=$compat/pkgconfig $CC -o "$work/relinked" tests-c/capi/smoke.c \
    $(PKG_CONFIG_PATH=$compat/pkgconfig pkg-config --cflags --libs xenvchan)
LD_LIBRARY_PATH=$compat runs_well "$work/relinked"

if [ -e /usr/include/libxenvchan.h ]; then
    step "a program built with Xen's own header and library: the file replaced, preloaded, vchan-run"
    $CC -o "$work/foreign" tests-c/capi/smoke.c -lxenvchan
    xen=$(readelf -d "$work/foreign" | sed -n 's/.*NEEDED.*\[libxenvchan\.so\.\(.*\)\]/\1/p')
    [ "$xen" = 4.17 ] || compat "$xen" "@@$(nm -D "$work/foreign" | sed -n 's/.*libxenvchan_close@\(.*\)/\1/p')"
    export LD_LIBRARY_PATH="$compat"
    loads "$work/foreign" "$compat/libxenvchan.so.$xen"
    ldd "$work/foreign" | grep -q -e libxengnttab -e libxenevtchn -e libxenstore && fail 'Xen libraries are still needed'
    runs_well "$work/foreign"
    unset LD_LIBRARY_PATH
    LD_PRELOAD="$lib/libvchan-rs-preload.so" runs_well "$work/foreign"
    run=$work/moved/bin/vchan-run
    unset VCHAN_TRANSPORT
    runs_well "$run" "$work/foreign"
    VCHAN_RS_LIB=$lib/libvchan-rs-preload.so runs_well "$run" --transport=unix -- "$work/foreign"
    VCHAN_RS_LIB=$lib/libvchan-rs.so.0 runs_well "$run" --transport=unix -- "$work/foreign"
    # A vchan-rs program needs no other library for it, and prints nothing.
    LD_LIBRARY_PATH=$lib runs_well "$run" --transport=unix "$work/shared"
    cp "$lib/libvchan-rs.so.0" "$work/alone"
    if VCHAN_RS_LIB=$work/alone "$run" true 2>/dev/null; then fail 'vchan-run accepted a library that can not be preloaded'; fi
    scripts/check-vchan-run.sh "$run"
else
    echo "check-install: Xen's header is not installed (libxen-dev): no foreign program was built" >&2
fi

step 'uninstall'
mkdir -p "$work/stage/opt"
mv "$work/moved" "$work/stage/opt/v"
$MAKE --no-print-directory --quiet uninstall DESTDIR="$work/stage" PREFIX=/opt/v LIBDIR=/opt/v/lib/multi
left=$(find "$work/stage" ! -type d)
[ -z "$left" ] || fail "leftover files: $left"
left=$(find "$work/root" -mindepth 1)
[ -z "$left" ] || fail "leftover files of the programs: $left"
echo 'check-install: all well'
