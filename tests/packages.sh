# packages WHAT=PACKAGE...: installs the Debian package wherever WHAT, a program or the path of a file, is missing. Asks
# nothing, and touches nothing if all is there. Read by bash with `source`.
packages() {
    local pair what missing=() as_root=()
    for pair in "$@"; do
        what=${pair%%=*}
        [ -e "$what" ] || PATH="$PATH:/usr/sbin:/sbin" command -v "$what" >/dev/null || missing+=("${pair#*=}")
    done
    [ "${#missing[@]}" -gt 0 ] || return 0
    [ "$(id -u)" -eq 0 ] || as_root=(sudo)
    # The package of PostgreSQL would start a server; whoever needs one here starts his own.
    if [[ " ${missing[*]} " == *" postgresql "* ]]; then
        "${as_root[@]}" mkdir -p /etc/postgresql-common/createcluster.d
        echo 'create_main_cluster = false' \
            | "${as_root[@]}" tee /etc/postgresql-common/createcluster.d/no-main.conf >/dev/null
    fi
    # The packages of proxies and web servers would start theirs, and at each boot; where systemd is not, `policy-rc.d` has a word in that.
    for pair in squid tinyproxy dante-server=danted nginx-light=nginx haproxy; do
        if [[ " ${missing[*]} " == *" ${pair%=*} "* ]] && [ -d /run/systemd/system ]; then
            "${as_root[@]}" systemctl mask "${pair#*=}.service"
        fi
    done
    echo "Installing Debian packages: ${missing[*]}"
    "${as_root[@]}" apt-get update -q
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}" </dev/null
}
