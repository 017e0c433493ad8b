#!/bin/bash
# Sends what lies in an outbox, file by file. Made for cron: silent while all is well or will mend itself, one line and
# a status other than 0 when a person is needed.
#
#   drop.sh DIRECTORY PEER[:APP] [OPTIONS of vp-send]
#
# DIRECTORY/outbox   put files here, by rename, so that none is taken while it is still being written
# DIRECTORY/sent     they are moved here once the peer has them
# DIRECTORY/refused  they are moved here if sending them again cannot help

set -u
[ $# -ge 2 ] || { echo "usage: drop.sh DIRECTORY PEER[:APP] [OPTIONS of vp-send]" >&2; exit 2; }
directory=$1
peer=$2
shift 2
# cron's has /usr/bin and /bin; the tools are installed elsewhere.
PATH=$PATH:/usr/local/bin${HOME:+:$HOME/.cargo/bin}

# How long the far side may be out of reach before a person hears of it.
patience_minutes=${DROP_PATIENCE_MINUTES:-120}
# How long one run waits for it.
wait=${DROP_WAIT:-2m}

cd "$directory" || exit 1
mkdir -p outbox sent refused || exit 1

# One at a time: a run that takes longer than cron's interval is not started twice.
exec 9>.lock
flock --nonblock 9 || exit 0

status=0
for file in outbox/*; do
    [ -f "$file" ] || continue
    message=$(vp-send --quiet --timeout "$wait" --resume-timeout 5m "$@" "$file" "$peer" 2>&1)
    case $? in
        0)
            # The peer has it, verified and on disk. Dying right here means that it is sent once more; the receiver
            # then finds that it has the very same file, or its consumer finds a name it has seen.
            mv "$file" sent/ || exit 1
            rm -f .failing
            ;;
        5 | 6 | 7 | 124)
            # Nobody there, no relay, or cut off: the next run goes on where this one stopped.
            [ -e .failing ] || touch .failing
            if [ -n "$(find .failing -mmin "+$patience_minutes")" ]; then
                echo "$file: not delivered for $patience_minutes minutes: $message" >&2
                touch .failing
                exit 1
            fi
            exit 0
            ;;
        4)
            echo "$file: refused: $message" >&2
            mv "$file" refused/ || exit 1
            status=1
            ;;
        *)
            # Usage, configuration, admission, integrity, disk: the same for the next file, so stop here.
            echo "$file: $message" >&2
            exit 1
            ;;
    esac
done
exit "$status"
