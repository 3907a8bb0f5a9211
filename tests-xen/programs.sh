# Programs made for libxenvchan: Debian's vchan-socket-proxy, in both modes, against the test program.

guests_need pv1:pv pv2:pv || return 1

PROXY=vchan-socket-proxy
BYTES=300007

# What the proxy wrote is complete.
proxy_output() { [ "$(run_in $1 'wc -c </run/proxy.out')" = $BYTES ]; }

# proxy_pipe PLACE IMPLEMENTATION MODE DOMID PATH: the proxy on standard input and output. It ends when its input does,
# so the input stays open behind the data. Leaves the job in X.
proxy_pipe() {
  local proxy
  proxy=$(with_implementation $2 "$PROXY --mode=$3 $4 $5 -")
  run_in $1 "rm -f /run/hold; mkfifo /run/hold; head -c $BYTES /dev/urandom >/run/proxy.in"
  spawn $1 "exec 3<>/run/hold; { cat /run/proxy.in; read -r _ </run/hold; } 3<&- | { $proxy 3<&- >/run/proxy.out; echo proxy=\$?; echo >&3; }"
  X=$JOB
}

# proxy_completed PROXY_PLACE PEER: both directions, then the peer leaves and the proxy follows.
proxy_completed() {
  job_sees $2 '^state idle' || fail "the peer did not get all: $(job_out $2)"
  until_true $LIMIT proxy_output $1 || fail "the proxy did not get all"
  same "what the peer received" "$BYTES $(run_in $1 'sha256sum </run/proxy.in' | cut -d' ' -f1)" "$(job_value $2 received)"
  same "what the proxy received" "$BYTES $(run_in $1 'sha256sum </run/proxy.out' | cut -d' ' -f1)" "$(job_value $2 sent)"
  job_signal $2 USR1
  job_must_end $2 0 "the peer"
  job_sees $X '^proxy=' || fail "the proxy stays when the peer has left"
  job_wait $X
  echo "note: $(job_out $X | grep '^proxy=' | tail -n 1)"
}

proxy_server() { # PROXY_PLACE PEER_PLACE IMPLEMENTATIONS
  local path
  path=$(channel_path $1 $2 proxy)
  proxy_pipe $1 ${3%/*} server $(place_id $2) $path
  client_start $2 $1 proxy ${3#*/} --retry 60 --send $BYTES --receive $BYTES --end idle
  proxy_completed $1 $C
  run_in $1 "xenstore-exists $path/ring-ref" && fail "the proxy left its nodes"
  return 0
}

proxy_client() { # PROXY_PLACE PEER_PLACE IMPLEMENTATIONS
  server_start $2 $1 proxy ${3#*/} --send $BYTES --receive $BYTES --end idle
  job_sees $S '^listening' || fail "the server does not listen"
  proxy_pipe $1 ${3%/*} client $(place_id $2) $(channel_path $2 $1 proxy)
  proxy_completed $1 $S
}

for who in $(implementation_pairs); do
  for pair in dom0/pv1 pv1/dom0 pv1/pv2; do
    check "vchan-socket-proxy as server: in ${pair%/*} ${who%/*}, peer in ${pair#*/} ${who#*/}" \
      proxy_server ${pair%/*} ${pair#*/} $who
    check "vchan-socket-proxy as client: in ${pair%/*} ${who%/*}, peer in ${pair#*/} ${who#*/}" \
      proxy_client ${pair%/*} ${pair#*/} $who
  done
done
