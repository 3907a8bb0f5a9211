# Sourced in dom0. Leaks: what channels left behind, in any domain. A snapshot has a line "WHAT COUNT" for
#   ports:DOM:REMOTE    event channels of DOM to REMOTE, bound or waiting
#   shared:PLACE        pages that gntalloc shares
#   mapped:DOM:BY       pages of DOM that BY maps
#   nodes:DOM           ring-ref and event-channel nodes below DOM's data
# and nothing may have grown since the first snapshot. Dom0's own services hold some of these, hence the comparison.

LEAKS=/run/leaks
mkdir -p $LEAKS

# leaks_snapshot FILE
leaks_snapshot() {
  local place ids= jobs=
  for place in $(places); do
    ids="$ids $(place_id $place)"
    spawn $place 'grants used' >/dev/null
    jobs="$jobs $JOB"
  done
  census $ids >$LEAKS/census || echo census:failed >>$LEAKS/census
  awk '{ count[$1]++ } END { for (what in count) print what, count[what] }' $LEAKS/census >$1
  for place in $jobs; do
    job_wait $place || echo "grants used ended with $?"
    echo "shared:${place%%.*} $(job_value $place used)" >>$1
    rm $JOBS/$place.*
  done
}

# leaks_before: the snapshot to compare with; it serves until the domains change or something was left.
leaks_before() {
  places >$LEAKS/places.now
  if [ ! -s $LEAKS/before ] || ! cmp -s $LEAKS/places $LEAKS/places.now; then
    cp $LEAKS/places.now $LEAKS/places
    leaks_snapshot $LEAKS/before
  fi
}

# leaks_forget: the next test starts from what is there then.
leaks_forget() { rm -f $LEAKS/before; }

leaks_report() {
  awk '
    $1 == "census:failed" { printf "the census failed; "; next }
    NR == FNR { before[$1] = $2; next }
    $2 == "" { printf "%s unknown; ", $1; next }
    $2 > before[$1] + 0 { printf "%s %d, was %d; ", $1, $2, before[$1] }' $LEAKS/before $LEAKS/after
}

leaks_none_now() {
  leaks_snapshot $LEAKS/after
  [ -z "$(leaks_report)" ]
}

# leaks_none: the kernel gives some things back a moment late.
leaks_none() { until_true ${LEAK_LIMIT:-10} leaks_none_now; }
