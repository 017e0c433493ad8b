#!/bin/bash
# A relay behind nginx and behind haproxy: a file goes through each, and the relay knows where its clients are.

source "$(dirname "$0")/../lib.sh"
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
need nginx nginx-light
need haproxy haproxy
need curl curl
tools
party shop
party depot
meet 127.0.0.1:0 --path /vp --trusted-proxy 127.0.0.1 -v
relay=${RELAY##*@}
id=${RELAY#tcp://}
id=${id%@*}

nginx=$(free_port)
web=$(free_port)
connections=$(free_port)
mkdir "$work/nginx"
sed "s/127\.0\.0\.1:4433/$relay/" "$here/nginx-vp.conf" >"$work/nginx-vp.conf"
cat >"$work/nginx.conf" <<END
daemon off;
user $(id -un) $(id -gn);
pid $work/nginx/pid;
error_log stderr;
events { }
http {
    access_log off;
    client_body_temp_path $work/nginx/body;
    proxy_temp_path $work/nginx/proxy;
    fastcgi_temp_path $work/nginx/fastcgi;
    uwsgi_temp_path $work/nginx/uwsgi;
    scgi_temp_path $work/nginx/scgi;
    server {
        listen 127.0.0.1:$nginx;
        location / { return 200 hello; }
        include $work/nginx-vp.conf;
    }
}
END
sed "s/127\.0\.0\.1:4433/$relay/; s/bind :80/bind 127.0.0.1:$web/; s/bind :4434/bind 127.0.0.1:$connections/" \
    "$here/haproxy.cfg" >"$work/haproxy.cfg"
PATH="$PATH:/usr/sbin:/sbin"
nginx -e stderr -c "$work/nginx.conf" 2>"$work/nginx.log" &
haproxy -db -f "$work/haproxy.cfg" >"$work/haproxy.log" 2>&1 &

# page PORT: what a web browser finds there.
page() { [ "$(curl -s "http://127.0.0.1:$1/")" = hello ]; }
within 20 page "$nginx"
within 20 page "$web"

head -c 3000000 /dev/urandom >"$work/order"
# deliver RELAY: a file by this relay address at both ends.
deliver() {
    say "shop\$  vp-send --relay $1 order depot:orders"
    rm -rf "$work/inbox"
    mkdir "$work/inbox"
    XDG_CONFIG_HOME="$work/depot" vp-recv --relay "$1" orders -d "$work/inbox" 2>"$work/recv.log" &
    local receiver=$!
    XDG_CONFIG_HOME="$work/shop" vp-send --relay "$1" --timeout 60s "$work/order" depot:orders
    wait "$receiver"
    cmp "$work/order" "$work/inbox/order"
}
deliver "ws://$id@127.0.0.1:$nginx/vp"
deliver "ws://$id@127.0.0.1:$web/vp"
deliver "tcp://$id@127.0.0.1:$connections"

say "the relay, at another path"
[ "$(curl -s -o /dev/null -w '%{http_code}' "http://$relay/")" = 404 ] || fail "it is no web server"

say "and at the same, for whoever comes through nginx from another address"
curl -s --interface 127.0.0.9 --max-time 1 -o /dev/null -H 'Upgrade: websocket' -H 'Sec-WebSocket-Version: 13' \
    -H 'Sec-WebSocket-Protocol: vp.1' -H 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==' -H 'Forwarded: for=192.0.2.1' \
    "http://127.0.0.1:$nginx/vp" || true
within 20 grep -q 'connection from 127\.0\.0\.9 through 127\.0\.0\.1$' "$work/relay.log"
say "behind-a-web-server: all as it should be"
