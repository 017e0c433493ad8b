#!/bin/bash
# ssh and scp to a machine that no port leads to. The sshd is a throw-away one with keys of its own: it is started for
# each session, listens nowhere, and lets the user in who runs this.

source "$(dirname "$0")/../lib.sh"
need ssh openssh-client
need sshd openssh-server
need ssh-keygen openssh-client
sshd=$(PATH="$PATH:/usr/sbin:/sbin" command -v sshd)
tools
party laptop
party depot
meet

say "depot\$  vp-attach --listen ssh --keep --exec 'sshd -i'"
mkdir "$work/ssh"
ssh-keygen -q -t ed25519 -N '' -f "$work/ssh/host"
ssh-keygen -q -t ed25519 -N '' -f "$work/ssh/user"
cp "$work/ssh/user.pub" "$work/ssh/authorized_keys"
say "depot $(cut -d ' ' -f 1,2 "$work/ssh/host.pub")" >"$work/ssh/known_hosts"
cat >"$work/ssh/sshd_config" <<END
HostKey $work/ssh/host
AuthorizedKeysFile $work/ssh/authorized_keys
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
Subsystem sftp internal-sftp
END
# Debian's sshd, run by root, wants this directory; it is there wherever the service has run once.
[ "$(id -u)" -ne 0 ] || mkdir -p /run/sshd
XDG_CONFIG_HOME="$work/depot" vp-attach --listen ssh --from laptop --keep \
    --exec "exec '$sshd' -i -e -f '$work/ssh/sshd_config'" 2>"$work/sshd.log" &
listener=$!

cat >"$work/ssh/config" <<END
Host depot
    ProxyCommand env XDG_CONFIG_HOME='$work/laptop' '$VP_BIN/vp-attach' --timeout 60s %h:ssh
    IdentityFile $work/ssh/user
    IdentitiesOnly yes
    UserKnownHostsFile $work/ssh/known_hosts
    StrictHostKeyChecking yes
    BatchMode yes
    LogLevel ERROR
END

say "laptop\$ ssh depot"
said=$(ssh -F "$work/ssh/config" depot "echo \"\$VP_PEER \$((6 * 7))\"; exit 3") && status=0 || status=$?
[ "$status" -eq 3 ] || fail "ssh ended with $status, the command with 3"
[ "${said##* }" = 42 ] || fail "the command said: $said"

say "laptop\$ ssh depot, ten megabytes in and out, on one connection and on four at a time"
head -c 10000000 /dev/urandom >"$work/data"
ssh -F "$work/ssh/config" depot cat <"$work/data" | cmp - "$work/data"
echoes=()
for _ in 1 2 3 4; do
    ssh -F "$work/ssh/config" depot cat <"$work/data" | cmp - "$work/data" &
    echoes+=($!)
done
for echo in "${echoes[@]}"; do
    wait "$echo" || fail "an ssh session lost something"
done

say "laptop\$ scp -r tree depot:"
mkdir -p "$work/tree/a/b" "$work/far"
cp "$work/data" "$work/tree/a/b/data"
seq 1000 >"$work/tree/a/numbers"
scp -q -r -F "$work/ssh/config" "$work/tree" "depot:$work/far/"
diff -r "$work/tree" "$work/far/tree"
scp -q -r -F "$work/ssh/config" "depot:$work/far/tree" "$work/back"
diff -r "$work/tree" "$work/back"

say "laptop\$ ssh depot, and the relay is killed and started again meanwhile"
mkfifo "$work/in"
ssh -F "$work/ssh/config" depot cat <"$work/in" >"$work/out" &
session=$!
exec 7>"$work/in"
head -c 5000000 "$work/data" >&7
has_come() { [ "$(stat -c %s "$work/out")" -eq 5000000 ]; }
within 60 has_come
kill_hard "$relay_pid"
meet "${RELAY##*@}" 7>&-
tail -c +5000001 "$work/data" >&7
exec 7>&-
wait "$session" || fail "the ssh session did not survive"
cmp "$work/data" "$work/out"

kill "$listener"
wait "$listener" || true
say "ssh-over-vp: all as it should be"
