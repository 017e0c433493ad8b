#!/bin/bash
# Installs what the tests need and a fresh Debian has not, then runs all tests. Words are passed on to cargo test.

set -euo pipefail
cd "$(dirname "$0")/.."
source tests/packages.sh
# A linker and a C compiler for the build, then programs that the tests run through the tools.
packages cc=gcc /usr/include/stdio.h=libc6-dev \
    ssh=openssh-client sshd=openssh-server rsync=rsync git=git curl=curl openssl=openssl prlimit=util-linux mkfs.ext4=e2fsprogs \
    /usr/lib/postgresql=postgresql redis-benchmark=redis-tools javac=default-jdk-headless zsh=zsh fish=fish nginx=nginx-light haproxy=haproxy \
    socat=socat nc=netcat-openbsd squid=squid tinyproxy=tinyproxy danted=dante-server stunnel4=stunnel4
exec cargo test --locked --no-fail-fast "$@"
