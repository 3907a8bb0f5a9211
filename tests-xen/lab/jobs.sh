# Sourced in dom0. Jobs: commands that run in the background in a place, which is dom0 or a guest's name.
# Any number may run at a time. Each has its output in $JOBS/ID.out and, once over, its status in $JOBS/ID.rc.

JOBS=/run/jobs
LIMIT=120 # seconds that anything may take, unless told otherwise; a busy machine is slow
SERIES=0 # makes the ids unique: the caller changes it whenever job_count starts again
job_count=0
mkdir -p $JOBS
# Nobody writes here: reading with a time-out is a sleep that starts no process.
[ -p /run/tick ] || mkfifo /run/tick
exec 8<>/run/tick

# now: hundredths of a second since boot, in NOW.
now() {
  local up rest
  read -r up rest </proc/uptime
  NOW=${up%.*}${up#*.}
}

# until_true LIMIT COMMAND...: repeats COMMAND until it succeeds; fails after LIMIT seconds.
until_true() {
  local end
  now
  end=$((NOW + $1 * 100))
  shift
  until "$@"; do
    now
    [ "$NOW" -lt "$end" ] || return 1
    read -r -t 0.05 _ <&8
  done
  return 0
}

# spawn PLACE COMMAND: starts a job and leaves its id in JOB.
spawn() {
  job_count=$((job_count + 1))
  JOB=$1.$SERIES.$job_count
  : >$JOBS/$JOB.out
  # $(run_in ...) counts in a subshell, so that an id may come again; its first job is over then.
  [ ! -e $JOBS/$JOB.rc ] || rm $JOBS/$JOB.rc
  echo "[$JOB] $2"
  if [ "$1" = dom0 ]; then
    (
      (eval "$2") >>$JOBS/$JOB.out 2>&1 </dev/null
      echo $? >$JOBS/$JOB.rc
    ) &
  else
    printf '%s %s\n' "$JOB" "$2" >"$(cat $GUESTS/$1.tty)"
  fi
}

job_ended() {
  [ -s $JOBS/$1.rc ] || { [ ${1%%.*} != dom0 ] && ! guest_alive ${1%%.*}; }
}

job_said_or_ended() { grep -q -- "$2" $JOBS/$1.out || job_ended $1; }

# job_sees ID PATTERN [LIMIT]: waits until the job has written a line with PATTERN.
job_sees() {
  until_true ${3:-$LIMIT} job_said_or_ended $1 "$2"
  grep -q -- "$2" $JOBS/$1.out
}

# job_wait ID [LIMIT]: waits for the end of the job and returns its status; 97 if its guest went away, 98 if it
# still runs after LIMIT seconds.
job_wait() {
  until_true ${2:-$LIMIT} job_ended $1 || return 98
  [ -s $JOBS/$1.rc ] || return 97
  return "$(cat $JOBS/$1.rc)"
}

job_out() { cat $JOBS/$1.out; }

# job_value ID WORD: what follows WORD at the start of a line of the output.
job_value() { sed -n "s/^$2 //p" $JOBS/$1.out | tail -n 1; }

# run_in PLACE COMMAND: runs it to its end, prints its output and returns its status.
run_in() {
  spawn "$1" "$2" >/dev/null
  job_wait $JOB
  set -- $?
  job_out $JOB
  return $1
}

# job_signal ID SIGNAL: signals the process that the job has announced by a line "pid NUMBER".
job_signal() {
  run_in ${1%%.*} "kill -$2 $(job_value $1 pid)"
}
