#!/bin/sh
# Every figure of the project, side by side with its yardstick, in one run.
#
#   benches/run.sh               all of them, several minutes
#   benches/run.sh stream rtt    these
#   benches/run.sh --quick       all of them, small: shows that they run, proves nothing
#   benches/run.sh --list        their names
#
# Loopback only. Every process that it starts ends with it.
set -eu
cd "$(dirname "$0")/.."
case " $* " in
*" --list "*) ;;
*) cargo build --release --workspace --bins >&2 ;;
esac
exec python3 benches/run.py "$@"
