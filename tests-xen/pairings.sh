# Every pairing of places, kinds of guest, implementations and ring sizes, both directions at once.

guests_need pv1:pv pv2:pv pvh1:pvh pvh2:pvh || return 1

# pairing SERVER CLIENT IMPLEMENTATIONS: all ring sizes, as orders of the server's read and write ring.
pairing() {
  local rings left right bytes
  for rings in 10/11 12/12 16/16 20/20; do
    left=$((1 << ${rings%/*}))
    right=$((1 << ${rings#*/}))
    # Enough for several times around, and not the same in both directions.
    bytes=$((right * 2 + 100003))
    channel_open $1 $2 pairing $3 \
      "--read-min $left --write-min $right --send $bytes --receive $((bytes + 7001)) --pings 20" \
      "--send $((bytes + 7001)) --receive $bytes --pings 20"
    channel_completed
    same "the server's ring" $right "$(job_value $S connected)"
    same "the client's ring" $left "$(job_value $C connected)"
    same "the amount" $bytes "$(job_value $C received | cut -d' ' -f1)"
    echo "note: rings $rings sha256 $(job_value $S sent | cut -d' ' -f2 | cut -c1-16)," \
      "round trip $(job_value $C pings | cut -d' ' -f2) us"
  done
}

for pair in dom0/dom0 dom0/pv1 pv1/dom0 dom0/pvh1 pvh1/dom0 pv1/pv2 pvh1/pvh2 pv1/pvh1 pvh1/pv1 pv1/pv1 pvh1/pvh1; do
  for who in $(implementation_pairs); do
    check "pairing: server ${pair%/*} ${who%/*}, client ${pair#*/} ${who#*/}" pairing ${pair%/*} ${pair#*/} $who
  done
done
