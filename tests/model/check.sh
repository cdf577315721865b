#!/usr/bin/env bash
# Search section.pml completely, in each shape below, and with each fault put
# in: tests/model/check.sh. One line for each; fails if a sound one fails, a
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

# holds|breaks  safe|live  flags of section.pml
#
# safe: assertions and deadlocks; live: the ltl formula, every thread fair.
# The longest first, as two run at a time.
variants() {
    cat <<'VARIANTS'
holds safe SIGNALS=2
holds live DEFAULT ALWAYS FOREVER
holds safe SIGNALS=2 DEFAULT
holds safe ENDER
holds live CYCLE CLOCK IDLE_MAIN
holds live ENDER ALWAYS FOREVER IDLE_MAIN
holds safe SIGNALS=2 ENDER NESTED WORKERS=1
holds safe ALWAYS NESTED
holds safe SLEEPER
breaks safe SIGNALS=2 BROKEN_HELD_AND_TRIPPED
breaks safe SIGNALS=2 BROKEN_TRIPPED_LATER
breaks safe SIGNALS=2 WORKERS=1 BROKEN_NO_LOOK
breaks safe SIGNALS=2 WORKERS=1 BROKEN_LOOK_NOT_RESTORED
breaks safe SIGNALS=2 WORKERS=1 BROKEN_GIVE_BACK_BEFORE_COUNT
breaks safe SIGNALS=2 WORKERS=1 BROKEN_NO_SECOND_LOOK
breaks safe SIGNALS=2 WORKERS=1 BROKEN_REFRESH_DROPS_HOLD
breaks safe SIGNALS=2 WORKERS=1 BROKEN_NOTICED_IS_POPPED
breaks safe SIGNALS=2 WORKERS=1 BROKEN_NO_QUIESCE
breaks safe SIGNALS=2 WORKERS=1 BROKEN_NO_QUIESCE_ON_CHANGE
breaks safe SIGNALS=2 WORKERS=1 DEFAULT BROKEN_NO_QUIESCE_ON_TAKING
breaks safe DEFAULT WORKERS=1 BROKEN_COVERED_BEFORE_SWAP
breaks safe ENDER WORKERS=1 BROKEN_SEPARATE_CLOSED
breaks safe ENDER WORKERS=1 BROKEN_LIFT_IN_HURRY
breaks safe SLEEPER WORKERS=1 DEFAULT BROKEN_ONE_NUDGE
breaks live ALWAYS FOREVER BROKEN_NO_GATE
breaks live CYCLE ALWAYS IDLE_MAIN
breaks live ENDER ALWAYS FOREVER IDLE_MAIN BROKEN_LIFT_IN_HURRY
VARIANTS
}

check() ( # check holds|breaks safe|live FLAG...; in a folder of its own
    expected=$1 mode=$2
    shift 2
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
    spin -a "${flags[@]}" "$HERE/section.pml" >spin.log 2>&1 &&
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
    printf '%-6s %9s states  %s %s%s\n' "$verdict" "${states:-?}" "$mode" "$*" \
        "${found:+: $found}"
    if [ "$verdict" != "$expected" ]; then
        echo "WRONG: expected that it $expected"
        [ -n "$found" ] || tail -n 20 <<<"$log"
        [ ! -e section.pml.trail ] || spin -t -p -g "${flags[@]}" \
            "$HERE/section.pml" 2>&1 | tail -n 300
        touch "$work/wrong"
    fi
    rm -rf "$folder"
)

while read -r -a variant; do
    while [ "$(jobs -pr | wc -l)" -ge 2 ]; do
        wait -n || touch "$work/wrong"
    done
    check "${variant[@]}" &
done < <(variants)
wait
[ ! -e "$work/wrong" ]
