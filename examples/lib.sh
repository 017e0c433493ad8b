# Shared by the examples; read by bash with `source`. A party is a configuration directory with a key and a peers file,
# as ~/.config/vp is on a real machine; `XDG_CONFIG_HOME=$work/shop vp-send ...` is that command as the party shop.
# Everything happens on loopback and in one temporary directory, and ends with the script.

set -euo pipefail
unset VP_KEY VP_PEERS VP_RELAY XDG_CONFIG_HOME XDG_STATE_HOME CREDENTIALS_DIRECTORY STATE_DIRECTORY

# A proxy on the way out of this machine is none to what is on it.
export no_proxy="${no_proxy:-${NO_PROXY:-}},127.0.0.1,localhost"

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/vp-example.XXXXXX")
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Ends what this shell has started and nothing else, and says what went wrong if anything did.
finish() {
    local status=$? running
    trap '' INT TERM
    running=$(jobs -pr)
    # Asked in another way, a database would wait for its clients.
    # shellcheck disable=SC2086 # one word for each process
    [ -z "${database:-}" ] || kill -INT $database 2>/dev/null || true
    # shellcheck disable=SC2086 # one word for each process
    if [ -n "$running" ]; then
        kill $running 2>/dev/null || true
        wait 2>/dev/null || true
    fi
    if [ "$status" -ne 0 ]; then
        echo "FAILED with status $status; what the programs said:" >&2
        tail -n 20 "$work"/*.log >&2 2>/dev/null || true
    fi
    rm -rf "$work"
    exit "$status"
}

say() { printf '%s\n' "$*"; }

fail() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# need PROGRAM PACKAGE: fails with the name of the Debian package if the program is missing.
need() {
    PATH="$PATH:/usr/sbin:/sbin" command -v "$1" >/dev/null || fail "$1 is missing: apt-get install $2"
}

# The tools: those in $VP_BIN, else a build of this tree by the profile quick.
tools() {
    if [ -z "${VP_BIN:-}" ]; then
        say "Building the tools (the first time takes some minutes) ..."
        (cd "$project" && cargo build --profile quick --locked --bins)
        VP_BIN=${CARGO_TARGET_DIR:-$project/target}/quick
    fi
    VP_BIN=$(cd "$VP_BIN" && pwd)
    export VP_BIN PATH="$VP_BIN:$PATH"
    local tool
    for tool in vp-keygen vp-relay vp-attach vp-send vp-recv vp-portrep; do
        [ -x "$VP_BIN/$tool" ] || fail "$VP_BIN/$tool is missing"
    done
}

# party NAME: a directory with a key of its own; the id goes into the list from which `meet` makes peers files.
party() {
    mkdir -p "$work/$1/vp"
    vp-keygen -o "$work/$1/vp/key" >"$work/$1.id"
    say "$1 $(cat "$work/$1.id")" >>"$work/peers"
}

# meet [IP:PORT [WORD...]]: starts a relay that admits the parties made so far, with these words, and tells them of it and of each
# other.
meet() {
    mkdir -p "$work/relay"
    [ -e "$work/relay/key" ] || vp-keygen -o "$work/relay/key" >/dev/null
    [ -p "$work/ready" ] || mkfifo "$work/ready"
    vp-relay --listen "${1:-127.0.0.1:0}" --key "$work/relay/key" --allow "$work/peers" "${@:2}" \
        >"$work/ready" 2>>"$work/relay.log" &
    relay_pid=$!
    local word=
    read -r -t 20 word RELAY <"$work/ready" || true
    [ "$word" = listening ] || fail "the relay did not start"
    local config
    for config in "$work"/*/vp; do
        cp "$work/peers" "$config/peers"
        say "$RELAY" >"$config/relays"
    done
}

# kill_hard PROCESS: kill -9, without bash's remark on it.
kill_hard() { { kill -9 "$1" && wait "$1"; } 2>/dev/null || true; }

# within SECONDS COMMAND...: repeats the command until it succeeds.
within() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$deadline" ] || fail "still not so: $*"
        sleep 0.05
    done
}

# free_port: a port that nobody uses here, below those that the system hands out.
free_port() {
    local port
    while
        port=$((RANDOM % 10000 + 20000))
        grep -q ":$(printf %04X "$port") " /proc/net/tcp /proc/net/tcp6
    do :; done
    say "$port"
}

# postgresql OPTION...: starts a PostgreSQL below $work, with a socket in $PGHOST and what the options add. Its process is
# $database.
postgresql() {
    local programs as_postgres=()
    programs=$(find /usr/lib/postgresql -mindepth 3 -maxdepth 3 -path '*/bin/initdb' -printf '%h\n' 2>/dev/null \
        | sort -V | tail -n 1)
    [ -n "$programs" ] || fail "PostgreSQL is missing: apt-get install postgresql"
    mkdir "$work/pg"
    # PostgreSQL does not run as root. The package has made a user for it.
    if [ "$(id -u)" -eq 0 ]; then
        as_postgres=(setpriv --reuid=postgres --regid=postgres --clear-groups --)
        chown postgres "$work/pg"
        chmod 711 "$work"
    fi
    export PGHOST=$work/pg PGUSER=postgres
    (cd / && "${as_postgres[@]}" "$programs/initdb" --username=postgres --auth=trust --no-sync "$work/pg/data") \
        >"$work/initdb.log"
    (cd / && exec "${as_postgres[@]}" "$programs/postgres" -D "$work/pg/data" -k "$work/pg" -F "$@") \
        2>"$work/postgres.log" &
    database=$!
}
