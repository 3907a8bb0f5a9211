#!/bin/sh
# link-names.sh PRELOAD DIRECTORY: fills DIRECTORY, beside libvchan-rs-preload.so, with all names of Xen's library, for
# LD_LIBRARY_PATH. All are one file without functions: it loads that library, and has the version nodes that programs
# reference. Whatever name a program loads or was linked with, it gets the same library, once.
set -eu
if [ $# -ne 2 ]; then
    echo 'usage: link-names.sh PRELOAD DIRECTORY' >&2
    exit 2
fi
preload=$1 directory=$2
first=5 last=40

mkdir -p "$directory"
script=$(mktemp)
file=$directory/libxenvchan.so
trap 'rm -f "$script" "$file.new"' EXIT
minor=$first
while [ "$minor" -le "$last" ]; do
    # As in link-library.sh.
    if [ "$minor" -ge 15 ] && [ "$minor" -le 17 ]; then
        echo "VERS_4.$minor.0 { };"
    elif [ "$minor" -gt 17 ]; then
        echo "libxenvchan_4.$minor.0 { };"
    fi
    minor=$((minor + 1))
done >"$script"
# The library is found relative to the directory if it isn't loaded yet (dlmopen).
"${CC:-cc}" -shared -nostdlib -o "$file.new" -Wl,-soname,libxenvchan.so -Wl,--version-script="$script" -Wl,--no-as-needed \
    -Wl,--enable-new-dtags -Wl,-rpath,'$ORIGIN/..' -x none "$preload"
mv "$file.new" "$file"
minor=$first
while [ "$minor" -le "$last" ]; do
    ln -sf libxenvchan.so "$directory/libxenvchan.so.4.$minor"
    ln -sf libxenvchan.so "$directory/libxenvchan.so.4.$minor.0"
    minor=$((minor + 1))
done
