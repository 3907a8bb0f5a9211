#!/bin/sh
# link-library.sh KIND STATIC-LIBRARY OUTPUT: links the static library as a shared one. rustc links one as well,
# but can't
# give its symbols a version node. KIND is
#
#   normal    libvchan-rs.so.0, for programs linked with it. It has its own node: references of Xen's library to
# its own
#             functions in the same process stay with Xen's library.
#   preload   libvchan-rs-preload.so, for LD_PRELOAD: without a node it satisfies references to any.
#   4.N       libxenvchan.so.4.N, with the node of Xen's own library of that version (4.14 and older: none).
set -eu
if [ $# -ne 3 ]; then
    echo 'usage: link-library.sh normal|preload|4.N STATIC-LIBRARY OUTPUT' >&2
    exit 2
fi
kind=$1 archive=$2 output=$3
here=$(dirname "$0")/..

symbols=$(cat "$here/capi/symbols.txt")
case $kind in
    normal)
        major=$(sed -n 's/^version = "\([0-9]*\)\..*/\1/p' "$here/Cargo.toml")
        soname=libvchan-rs.so.$major
        node=VCHAN_RS_$major
        ;;
    preload)
        soname=libvchan-rs-preload.so
        node=
        ;;
    *)
        case $kind in
            4.*[!0-9]* | 4.) minor= ;;
            4.*) minor=${kind#4.} ;;
            *) minor= ;;
        esac
        if [ -z "$minor" ]; then
            echo "link-library.sh: $kind is not a version of Xen's library, expected 4.N, such as 4.17" >&2
            exit 2
        fi
        symbols=$(printf '%s\n' "$symbols" | sed '/^vchan_rs_/d')
        soname=libxenvchan.so.$kind
        if [ "$minor" -le 14 ]; then
            node=
        elif [ "$minor" -le 17 ]; then
            node=VERS_$kind.0
        else
            node=libxenvchan_$kind.0
        fi
        ;;
esac

script=$(mktemp)
trap 'rm -f "$script" "$output.new"' EXIT
{
    echo "$node {"
    echo 'global:'
    printf '%s;\n' $symbols
    echo 'local: *;'
    echo '};'
} >"$script"
# Under another name first: a running program may use the old file. All references are resolved at startup, so
# no call of a
# channel enters the loader.
# shellcheck disable=SC2046
"${CC:-cc}" -shared -o "$output.new" -Wl,-soname,"$soname" -Wl,--version-script="$script" -Wl,-z,relro,-z,now \
    -Wl,--gc-sections -Wl,--no-undefined $(printf ' -Wl,-u,%s' $symbols) "$archive" -lpthread -ldl -lm
mv "$output.new" "$output"
