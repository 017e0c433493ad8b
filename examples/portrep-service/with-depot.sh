#!/bin/bash
# Runs a command that needs the depot's database, for cron and for people: the database is there while the command runs,
# as a Unix socket that only this user reaches and that takes no port. The status is the command's, or that of vp-portrep:
# 5 or 6 if the far side was not there in time.
#
#   with-depot.sh psql -X -v ON_ERROR_STOP=1 -d shop -f nightly.sql
#
# DEPOT      what to map, instead of depot:pg
# DEPOT_WAIT how long to wait for it, instead of two minutes

set -u
# cron's has /usr/bin and /bin; the tools are installed elsewhere.
PATH=$PATH:/usr/local/bin${HOME:+:$HOME/.cargo/bin}
directory=$(mktemp -d) || exit 1
trap 'rm -rf "$directory"' EXIT
export PGHOST=$directory
vp-portrep --quiet --timeout "${DEPOT_WAIT:-2m}" \
    --import "unix:$directory/.s.PGSQL.5432=${DEPOT:-depot:pg}" -- "$@"
