#!/bin/sh
# link-compat.sh VERSION STATIC-LIBRARY OUTPUT: links the static library as libxenvchan.so.VERSION, with the SONAME and
# the symbol version node of Xen's own library of that version (4.14 and older: no node).
set -eu
if [ $# -ne 3 ]; then
    echo 'usage: link-compat.sh VERSION STATIC-LIBRARY OUTPUT' >&2
    exit 2
fi
version=$1 archive=$2 output=$3

case $version in
    4.*[!0-9]* | 4.) minor= ;;
    4.*) minor=${version#4.} ;;
    *) minor= ;;
esac
if [ -z "$minor" ]; then
    echo "link-compat.sh: $version is no version of Xen's library: say 4.N, as in 4.17" >&2
    exit 2
fi
if [ "$minor" -le 14 ]; then
    node=
elif [ "$minor" -le 17 ]; then
    node=VERS_$version.0
else
    node=libxenvchan_$version.0
fi

symbols=$(sed -n '/^vchan_rs_/!p' "$(dirname "$0")/../capi/symbols.txt")
script=$(mktemp)
trap 'rm -f "$script"' EXIT
{
    echo "$node {"
    echo 'global:'
    printf '%s;\n' $symbols
    echo 'local: *;'
    echo '};'
} >"$script"
# shellcheck disable=SC2046
"${CC:-cc}" -shared -o "$output" -Wl,-soname,"libxenvchan.so.$version" -Wl,--version-script="$script" \
    -Wl,--gc-sections -Wl,--no-undefined $(printf ' -Wl,-u,%s' $symbols) "$archive" -lpthread -ldl -lm
