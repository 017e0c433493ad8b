#!/bin/sh
# Runs fuzz targets for some seconds each: fuzz/smoke.sh [SECONDS [TARGET...]]. Ends with the first finding.
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-30}
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- $(ls fuzz/fuzz_targets | sed 's/\.rs$//')
# libFuzzer wants unstable flags; this takes them on a stable compiler.
export RUSTC_BOOTSTRAP=1
for target; do
    echo "== $target" >&2
    mkdir -p "fuzz/work/$target" "fuzz/corpus/$target"
    # The library has no unsafe code, so the address sanitizer would only cost time. New inputs go to the first directory.
    cargo fuzz run --sanitizer none "$target" "fuzz/work/$target" "fuzz/corpus/$target" -- \
        -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -max_len=8192 -len_control=0 -print_final_stats=0 -verbosity=0
done
