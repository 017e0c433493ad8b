#!/bin/bash
# A database server in one network, its clients in another: queries, COPY, the cancelling of a query, a benchmark that goes
# on while the relay is killed, and a command that has the mapping to itself. Starts a PostgreSQL of its own.

source "$(dirname "$0")/../lib.sh"
tools
party shop
party depot
meet
port=$(free_port)
postgresql -h 127.0.0.1 -p "$port"
# What the server itself says, without a mapping.
direct() { psql -X -q -A -t -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$port" -d postgres "$@"; }
within 60 direct -c '' 2>/dev/null

say "depot\$  vp-portrep --export pg=127.0.0.1:5432 --allow shop"
XDG_CONFIG_HOME="$work/depot" vp-portrep --export "pg=127.0.0.1:$port" --allow shop >"$work/depot.ready" 2>"$work/depot.log" &
exporter=$!
within 60 grep -q '^serving pg' "$work/depot.ready"
say "shop\$   vp-portrep --import 5432=depot:pg"
XDG_CONFIG_HOME="$work/shop" vp-portrep --import 0=depot:pg >"$work/shop.ready" 2>"$work/shop.log" &
importer=$!
within 60 grep -q '^listening' "$work/shop.ready"
here=$(sed -n 's/^listening 127.0.0.1:\([0-9]*\) depot:pg$/\1/p' "$work/shop.ready")
there() { psql -X -q -A -t -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$here" -d postgres "$@"; }

say "shop\$   vp-portrep check depot:pg"
XDG_CONFIG_HOME="$work/shop" vp-portrep check depot:pg | sed 's/^/         /'

say "shop\$   psql -h 127.0.0.1: a table is made, filled by COPY, and read back"
seq 1 200000 | sed 's/.*/&\tarticle &/' >"$work/rows"
there -c 'CREATE TABLE article (id int PRIMARY KEY, name text)' -c '\copy article FROM STDIN' <"$work/rows"
there -c 'COPY (SELECT * FROM article ORDER BY id) TO STDOUT' | cmp - "$work/rows"
direct -c 'COPY (SELECT * FROM article ORDER BY id) TO STDOUT' | cmp - "$work/rows"

say "shop\$   psql, and Ctrl-C in a long query: it is cancelled at the server"
# Ctrl-C goes to psql itself.
(exec psql -X -h 127.0.0.1 -p "$here" -d postgres -c 'SELECT pg_sleep(600)') 2>"$work/cancel.log" &
query=$!
sleepers() { [ "$(direct -c "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(600)'")" -eq "$1" ]; }
within 60 sleepers 1
kill -INT "$query"
wait "$query" && fail "the query was not cancelled"
grep -q 'canceling statement due to user request' "$work/cancel.log"
within 60 sleepers 0

say "shop\$   pgbench for ten seconds, and the relay is killed and started again every three"
pgbench -i -q -h 127.0.0.1 -p "$port" postgres 2>"$work/pgbench.log"
pgbench -n -c 4 -T 10 -h 127.0.0.1 -p "$here" postgres >"$work/pgbench.out" 2>"$work/pgbench.log" &
bench=$!
for _ in 1 2 3; do
    sleep 3
    kill_hard "$relay_pid"
    meet "${RELAY##*@}"
done
wait "$bench" || fail "pgbench ended with status $?"
sed -n 's/^number of \(failed\|transactions actually\)/         &/p' "$work/pgbench.out"
done_there=$(sed -n 's/^number of transactions actually processed: //p' "$work/pgbench.out")
[ "$(direct -c 'SELECT count(*) FROM pgbench_history')" -eq "$done_there" ] || fail "a transaction was lost or doubled"
sums=$(direct -c 'SELECT sum(abalance) FROM pgbench_accounts' -c 'SELECT sum(tbalance) FROM pgbench_tellers' \
    -c 'SELECT sum(bbalance) FROM pgbench_branches' -c 'SELECT sum(delta) FROM pgbench_history' | sort -u)
[ "$(wc -l <<<"$sums")" -eq 1 ] || fail "the balances do not add up: $sums"

say "shop\$   vp-portrep --import unix:DIR/.s.PGSQL.5432=depot:pg -- psql -h DIR: a mapping for one command"
mkdir -m 700 "$work/private"
mapped() { XDG_CONFIG_HOME="$work/shop" vp-portrep --import "unix:$work/private/.s.PGSQL.5432=depot:pg" -- "$@"; }
[ "$(mapped psql -X -A -t -h "$work/private" -d postgres -c 'SELECT count(*) FROM article')" = 200000 ]
status=0
mapped psql -X -h "$work/private" -d postgres -c 'SELECT 1/0' 2>"$work/psql.log" || status=$?
[ "$status" -eq 1 ] || fail "psql failed with 1, vp-portrep ended with $status"
[ -z "$(ls -A "$work/private")" ] || fail "the socket was left behind"

kill "$exporter" "$importer"
wait "$exporter" "$importer" || true
kill -INT "$database"
wait "$database" || true
say "sql-over-vp: all as it should be"
