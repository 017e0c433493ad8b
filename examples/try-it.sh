#!/bin/bash
# Builds the tools and tries them out on this machine: two parties, a relay between them, a directory and a stream that
# must arrive byte for byte, the stream although the relay is killed half way. Leaves nothing behind but the build.

set -euo pipefail
cd "$(dirname "$0")/.."

# Rust needs a linker, and the cryptography a C compiler. A fresh Debian has neither.
if ! command -v cc >/dev/null; then
    install='apt-get install -y --no-install-recommends gcc libc6-dev'
    echo "No C compiler here. Installing one: $install"
    if [ "$(id -u)" -eq 0 ]; then
        apt-get update -q && DEBIAN_FRONTEND=noninteractive $install
    else
        sudo apt-get update -q && sudo DEBIAN_FRONTEND=noninteractive $install
    fi
fi

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
kill -9 "$relay_pid"
wait "$relay_pid" 2>/dev/null || true
had=$(stat -c %s "$work/copy")
[ "$had" -lt 60000000 ] || fail "the stream was over before the relay was killed"
meet "${RELAY##*@}"
say "     killed the relay after $had bytes, started it again"
wait "$sender" || fail "vp-send ended with status $?"
wait "$receiver" || fail "vp-recv ended with status $?"
cmp "$work/stream" "$work/copy"
say "     cmp: all $(stat -c %s "$work/copy") bytes are there, each once. Both ended with status 0."

cat <<END

It works here. Between two networks, with VP_BIN or PATH set to $VP_BIN:
  each party       vp-keygen -o ~/.config/vp/key         and tells its id to the others
  a machine both   vp-relay --listen [::]:4433 --allow peers
  can reach        (the file peers: one line NAME ID for each party)
  each party       ~/.config/vp/relays: the address that vp-relay prints, with the machine's name for the IP address
                   ~/.config/vp/peers:  one line NAME ID for each of the others
  one              vp-recv -d inbox
  the other        vp-send FILE... NAME
README.md goes on from there. To run the tests: tests/run.sh
END
