#!/bin/bash
# both.sh DIRECTORY: this library (from DIRECTORY) and Xen's own, on the shim, in one process, loaded in every order:
# they must not interfere.
set -euo pipefail
library=$(realpath "$1")/libvchan-rs.so.0
cd "$(dirname "$0")/.."
CC=${CC:-cc}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -m 700 "$work/root"
export VCHAN_TRANSPORT=unix XEN_ROOT=$work/root LD_LIBRARY_PATH=$work
cp "$library" "$work/"
flags=(-std=c11 -D_GNU_SOURCE -Wall -Wextra -Werror -g -I../include -Wl,--no-as-needed)
$CC "${flags[@]}" -fPIC -shared -o "$work/ours.so" foreign/user.c "$work/libvchan-rs.so.0"
$CC "${flags[@]}" -fPIC -shared -o "$work/xens.so" foreign/user.c -lxenvchan
$CC "${flags[@]}" -o "$work/neither" foreign/both.c
$CC "${flags[@]}" -o "$work/ours" foreign/both.c "$work/libvchan-rs.so.0"
$CC "${flags[@]}" -o "$work/xens" foreign/both.c -lxenvchan

passed=0 failed=0
ours=("$work/ours.so" libvchan-rs.so) xens=("$work/xens.so" libxenvchan.so)
for program in neither ours xens; do
    for scope in local global; do
        for order in ours-first xens-first; do
            case $order in
                ours-first) objects=("${ours[@]}" "${xens[@]}") ;;
                xens-first) objects=("${xens[@]}" "${ours[@]}") ;;
            esac
            if said=$(shim/xenshim-run "$work/$program" $scope "${objects[@]}" 2>&1) && [ "$said" = 'both: all well' ]; then
                passed=$((passed + 1))
            else
                failed=$((failed + 1))
                echo "not ok: the program is linked with $program, $order, $scope: $said"
            fi
        done
    done
done
if [ -n "$(ls -A "$XEN_ROOT")" ]; then
    echo "not ok: leftover files: $(find "$XEN_ROOT" | tr '\n' ' ')"
    failed=$((failed + 1))
fi
echo "both: $passed passed, $failed failed"
[ $failed = 0 ] && [ $passed = 12 ]
