#!/usr/bin/env bash
# Hours of ordinary life with everything going wrong now and then: tests/soak.sh [MINUTES, default 10] [SEED]
#
# One relay and one receiving daemon live through all of it; senders come and go. Paths are cut, reset, stalled and
# swallowed, the relay is killed and started again, senders are killed and run again. After every round the bytes are
# compared; at the end the daemon and the relay must not have grown in memory or descriptors.
# Ends with 0 only if every round held. Loopback only; everything it starts ends with it.
source "$(dirname "$0")/stage.sh"
minutes=${1:-10}
RANDOM=$(( ${2:-$$} % 32768 ))
begin soak

# start_relay LISTEN: its address is in $address, its process in $relay.
start_relay() {
  : > "$dir/relay.out"
  "$bin/vp-relay" --listen "$1" --key "$dir/relay.key" --allow "$dir/peers" > "$dir/relay.out" 2>> "$dir/relay.err" &
  relay=$!
  until_true 20 grep -q '^listening ' "$dir/relay.out"
  address=$(sed -n 's/^listening \(tcp:\)/\1/p' "$dir/relay.out")
}
start_relay 127.0.0.1:0
id=${address%@*}
port=${address##*@}

# start_proxy NAME: a path of its own to the relay, commands go to descriptor $NAME_in; prints nothing.
start_proxy() {
  mkfifo "$dir/$1.in"
  "$bin/impair" --target "$port" --delay 2ms --jitter 3ms < "$dir/$1.in" > "$dir/$1.out" &
  pids+=($!)
  exec {fd}> "$dir/$1.in"
  printf -v "$1_in" %s "$fd"
  until_true 20 grep -q '^listening ' "$dir/$1.out"
  printf -v "$1" '%s@%s' "$id" "$(sed -n 's/^listening //p' "$dir/$1.out")"
}
start_proxy up
start_proxy down

party() { # party NAME RELAY TOOL ARGS...
  local name=$1 via=$2 tool=$3; shift 3
  exec "$bin/$tool" --relay "$via" --key "$dir/$name.key" --peers "$dir/peers" "$@"
}

mkdir "$dir/inbox"
(party west "$down" vp-recv drop -d "$dir/inbox" --keep --overwrite yes -q --ready-fd 3 3> "$dir/ready" 2>> "$dir/recv.err") &
daemon=$!
pids+=("$daemon")
until_true 20 grep -q '^attached' "$dir/ready"

rss() { awk '/^VmRSS/ { print $2 }' "/proc/$1/status"; }
descriptors() { find "/proc/$1/fd" -mindepth 1 | wc -l; }

# One trouble, chosen by chance, some time after the round began.
trouble() {
  case $((RANDOM % 8)) in
    0) echo cut >&"$up_in" ;;
    1) echo reset >&"$down_in" ;;
    2) echo stall >&"$up_in"; sleep 1; echo heal >&"$up_in" ;;
    3) echo drop >&"$down_in"; sleep 1; echo heal >&"$down_in" ;;
    4) printf 'half-open\n' >&"$up_in"; sleep 1; printf 'reset\nheal\n' >&"$up_in" ;;
    5) echo "flip $((RANDOM * 40))" >&"$up_in" ;;
    6) kill -9 "$relay"; wait "$relay" 2>/dev/null || true; start_relay "$port" ;;
    7) kill -9 "$send" 2>/dev/null || true; again=yes ;;
  esac
}

make_source() {
  rm -rf "$dir/source" "$dir/inbox/source"
  if [ $((RANDOM % 2)) -eq 0 ]; then
    head -c $((RANDOM * 2000 + RANDOM)) /dev/urandom > "$dir/source"
  else
    mkdir "$dir/source"
    for n in $(seq $((RANDOM % 400 + 1))); do head -c $((RANDOM * 2)) /dev/urandom > "$dir/source/$n"; done
  fi
}

run_send() { (party east "$up" vp-send -q "$dir/source" west 2>> "$dir/send.err") & send=$!; }

end=$((SECONDS + minutes * 60)) round=0 troubles=0 reruns=0
while [ $SECONDS -lt $end ]; do
  round=$((round + 1))
  make_source
  again=no
  run_send
  for _ in $(seq $((RANDOM % 4))); do
    sleep "0.$((RANDOM % 10))"
    kill -0 "$send" 2>/dev/null || break
    trouble
    troubles=$((troubles + 1))
    if [ $again = yes ]; then
      wait "$send" 2>/dev/null || true
      again=no reruns=$((reruns + 1))
      run_send
    fi
  done
  until_true 120 eval '! kill -0 "$send" 2>/dev/null'
  wait "$send" || die "vp-send ended with $?: $(tail -n 3 "$dir/send.err")"
  diff -r "$dir/source" "$dir/inbox/source" > "$dir/diff" || die "what arrived differs: $(head -n 3 "$dir/diff")"
  [ "$(ls -A "$dir/inbox")" = source ] || die "leftovers: $(ls -A "$dir/inbox")"
  kill -0 "$daemon" || die "the daemon is gone: $(tail -n 3 "$dir/recv.err")"
  if [ $round -eq 20 ]; then rss20=$(rss "$daemon") fds20=$(descriptors "$daemon"); fi
done

say "$round rounds, $troubles troubles, $reruns reruns"
say "daemon: $(rss "$daemon") KiB, $(descriptors "$daemon") descriptors; relay: $(rss "$relay") KiB"
[ "$(rss "$relay")" -le $((48 << 10)) ] || die "the relay has grown"
if [ -n "${rss20:-}" ]; then
  [ "$(rss "$daemon")" -le $((rss20 + (16 << 10))) ] || die "the daemon has grown from $rss20 KiB"
  [ "$(descriptors "$daemon")" -le $((fds20 + 2)) ] || die "the daemon leaks descriptors"
fi
