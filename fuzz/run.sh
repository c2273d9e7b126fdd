#!/usr/bin/env bash
# Fuzzes each target for so many seconds, from the kept corpus and from what earlier runs found: run.sh SECONDS TARGET_DIR
set -euo pipefail
seconds=$1
folder=$(realpath -m "$2")/fuzz
cd "$(dirname "$0")"

build=(--quiet --release --locked --target-dir "$folder")
echo "fuzz: building"
cargo build "${build[@]}"
mkdir -p "$folder/failures"

for target in message page metadata; do
    # Beside the corpus that is kept, whatever was recorded of the real thing.
    seeds=(corpus/"$target")
    [[ $target != page ]] || seeds+=(../tests/data/randomuser)
    mkdir -p "$folder/corpus/$target"
    log=$folder/$target.log
    cargo run "${build[@]}" --bin "$target" -- \
        -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 \
        -dict=dictionaries/"$target".dict -artifact_prefix="$folder/failures/$target-" \
        "$folder/corpus/$target" "${seeds[@]}" >"$log" 2>&1 || {
        grep -A 40 -E 'panicked at|ERROR: libFuzzer' "$log" || tail -n 40 "$log"
        echo "fuzz: $target failed; the input is kept where the line \"Test unit written to\" says. To repeat it, in fuzz/:"
        echo "    cargo run --release --bin $target -- INPUT"
        exit 1
    } >&2
    echo "fuzz: $target: $(awk '/^stat::number_of_executed_units/ { print $2 }' "$log") inputs in $seconds s, nothing found"
done
