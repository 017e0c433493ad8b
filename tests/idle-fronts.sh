#!/usr/bin/env bash
# Sessions that have nothing to say, by every carrier, behind fronts that cut what is idle for ten seconds:
# tests/idle-fronts.sh [SECONDS, default 300]
#
# nginx is in front of ws, http, wss and https, haproxy of tcp and tls. Each session says a line, nothing for so long, and another
# line: both are to come back, and its link is to be the one with which it began.
# Ends with 0 only if all held. Loopback only; everything it starts ends with it.
source "$(dirname "$0")/stage.sh"
source tests/packages.sh
seconds=${1:-300}
packages nginx=nginx-light haproxy=haproxy openssl=openssl
begin idle-fronts

: > "$dir/relay.out"
"$bin/vp-relay" --listen 127.0.0.1:0 --path /vp --key "$dir/relay.key" --allow "$dir/peers" > "$dir/relay.out" 2> "$dir/relay.err" &
pids+=($!)
until_true 20 grep -q '^listening tcp:' "$dir/relay.out"
address=$(sed -n 's/^listening tcp:\/\///p' "$dir/relay.out")
id=${address%@*} relay=${address##*@}

# free COUNT: so many ports of the loopback that nobody has, for fronts that cannot choose.
free() {
  python3 -c 'import socket, sys
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(int(sys.argv[1]))]
print(*(one.getsockname()[1] for one in held))' "$1"
}
read -r plain secure any <<< "$(free 3)"

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=front -addext subjectAltName=IP:127.0.0.1 \
  -keyout "$dir/front.key" -out "$dir/front.crt" 2> /dev/null
mkdir "$dir/nginx"
location="location / { proxy_pass http://$relay; proxy_http_version 1.1; proxy_set_header Host \$host;
  proxy_set_header Upgrade \$http_upgrade; proxy_set_header Connection upgrade; proxy_read_timeout 10s; proxy_send_timeout 10s; }"
cat > "$dir/nginx.conf" <<END
$([ "$(id -u)" -ne 0 ] || echo 'user root;') daemon off; worker_processes 1; pid $dir/nginx/pid; error_log stderr warn;
events { worker_connections 256; }
http {
  access_log off;
$(for name in client_body proxy fastcgi uwsgi scgi; do echo "  ${name}_temp_path $dir/nginx/$name;"; done)
  server { listen 127.0.0.1:$plain; $location }
  server { listen 127.0.0.1:$secure ssl; ssl_certificate $dir/front.crt; ssl_certificate_key $dir/front.key; $location }
}
END
nginx -e stderr -c "$dir/nginx.conf" 2> "$dir/nginx.err" &
pids+=($!)
cat > "$dir/haproxy.cfg" <<END
defaults
  mode tcp
  timeout connect 10s
  timeout client 10s
  timeout server 10s
listen any
  bind 127.0.0.1:$any
  server relay $relay
END
haproxy -db -f "$dir/haproxy.cfg" 2> "$dir/haproxy.err" &
pids+=($!)

answers() { (exec 3<> "/dev/tcp/127.0.0.1/$1") 2> /dev/null; }
for port in "$plain" "$secure" "$any"; do until_true 20 answers "$port"; done

# by SCHEME: the relay's address by that carrier, through its front.
by() {
  case $1 in
    ws | http) echo "$1://$id@127.0.0.1:$plain/vp" ;;
    wss | https) echo "$1://$id@127.0.0.1:$secure/vp" ;;
    tcp) echo "tcp://$id@127.0.0.1:$any" ;;
    tls) echo "tls://$id@127.0.0.1:$any" ;;
  esac
}

schemes=(tcp tls ws wss http https)
declare -A says
for scheme in "${schemes[@]}"; do
  common=(--relay "$(by "$scheme")" --peers "$dir/peers" --outer-tls any -v)
  "$bin/vp-attach" --listen "$scheme" --exec cat "${common[@]}" --key "$dir/west.key" < /dev/null > "$dir/$scheme.exec" 2> "$dir/$scheme.west" &
  pids+=($!)
  mkfifo "$dir/$scheme.in"
  "$bin/vp-attach" "west:$scheme" "${common[@]}" --key "$dir/east.key" --timeout 30s < "$dir/$scheme.in" > "$dir/$scheme.out" 2> "$dir/$scheme.east" &
  pids+=($!)
  exec {fd}> "$dir/$scheme.in"
  says[$scheme]=$fd
  echo first >&"$fd"
done
for scheme in "${schemes[@]}"; do until_true 60 grep -qx first "$dir/$scheme.out"; done
before=$(for scheme in "${schemes[@]}"; do wc -l < "$dir/$scheme.east"; wc -l < "$dir/$scheme.west"; done)
say "six sessions have begun, and are idle for $seconds s"
sleep "$seconds"
for scheme in "${schemes[@]}"; do echo last >&"${says[$scheme]}"; done
for scheme in "${schemes[@]}"; do until_true 10 grep -qx last "$dir/$scheme.out"; done
after=$(for scheme in "${schemes[@]}"; do wc -l < "$dir/$scheme.east"; wc -l < "$dir/$scheme.west"; done)
[ "$before" = "$after" ] || die "a link was lost in between: see *.east and *.west"
for scheme in "${schemes[@]}"; do say "$scheme: the same link after $seconds s"; done
