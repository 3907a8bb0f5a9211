# Sourced. fetch DIR: fills DIR with everything the lab boots, from Debian packages only:
#   DIR/system    Xen, its tools, the kernels and the libraries of dom0 and guests, unpacked
#   DIR/emulator  QEMU, unpacked and not installed: its package can conflict with installed ones
# and writes the kernel's version to DIR/kernel-version.

xen_packages="xen-hypervisor-4.17-amd64 xen-utils-4.17 xen-utils-common xenstore-utils libxenmisc4.17
libxencall1 libxendevicemodel1 libxenevtchn1 libxenforeignmemory1 libxengnttab1 libxenhypfs1
libxenstore4 libxentoolcore1 libxentoollog1"
base_packages="busybox-static libc6 libgcc-s1 libyajl2 libuuid1 liblzma5 libzstd1 zlib1g
libncurses6 libtinfo6 liblzo2-2 libbz2-1.0"
emulator_packages="qemu-system-x86 qemu-system-data seabios"

# The emulator's dependencies that are not installed on this machine, recursively.
emulator_closure() {
  apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks \
    --no-replaces --no-enhances qemu-system-x86 | grep '^[a-z]' | sort -u |
    while read -r package; do
      state=$(dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null)
      [ "$state" = "ii " ] || echo "$package"
    done
}

download() { # DIR PACKAGE...
  local dir=$1
  shift
  mkdir -p "$dir"
  # Root's own cache is not readable by apt's user: tell apt to download as root, without a warning.
  (cd "$dir" && apt-get download -qq -o APT::Sandbox::User=root "$@") || {
    echo "lab: apt-get download failed in $dir; is the network there, and was 'apt-get update' run?" >&2
    return 1
  }
}

unpack() { # FROM INTO
  local package
  mkdir -p "$2"
  for package in "$1"/*.deb; do
    dpkg -x "$package" "$2" || return 1
  done
}

fetch() {
  local dir=$1 version missing
  [ -e "$dir/complete" ] && return 0
  rm -rf "$dir"
  mkdir -p "$dir"
  version=$(apt-cache depends linux-image-amd64 |
    sed -n 's/.*Depends: linux-image-\(.*\)-amd64$/\1/p' | head -n 1)
  [ -n "$version" ] || {
    echo "lab: apt does not know linux-image-amd64; run 'apt-get update' on a Debian 12 machine" >&2
    return 1
  }
  # The cloud kernel is smaller and boots faster, but cannot be dom0.
  # shellcheck disable=SC2046,SC2086
  download "$dir/packages" $xen_packages $base_packages \
    "linux-image-$version-amd64" "linux-image-$version-cloud-amd64" &&
    unpack "$dir/packages" "$dir/system" &&
    download "$dir/emulator-packages" $emulator_packages $(emulator_closure) &&
    unpack "$dir/emulator-packages" "$dir/emulator" || return 1
  missing=$(LD_LIBRARY_PATH=$(emulator_libraries "$dir") \
    ldd "$dir/emulator/usr/bin/qemu-system-x86_64" | grep 'not found')
  [ -z "$missing" ] || {
    echo "lab: the emulator misses libraries: $missing" >&2
    return 1
  }
  rm -rf "$dir/packages" "$dir/emulator-packages"
  find "$dir/system/lib/modules" -name '*.ko' ! -path '*/drivers/xen/*' -delete
  echo "$version" >"$dir/kernel-version"
  touch "$dir/complete"
}

emulator_libraries() { # DIR
  echo "$1/emulator/lib/x86_64-linux-gnu:$1/emulator/usr/lib/x86_64-linux-gnu"
}
