#!/bin/bash
# A Java RMI server in one network, its client in another, and a callback the other way; every call is counted once though
# the relay is killed. This machine plays both: 127.0.0.1 is the shop, 127.0.0.2 the depot.

source "$(dirname "$0")/../lib.sh"
need javac default-jdk-headless
tools
party shop
party depot
meet
here=$project/examples/rmi-over-vp
registry=$(free_port) object=$(free_port) callback=$(free_port)
mkdir "$work/classes"
javac -d "$work/classes" "$here"/*.java
run_java() { exec java -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xmx128m -cp "$work/classes" "$@"; }

say "depot\$  java -Djava.rmi.server.hostname=127.0.0.1 Server"
mkfifo "$work/held"
(run_java -Djava.rmi.server.hostname=127.0.0.1 Server 127.0.0.2 "$registry" "$object") \
    <"$work/held" >"$work/server.out" 2>"$work/server.log" &
server=$!
exec 7>"$work/held"
within 60 grep -q '^serving' "$work/server.out"

# client CALLS: a client at the shop, which the depot calls back at an address of its own.
client() { (run_java -Djava.rmi.server.hostname=127.0.0.2 Client 127.0.0.1 "$registry" "$1" 127.0.0.1 "$callback") 7>&-; }

# portrep PARTY LINES WORD...: mappings of a party, in the background, once it has written so many ready lines.
portrep() {
    local name=$1 lines=$2
    shift 2
    : >"$work/$name.ready"
    XDG_CONFIG_HOME="$work/$name" vp-portrep "$@" >"$work/$name.ready" 2>"$work/$name.log" 7>&- &
    has_lines() { [ "$(grep -c '^listening\|^serving' "$work/$name.ready")" -eq "$lines" ]; }
    within 60 has_lines
}

say "only the registry is mapped: the client gets no further, and vp-portrep says what is missing"
portrep depot 1 --export "registry=127.0.0.2:$registry"
exporter=$!
portrep shop 1 --import "$registry=depot:registry"
importer=$!
client 1 >"$work/client.out" 2>"$work/client.log" && fail "the client got further than the registry"
grep -q 'Connection refused to host: 127.0.0.1' "$work/client.log"
[ "$(grep -c "sends callers to 127.0.0.1:$object, where no import listens" "$work/shop.log")" -eq 1 ]
sed 's/^/         /' "$work/shop.log"
kill "$exporter" "$importer"
wait "$exporter" "$importer" || true

say "depot\$  vp-portrep --export rmi=127.0.0.1:1099 --export counter=127.0.0.1:1100 --import 1101=shop:callback"
portrep depot 3 --export "rmi=127.0.0.2:$registry" --export "counter=127.0.0.2:$object" \
    --import "127.0.0.2:$callback=shop:callback"
exporter=$!
say "shop\$   vp-portrep --import 1099=depot:rmi --import 1100=depot:counter --export callback=127.0.0.1:1101"
portrep shop 3 --import "$registry=depot:rmi" --import "$object=depot:counter" \
    --export "callback=127.0.0.1:$callback"
importer=$!

say "shop\$   java -Djava.rmi.server.hostname=127.0.0.1 Client: 2,000 calls, and the relay is killed twice meanwhile"
client 2000 >"$work/client.out" 2>"$work/client.log" &
client=$!
for call in 500 1500; do
    within 60 grep -q "^call $call\$" "$work/client.out"
    kill_hard "$relay_pid"
    meet "${RELAY##*@}" 7>&-
done
wait "$client" || fail "the client ended with status $?"
tail -n 1 "$work/client.out" | sed 's/^/         /'
[ "$(tail -n 1 "$work/client.out")" = "calls 2000, numbers 2000, called back 200" ] || fail "a call was lost or doubled"
grep 'RMI' "$work/shop.log" && fail "everything is mapped"

exec 7>&-
wait "$server"
kill "$exporter" "$importer"
wait "$exporter" "$importer" || true
say "rmi-over-vp: all as it should be"
