#!/bin/sh
# Use: sh cpp/fuzz/run.sh BUILD_FOLDER SECONDS [TARGET...]
# Builds the targets and runs each for SECONDS. Corpora and crashes stay in BUILD_FOLDER/corpus and BUILD_FOLDER/crashes;
# a next run goes on from them. CXX names the compiler (default: the first of clang++, clang++-14 ... that is there).
set -eu
build=$1 seconds=$2
shift 2
source=$(dirname "$0")

if [ -z "${CXX:-}" ]; then
    for CXX in clang++ clang++-19 clang++-18 clang++-17 clang++-16 clang++-15 clang++-14 none; do
        command -v "$CXX" > /dev/null && break
    done
fi
[ "$CXX" != none ] || { echo "fuzz: no clang++ found; install clang (Debian: clang-14 and libclang-rt-14-dev)" >&2; exit 2; }

cmake -S "$source" -B "$build" -G Ninja -DCMAKE_CXX_COMPILER="$CXX" > "$build.log" 2>&1 || { cat "$build.log" >&2; exit 2; }
cmake --build "$build" > "$build.log" 2>&1 || { cat "$build.log" >&2; exit 2; }
[ $# -gt 0 ] || set -- $(cd "$source" && ls fuzz_*.cpp | sed 's/\.cpp//')

failed=0
for target in "$@"; do
    corpus=$build/corpus/$target crashes=$build/crashes/$target
    mkdir -p "$corpus" "$crashes"
    "$build/seeds_${target#fuzz_}" "$corpus" > /dev/null
    # 1 GiB and 10 s for one input: far above what any input of 64 KiB may need.
    if "$build/$target" -max_total_time="$seconds" -max_len=65536 -rss_limit_mb=1024 -timeout=10 -print_final_stats=1 \
        -artifact_prefix="$crashes/" "$corpus" > "$build/$target.log" 2>&1; then
        runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$build/$target.log")
        echo "$target: $seconds s, $runs inputs, no finding, $(ls "$corpus" | wc -l) in the corpus"
    else
        failed=1
        echo "$target: FOUND SOMETHING, see $build/$target.log and $crashes"
        tail -25 "$build/$target.log"
    fi
done
exit $failed
