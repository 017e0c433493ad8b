# What the examples with units for systemd share; read by bash with `source` after lib.sh. The units are in $here.

need systemd-analyze systemd
need socat socat
need strace strace
need cc gcc

# verify UNIT...: systemd's own verdict on units, of which those with an instance are named with one.
verify() {
    local unit file
    mkdir "$work/units"
    for unit in "$@"; do
        # The units name where the tools will be and a user that will be made.
        file=${unit/@*./@.}
        sed -e "s=/usr/local/bin=$VP_BIN=" -e "s/^User=.*/User=$(id -un)/" -e "s/^Group=.*/Group=$(id -gn)/" \
            "$here/$file" >"$work/units/$unit"
        systemd-analyze verify --man=no "$work/units/$unit" 2>"$work/verify.log"
        [ ! -s "$work/verify.log" ] || fail "$unit: $(cat "$work/verify.log")"
        systemd-analyze security --offline=true --threshold=20 --no-pager "$work/units/$unit" >"$work/security.log" \
            || fail "$unit may do too much"
    done
}

# value UNIT KEY: what a unit says.
value() { sed -n "s/^$2=//p" "$here/$1"; }

# calls SET...: the system calls of these sets. Allowed are those of one set without those of the unwanted.
calls() {
    local word
    for word in $(systemd-analyze syscall-filter --no-pager "$@" | sed -n 's/^    \([@a-z_0-9-]*\).*/\1/p'); do
        case $word in @*) calls "$word" ;; *) echo "$word" ;; esac
    done | sort -u
}
comm -23 <(calls @system-service) <(calls @privileged @resources) >"$work/allowed"
[ "$(wc -l <"$work/allowed")" -gt 100 ] || fail "systemd did not name its sets"

# What RestrictSUIDSGID=yes refuses: set-id bits, and openat2, into the argument of which a filter cannot look.
set_id=(openat2=ENOSYS)
for call in chmod:1 fchmod:1 fchmodat:2 mkdir:1 mkdirat:2 mknod:1 mknodat:2 open:2 openat:3 creat:1; do
    set_id+=("$call&06000=EPERM")
done
echo '#include <asm/unistd.h>' | cc -E -dM - >"$work/numbers"
filtered=(perl "$project/tests/tools/filtered.pl" "numbers=$work/numbers" "${set_id[@]}" "only=$work/allowed" --)

# service NAME COMMAND...: started as systemd starts a service and under the filters of its unit, its system calls recorded.
service() {
    local name=$1
    shift
    socat -u "UNIX-RECV:$work/$name.notify" "CREATE:$work/$name.told" &
    within 20 test -S "$work/$name.notify"
    env -i PATH="$PATH" NOTIFY_SOCKET="$work/$name.notify" STATE_DIRECTORY="$work/$name.state" "${environment[@]}" \
        strace -D -f -q -e signal=none -o "$work/$name.calls" "${filtered[@]}" "$@" >"$work/$name.out" 2>"$work/$name.log" &
    process=$!
    within 60 grep -q READY=1 "$work/$name.told"
}
# stop NAME UNIT PROCESS: SIGTERM. It must end as its unit says that it does, and have kept to its filter.
stop() {
    local status=0 refused
    kill "$3"
    wait "$3" || status=$?
    [ "$status" -eq "$(value "$2" SuccessExitStatus)" ] || fail "$1 ended with status $status"
    within 20 grep -q "^$3 .*exited with" "$work/$1.calls"
    # What comes before the last of its own calls is the filter's program.
    sed -n -e '1,/^[0-9]* *seccomp(/d' -e 's/^[0-9]* *\([a-z_0-9]*\)(.*/\1/p' "$work/$1.calls" | sort -u >"$work/$1.made"
    [ "$(wc -l <"$work/$1.made")" -gt 20 ] || fail "strace recorded nothing"
    refused=$(comm -23 "$work/$1.made" "$work/allowed" | paste -s -d ' ')
    [ -z "$refused" ] || fail "$1 makes system calls that its unit forbids: $refused"
}
