# dom0's side of the test runner: cases.sh run_scripts SCRIPT...
#
# A script is sourced with everything of /lab at hand and calls
#   check NAME FUNCTION [ARGUMENT...]
# for each test: FUNCTION runs in a subshell, calls `fail WHY` when something is wrong, and must leave neither a
# running job nor anything of vchan behind in any domain. Results are lines `ok NAME` and `not ok NAME: WHY`.

. /lab/jobs.sh
. /lab/guests.sh
. /lab/leaks.sh
. /lab/peers.sh

WHY=/run/why
CASE_LOG=/run/case.log
script_count=0
case_count=0

fail() {
  echo "$*" >$WHY
  exit 1
}

# must COMMAND...: the test fails if it does.
must() {
  "$@" || fail "$* ended with $?"
}

# same WHAT EXPECTED SEEN
same() {
  [ "$2" = "$3" ] || fail "$1 is '$3', not '$2'"
}

jobs_running() {
  local file
  for file in $JOBS/*.$CASE-*.out; do
    [ -e "$file" ] || continue
    file=${file##*/}
    job_ended ${file%.out} || echo ${file%.out}
  done
}

no_jobs_running() { [ -z "$(jobs_running)" ]; }

# Ends what a failed test left, so that it cannot disturb the next one.
case_sweep() {
  local place
  for place in $(places); do
    run_in $place 'killall -9 peer grants vchan-socket-proxy 2>/dev/null; :'
  done
}

check() {
  local name=$1 file
  shift
  [ ! -s /test/only ] || echo "$name" | grep -qE -f /test/only || return 0
  case_count=$((case_count + 1))
  CASE=$script_count-$case_count
  SERIES=$CASE-test
  rm -f $WHY
  now
  case_start=$NOW
  leaks_before
  ("$@") >$CASE_LOG 2>&1 || { [ -s $WHY ] || echo "$1 ended with an error" >$WHY; }
  # The subshell's count of jobs is lost.
  SERIES=$CASE-after
  [ -s $WHY ] || until_true $LIMIT no_jobs_running || echo "still running: $(jobs_running)" >$WHY
  [ -s $WHY ] || leaks_none || echo "left behind: $(leaks_report)" >$WHY
  now
  if [ ! -s $WHY ]; then
    echo "ok $name"
    sed -n 's/^note: /#   /p' $CASE_LOG
  else
    echo "not ok $name: $(head -n 1 $WHY)"
    sed 's/^/#   /' $CASE_LOG
    for file in $JOBS/*.$CASE-*.out; do
      [ -e "$file" ] || continue
      echo "#   output of ${file##*/}:"
      sed 's/^/#     /' "$file"
    done
    case_sweep
    leaks_forget
  fi
  echo "#   took $(((NOW - case_start) * 10)) ms"
  rm -f $JOBS/*.$CASE-*
}

# Programs that crash, and kernels that complain.
no_crashes() {
  local place found
  for place in $(places); do
    found=$(run_in $place "dmesg | grep -E 'segfault|traps:|general protection|BUG|Oops|WARNING' | head -n 3; :")
    [ -z "$found" ] || fail "in $place: $found"
  done
}

run_scripts() {
  local script
  for script in "$@"; do
    script_count=$((script_count + 1))
    SERIES=$script_count-0
    now
    echo "# $script at $((NOW / 100)) s"
    (. /test/$script) || echo "not ok $script: it ended with an error"
  done
  SERIES=end
  check "no crash in any kernel's log" no_crashes
  now
  echo "# end at $((NOW / 100)) s"
  echo "@@END"
}

"$@"
