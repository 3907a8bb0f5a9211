# Every pairing of places, kinds of guest, implementations and ring sizes, both directions at once.

guests_need pv1:pv pv2:pv pvh1:pvh pvh2:pvh || return 1

# pairing SERVER CLIENT IMPLEMENTATIONS: channels of all sizes side by side; the sizes are given as the orders of the
# server's read ring and write ring.
pairing() {
  local rings bytes opened= one
  for rings in 10/11 12/12 16/16 20/20; do
    bytes=$(pairing_bytes $rings)
    channel_open $1 $2 rings-${rings%/*} $3 \
      "--read-min $((1 << ${rings%/*})) --write-min $((1 << ${rings#*/})) --send $bytes --receive $((bytes + 7001)) --pings 10" \
      "--send $((bytes + 7001)) --receive $bytes --pings 10"
    opened="$opened $rings:$S:$C"
  done
  for one in $opened; do
    C=${one##*:}
    one=${one%:*}
    S=${one##*:}
    rings=${one%:*}
    channel_completed
    same "the server's write ring" $((1 << ${rings#*/})) "$(job_value $S connected)"
    same "the client's write ring" $((1 << ${rings%/*})) "$(job_value $C connected)"
    same "the amount" $(pairing_bytes $rings) "$(job_value $C received | cut -d' ' -f1)"
    echo "note: rings $rings: $(job_value $S sent), round trip $(job_value $C pings | cut -d' ' -f2) us"
  done
}

# Enough to go around the ring, and to end somewhere inside.
pairing_bytes() { echo $(((1 << ${1#*/}) + 100003)); }

for pair in dom0/dom0 dom0/pv1 pv1/dom0 dom0/pvh1 pvh1/dom0 pv1/pv2 pvh1/pvh2 pv1/pvh1 pvh1/pv1 pv1/pv1 pvh1/pvh1; do
  for who in $(implementation_pairs); do
    check "pairing: server ${pair%/*} ${who%/*}, client ${pair#*/} ${who#*/}" pairing ${pair%/*} ${pair#*/} $who
  done
done
