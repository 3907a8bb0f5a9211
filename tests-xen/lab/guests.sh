# Sourced in dom0. Guests: starting, finding and destroying them. A guest NAME has, in $GUESTS:
#   NAME.id  its domain id     NAME.tty  its console     NAME.ready  it takes commands     NAME.gone  it is no more

GUESTS=/run/guests
mkdir -p $GUESTS

# place_id PLACE: the domain id of dom0 or a guest.
place_id() { [ "$1" = dom0 ] && echo 0 || cat $GUESTS/$1.id; }

guest_alive() { [ -e $GUESTS/$1.id ] && [ ! -e $GUESTS/$1.gone ]; }

# places: dom0 and every guest that is up.
places() {
  local file name
  echo dom0
  for file in $GUESTS/*.id; do
    name=${file##*/}
    name=${name%.id}
    if guest_alive "$name"; then echo "$name"; fi
  done
}

# The one reader of a guest's console: sorts what the guest's jobs say into their files.
guest_console() { # NAME
  awk -v jobs=$JOBS -v ready=$GUESTS/$1.ready '
    { sub(/\r$/, "") }
    /^@@READY/ { print > ready; close(ready); next }
    match($0, /^@@[^|=]+/) {
      file = jobs "/" substr($0, 3, RLENGTH - 2)
      rest = substr($0, RLENGTH + 2)
      file = file (substr($0, RLENGTH + 1, 1) == "|" ? ".out" : ".rc")
      print rest >> file
      close(file)
    }' <"$(cat $GUESTS/$1.tty)"
  : >$GUESTS/$1.gone
}

# guest_start NAME TYPE [MEMORY]: TYPE is pv or pvh. Returns when the domain exists; guest_wait waits until it is up.
guest_start() {
  local tsc=
  rm -f $GUESTS/$1.* /var/log/xen/console/guest-$1.log
  # Emulated time stamps make a PVH guest crawl.
  [ "$2" = pv ] || tsc='tsc_mode = "native"'
  cat >$GUESTS/$1.cfg <<END
name = "$1"
type = "$2"
kernel = "/guest/vmlinux"
ramdisk = "/guest/initrd"
memory = ${3:-160}
vcpus = 1
$tsc
extra = "console=hvc0 quiet loglevel=3"
on_crash = "destroy"
on_reboot = "destroy"
on_poweroff = "destroy"
END
  # No -e: xl stays behind to destroy a guest that crashes, and only so does its console tell us.
  xl -t create -q $GUESTS/$1.cfg >$GUESTS/$1.log 2>&1 || {
    echo "xl create $1: $(cat $GUESTS/$1.log)"
    return 1
  }
  xl domid $1 >$GUESTS/$1.id
  until_true $LIMIT guest_tty $1 || {
    echo "$1 has no console"
    return 1
  }
  stty -F "$(cat $GUESTS/$1.tty)" raw -echo
  guest_console $1 &
}

guest_tty() {
  xenstore-read /local/domain/$(cat $GUESTS/$1.id)/console/tty >$GUESTS/$1.tty 2>/dev/null && [ -s $GUESTS/$1.tty ]
}

guest_ready() { [ -e $GUESTS/$1.ready ] || [ -e $GUESTS/$1.gone ]; }

guest_wait() {
  until_true 240 guest_ready $1 && guest_alive $1 || {
    echo "$1 did not come up; its console ends with:"
    tail -n 20 /var/log/xen/console/guest-$1.log
    return 1
  }
}

# guests_need NAME:TYPE...: starts those that are not up. One after the other: on two cores that takes half as long
# as all at once.
guests_need() {
  local guest
  for guest in "$@"; do
    guest_alive ${guest%:*} || guest_start ${guest%:*} ${guest#*:} || return 1
    guest_wait ${guest%:*} || return 1
  done
}

guest_gone() { [ -e $GUESTS/$1.gone ] && ! xl domid $1 >/dev/null 2>&1; }

# guest_destroy NAME: as a crash of the whole machine would.
guest_destroy() {
  xl destroy $1
}
