#!/bin/bash
# Builds the tools and tries them out on this machine: two parties, a relay between them, a directory and a stream that
# must arrive byte for byte, the stream although the relay is killed half way. Leaves nothing behind but the build.

set -euo pipefail
cd "$(dirname "$0")/.."

# Rust needs a linker, and the cryptography a C compiler; a fresh Debian has neither.
source tests/packages.sh
packages cc=gcc /usr/include/stdio.h=libc6-dev

source examples/lib.sh
tools

say "1. Two parties make a key each. This is all they tell each other and the relay:"
party shop
party depot
sed 's/^/     /' "$work/peers"

say "2. A relay that admits these two, and nobody else:"
meet
say "     vp-relay --listen 127.0.0.1:0 --allow peers"
say "     listening $RELAY"

say "3. A directory goes from shop to depot:"
mkdir -p "$work/photos/2024/empty" "$work/inbox"
head -c 3000000 /dev/urandom >"$work/photos/2024/beach.jpg"
say "Sea, sun, sand." >"$work/photos/notes.txt"
chmod 640 "$work/photos/notes.txt"
ln -s 2024/beach.jpg "$work/photos/best.jpg"
say "     depot\$ vp-recv -d inbox"
XDG_CONFIG_HOME="$work/depot" vp-recv -d "$work/inbox" --timeout 60s 2>"$work/recv.log" &
receiver=$!
say "     shop\$  vp-send photos depot"
XDG_CONFIG_HOME="$work/shop" vp-send "$work/photos" depot --timeout 60s 2>"$work/send.log"
wait "$receiver" || fail "vp-recv ended with status $?"
diff -r --no-dereference "$work/photos" "$work/inbox/photos"
same_attributes() { cmp <(cd "$1" && find . -printf '%P %y %m %T@ %l\n' | sort) <(cd "$2" && find . -printf '%P %y %m %T@ %l\n' | sort); }
same_attributes "$work/photos" "$work/inbox/photos"
say "     diff: the same bytes, names, modes, times and links. Both ended with status 0."

say "4. A stream, and in the middle of it the relay is killed and started again:"
head -c 60000000 /dev/urandom >"$work/stream"
say "     depot\$ vp-recv backup > copy"
XDG_CONFIG_HOME="$work/depot" vp-recv backup --timeout 60s >"$work/copy" 2>"$work/recv.log" &
receiver=$!
say "     shop\$  vp-send - --limit 20M depot:backup < stream"
XDG_CONFIG_HOME="$work/shop" vp-send - --limit 20M depot:backup --timeout 60s <"$work/stream" 2>"$work/send.log" &
sender=$!
has_begun() { [ "$(stat -c %s "$work/copy")" -gt 8000000 ]; }
within 60 has_begun
kill_hard "$relay_pid"
had=$(stat -c %s "$work/copy")
[ "$had" -lt 60000000 ] || fail "the stream was over before the relay was killed"
meet "${RELAY##*@}"
say "     killed the relay after $had bytes, started it again"
wait "$sender" || fail "vp-send ended with status $?"
wait "$receiver" || fail "vp-recv ended with status $?"
cmp "$work/stream" "$work/copy"
say "     cmp: all $(stat -c %s "$work/copy") bytes are there, each once. Both ended with status 0."

cat <<END

It works here. Between two networks, with the tools installed (cargo install --path .):
  a machine both can reach   vp-relay --listen [::]:4433 --open
  each party, once           vp-keygen -o ~/.config/vp/key
  one                        vp-recv -d inbox
  the other                  vp-send FILE... NAME
README.md says what belongs into ~/.config/vp/peers and ~/.config/vp/relays, and goes on from there.
The tests: tests/run.sh
END
