#!/bin/bash
# Checks the units without booting a machine, starts both ends as the units do, and uses what they serve: as a port, and
# with the wrapper as a socket for one command.

source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/../units.sh"
tools
here=$project/examples/portrep-service
party shop
party depot
meet

say "systemd-analyze verify, and its verdict on what the services may do"
verify vp-export.service vp-import.service

# as_unit PARTY UNIT FROM TO: starts what a unit starts, with its key as a credential, and another port.
as_unit() {
    local command
    mkdir -p "$work/$1.credentials"
    install -m 400 "$work/$1/vp/key" "$work/$1.credentials/key"
    # /etc/vp/peers and /etc/vp/relays, which this machine does not have.
    environment=(CREDENTIALS_DIRECTORY="$work/$1.credentials" VP_PEERS="$work/peers" VP_RELAY="$RELAY")
    command=$(value "$2" ExecStart)
    command=${command#/usr/local/bin/}
    # shellcheck disable=SC2086 # a command line is words
    service "$1" ${command/"$3"/"$4"}
}

say "depot: vp-export as its unit starts it, before a target that answers every line"
target=$(free_port)
socat "TCP-LISTEN:$target,bind=127.0.0.1,reuseaddr,fork" 'EXEC:sed -u s/^/heard-/' 2>"$work/target.log" &
answers=$!
as_unit depot vp-export.service 127.0.0.1:5432 "127.0.0.1:$target"
exporter=$process
grep -q "^serving pg 127.0.0.1:$target\$" "$work/depot.out"

say "shop: vp-import as its unit starts it; what is said to its port is answered at the depot"
port=$(free_port)
as_unit shop vp-import.service 5432= "$port="
importer=$process
grep -q "^listening 127.0.0.1:$port " "$work/shop.out"
answered() { [ "$(echo "$1" | timeout 20 socat -t 20 - "TCP:127.0.0.1:$port")" = "heard-$1" ]; }
# It listens before the peer is found.
within 60 answered hello

say "shop: with-depot.sh: the same for one command, as a socket; its status is the command's"
status=0
# shellcheck disable=SC2016 # the command's own variable
said=$(XDG_CONFIG_HOME="$work/shop" "$here/with-depot.sh" \
    sh -c 'echo job | socat -t 20 - UNIX-CONNECT:"$PGHOST/.s.PGSQL.5432"; exit 3' 2>"$work/job.log") || status=$?
[ "$said" = heard-job ] || fail "the command heard- $said"
[ "$status" -eq 3 ] || fail "the command ended with 3, the wrapper with $status"
[ ! -s "$work/job.log" ] || fail "cron would have sent a mail"

stop shop vp-import.service "$importer"
stop depot vp-export.service "$exporter"

say "shop: with-depot.sh, and nobody serves: the command is not run, and the status says that it may be tried again"
status=0
XDG_CONFIG_HOME="$work/shop" DEPOT_WAIT=1s "$here/with-depot.sh" touch "$work/was-run" 2>"$work/job.log" || status=$?
[ "$status" -eq 5 ] || fail "it ended with $status, not 5"
[ ! -e "$work/was-run" ] || fail "the command was run"
grep -q 'error: .* is not there' "$work/job.log"
kill "$answers"
wait "$answers" || true
say "portrep-service: all as it should be"
