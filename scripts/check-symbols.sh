#!/bin/sh
# check-symbols.sh LIBRARY LIST: compares what a shared library exports with a list.
set -eu
library=$1 list=$2
found=$(mktemp)
trap 'rm -f "$found"' EXIT
nm -D --defined-only "$library" | awk '{ print $3 }' | sort >"$found"
if ! diff -u "$list" "$found"; then
    echo "check-symbols: $library exports something else than $list says" >&2
    exit 1
fi
soname=$(readelf -d "$library" | sed -n 's/.*(SONAME).*\[\(.*\)\]/\1/p')
if [ "$soname" != libvchan-rs.so.0 ]; then
    echo "check-symbols: the SONAME of $library is '$soname', not libvchan-rs.so.0" >&2
    exit 1
fi
