#!/usr/bin/env bash
# bench/registry.sh [BUILD-DIR] [ROUNDS]: bulla-registry beside docker-registry and nginx on this machine, over TLS on
# 127.0.0.1, both sides in one run. Prints medians and ratios; no threshold, machines differ.
set -euo pipefail
build=$(cd "${1:-build/release}" && pwd)
rounds=${2:-5}
PATH=$build/bin:$PATH
here=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=tests/support/registry.bash
source "$here/tests/support/registry.bash"

work=$(mktemp -d)
pids=()
finish() {
    registry_stop
    ((${#pids[@]})) && kill "${pids[@]}" 2> /dev/null
    rm -rf "$work"
}
trap finish EXIT

need() {
    command -v "$1" > /dev/null || { echo "$1 is missing" >&2; exit 3; }
}
need curl
need docker-registry
need nginx

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

median() {
    sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'
}

wait_for() { # URL
    for _ in $(seq 100); do curl -sk -o /dev/null "$1" && return; sleep 0.1; done
    echo "no answer from $1" >&2
    exit 3
}

# Log lines cost both sides; ours go to a file, as theirs do.
registry_start "$work/bulla"
ours=https://$REGISTRY_HOST

docker_port=$(free_port)
cat > "$work/docker.yml" <<YAML
version: 0.1
log: { level: error }
storage: { filesystem: { rootdirectory: $work/docker }, delete: { enabled: true } }
http:
  addr: 127.0.0.1:$docker_port
  tls: { certificate: $work/bulla/tls/server.crt, key: $work/bulla/tls/server.key }
YAML
docker-registry serve "$work/docker.yml" > "$work/docker.log" 2>&1 &
pids+=($!)
theirs=https://127.0.0.1:$docker_port

nginx_port=$(free_port)
mkdir "$work/www"
cat > "$work/nginx.conf" <<CONF
daemon off; worker_processes 2; pid $work/nginx.pid; error_log $work/nginx.log;
events { worker_connections 512; }
http { access_log off; sendfile on; root $work/www; default_type application/octet-stream;
  client_body_temp_path $work/t1; proxy_temp_path $work/t2; fastcgi_temp_path $work/t3;
  uwsgi_temp_path $work/t4; scgi_temp_path $work/t5;
  server { listen 127.0.0.1:$nginx_port ssl; ssl_certificate $work/bulla/tls/server.crt;
           ssl_certificate_key $work/bulla/tls/server.key; } }
CONF
chmod 755 "$work"
nginx -c "$work/nginx.conf" -p "$work" > /dev/null 2>&1 &
pids+=($!)
wait_for "$theirs/v2/"
wait_for "https://127.0.0.1:$nginx_port/"

auth=(-u "$REGISTRY_USER:$REGISTRY_PASSWORD")
location() {
    sed -n 's/^location: \(.*\)\r$/\1/Ip'
}

# push BASE FILE: MB/s of the PUT that carries the bytes
push() {
    local base=$1 url
    url=$(curl -sSk "${auth[@]}" -o /dev/null -D - -X POST "$base/v2/bench/app/blobs/uploads/" | location)
    [[ $url == /* ]] && url=$base$url
    [[ $url == *\?* ]] && url+='&' || url+='?'
    curl -sSk --http1.1 "${auth[@]}" -o /dev/null -H 'Content-Type: application/octet-stream' \
        -w '%{http_code} %{speed_upload}\n' -T "$2" "${url}digest=$3" |
        awk '{ if ($1 != 201) { print "push failed: " $1 > "/dev/stderr"; exit 1 } print $2 / 1e6 }'
}

pull() {
    curl -sSk --http1.1 "${auth[@]}" -o /dev/null -w '%{http_code} %{speed_download}\n' "$1" |
        awk '{ if ($1 != 200) { print "pull failed: " $1 > "/dev/stderr"; exit 1 } print $2 / 1e6 }'
}

row() {
    printf '%-44s %12s %12s %8s\n' "$@"
}
row what bulla peer ratio

# A new blob each time: nothing may be known beforehand.
for ((i = 0; i < rounds; i++)); do
    head -c 268435456 /dev/urandom > "$work/www/blob"
    digest=$(digest_of "$work/www/blob")
    # What others left unwritten would be written by our fsync (ext4 orders it so): not on our bill.
    sync
    push "$ours" "$work/www/blob" "$digest" >> "$work/push.ours"
    sync
    push "$theirs" "$work/www/blob" "$digest" >> "$work/push.theirs"
done
for ((i = 0; i < rounds; i++)); do
    pull "$ours/v2/bench/app/blobs/$digest" >> "$work/pull.ours"
    pull "$theirs/v2/bench/app/blobs/$digest" >> "$work/pull.theirs"
    pull "https://127.0.0.1:$nginx_port/blob" >> "$work/pull.nginx"
done
ratio() {
    awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", a / b }'
}
compare() { # TITLE OURS THEIRS
    local a b
    a=$(median < "$2")
    b=$(median < "$3")
    row "$1" "$a" "$b" "$(ratio "$a" "$b")"
}
compare 'push 256 MiB, MB/s (peer: docker-registry)' "$work/push.ours" "$work/push.theirs"
compare 'pull 256 MiB, MB/s (peer: docker-registry)' "$work/pull.ours" "$work/pull.theirs"
compare 'pull 256 MiB, MB/s (peer: nginx)' "$work/pull.ours" "$work/pull.nginx"

# A manifest by tag, keep-alive, 16 connections.
printf '{}' > "$work/config"
digest=$(digest_of "$work/config")
image_manifest "$digest" 2 "$digest" 2 > "$work/manifest"
for base in "$ours" "$theirs"; do
    push "$base" "$work/config" "$digest" > /dev/null
    curl -sSk "${auth[@]}" -f -o /dev/null -X PUT -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' \
        --data-binary "@$work/manifest" "$base/v2/bench/app/manifests/v1"
done
if command -v wrk > /dev/null; then
    header="Authorization: Basic $(printf '%s:%s' "$REGISTRY_USER" "$REGISTRY_PASSWORD" | base64 -w 0)"
    gets() {
        wrk -t 2 -c 16 -d 3 -H "$header" -H 'Accept: application/vnd.oci.image.manifest.v1+json' \
            "$1/v2/bench/app/manifests/v1" | awk '/Requests\/sec/ { print $2 } /Non-2xx/ { exit 1 }'
    }
    for ((i = 0; i < 3; i++)); do
        gets "$ours" >> "$work/get.ours"
        gets "$theirs" >> "$work/get.theirs"
    done
    compare 'manifest GET by tag, /s (peer: docker-registry)' "$work/get.ours" "$work/get.theirs"
else
    echo 'wrk is missing: no manifest figures'
fi
rss() {
    awk '/^VmRSS/ { printf "%.1f", $2 / 1024 }' "/proc/$1/status"
}
row 'resident after the above, MB' "$(rss "$REGISTRY_PID")" "$(rss "${pids[0]}")" \
    "$(ratio "$(rss "$REGISTRY_PID")" "$(rss "${pids[0]}")")"
