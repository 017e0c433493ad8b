# Shared by the long scripts beside it, which `source` it with bash and call `begin NAME`: the tools as a release in $bin, a directory of
# their own in $dir, and in it keys of a relay, east and west, and the peers file of those two. Whatever they start in the background,
# or put into `pids`, ends with them; the directory stays if they fail.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
pids=()

begin() {
  stage=$1
  cargo build --quiet --locked --release --workspace --bins
  bin=$(cd "${CARGO_TARGET_DIR:-target}" && pwd)/release
  dir=$(mktemp -d "${TMPDIR:-/tmp}/vp-$stage-XXXXXX")
  trap finish EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  local name
  for name in relay east west; do
    printf '%s %s\n' "$name" "$("$bin/vp-keygen" -o "$dir/$name.key")" >> "$dir/ids"
  done
  grep -v '^relay ' "$dir/ids" > "$dir/peers"
}

# Told to end first: some have processes of their own, which they end. Then there is no choice, as some may stand still.
finish() {
  status=$?
  trap - EXIT INT TERM
  local running=("${pids[@]}") pid
  mapfile -t -O ${#running[@]} running < <(jobs -pr)
  for pid in "${running[@]}"; do kill "$pid" 2>/dev/null || true; done
  for _ in {1..40}; do
    kill -0 "${running[@]}" 2>/dev/null || break
    sleep 0.05
  done
  for pid in "${running[@]}"; do kill -9 "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  if [ $status -eq 0 ]; then rm -rf "$dir"; else echo "$stage: failed; all is left in $dir" >&2; fi
  exit $status
}

say() { printf '%s: %s\n' "$stage" "$*"; }
die() { say "error: $*" >&2; exit 1; }

# until_true SECONDS COMMAND...: looks often, gives up loudly.
until_true() {
  local end=$((SECONDS + $1)); shift
  until "$@"; do
    [ $SECONDS -lt $end ] || die "waited too long for: $*"
    sleep 0.05
  done
}
