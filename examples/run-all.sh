#!/bin/bash
# Runs the example in each folder beside this file and says how it ended. Their READMEs name the Debian packages they
# need, and `.ci/run` installs them.

set -u
cd "$(dirname "$0")" || exit 1
failed=()
for run in */run.sh; do
    log=$(mktemp)
    begun=$SECONDS
    # Far longer than any of them takes, building included.
    if timeout --kill-after=10 1200 "./$run" >"$log" 2>&1 </dev/null; then
        echo "ok      $run ($((SECONDS - begun)) s)"
    else
        echo "FAILED  $run"
        sed 's/^/        /' "$log"
        failed+=("$run")
    fi
    rm -f "$log"
done
[ "${#failed[@]}" -eq 0 ]
