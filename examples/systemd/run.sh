#!/bin/bash
# Checks the units without booting a machine: systemd's own verdict on them, and what the programs do when they are
# started as the units start them. The system calls they make are held against the units' filter.

source "$(dirname "$0")/../lib.sh"
need systemd-analyze systemd
need socat socat
need strace strace
tools
here=$project/examples/systemd

say "systemd-analyze verify, and its verdict on what the services may do"
mkdir "$work/units"
for unit in vp-relay.service vp-recv@orders.service; do
    # The units name where the tools will be and a user that will be made.
    sed -e "s=/usr/local/bin=$VP_BIN=" -e "s/^User=.*/User=$(id -un)/" -e "s/^Group=.*/Group=$(id -gn)/" \
        "$here/${unit/@orders/@}" >"$work/units/$unit"
    systemd-analyze verify --man=no "$work/units/$unit" 2>"$work/verify.log"
    [ ! -s "$work/verify.log" ] || fail "$unit: $(cat "$work/verify.log")"
    systemd-analyze security --offline=true --threshold=20 --no-pager "$work/units/$unit" >"$work/security.log" \
        || fail "$unit may do too much"
done

# value UNIT KEY: what a unit says.
value() { sed -n "s/^$2=//p" "$here/$1"; }

# allowed SET...: the system calls of these sets, without those that are in an unwanted set.
calls() {
    local word
    for word in $(systemd-analyze syscall-filter --no-pager "$@" | sed -n 's/^    \([@a-z_0-9-]*\).*/\1/p'); do
        case $word in @*) calls "$word" ;; *) echo "$word" ;; esac
    done | sort -u
}
comm -23 <(calls @system-service) <(calls @privileged @resources) >"$work/allowed"
[ "$(wc -l <"$work/allowed")" -gt 100 ] || fail "systemd did not name its sets"

# service NAME COMMAND...: started as systemd starts a service, its system calls recorded.
service() {
    local name=$1
    shift
    socat -u "UNIX-RECV:$work/$name.notify" "CREATE:$work/$name.told" &
    within 20 test -S "$work/$name.notify"
    env -i PATH="$PATH" NOTIFY_SOCKET="$work/$name.notify" STATE_DIRECTORY="$work/$name.state" "${environment[@]}" \
        strace -D -f -q -e signal=none -o "$work/$name.calls" "$@" >"$work/$name.out" 2>"$work/$name.log" &
    process=$!
    within 60 grep -q READY=1 "$work/$name.told"
}
# stop NAME UNIT PROCESS: SIGTERM. It must end as its unit says that it does, and have kept to its filter.
stop() {
    local status=0 refused
    kill "$3"
    wait "$3" || status=$?
    [ "$status" -eq "$(value "$2" SuccessExitStatus)" ] || fail "$1 ended with status $status"
    within 20 grep -q "^$3 .*exited with" "$work/$1.calls"
    sed -n 's/^[0-9]* *\([a-z_0-9]*\)(.*/\1/p' "$work/$1.calls" | sort -u >"$work/$1.made"
    [ "$(wc -l <"$work/$1.made")" -gt 20 ] || fail "strace recorded nothing"
    refused=$(comm -23 "$work/$1.made" "$work/allowed" | paste -s -d ' ')
    [ -z "$refused" ] || fail "$1 makes system calls that its unit forbids: $refused"
}

say "vp-relay as its unit starts it: it makes its key, tells that it is ready, ends when told"
party shop
party depot
mkdir -m 700 "$work/relay.state" "$work/recv.state"
command=$(value vp-relay.service ExecStart)
command=${command#/usr/local/bin/}
command=${command/'[::]:4433'/127.0.0.1:0}
environment=()
# shellcheck disable=SC2086 # a command line is words
service relay ${command/'/etc/vp/peers'/$work/peers}
relay=$process
[ "$(stat -c %a "$work/relay.state/relay.key")" = 600 ] || fail "the relay's key is missing, or open to others"
read -r _ RELAY <"$work/relay.out"

say "vp-recv as its unit starts it: the key is a credential, a file comes"
mkdir -p "$work/credentials" "$work/recv.state/orders"
install -m 400 "$work/depot/vp/key" "$work/credentials/key"
cp "$work/peers" "$work/shop/vp/peers"
command=$(value vp-recv@.service ExecStart)
command=${command#/usr/local/bin/}
command=${command//%i/orders}
# /etc/vp/peers and /etc/vp/relays, which this machine does not have.
environment=(CREDENTIALS_DIRECTORY="$work/credentials" VP_PEERS="$work/peers" VP_RELAY="$RELAY")
# shellcheck disable=SC2086
service recv ${command//'/var/lib/vp-recv'/$work/recv.state}
seq 1000 >"$work/order"
XDG_CONFIG_HOME="$work/shop" vp-send -r "$RELAY" "$work/order" depot:orders --timeout 60s 2>"$work/send.log"
cmp "$work/order" "$work/recv.state/orders/order"
stop recv vp-recv@.service "$process"
stop relay vp-relay.service "$relay"
say "systemd: all as it should be"
