#!/bin/bash
# Lives through a day of the file drop in some seconds: nobody there, no relay, delivery, a refusal, two runs at once.

source "$(dirname "$0")/../lib.sh"
need flock util-linux
tools
party shop
party depot
meet
here=$project/examples/cron-drop
drop=$work/orders
inbox=$work/inbox
mkdir -p "$drop/outbox" "$inbox"

# drop STATUS WAIT: one run of cron, which must end with this status; what it says goes to said.log.
drop() {
    local status=0
    XDG_CONFIG_HOME="$work/shop" DROP_WAIT=$2 "$here/drop.sh" "$drop" depot:orders 2>"$work/said.log" || status=$?
    [ "$status" -eq "$1" ] || fail "drop.sh ended with $status, not $1: $(cat "$work/said.log")"
}
silent() { [ ! -s "$work/said.log" ] || fail "cron would have sent a mail"; }
told() { grep -q "$1" "$work/said.log" || fail "nobody was told: $1"; }
holds() { [ "$(ls "$1" | paste -s -d ' ')" = "${*:2}" ] || fail "$1 is not as it should be"; }

order() {
    seq "$2" >"$drop/.$1"
    mv "$drop/.$1" "$drop/outbox/$1"
}

say "nobody receives: the order waits, silently"
order 1001.csv 200000
drop 0 1s
silent
holds "$drop/outbox" 1001.csv

say "nobody receives for two hours: a person hears of it"
touch -d '3 hours ago' "$drop/.failing"
drop 1 1s
told 'not delivered for 120 minutes'
holds "$drop/outbox" 1001.csv

say "the receiver comes: everything that waits is delivered"
order 1002.csv 10
XDG_CONFIG_HOME="$work/depot" vp-recv orders --keep -d "$inbox" --from shop 2>"$work/recv.log" &
receiver=$!
drop 0 30s
silent
holds "$drop/outbox"
holds "$drop/sent" 1001.csv 1002.csv
diff -r "$drop/sent" "$inbox"
[ ! -e "$drop/.failing" ]

say "the relay is gone: the order waits; the relay is back: it goes"
order 1003.csv 300
kill "$relay_pid"
wait "$relay_pid" || true
drop 0 1s
silent
holds "$drop/outbox" 1003.csv
meet "${RELAY##*@}"
drop 0 30s
cmp "$drop/sent/1003.csv" "$inbox/1003.csv"

say "the relay does not admit the shop any more: a person hears of it, and the order stays"
again() { kill "$relay_pid" && wait "$relay_pid" || meet "${RELAY##*@}"; }
cp "$work/peers" "$work/all"
grep -v '^shop' "$work/all" >"$work/peers"
again
order 1004.csv 5
drop 1 30s
told 'does not admit'
holds "$drop/outbox" 1004.csv
[ -z "$(ls "$drop/refused")" ] || fail "it was taken for a refusal of the order"
cp "$work/all" "$work/peers"
again

say "a second order of the same number and another content: refused, the first stays as it is"
order 1001.csv 5
drop 1 30s
told '1001.csv: refused'
holds "$drop/refused" 1001.csv
cmp "$drop/sent/1001.csv" "$inbox/1001.csv"
cmp "$drop/sent/1004.csv" "$inbox/1004.csv"

say "two runs at once: the second leaves it to the first"
order 1005.csv 5
exec 8>"$drop/.lock"
flock 8
drop 0 1s
holds "$drop/outbox" 1005.csv
exec 8>&-
drop 0 30s
cmp "$drop/sent/1005.csv" "$inbox/1005.csv"

kill "$receiver"
wait "$receiver" || true
holds "$inbox" 1001.csv 1002.csv 1003.csv 1004.csv 1005.csv
say "cron-drop: all as it should be"
