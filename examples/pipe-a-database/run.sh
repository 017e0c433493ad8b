#!/bin/bash
# Copies a PostgreSQL database to the other party: through a pipe, then with a command whose failure the sender learns,
# and shows what happens when the sender dies half way or the command fails. Starts a PostgreSQL of its own, in a temporary directory, without a port.

source "$(dirname "$0")/../lib.sh"
tools
party shop
party depot
meet

say "PostgreSQL, with a database of some megabytes"
postgresql -h ''
within 60 psql -q -d postgres -c '' 2>/dev/null
psql -q -v ON_ERROR_STOP=1 -d postgres <<'SQL'
CREATE DATABASE shop ENCODING 'UTF8' TEMPLATE template0;
CREATE DATABASE depot ENCODING 'UTF8' TEMPLATE template0;
CREATE DATABASE again ENCODING 'UTF8' TEMPLATE template0;
\connect shop
CREATE TABLE article (id int PRIMARY KEY, name text NOT NULL, price numeric(10,2), picture bytea, changed timestamptz);
INSERT INTO article
    SELECT n, E'article "n" \t\\ ' || n || ' – größe ' || md5(n::text), n / 7.0, decode(md5(n::text), 'hex'), now() - n * interval '1 s'
    FROM generate_series(1, 100000) n;
CREATE TABLE stock (article int REFERENCES article, place text, amount int, PRIMARY KEY (article, place));
INSERT INTO stock SELECT id, 'shelf ' || id % 50, id % 1000 FROM article;
CREATE VIEW missing AS SELECT name, place FROM article JOIN stock ON id = article WHERE amount = 0;
SQL

# What is in a database, in a fixed order, as text; pg_dump's \restrict lines are random words.
contents() {
    pg_dump --schema-only "$1" | grep -v '^.\(un\)\?restrict '
    psql -q -d "$1" -c 'COPY (SELECT * FROM article ORDER BY id) TO STDOUT' -c 'COPY (SELECT * FROM stock ORDER BY 1, 2) TO STDOUT'
}
contents shop >"$work/shop.txt"
[ "$(wc -c <"$work/shop.txt")" -gt 10000000 ] || fail "the database is not what it should be"

say "depot\$ vp-recv backup | pg_restore -d depot"
XDG_CONFIG_HOME="$work/depot" vp-recv backup --from shop --timeout 60s 2>"$work/recv.log" \
    | pg_restore --exit-on-error --single-transaction -d depot 2>"$work/restore.log" &
receiver=$!
say "shop\$  vp-send --exec 'pg_dump -Fc shop' depot:backup"
XDG_CONFIG_HOME="$work/shop" vp-send --exec 'pg_dump -Fc shop' depot:backup --timeout 60s 2>"$work/send.log"
wait "$receiver" || fail "the receiving pipeline ended with status $?"
contents depot | cmp "$work/shop.txt"

say "depot\$ vp-recv backup --keep --exec 'psql again'"
XDG_CONFIG_HOME="$work/depot" vp-recv backup --from shop --keep --resume-timeout 1s \
    --exec "touch '$work/begun'; psql -q -v ON_ERROR_STOP=1 --single-transaction -d again >/dev/null" 2>"$work/recv.log" &
receiver=$!

say "the sender dies half way: nothing is restored"
mkfifo "$work/dump"
{ pg_dump shop | head -c 9000000; exec sleep 60; } >"$work/dump" &
XDG_CONFIG_HOME="$work/shop" vp-send - depot:backup --timeout 60s <"$work/dump" 2>"$work/send.log" &
sender=$!
within 60 test -e "$work/begun"
kill_hard "$sender"
within 60 grep -q 'did not come back' "$work/recv.log"
[ "$(psql -At -d again -c "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")" -eq 0 ] || fail "half a dump was restored"

say "the dump fails half way: nothing is restored, and the send fails"
status=0
XDG_CONFIG_HOME="$work/shop" vp-send --exec 'pg_dump shop | head -c 9000000; exit 3' depot:backup --timeout 60s \
    2>"$work/send.log" || status=$?
[ "$status" -eq 1 ] || fail "a failed dump ended with status $status"
grep -q 'the command failed with status 3' "$work/send.log" || fail "the status of the dump was not told"
[ "$(psql -At -d again -c "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")" -eq 0 ] || fail "half a dump was restored"

say "the same from its beginning: all is there when vp-send ends"
XDG_CONFIG_HOME="$work/shop" vp-send --exec 'pg_dump shop' depot:backup --timeout 60s 2>"$work/send.log"
contents again | cmp "$work/shop.txt"

say "the same once more: its tables are there, psql fails, and so does the send"
status=0
XDG_CONFIG_HOME="$work/shop" vp-send --exec 'pg_dump shop' depot:backup --timeout 60s 2>"$work/send.log" || status=$?
[ "$status" -eq 1 ] || fail "a failed restore ended with status $status at the sender"
grep -q 'failed with status 3' "$work/send.log" || fail "the sender was not told the status of psql"
contents again | cmp "$work/shop.txt"

kill "$receiver"
wait "$receiver" || true
kill -INT "$database"
wait "$database" || true
say "pipe-a-database: all as it should be"
