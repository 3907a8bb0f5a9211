# What happens when a side dies, comes too early or too late, may not, or finds no memory. Where the original is known
# to do worse than we want, its behaviour is checked as it is, and ours as we want it.

guests_need pv1:pv pv2:pv pvh1:pvh || return 1

TOLD=20000 # milliseconds within which a survivor must know; on an idle machine it takes less than half a second

# survivor_told JOB SINCE: it ends by itself, because it was told, and says so.
survivor_told() {
  local ended
  job_must_end $1 0 "the survivor"
  now
  ended=$(((NOW - $2) * 10))
  case $(job_value $1 ended) in
    "-1 "*" 0") ;;
    *) fail "the survivor has '$(job_value $1 ended)'" ;;
  esac
  [ $ended -le $TOLD ] || fail "the survivor was told after $ended ms"
  echo "note: told within $ended ms"
}

# leavings_remove SERVER CLIENT NAME: a killed server cannot remove its nodes: they must be there, and go now.
leavings_remove() {
  local path
  path=$(channel_path $1 $2 $3)
  xenstore-read $path/ring-ref >/dev/null || fail "there is no $path/ring-ref after the server was killed"
  xenstore-rm $path
}

# kill_side SERVER CLIENT IMPLEMENTATIONS VICTIM STATE: kill -9 of one, while both are in STATE.
kill_side() {
  local killed since
  channel_open $1 $2 kill $3 "--end $5" "--end $5"
  job_sees $S "^state $5" && job_sees $C "^state $5" || fail "not in state $5"
  killed=$C survivor=$S
  if [ $4 = server ]; then killed=$S survivor=$C; fi
  now
  since=$NOW
  job_signal $killed KILL
  survivor_told $survivor $since
  job_wait $killed
  same "the status of the killed side" 137 $?
  if [ $4 = server ]; then leavings_remove $1 $2 kill; fi
}

# kill_waiting PLACE CLIENT IMPLEMENTATIONS: a server without a client is killed; its leavings do not serve a client,
# and the next server replaces them.
kill_waiting() {
  server_start $1 $2 kill ${3%/*}
  job_sees $S '^listening' || fail "the server does not listen"
  job_signal $S KILL
  job_wait $S
  client_start $2 $1 kill ${3#*/}
  job_must_end $C 2 "the client on the leavings"
  [ ${3#*/} != original ] || same "the error on leavings" "client_init EINVAL" "$(job_value $C error)"
  echo "note: on leavings: $(job_value $C error)"
  channel_works $1 $2 kill $3
}

client_first() { # SERVER CLIENT IMPLEMENTATIONS
  local expected
  # In a guest the unreadable parent hides that there is nothing.
  expected=EACCES
  if [ $2 = dom0 ]; then expected=ENOENT; fi
  client_start $2 $1 first ${3#*/}
  job_must_end $C 2 "the client without a server"
  case ${3#*/}:$(job_value $C error) in
    *:"client_init $expected" | ours:"client_init ENOENT" | ours:"client_init EACCES") ;;
    *) fail "the error is '$(job_value $C error)', not $expected" ;;
  esac
  client_start $2 $1 first ${3#*/} --retry 60 --send 1000 --receive 2000
  job_sees $C '^library' || fail "the client does not start"
  server_start $1 $2 first ${3%/*} --send 2000 --receive 1000
  channel_completed
}

second_client() { # SERVER CLIENT IMPLEMENTATIONS
  local first
  channel_open $1 $2 second $3 "--end read" "--end idle"
  first=$C
  client_start $2 $1 second ${3#*/}
  job_must_end $C 2 "the second client"
  [ ${3#*/} != original ] || same "the second client's error" "client_init EINVAL" "$(job_value $C error)"
  job_signal $first USR1
  now
  survivor_told $S $NOW
  job_must_end $first 0 "the first client"
}

third_domain() { # SERVER CLIENT STRANGER IMPLEMENTATIONS
  local path
  path=$(channel_path $1 $2 third)
  server_start $1 $2 third ${4%/*} --send 1000 --receive 2000
  job_sees $S '^listening' || fail "the server does not listen"
  spawn $3 "$(with_implementation ${4#*/} "peer client $(place_id $1) $path")"
  job_must_end $JOB 2 "the third domain"
  same "the third domain's error" "client_init EACCES" "$(job_value $JOB error)"
  client_start $2 $1 third ${4#*/} --send 2000 --receive 1000
  channel_completed
}

exhausted() { # SERVER CLIENT IMPLEMENTATIONS
  local holder
  spawn $1 'grants hold 20'
  holder=$JOB
  job_sees $holder '^holding 1004' || fail "cannot hold the pages: $(job_out $holder)"
  server_start $1 $2 full ${3%/*}
  job_must_end $S 2 "the server without pages"
  same "its error" "server_init ENOSPC" "$(job_value $S error)"
  ! xenstore-exists $(channel_path $1 $2 full)/ring-ref || fail "it left nodes behind"
  job_signal $holder KILL
  job_wait $holder
  channel_works $1 $2 full $3
}

too_large() { # IMPLEMENTATION
  server_start dom0 pv1 large $1 --read-min 1048577
  job_must_end $S 2 "the server with a ring over 1 MiB"
  echo "note: $(job_value $S error)"
  [ $1 != original ] || same "the original's error" "server_init 0" "$(job_value $S error)"
}

zombies() { xl list | grep -q '(null)'; }
no_zombies() { ! zombies; }

# destroy SERVER CLIENT IMPLEMENTATIONS VICTIM STATE TYPE: the victim's whole guest, which must be named gone.
destroy() {
  local victim survivor implementation since
  guests_need gone:$6 || fail "the guest to destroy did not start"
  channel_open $1 $2 destroy $3 "--end $5" "--end $5"
  job_sees $S "^state $5" && job_sees $C "^state $5" || fail "not in state $5"
  victim=$C survivor=$S implementation=${3%/*}
  if [ $4 = server ]; then victim=$S survivor=$C implementation=${3#*/}; fi
  now
  since=$NOW
  guest_destroy gone || fail "xl destroy failed"
  if [ $implementation = original ]; then
    # Known: it sleeps on, as nothing in the domain is left to send it an event.
    job_wait $survivor 3
    same "the original's survivor (98: still asleep)" 98 $?
    echo "note: known of the original: not told within 3 s"
    job_signal $survivor KILL
    job_wait $survivor
  else
    survivor_told $survivor $since
  fi
  job_wait $victim
  same "the victim's status (97: its guest is gone)" 97 $?
  until_true 20 no_zombies || fail "the destroyed domain is still there: $(xl list)"
  if [ $4$implementation = clientoriginal ]; then leavings_remove $1 $2 destroy; fi
}

for who in $(implementation_pairs); do
  for pair in dom0/pv1 pv1/dom0 pvh1/pv1; do
    for victim in server client; do
      for state in read write stream; do
        check "kill -9 of the $victim, both in $state: server ${pair%/*} ${who%/*}, client ${pair#*/} ${who#*/}" \
          kill_side ${pair%/*} ${pair#*/} $who $victim $state
      done
    done
    check "leavings of a killed server: server ${pair%/*} ${who%/*}, client ${pair#*/} ${who#*/}" \
      kill_waiting ${pair%/*} ${pair#*/} $who
    check "client first: server ${pair%/*} ${who%/*}, client ${pair#*/} ${who#*/}" \
      client_first ${pair%/*} ${pair#*/} $who
  done
  check "second client refused: server dom0 ${who%/*}, clients pv1 ${who#*/}" second_client dom0 pv1 $who
  check "third domain refused: server dom0 ${who%/*}, clients ${who#*/}" third_domain dom0 pv1 pv2 $who
  check "third domain refused: server pv1 ${who%/*}, clients ${who#*/}" third_domain pv1 pvh1 pv2 $who
  check "xl destroy of the server pv, client dom0: ${who}" destroy gone dom0 $who server read pv
  check "xl destroy of the client pvh, server dom0: ${who}" destroy dom0 gone $who client write pvh
  check "xl destroy of the server pvh, client pv1: ${who}" destroy gone pv1 $who server stream pvh
done
for who in $(implementations); do
  check "gntalloc exhausted in dom0: $who" exhausted dom0 pv1 $who/original
  check "gntalloc exhausted in pv1: $who" exhausted pv1 dom0 $who/original
  check "ring over 1 MiB refused: $who" too_large $who
done
