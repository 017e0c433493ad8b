#!/bin/bash
# Checks the units without booting a machine: systemd's own verdict on them, and what the programs do when they are
# started as the units start them. The system calls they make are held against the units' filter.

source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/../units.sh"
need openssl openssl
tools
here=$project/examples/systemd

say "systemd-analyze verify, and its verdict on what the services may do"
verify vp-relay.service vp-recv@orders.service
install -D -m 644 "$here/vp-relay-tls.conf" "$work/units/vp-relay.service.d/tls.conf"
sed -i "s=/usr/local/bin=$VP_BIN=" "$work/units/vp-relay.service.d/tls.conf"
cp "$here/vp-relay.socket" "$work/units"
systemd-analyze verify --man=no "$work/units/vp-relay.socket" "$work/units/vp-relay.service" 2>"$work/verify.log"
[ ! -s "$work/verify.log" ] || fail "with TLS: $(cat "$work/verify.log")"

say "vp-relay as its unit starts it: it makes its key, tells that it is ready, ends when told"
party shop
party depot
mkdir -m 700 "$work/relay.state" "$work/recv.state"
command=$(value vp-relay.service ExecStart)
command=${command#/usr/local/bin/}
command=${command/'[::]:4433'/127.0.0.1:0}
command=${command/'/etc/vp/allow'/$work/allow}
cp "$work/peers" "$work/allow"
# A key that a party would find, as it would find /etc/vp/key: it is the receiver's.
environment=(VP_KEY="$work/depot/vp/key")
# shellcheck disable=SC2086 # a command line is words
service relay $command
relay=$process
read -r _ RELAY <"$work/relay.out"
made=$(vp-keygen -y "$work/relay.state/relay.key")
[ "$(stat -c %a "$work/relay.state/relay.key")" = 600 ] || fail "the relay's key is open to others"
[[ $RELAY == "tcp://$made@"* ]] || fail "the relay is $RELAY, not $made"

say "vp-relay as it is started for TLS: its certificate is a credential"
mkdir -m 700 "$work/secure.state"
mkdir "$work/secure.credentials"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 90 -subj /CN=relay \
    -addext subjectAltName=IP:127.0.0.1 -keyout "$work/privkey" -out "$work/fullchain" 2>"$work/openssl.log"
for part in tls-cert:fullchain tls-key:privkey; do
    value vp-relay-tls.conf LoadCredential | grep -q "^${part%:*}:.*/${part#*:}[.]pem$" || fail "no credential ${part%:*}"
    install -m 400 "$work/${part#*:}" "$work/secure.credentials/${part%:*}"
done
command=$(value vp-relay-tls.conf ExecStart | sed '/^$/d')
command=${command#/usr/local/bin/}
command=${command/'/etc/vp/allow'/$work/allow}
environment=(CREDENTIALS_DIRECTORY="$work/secure.credentials")
# In place of the socket unit's port a free one.
# shellcheck disable=SC2086
service secure ${command//%d/$work/secure.credentials} --listen 127.0.0.1:0
secure=$process
SECURE=$(sed -n 's=^listening \(tls://.*\)=\1=p' "$work/secure.out")
status=0
cp "$work/peers" "$work/shop/vp/peers"
XDG_CONFIG_HOME="$work/shop" vp-attach -r "$SECURE" --ca "$work/fullchain" depot:nothing --timeout 0 \
    2>"$work/secure.said" </dev/null || status=$?
[ "$status" -eq 5 ] || fail "the relay by TLS: $(cat "$work/secure.said" "$work/secure.log")"
[ ! -s "$work/secure.log" ] || fail "the relay by TLS says: $(cat "$work/secure.log")"
stop secure vp-relay.service "$secure"

say "vp-recv as its unit starts it: the key is a credential, a file comes"
mkdir -p "$work/credentials" "$work/recv.state/orders"
install -m 400 "$work/depot/vp/key" "$work/credentials/key"
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

say "a tree comes, and what is added to it"
mkdir -p "$work/day/2026"
for part in a b; do
    echo "$part" >"$work/day/2026/$part"
    XDG_CONFIG_HOME="$work/shop" vp-send -r "$RELAY" "$work/day" depot:orders --timeout 60s 2>>"$work/send.log" \
        || fail "the tree did not come: $(cat "$work/send.log" "$work/recv.log")"
    diff -r "$work/day" "$work/recv.state/orders/day"
done
stop recv vp-recv@.service "$process"
stop relay vp-relay.service "$relay"
say "systemd: all as it should be"
