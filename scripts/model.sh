#!/bin/bash
# Builds and runs the models; then again with each deliberate fault, which must be detected.
# VCHAN_SCHEDULES: random schedules per model (2000). VCHAN_SEED: their seed.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${CARGO_TARGET_DIR:-target}
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
export RUST_BACKTRACE=0

# build CHECKER: prints the path of the test program.
build() {
    RUSTFLAGS="--cfg model --cfg $1" CARGO_TARGET_DIR="$out/$1" \
        cargo test --release -p vchan-rs --lib --no-run --message-format json-render-diagnostics |
        sed -n 's/.*"executable":"\([^"]*\)".*/\1/p'
}
loom=$(build loom)
shuttle=$(build shuttle)

for program in "$loom" "$shuttle"; do
    "$program" --nocapture channel::model | grep -E '^model |FAILED|^test result' || {
        echo 'the models fail; run the program above manually'
        exit 1
    }
done

# caught FAULT MODEL: the model must fail, within 2 minutes, by its own check and not by a crash of the checker.
caught() {
    local fault=$1 model=$2 program=$loom log=$logs/$1
    [[ $model == random::* ]] && program=$shuttle
    # In a subshell, whose log contains the abort message.
    if (VCHAN_FAULT=$fault timeout 120 "$program" --nocapture --exact "channel::model::$model"; exit $?) >"$log" 2>&1; then
        echo "fault $fault: NOT detected by $model"
        return 1
    fi
    local how
    how=$(grep -m1 -oE 'deadlock|Causality violation|assertion .*failed|is corrupt' "$log") || {
        echo "fault $fault: $model ended for another reason:"
        tail -5 "$log"
        return 1
    }
    echo "fault $fault: detected by $model ($how)"
}
bad=0
while read -r fault model; do
    caught "$fault" "$model" || bad=1
done <<'FAULTS'
Recheck exhaustive::transfer
FinalCheck exhaustive::closing_sender
FinalCheckNow exhaustive::closing_sender
ClearedEarly exhaustive::transfer
FenceAfterIndex exhaustive::transfer
FenceAfterRequest exhaustive::transfer
RelaxedIndex exhaustive::transfer
WrongByte exhaustive::transfer
SilentLeave exhaustive::closing_sender
SilentFinish exhaustive::half_closing_sender
Handover random::many_parked_threads_and_a_closer
OnBehalf random::leaving_after_the_last_byte
SwallowedEnd exhaustive::closing_sender
OneCheck random::two_directions_of_two_threads
ForwardEvent random::two_directions_of_two_threads
UnrequestedEvent random::two_directions_of_two_threads
FreshEpoch exhaustive::transfer
CutShort exhaustive::transfer
StolenReady random::leaving_after_the_last_byte
LastingOffer exhaustive::clients_of_different_kinds
MissingHeavyFence exhaustive::transfer
UncountedCall exhaustive::closing_waits_for_calls
UncountedClose exhaustive::closing_waits_for_calls
FAULTS
[ $bad = 0 ] && echo 'make model: the models hold, and every fault was detected'
exit $bad
