# Sourced in dom0. Peers: both ends of a channel, by the test program `peer`. An implementation is `original`, which is
# Debian's libxenvchan, or `ours`, the library given to the runner.

# implementations: those there are.
implementations() {
  echo original
  if [ -e /test/libours.so ]; then echo ours; fi
}

# implementation_pairs: each as server with each as client.
implementation_pairs() {
  local server client
  for server in $(implementations); do
    for client in $(implementations); do
      echo $server/$client
    done
  done
}

# with_implementation IMPLEMENTATION COMMAND: how to run a program with it.
with_implementation() {
  case $1 in
    original) echo "$2" ;;
    ours) echo "env LD_PRELOAD=/test/libours.so VCHAN_TRANSPORT=xen $2" ;;
    *) fail "there is no implementation '$1'" ;;
  esac
}

# channel_path SERVER CLIENT NAME: where the server in one place publishes for a client in another.
channel_path() { echo "/local/domain/$(place_id $1)/data/vchan/$(place_id $2)/$3"; }

# server_start PLACE CLIENT NAME IMPLEMENTATION [OPTION...]: leaves the job in S.
server_start() {
  local place=$1 client=$2 name=$3 implementation=$4
  shift 4
  spawn $place "$(with_implementation $implementation \
    "peer server $(place_id $client) $(channel_path $place $client $name) $*")"
  S=$JOB
}

# client_start PLACE SERVER NAME IMPLEMENTATION [OPTION...]: leaves the job in C.
client_start() {
  local place=$1 server=$2 name=$3 implementation=$4
  shift 4
  spawn $place "$(with_implementation $implementation \
    "peer client $(place_id $server) $(channel_path $server $place $name) $*")"
  C=$JOB
}

# A library that was not preloaded must not pass for one that was.
peer_uses() { # JOB IMPLEMENTATION
  local library
  library=$(job_value $1 library)
  case $2:${library##*/} in
    original:libxenvchan.so.* | ours:libours.so) ;;
    *) fail "$1 runs with $library instead of $2" ;;
  esac
}

# channel_open SERVER CLIENT NAME IMPLEMENTATIONS SERVER_OPTIONS CLIENT_OPTIONS: both ends, connected, in S and C.
channel_open() {
  server_start $1 $2 $3 ${4%/*} $5
  job_sees $S '^listening' || fail "the server does not listen: $(job_out $S)"
  client_start $2 $1 $3 ${4#*/} $6
  job_sees $C '^connected' || fail "the client does not connect: $(job_out $C)"
  job_sees $S '^connected' || fail "the server sees no client: $(job_out $S)"
  peer_uses $S ${4%/*}
  peer_uses $C ${4#*/}
}

# job_must_end JOB STATUS WHO
job_must_end() {
  local status
  job_wait $1
  status=$?
  [ $status = $2 ] || fail "$3 ended with $status, not $2: $(job_out $1 | tail -n 1)"
}

# channel_completed: both ends came to a good end and agree on every byte.
channel_completed() {
  job_must_end $C 0 "the client"
  job_must_end $S 0 "the server"
  same "what the client received" "$(job_value $S sent)" "$(job_value $C received)"
  same "what the server received" "$(job_value $C sent)" "$(job_value $S received)"
  case $(job_value $S ended) in
    "-1 "*" 0") ;;
    *) fail "after the client's close the server has '$(job_value $S ended)'" ;;
  esac
}

# channel_works SERVER CLIENT NAME IMPLEMENTATIONS: a short exchange.
channel_works() {
  channel_open $1 $2 $3 $4 "--send 50000 --receive 70000" "--send 70000 --receive 50000"
  channel_completed
}
