#!/bin/bash
# The first day of two administrators, typed as the READMEs have it: from nothing to the first stream, the first file, the
# first query and the first delivery by a real cron. Three machines: a relay, a shop and a depot. Each is a network
# namespace with an /etc, a /home and a /usr/local of its own; shop and depot can dial out and nothing else; users are
# ordinary. What is typed comes from the READMEs, with the ids filled in. Needs root; nothing outlives it.

set -euo pipefail
if [ "${VP_FIRST_DAY:-}" != inside ]; then
    if [ "$(id -u)" -ne 0 ] || ! unshare --mount --net --pid --fork true 2>/dev/null; then
        echo "SKIPPED: it makes users and networks of its own, which is not permitted here"
        [ -z "${VP_TEST_EVERYTHING:-}" ]
        exit
    fi
    cd "$(dirname "$0")/.."
    source tests/packages.sh
    packages ip=iproute2 nft=nftables unshare=util-linux make=make cron=cron faketime=faketime su=util-linux \
        useradd=passwd /usr/lib/postgresql=postgresql
    source examples/lib.sh
    tools
    rm -rf "$work"
    VP_FIRST_DAY=inside exec unshare --mount --net --pid --fork --mount-proc "$0"
fi
source "$(dirname "$0")/../examples/lib.sh"
cd "$project"
chmod 755 "$work"
mount --make-rprivate /

# --- machines ---------------------------------------------------------------------------------------------------------

declare -A machine
# machine NAME: a network of its own, and a disk on which a fresh Debian is.
machine() {
    mkfifo "$work/$1.ready"
    unshare --mount --net --uts bash -euc '
        hostname "$1"
        ip link set lo up
        mkdir "$2/$1.disk"
        mount -t tmpfs disk "$2/$1.disk"
        for place in /etc /usr; do
            mkdir -p "$2/$1.disk$place.new" "$2/$1.disk$place.work"
            mount -t overlay -o "lowerdir=$place,upperdir=$2/$1.disk$place.new,workdir=$2/$1.disk$place.work" disk "$place"
        done
        for place in /home /srv /run /var/spool/cron; do mount -t tmpfs -o mode=755 disk "$place"; done
        mount -t tmpfs -o mode=1777 disk /dev/shm
        # Nothing of what the machine below us may have.
        rm -rf /etc/vp /etc/cron.d/* /usr/local/bin/vp-* /usr/local/bin/drop.sh
        install -d -o root -g crontab -m 1730 /var/spool/cron/crontabs
        install -d -o postgres -g postgres /run/postgresql
        echo ready >"$2/$1.ready"
        exec sleep infinity' machine "$1" "$work" &
    machine[$1]=$!
    read -r -t 20 _ <"$work/$1.ready" || fail "no machine $1"
}
# on NAME COMMAND...: as its root.
on() {
    local name=$1
    shift
    nsenter --target "${machine[$name]}" --mount --net --uts -- "$@"
}
# The words that make a command what the ordinary user of a machine types into a login shell; the user has its name.
user() {
    login=(nsenter --target "${machine[$1]}" --mount --net --uts -- setpriv "--reuid=$1" "--regid=$1"
        --init-groups env -i --chdir="/home/$1" HOME="/home/$1" USER="$1" LOGNAME="$1" SHELL=/bin/bash bash --login -c "$2")
}
# as NAME COMMAND: typed, and waited for.
as() {
    local login
    user "$1" "$2"
    "${login[@]}"
}
# leave NAME COMMAND LOG: typed, and left to run as $process; what it says goes to files of that name.
leave() {
    local login
    user "$1" "$2"
    "${login[@]}" >"$work/$3.out" 2>"$work/$3.log" &
    process=$!
}
# stop PROCESS: ends what was left to run.
stop() {
    kill "$1"
    wait "$1" || true
}
# root NAME FOLDER COMMAND: typed by its root, who stands in the folder.
root() { on "$1" env -i HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin bash -ec "cd '$2'; $3"; }

# wire NAME NUMBER: a cable to the relay, and a firewall that lets nobody in.
wire() {
    ip link add "to-$1" type veth peer name out netns "${machine[$1]}"
    ip link set "to-$1" netns "${machine[relay]}"
    on relay ip address add "10.77.$2.1/24" dev "to-$1"
    on relay ip link set "to-$1" up
    on "$1" ip address add "10.77.$2.2/24" dev out
    on "$1" ip link set out up
    on "$1" ip route add default via "10.77.$2.1"
    on "$1" nft -f - <<'RULES'
table inet firewall {
    chain in { type filter hook input priority 0; policy accept; iifname "out" ct state new drop; }
}
RULES
}

# --- READMEs ----------------------------------------------------------------------------------------------------------

# text FILE HEADING: the commands under that heading go to $lines, those that nobody has typed yet.
text() {
    mapfile -t lines < <(awk -v heading="$2" '
        /^#+ / { inside = ($0 == heading) }
        /^```/ { code = ($0 == "```sh") && inside; next }
        code' "$1")
    [ "${#lines[@]}" -gt 0 ] || fail "$1 has no commands under $2"
}
# next PATTERN: the first command that is left and begins like this, with the names of the machines put in; into $line.
next() {
    local number
    for number in "${!lines[@]}"; do
        line=${lines[$number]}
        [[ $line == $1* ]] || continue
        unset "lines[$number]"
        line=${line#*'$ '}
        line=${line//'vp1...@relay.example.com'/$relay_id@relay.example.com}
        line=${line//'shop vp1...'/shop $shop_id}
        line=${line//'depot vp1...'/depot $depot_id}
        say "     $line"
        return
    done
    fail "the text no longer says $1"
}
all_typed() { [ "${#lines[@]}" -eq 0 ] || fail "nobody typed: ${lines[*]}"; }
relay_id='' shop_id='' depot_id=''
# step WORDS: what begins, and the seconds since the first.
step() { say "$SECONDS s: $*"; }
SECONDS=0

step "three machines; nobody can reach the shop or the depot from outside"
for name in relay shop depot; do
    machine "$name"
    on "$name" useradd --create-home --shell /bin/bash "$name"
    on "$name" make -C "$project" --no-print-directory --silent install PREFIX=/usr/local "BINS=$VP_BIN"
    on "$name" sh -c 'echo 10.77.0.1 relay.example.com >>/etc/hosts'
done
on relay ip address add 10.77.0.1/32 dev lo
wire shop 1
wire depot 2
on relay sh -c 'exec 3<>/dev/tcp/10.77.1.2/4433' 2>/dev/null && fail "the shop can be reached"

# cluster MACHINE SOCKETS ADDRESSES: a PostgreSQL as Debian has it, with a database "shop" of the machine's user.
cluster() {
    local programs
    programs=$(find /usr/lib/postgresql -mindepth 3 -maxdepth 3 -path '*/bin/initdb' -printf '%h\n' | sort -V | tail -n 1)
    install -d -o postgres "$work/$1.pg"
    on "$1" setpriv --reuid=postgres --regid=postgres --clear-groups -- \
        "$programs/initdb" --username=postgres --auth=trust --no-sync "$work/$1.pg/data" >"$work/$1.initdb.log"
    on "$1" setpriv --reuid=postgres --regid=postgres --clear-groups -- \
        "$programs/postgres" -D "$work/$1.pg/data" -k /run/postgresql -F -c "listen_addresses=$2" 2>"$work/$1.pg.log" &
    database="${database:-} $!"
    within 30 on "$1" psql -q -U postgres -c 'create role shop login superuser' 2>/dev/null
    on "$1" psql -q -U postgres -c 'create database shop owner shop'
}
step "a database at the shop, which listens to nobody outside its machine, and one at the depot"
cluster shop ''
cluster depot 127.0.0.1
on shop psql -q -U shop -c 'create table sales as select generate_series(1, 50000) as number' shop
on depot psql -q -U shop -c "create table stock as select 'from the depot' as word" shop

step "README: two terminals and one pipe"
text README.md '## Two terminals and one pipe'
next 'vp-relay '
leave relay "$line" relay
relay=$process
within 20 grep -q listening "$work/relay.out"
relay_id=$(sed -n '/tcp:/{s=.*//==; s=@.*==; p}' "$work/relay.out")
next 'vp-keygen '
keygen=$line
next 'echo *relays'
relays=$line
for name in shop depot; do
    as "$name" "$keygen" >"$work/$name.id"
    as "$name" "$relays"
done
shop_id=$(cat "$work/shop.id")
depot_id=$(cat "$work/depot.id")
next "echo 'shop "
as depot "$line"
next 'vp-recv '
leave depot "$line" recv
receiver=$process
next "echo 'depot "
as shop "$line"
next '*vp-send '
said=$(as shop "$line" 2>"$work/send.log")
[ "$said" = 'the depot has it' ] || fail "vp-send said $said"
all_typed
wait "$receiver" || fail "vp-recv ended with $?"
as depot 'pg_restore -l shop.dump' | grep -q 'TABLE DATA public sales' || fail "the dump is not there"

step "README: the same relay after a restart is the same, although the user may have a key by now"
as relay 'vp-keygen -o ~/.config/vp/key' >/dev/null
stop "$relay"
text README.md '## Two terminals and one pipe'
next 'vp-relay '
leave relay "$line" relay
relay=$process
within 20 grep -q "listening tcp://$relay_id@" "$work/relay.out"

step "README: a port of another network"
text README.md '## A port of another network'
next '*vp-portrep --export pg'
leave depot "$line" export
exporter=$process
within 20 grep -q '^serving pg ' "$work/export.out"
next 'shop$ *vp-portrep --import'
leave shop "$line" import
importer=$process
within 20 grep -q '^listening ' "$work/import.out"
next 'shop$ *psql'
query() { as shop "$line -X -A -t -c 'select word from stock'" 2>/dev/null; }
answered() { [ "$(query)" = 'from the depot' ]; }
within 20 answered
next 'shop$ *vp-portrep check'
as shop "$line" >/dev/null
stop "$importer"
text README.md '## A port of another network'
next 'shop$ *vp-portrep --import 5432=depot:pg -- '
[ "$(query)" = 'from the depot' ] || fail "the command did not get the database"
stop "$exporter"

step "cron-drop: what its README says for the receiver"
drop=$project/examples/cron-drop
# Mail of cron's, which comes only if a job has said something.
on shop rm -f /usr/sbin/sendmail
on shop install -m 755 /dev/stdin /usr/sbin/sendmail <<MAIL
#!/bin/sh
cat >>"$work/mail"
MAIL
touch "$work/mail"
chmod 666 "$work/mail"
text "$drop/README.md" '## The receiver'
next 'install '
root depot "$drop" "$line"
next 'vp-recv '
leave depot "$line" inbox
receiver=$process
step "README: the first file"
as shop 'mkdir outbox sent && seq 9 >outbox/1001.csv'
text README.md '## More to do with it'
next 'vp-send *depot:orders'
as shop "$line"
as shop '[ -e sent/1001.csv ]' || fail "the file was not moved"
cmp "/proc/${machine[shop]}/root/home/shop/sent/1001.csv" "/proc/${machine[depot]}/root/srv/orders/in/1001.csv"

step "cron-drop: what its README says for the sender, with a crontab of his own"
# A job that the user has already; whoever adds one keeps it.
as shop 'echo "0 4 1 1 * true" | crontab -'
text "$drop/README.md" '## The sender'
next 'install '
root shop "$drop" "$line"
next 'install '
root shop "$drop" "$line"
text "$drop/README.md" '### As a job of the user'
next '*crontab'
as shop "cd '$drop' && $line"
all_typed
[ "$(as shop 'crontab -l' | grep -cE '^0 4 1 1|drop.sh')" -eq 2 ] || fail "the crontab is not what it should be"

# five_minutes_of_cron: the shop's cron, for which the next five minutes begin in three seconds.
five_minutes_of_cron() {
    on shop faketime '2026-11-30 11:59:57' cron -f -L 15 2>>"$work/cron.log" &
    process=$!
}
end_cron() {
    kill "$(cat "/proc/${machine[shop]}/root/run/crond.pid")"
    wait "$process" || true
}
delivered() { [ -s "/proc/${machine[depot]}/root/srv/orders/in/$1" ] && [ -e "/proc/${machine[shop]}/root/srv/orders/sent/$1" ]; }
order() { as shop "seq 1000 >/srv/orders/.$1 && mv /srv/orders/.$1 /srv/orders/outbox/$1"; }
order 1002.csv
five_minutes_of_cron
within 40 delivered 1002.csv
end_cron

step "cron-drop: the same as a job of the system"
as shop 'crontab -r'
text "$drop/README.md" '### As a job of the system'
next 'install '
root shop "$drop" "$line"
all_typed
order 1003.csv
five_minutes_of_cron
within 40 delivered 1003.csv
end_cron
[ ! -s "$work/mail" ] || fail "cron has sent mail: $(cat "$work/mail")"

step "cron-drop: the relay no longer admits the shop: a person hears of it, and the order stays where it is"
stop "$relay"
as relay "echo 'depot $depot_id' >allow"
leave relay 'vp-relay --listen [::]:4433 --allow allow' relay
relay=$process
order 1004.csv
five_minutes_of_cron
within 40 grep -q '1004.csv' "$work/mail"
end_cron
grep -q "$shop_id" "$work/mail" || fail "the mail does not say whom the relay does not admit: $(cat "$work/mail")"
[ -e "/proc/${machine[shop]}/root/srv/orders/outbox/1004.csv" ] || fail "the order was taken out of the outbox"
stop "$relay"
stop "$receiver"
step "from nothing to a delivery by cron: all as it should be"
