#!/usr/bin/env bash
# Search each model completely, in each shape below, and with each fault put
# in: tests/model/check.sh [MODEL]. One line for each; fails if a sound one fails, a
# broken one passes, or a search was cut short. Needs spin and gcc.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
MEMORY=900 # MB for each search; two run at a time
DEPTH=200000

for tool in spin gcc; do
    if ! command -v "$tool" >/dev/null; then
        echo "needed: $tool (Debian: apt-get install spin gcc libc6-dev)"
        exit 1
    fi
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# MODEL  holds|breaks  safe|live  flags of MODEL.pml
#
# safe: assertions and deadlocks; live: the ltl formula, every thread fair.
# The longest first, as two run at a time.
variants() {
    cat <<'VARIANTS'
section holds safe SIGNALS=2
section holds live DEFAULT ALWAYS FOREVER
section holds safe SIGNALS=2 DEFAULT
section holds safe ENDER
section holds live CYCLE CLOCK IDLE_MAIN
section holds live ENDER ALWAYS FOREVER IDLE_MAIN
section holds safe SIGNALS=2 ENDER NESTED WORKERS=1
section holds safe ALWAYS NESTED
section holds safe SLEEPER
wake holds safe SIGNALS=2 DISPATCHER
wake holds safe SIGNALS=1 OTHER
wake holds safe PIPE STRANGER SIGNALS=2 WAITERS=1
wake holds safe CLOSER SIGNALS=1 WAITERS=1
wake holds safe SIGNALS=2 WAITERS=1
wake holds safe PIPE STRANGER DISPATCHER SIGNALS=1
wake holds safe PIPE SIGNALS=1
wake holds safe STOPPER DISPATCHER SIGNALS=1
wake holds safe STOPPER DISPATCHER SIGNALS=1 PIPE
fork holds safe STRANGER
fork holds safe INTERRUPTS=2
fork holds safe INTERRUPTS=2 LIBRARY
fork holds safe STRANGER FROM_C
fork holds safe VFORK
section breaks safe SIGNALS=2 BROKEN_HELD_AND_TRIPPED
section breaks safe SIGNALS=2 BROKEN_TRIPPED_LATER
section breaks safe SIGNALS=2 WORKERS=1 BROKEN_NO_LOOK
section breaks safe SIGNALS=2 WORKERS=1 BROKEN_LOOK_NOT_RESTORED
section breaks safe SIGNALS=2 WORKERS=1 BROKEN_GIVE_BACK_BEFORE_COUNT
section breaks safe SIGNALS=2 WORKERS=1 BROKEN_NO_SECOND_LOOK
section breaks safe SIGNALS=2 WORKERS=1 BROKEN_REFRESH_DROPS_HOLD
section breaks safe SIGNALS=2 WORKERS=1 BROKEN_NOTICED_IS_POPPED
section breaks safe SIGNALS=2 WORKERS=1 BROKEN_NO_QUIESCE
section breaks safe SIGNALS=2 WORKERS=1 BROKEN_NO_QUIESCE_ON_CHANGE
section breaks safe SIGNALS=2 WORKERS=1 DEFAULT BROKEN_NO_QUIESCE_ON_TAKING
section breaks safe DEFAULT WORKERS=1 BROKEN_COVERED_BEFORE_SWAP
section breaks safe ENDER WORKERS=1 BROKEN_SEPARATE_CLOSED
section breaks safe ENDER WORKERS=1 BROKEN_LIFT_IN_HURRY
section breaks safe SLEEPER WORKERS=1 DEFAULT BROKEN_ONE_NUDGE
section breaks live ALWAYS FOREVER BROKEN_NO_GATE
section breaks live CYCLE ALWAYS IDLE_MAIN
section breaks live ENDER ALWAYS FOREVER IDLE_MAIN BROKEN_LIFT_IN_HURRY
wake breaks safe SIGNALS=1 BROKEN_WAKE_FIRST
wake breaks safe SIGNALS=1 BROKEN_SEEN_LATE
wake breaks safe PIPE SIGNALS=1 BROKEN_SEEN_LATE
wake breaks safe STOPPER DISPATCHER SIGNALS=1 BROKEN_QUIT_FIRST
wake breaks safe SIGNALS=1 BROKEN_ASLEEP_FIRST
wake breaks safe SIGNALS=1 DISPATCHER BROKEN_SLEEPERS_FIRST
wake breaks safe SIGNALS=1 BROKEN_ROUSE_ALONE
wake breaks safe SIGNALS=1 OTHER BROKEN_WAKE_ONCE
wake breaks safe SIGNALS=1 BROKEN_STATE_FIRST
wake breaks safe SIGNALS=1 BROKEN_LOOK_FIRST
wake breaks safe SIGNALS=2 WAITERS=1 BROKEN_LOSER_LEAVES
wake breaks safe CLOSER SIGNALS=1 WAITERS=1 BROKEN_ONE_SIDE
wake breaks safe CLOSER SIGNALS=1 WAITERS=1 BROKEN_NO_QUIESCE
wake breaks safe CLOSER SIGNALS=0 WAITERS=1 BROKEN_SILENT_DETACH
wake breaks safe STOPPER DISPATCHER SIGNALS=1 BROKEN_NO_SECOND_LOOK
wake breaks safe PIPE STRANGER SIGNALS=1 BROKEN_POLL
wake breaks safe PIPE STRANGER SIGNALS=1 BROKEN_MEND_LATE
wake breaks safe PIPE STRANGER SIGNALS=1 BROKEN_NO_QUIESCE_AT_CLOSE
fork breaks safe BROKEN_NO_PID
fork breaks safe VFORK BROKEN_NO_PID
fork breaks safe BROKEN_ADOPT_FIRST
fork breaks safe BROKEN_LOCK_COPIED
fork breaks safe BROKEN_INFLIGHT_COPIED
fork breaks safe BROKEN_STOP_COPIED
fork breaks safe STRANGER FROM_C BROKEN_PIPE_KEPT
fork breaks safe INTERRUPTS=1 BROKEN_INHERITED_OVERWRITTEN
fork breaks safe INTERRUPTS=1 BROKEN_MARKED_FIRST
fork breaks safe INTERRUPTS=1 BROKEN_FORGOTTEN_FIRST
VARIANTS
}

check() ( # check MODEL holds|breaks safe|live FLAG...; in a folder of its own
    model=$1 expected=$2 mode=$3
    shift 3
    folder=$(mktemp -d -p "$work")
    cd "$folder"
    flags=("${@/#/-D}")
    if [ "$mode" = live ]; then
        flags+=(-DLIVE)
        compile=(-DNFAIR=3)
        run=(-a -f)
    else
        compile=(-DSAFETY)
        run=()
    fi
    # A fault is found before it pays to have optimized the search.
    [ "$expected" = holds ] && optimize=-O2 || optimize=-O0
    spin -a "${flags[@]}" "$HERE/$model.pml" >spin.log 2>&1 &&
        gcc "$optimize" -w -DCOLLAPSE -DMEMLIM="$MEMORY" "${compile[@]}" \
            -o pan pan.c >gcc.log 2>&1 &&
        ./pan "${run[@]}" -m"$DEPTH" >pan.log 2>&1 || true
    log=$(cat ./*.log)
    states=$(sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' <<<"$log")
    found=$(sed -n 's/^pan:1: \(.*\) (at depth.*/\1/p' <<<"$log")
    if grep -q 'errors: 0' <<<"$log"; then
        verdict=holds
    elif [[ $found == *"assertion violated"* || $found == *"invalid end state"* ||
        $found == *"acceptance cycle"* ]]; then
        verdict=breaks
    else
        verdict="was not searched"
    fi
    # What a search has not reached, it has not shown.
    if [ "$verdict" != breaks ] && grep -q -e 'max search depth too small' \
        -e 'Search not completed' -e 'reached -DMEMLIM' -e 'out of memory' <<<"$log"; then
        verdict="was cut short"
    fi
    printf '%-6s %9s states  %s %s %s%s\n' "$verdict" "${states:-?}" "$model" \
        "$mode" "$*" \
        "${found:+: $found}"
    if [ "$verdict" != "$expected" ]; then
        echo "WRONG: expected that it $expected"
        [ -n "$found" ] || tail -n 20 <<<"$log"
        [ ! -e "$model.pml.trail" ] || spin -t -p -g "${flags[@]}" \
            "$HERE/$model.pml" 2>&1 | tail -n 300
        touch "$work/wrong"
    fi
    rm -rf "$folder"
)

while read -r -a variant; do
    while [ "$(jobs -pr | wc -l)" -ge 2 ]; do
        wait -n || touch "$work/wrong"
    done
    check "${variant[@]}" &
done < <(variants | grep -E "^(${*:-.*}) ")
wait
[ ! -e "$work/wrong" ]
