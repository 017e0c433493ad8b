#!/usr/bin/env bash
# Slow requests, from the address of those who use the relay: tests/slow-http.sh [SECONDS, default 60] [CONNECTIONS, default 1000]
#
# slowhttptest dribbles heads, dribbles bodies, asks for many ranges, and reads answers slowly, so long each. Meanwhile files are sent
# one after another by each carrier, and each has to come; and each session that was there before has to be there after it, by the
# same link. Ends with 0 only if all held. Loopback only; everything it starts ends with it.
source "$(dirname "$0")/stage.sh"
source tests/packages.sh
seconds=${1:-60} connections=${2:-1000}
packages slowhttptest=slowhttptest
begin slow-http

: > "$dir/relay.out"
"$bin/vp-relay" --listen 127.0.0.1:0 --key "$dir/relay.key" --allow "$dir/peers" > "$dir/relay.out" 2> "$dir/relay.err" &
pids+=($!)
until_true 20 grep -q '^listening tcp:' "$dir/relay.out"
address=$(sed -n 's/^listening tcp:\/\///p' "$dir/relay.out")

schemes=(tcp tls ws wss http https)
declare -A says sent slowest
mkdir "$dir/in"
head -c 100000 /dev/urandom > "$dir/file"
for scheme in "${schemes[@]}"; do
  common=(--relay "$scheme://$address" --peers "$dir/peers" --outer-tls any)
  "$bin/vp-recv" "$scheme" "${common[@]}" --key "$dir/west.key" --keep -q -d "$dir/in" --overwrite yes < /dev/null 2> "$dir/$scheme.recv" &
  pids+=($!)
  "$bin/vp-attach" --listen "still-$scheme" --exec cat -v "${common[@]}" --key "$dir/west.key" < /dev/null > "$dir/$scheme.exec" 2> "$dir/$scheme.west" &
  pids+=($!)
  mkfifo "$dir/$scheme.in"
  "$bin/vp-attach" "west:still-$scheme" -v "${common[@]}" --key "$dir/east.key" --timeout 30s < "$dir/$scheme.in" > "$dir/$scheme.out" 2> "$dir/$scheme.east" &
  pids+=($!)
  exec {fd}> "$dir/$scheme.in"
  says[$scheme]=$fd
  echo first >&"$fd"
done
for scheme in "${schemes[@]}"; do until_true 60 grep -qx first "$dir/$scheme.out"; done
lines() { for scheme in "${schemes[@]}"; do wc -l < "$dir/$scheme.east"; wc -l < "$dir/$scheme.west"; done; }
before=$(lines)

for mode in -H -B -R -X; do
  for scheme in "${schemes[@]}"; do sent[$scheme]=0 slowest[$scheme]=0; done
  slowhttptest "$mode" -c "$connections" -r "$connections" -i 5 -l "$seconds" -p 3 -u "http://${address##*@}/" > "$dir/slow$mode" 2>&1 &
  attack=$!
  pids+=("$attack")
  # An attack ends early where every connection of it was closed.
  end=$((SECONDS + seconds))
  while kill -0 "$attack" 2> /dev/null || [ "${sent[https]}" -eq 0 ]; do
    [ $SECONDS -lt $((end + 30)) ] || die "slowhttptest $mode did not end"
    for scheme in "${schemes[@]}"; do
      begun=$(date +%s%N)
      "$bin/vp-send" "$dir/file" "west:$scheme" -q --relay "$scheme://$address" --peers "$dir/peers" --outer-tls any --key "$dir/east.key" \
        --timeout 20s < /dev/null || die "$mode: vp-send by $scheme ended with $?"
      cmp "$dir/file" "$dir/in/file" || die "$mode: another file has come by $scheme"
      took=$((($(date +%s%N) - begun) / 1000000))
      sent[$scheme]=$((sent[$scheme] + 1)) slowest[$scheme]=$((took > slowest[$scheme] ? took : slowest[$scheme]))
    done
  done
  wait "$attack" || true
  grep -q 'service available.*YES' "$dir/slow$mode" || die "$mode: slowhttptest calls the relay unavailable"
  say "$mode: files sent, and the slowest in ms:$(for scheme in "${schemes[@]}"; do printf ' %s %s %s;' "$scheme" "${sent[$scheme]}" "${slowest[$scheme]}"; done)"
done

for scheme in "${schemes[@]}"; do echo last >&"${says[$scheme]}"; done
for scheme in "${schemes[@]}"; do until_true 10 grep -qx last "$dir/$scheme.out"; done
[ "$before" = "$(lines)" ] || die "a link was lost: see *.east and *.west"
say "every session kept its link"
