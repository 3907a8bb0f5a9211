#!/bin/sh
# check-symbols.sh LIBRARY LIST SONAME VERSION: compares the exported symbols of a shared library with a list of names;
# each is followed by VERSION, such as @@VCHAN_RS_0, which may be empty.
set -eu
library=$1 list=$2 soname=$3 version=$4
found=$(mktemp)
trap 'rm -f "$found"' EXIT
nm -D --defined-only "$library" | awk '$2 != "A" { print $3 }' | sort >"$found"
if ! sed "s/\$/$version/" "$list" | diff -u - "$found"; then
    echo "check-symbols: $library exports other symbols than $list, each with '$version'" >&2
    exit 1
fi
said=$(readelf -d "$library" | sed -n 's/.*(SONAME).*\[\(.*\)\]/\1/p')
if [ "$said" != "$soname" ]; then
    echo "check-symbols: the SONAME of $library is '$said', not $soname" >&2
    exit 1
fi
