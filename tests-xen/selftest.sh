# The lab itself: that what it would report if something were wrong, it does report.

guests_need pv1:pv || return 1

status_of() { # PLACE
  run_in $1 'echo seen; exit 7' >/run/selftest.out
  same "the status" 7 $?
  same "the output" seen "$(cat /run/selftest.out)"
  same "the output in a substitution" one "$(run_in $1 'echo one')"
  same "the next output" two "$(run_in $1 'echo two')"
}

side_by_side() { # PLACE: the first job can only end when the second one runs.
  local first
  spawn $1 'rm -f /run/meet; mkfifo /run/meet; echo waiting; cat /run/meet'
  first=$JOB
  job_sees $first waiting || fail "the first job does not run"
  run_in $1 'echo met >/run/meet'
  job_wait $first
  same "the first job's status" 0 $?
  job_sees $first met || fail "the jobs did not meet"
}

# An open channel is what a leak looks like: every kind of it must be reported.
leaks_seen() { # SERVER CLIENT
  local report what server client
  server=$(place_id $1) client=$(place_id $2)
  channel_open $1 $2 leak original/original "--end idle" "--end idle"
  leaks_none_now && fail "an open channel is not seen"
  report=$(leaks_report)
  for what in nodes:$server ports:$server:$client shared:$1 mapped:$server:$client; do
    case $report in
      *"$what "*) ;;
      *) fail "$what is not in '$report'" ;;
    esac
  done
  job_signal $C USR1
  job_wait $C
  job_signal $S USR1
  job_wait $S
}

wrong_is_failure() {
  (same it one two) && fail "what differs passes"
  (must false) && fail "a failing command passes"
  rm -f $WHY
  spawn dom0 'exit 3'
  (job_must_end $JOB 0 "it") && fail "a wrong status passes"
  rm -f $WHY
}

check "lab: status and output of a command in dom0" status_of dom0
check "lab: status and output of a command in a guest" status_of pv1
check "lab: two commands at a time in dom0" side_by_side dom0
check "lab: two commands at a time in a guest" side_by_side pv1
check "lab: leaks of dom0 are seen" leaks_seen dom0 pv1
check "lab: leaks of a guest are seen" leaks_seen pv1 dom0
check "lab: what is wrong fails" wrong_is_failure
