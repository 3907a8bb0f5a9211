#!/bin/sh
# check-vchan-run.sh VCHAN-RUN: runs programs built for Xen's own library with that vchan-run, in typical environments.
# Needs Xen's header and library (libxen-dev).
set -eu
run=$(realpath "$1")
here=$(CDPATH="" cd -- "$(dirname -- "$0")/.." && pwd)
cd "$here"
CC=${CC:-cc}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -m 700 "$work/root"
export XEN_ROOT="$work/root"
unset LD_LIBRARY_PATH LD_PRELOAD VCHAN_TRANSPORT VCHAN_RS_LIB

fail() {
    echo "check-vchan-run: $1" >&2
    exit 1
}
# says EXPECTED COMMAND...: its only output, on either stream, is EXPECTED, and it succeeds.
says() {
    expected=$1
    shift
    said=$("$@" 2>&1) || fail "$* failed: $said"
    [ "$said" = "$expected" ] || fail "$* said: $said"
}
# refuses WORDS COMMAND...: it exits with 2, and prints one line that contains WORDS.
refuses() {
    words=$1 code=0
    shift
    said=$("$@" 2>&1) || code=$?
    [ "$code" = 2 ] || fail "$* exited with $code: $said"
    [ "$(echo "$said" | wc -l)" = 1 ] || fail "$* printed more than one line: $said"
    case $said in
        "vchan-run: "*"$words"*) ;;
        *) fail "$* said: $said" ;;
    esac
}
well='smoke: all well'

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml)
says "vchan-run $version (vchan-rs)" "$run" --version
says "vchan-run $version (vchan-rs)" "$run" -V
"$run" --help | grep -q '^usage: vchan-run' || fail 'vchan-run --help'
refuses 'unknown transport tcp' "$run" --transport tcp true
refuses 'unknown option --nonsense' "$run" --nonsense true
refuses 'needs a transport' "$run" --transport
refuses 'no program given' "$run"
VCHAN_RS_LIB=/nowhere refuses 'does not exist' "$run" true

$CC -o "$work/foreign" tests-c/capi/smoke.c -lxenvchan
says "$well" "$run" --transport unix "$work/foreign"
says "$well" "$run" "$work/foreign" /vchan/other
says "$well" "$run" --transport=unix -- "$work/foreign"
PATH=$work:$PATH says "$well" "$run" foreign

# Built with the address sanitizer, which must be the first library; also from a script, or with its run-time already
# preloaded.
$CC -g -fsanitize=address -o "$work/asan" tests-c/capi/smoke.c -lxenvchan
printf '#!/bin/sh\nexec "%s" "$@"\n' "$work/asan" >"$work/asan.sh"
chmod +x "$work/asan.sh"
asan=$(ldd "$work/asan" | sed -n 's/.* => \(.*libasan[^ ]*\) .*/\1/p')
[ -n "$asan" ] || fail 'no program with a shared libasan can be built'
says "$well" "$run" "$work/asan"
says "$well" "$run" "$work/asan.sh"
LD_PRELOAD=$asan says "$well" "$run" "$work/asan"
says "$well" env ASAN_OPTIONS=detect_leaks=0 "$run" "$work/asan.sh"

# Another library is preloaded.
export INTERPOSED="$work/interposed"
$CC -std=c11 -Wall -Wextra -Werror -shared -fPIC -o "$work/interposer.so" tests-c/foreign/interposer.c -ldl
for program in foreign asan; do
    : >"$INTERPOSED"
    says "$well" env LD_PRELOAD="$work/interposer.so" "$run" "$work/$program"
    grep -q closed "$INTERPOSED" || fail "the library preloaded before $program was not called"
done
xens=$(ldd "$work/foreign" | sed -n 's/.*libxenvchan.* => \([^ ]*\) .*/\1/p')
says "$well" env LD_PRELOAD="$xens" "$run" "$work/foreign"
says "$well" env LD_PRELOAD="$work/interposer.so $xens:$xens" "$run" "$work/foreign"
says "$well" "$run" "$run" "$work/foreign"

# Loaded by name at run time: the installed library or another.
$CC -std=c11 -Wall -Wextra -Werror -o "$work/by_name" tests-c/foreign/by_name.c -ldl
for name in libxenvchan.so libxenvchan.so.4.8 libxenvchan.so.4.14 libxenvchan.so.4.17 libxenvchan.so.4.20 libxenvchan.so.4.17.0; do
    says 'by_name: all well' "$run" "$work/by_name" "$name"
done
says 'by_name: all well' env LD_LIBRARY_PATH=/nowhere "$run" "$work/by_name" libxenvchan.so

# Linked with a version that is not installed here.
for xen in 4.14 4.17 4.19 4.20; do
    scripts/link-library.sh "$xen" "${CARGO_TARGET_DIR:-target}/release/libvchan_rs.a" "$work/libxenvchan.so.$xen"
    $CC -o "$work/other" tests-c/capi/smoke.c "$work/libxenvchan.so.$xen"
    rm "$work/libxenvchan.so.$xen"
    says "$well" "$run" "$work/other"
done

# Programs for which the system ignores preloads.
if [ "$(id -u)" = 0 ]; then
    cp "$work/foreign" "$work/as-nobody"
    chown nobody "$work/as-nobody"
    chmod 4755 "$work/as-nobody"
    refuses 'is set-user-ID' "$run" "$work/as-nobody"
    PATH=$work:$PATH refuses 'is set-user-ID' "$run" as-nobody
    chown 0:12345 "$work/as-nobody"
    chmod 2755 "$work/as-nobody"
    refuses 'is set-group-ID' "$run" "$work/as-nobody"
    nobody='setpriv --reuid=65534 --regid=65534 --clear-groups'
    # As another user, if that user can read the script.
    if command -v setcap >/dev/null && command -v getcap >/dev/null && $nobody test -r "$run"; then
        cp "$work/foreign" "$work/capable"
        setcap cap_net_raw=ep "$work/capable"
        chmod 755 "$work"
        # shellcheck disable=SC2086
        refuses 'has capabilities' $nobody "$run" "$work/capable"
    fi
else
    refuses 'is set-user-ID' "$run" su
fi
cp "$work/foreign" "$work/as-myself"
chmod 4755 "$work/as-myself"
says "$well" "$run" "$work/as-myself"

code=0
"$run" "$work/nothing" 2>"$work/said" || code=$?
[ "$code" = 127 ] || fail "a missing program: $code: $(cat "$work/said")"
left=$(find "$work/root" -mindepth 1)
[ -z "$left" ] || fail "leftover files: $left"
echo 'check-vchan-run: all well'
