#!/bin/bash
# rsync to a machine that no port leads to, without ssh: an rsync daemon is started for each session and listens nowhere.

source "$(dirname "$0")/../lib.sh"
need rsync rsync
tools
party laptop
party depot
meet

mkdir -p "$work/tree/a/b" "$work/module"
head -c 5000000 /dev/urandom >"$work/tree/a/data"
seq 100000 >"$work/tree/a/b/numbers"
ln -s a/data "$work/tree/link"
chmod 640 "$work/tree/a/b/numbers"
touch -d '2001-02-03 04:05:06' "$work/tree/a/data"

say "depot\$  vp-attach --listen rsync --keep --exec 'rsync --server --daemon --config=rsyncd.conf .'"
cat >"$work/rsyncd.conf" <<END
uid = $(id -un)
gid = $(id -gn)
use chroot = no
munge symlinks = no
log file = $work/rsyncd.log
[drop]
path = $work/module
read only = no
END
XDG_CONFIG_HOME="$work/depot" vp-attach --listen rsync --from laptop --keep \
    --exec "exec rsync --server --daemon --config='$work/rsyncd.conf' ." 2>"$work/listen.log" &
listener=$!

# rsync adds the host's name and a command for the far side; a daemon needs neither.
cat >"$work/vp-rsync" <<'END'
#!/bin/sh
exec vp-attach --timeout 60s "$1:rsync"
END
chmod +x "$work/vp-rsync"
same() { diff -r --no-dereference "$1" "$2" && diff <(listing "$1") <(listing "$2"); }
# Names and modes, and the times of files; those of links and directories not every daemon keeps.
listing() { (cd "$1" && find . ! -name . \( -type f -printf '%P %m %T+\n' -o -printf '%P %y %m %l\n' \) | sort); }
sync() { XDG_CONFIG_HOME="$work/laptop" rsync -e "$work/vp-rsync" "$@"; }

say "laptop\$ rsync -a -e vp-rsync tree/ depot::drop"
sync -a "$work/tree/" depot::drop
same "$work/tree" "$work/module"

say "laptop\$ the same after a change and a deletion: only the difference goes"
say "one more line" >>"$work/tree/a/data"
rm "$work/tree/a/b/numbers"
sync -a --delete --stats "$work/tree/" depot::drop >"$work/stats.log"
same "$work/tree" "$work/module"
sent=$(sed -n 's/^Total bytes sent: //p' "$work/stats.log" | tr -d ,)
[ "$sent" -lt 100000 ] || fail "rsync sent $sent bytes for one line"

say "laptop\$ rsync -a -e vp-rsync depot::drop/ back"
sync -a depot::drop/ "$work/back"
same "$work/tree" "$work/back"

kill "$listener"
wait "$listener" || true
say "rsync-over-vp: all as it should be"
