#!/usr/bin/env bash
# bench/registry.sh [BUILD-DIR] [ROUNDS] [PART…]: bulla-registry beside docker-registry and nginx on this machine, over
# TLS on 127.0.0.1, both sides in one run and in turn. Prints medians, ratios and budgets; a budget that is missed is
# marked, not an error: machines differ. PART: push pull manifest start lists gc memory (all of them).
set -euo pipefail
build=$(cd "${1:-build/release}" && pwd)
rounds=${2:-5}
shift $(($# < 2 ? $# : 2))
parts=${*:-push pull manifest start lists gc memory}
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

for name in curl docker-registry nginx wrk fill-index; do
    command -v "$name" > /dev/null || { echo "$name is missing" >&2; exit 3; }
done

# --- figures ---

median() {
    sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'
}

line() { # WHAT BULLA PEER RATIO BUDGET VERDICT
    printf '%-50s %10s %10s %7s  %-9s %s\n' "$@"
}

# A row with what was measured on both sides; the ratio must be at least (or, with <=, at most) the budget.
compare() { # WHAT FILE PEER-FILE [BUDGET]
    local ours theirs verdict
    ours=$(median < "$2") theirs=$(median < "$3")
    read -ra verdict < <(awk -v a="$ours" -v b="$theirs" -v m="${4:-}" 'BEGIN {
        r = a / b
        word = m == "" ? "-" : m ~ /^<=/ ? (r <= substr(m, 3) ? "ok" : "MISSED") : (r >= substr(m, 3) ? "ok" : "MISSED")
        printf "%.2f %s %s\n", r, m == "" ? "-" : m, word }')
    line "$1" "$ours" "$theirs" "${verdict[@]}"
}

# A figure of our own against its budget.
single() { # WHAT FILE MOST
    local ours
    ours=$(median < "$2")
    line "$1" "$ours" - - "<=$3" "$(awk -v a="$ours" -v m="$3" 'BEGIN { print a <= m ? "ok" : "MISSED" }')"
}

cpu_ms() { # PID: user and system time so far
    awk -v hz="$(getconf CLK_TCK)" '{ print ($14 + $15) * 1000 / hz }' "/proc/$1/stat"
}

wants() {
    [[ " $parts " == *" $1 "* ]]
}

line what bulla peer ratio budget verdict

# --- servers ---

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

wait_for() { # URL
    for _ in $(seq 100); do curl -sk -o /dev/null "$1" && return; sleep 0.1; done
    echo "no answer from $1" >&2
    exit 3
}

start_servers() {
    # Log lines cost both sides; ours go to a file, as theirs do.
    registry_start "$work/bulla"
    ours=https://$REGISTRY_HOST
    local port
    port=$(free_port)
    cat > "$work/docker.yml" << YAML
version: 0.1
log: { level: error }
storage: { filesystem: { rootdirectory: $work/docker }, delete: { enabled: true } }
http:
  addr: 127.0.0.1:$port
  tls: { certificate: $work/bulla/tls/server.crt, key: $work/bulla/tls/server.key }
YAML
    docker-registry serve "$work/docker.yml" > "$work/docker.log" 2>&1 &
    docker_pid=$!
    pids+=("$docker_pid")
    theirs=https://127.0.0.1:$port
    wait_for "$theirs/v2/"
}

start_nginx() {
    nginx_port=$(free_port)
    cat > "$work/nginx.conf" << CONF
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
    wait_for "https://127.0.0.1:$nginx_port/"
}

location() {
    sed -n 's/^location: \(.*\)\r$/\1/Ip'
}

# MB/s of the PUT that carries the bytes
push() { # BASE FILE DIGEST
    local url
    url=$(curl -sSk "${auth[@]}" -o /dev/null -D - -X POST "$1/v2/bench/app/blobs/uploads/" | location)
    [[ $url == /* ]] && url=$1$url
    [[ $url == *\?* ]] && url+='&' || url+='?'
    curl -sSk --http1.1 "${auth[@]}" -o /dev/null -H 'Content-Type: application/octet-stream' \
        -w '%{http_code} %{speed_upload}\n' -T "$2" "${url}digest=$3" |
        awk '{ if ($1 != 201) { print "push failed: " $1 > "/dev/stderr"; exit 1 } printf "%.1f\n", $2 / 1e6 }'
}

pull() { # URL
    curl -sSk --http1.1 "${auth[@]}" -o /dev/null -w '%{http_code} %{speed_download}\n' "$1" |
        awk '{ if ($1 != 200) { print "pull failed: " $1 > "/dev/stderr"; exit 1 } printf "%.1f\n", $2 / 1e6 }'
}

# --- push: durable on our side, not on theirs ---

bench_push() {
    local i before side file hex
    # The first round fills memory that a virtual machine may not have got from its host yet, on both sides; what a
    # round stored is removed, so that the next ones find the same memory again.
    for ((i = 0; i <= rounds; i++)); do
        head -c 268435456 /dev/urandom > "$work/www/blob"
        digest=$(digest_of "$work/www/blob")
        hex=${digest#sha256:}
        for side in ours theirs; do
            ((i == 0)) && file=/dev/null || file=$work/push.$side
            # What others left unwritten would be written by our fsync (ext4 orders it so): not on our bill.
            sync
            if [[ $side == ours ]]; then
                before=$(cpu_ms "$REGISTRY_PID")
                push "$ours" "$work/www/blob" "$digest" >> "$file"
                ((i == 0)) || echo "$before $(cpu_ms "$REGISTRY_PID")" | awk '{ print $2 - $1 }' >> "$work/cpu.ours"
                ((i == rounds)) || rm -f "$work/bulla/data/blobs/sha256/${hex:0:2}/$hex"
            else
                before=$(cpu_ms "$docker_pid")
                push "$theirs" "$work/www/blob" "$digest" >> "$file"
                ((i == 0)) || echo "$before $(cpu_ms "$docker_pid")" | awk '{ print $2 - $1 }' >> "$work/cpu.theirs"
                ((i == rounds)) || rm -rf "$work/docker/docker/registry/v2/blobs/sha256/${hex:0:2}/$hex"
            fi
        done
    done
    wants push || return 0
    compare 'push 256 MiB, MB/s (docker-registry)' "$work/push.ours" "$work/push.theirs" '>=2.5'
    compare '  processor time of the server, ms' "$work/cpu.ours" "$work/cpu.theirs"
}

bench_pull() {
    local i
    start_nginx
    for ((i = 0; i <= rounds; i++)); do
        ((i == 1)) && rm -f "$work"/pull.*
        pull "$ours/v2/bench/app/blobs/$digest" >> "$work/pull.ours"
        pull "$theirs/v2/bench/app/blobs/$digest" >> "$work/pull.theirs"
        pull "https://127.0.0.1:$nginx_port/blob" >> "$work/pull.nginx"
    done
    compare 'pull 256 MiB, MB/s (docker-registry)' "$work/pull.ours" "$work/pull.theirs" '>=1'
    compare 'pull 256 MiB, MB/s (nginx)' "$work/pull.ours" "$work/pull.nginx" '>=1'
}

# --- a manifest by tag, keep-alive, 16 connections ---

gets() { # BASE PATH CONNECTIONS SECONDS: answers a second
    wrk -t "$(($3 < 2 ? 1 : 2))" -c "$3" -d "$4" -H "$header" -H 'Accept: application/vnd.oci.image.manifest.v1+json' \
        "$1$2" | awk '/Requests\/sec/ { r = $2 } /Non-2xx/ { bad = 1 } END { if (bad) exit 1; print r }'
}

bench_manifest() {
    local i base config
    printf '{}' > "$work/config"
    config=$(digest_of "$work/config")
    image_manifest "$config" 2 "$config" 2 > "$work/manifest"
    for base in "$ours" "$theirs"; do
        push "$base" "$work/config" "$config" > /dev/null
        curl -sSk "${auth[@]}" -f -o /dev/null -X PUT -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' \
            --data-binary "@$work/manifest" "$base/v2/bench/app/manifests/v1"
    done
    for ((i = 0; i < rounds; i++)); do
        gets "$ours" /v2/bench/app/manifests/v1 16 3 >> "$work/get.ours"
        gets "$theirs" /v2/bench/app/manifests/v1 16 3 >> "$work/get.theirs"
    done
    compare 'manifest GET by tag, 16 connections, /s (docker)' "$work/get.ours" "$work/get.theirs" '>=15'
}

# --- what a large store costs ---

make_stores() {
    local store
    [[ -d $work/large ]] && return
    registry_stop
    for store in small large; do
        registry_init "$work/$store"
        sed -i 's/^  lease: .*/  lease: 1s/; s/^  interval: .*/  interval: 300d/' "$work/$store/registry.yaml"
    done
    fill-index "$work/small/data" repo/r 10 10
    fill-index "$work/large/data" repo/r 10000 100
    fill-index "$work/small/data" many/r 1 10
    fill-index "$work/large/data" many/r 1 1000000
}

first_answer() { # STORE: ms from the start of the program to its first answer
    local start=$EPOCHREALTIME port='' i
    : > "$work/first"
    bulla-registry serve --config "$work/$1/registry.yaml" > "$work/first" 2>> "$work/first.log" &
    REGISTRY_DIR=$work/$1
    echo $! > "$REGISTRY_DIR/pid"
    for ((i = 0; i < 2000; i++)); do
        port=$(< "$work/first") && port=${port##*:}
        [[ -n $port ]] && break
        sleep 0.002
    done
    [[ $(curl -sk -o /dev/null -w '%{http_code}' "https://127.0.0.1:$port/v2/") == 401 ]]
    awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f\n", (b - a) * 1000 }'
    registry_stop
}

bench_start() {
    local i
    make_stores
    for ((i = 0; i < rounds; i++)); do
        first_answer large >> "$work/start.large"
        first_answer small >> "$work/start.small"
    done
    single 'first answer with 10,000 repositories, ms' "$work/start.large" 100
    compare '  beside a store of 10' "$work/start.large" "$work/start.small" '<=1.5'
}

list_cost() { # STORE PATH FILE: µs of an answer on one connection
    registry_start "$work/$1"
    header="Authorization: Basic $(printf '%s:%s' "$REGISTRY_USER" "$REGISTRY_PASSWORD" | base64 -w 0)"
    gets "https://$REGISTRY_HOST" "$2" 1 1 | awk '{ printf "%.1f\n", 1e6 / $1 }' >> "$work/$3"
    registry_stop
}

bench_lists() {
    local i
    make_stores
    for ((i = 0; i < rounds; i++)); do
        list_cost large '/v2/many/r00000/tags/list?n=10' tags.large
        list_cost small '/v2/many/r00000/tags/list?n=10' tags.small
        list_cost large '/v2/many/r00000/tags/list?n=5&last=v0500000' middle.large
        list_cost small '/v2/many/r00000/tags/list?n=5&last=v0000004' middle.small
        list_cost large '/v2/_catalog?n=10' catalog.large
        list_cost small '/v2/_catalog?n=10' catalog.small
    done
    compare 'ten tags of 1,000,000, µs (of 10)' "$work/tags.large" "$work/tags.small" '<=1.5'
    compare 'five from the middle of 1,000,000, µs (of 10)' "$work/middle.large" "$work/middle.small" '<=1.5'
    compare 'ten repositories of 10,001, µs (of 11)' "$work/catalog.large" "$work/catalog.small" '<=1.5'
}

gc_ms() { # STORE: time of the command
    local start=$EPOCHREALTIME
    bulla-registry gc --config "$work/$1/registry.yaml" > "$work/gc.out" 2> "$work/gc.log" || { cat "$work/gc.log" >&2; return 1; }
    awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f\n", (b - a) * 1000 }'
}

bench_gc() {
    local i store n=1000
    make_stores
    for store in small large; do # what filling left to look at
        sleep 2
        gc_ms "$store" > /dev/null
    done
    for ((i = 0; i < rounds; i++)); do
        for store in small large; do
            gc_ms "$store" >> "$work/gc-none.$store"
            fill-index "$work/$store/data" "litter/round$i" 0 0 "$n"
            sleep 2.1 # the leases end
            gc_ms "$store" >> "$work/gc.$store"
        done
    done
    single 'gc of nothing, 10,001 repositories, ms' "$work/gc-none.large" 100
    compare '  beside a store of 11' "$work/gc-none.large" "$work/gc-none.small" '<=1.5'
    compare "gc of $n blobs in 10,001 repositories, ms (in 11)" "$work/gc.large" "$work/gc.small" '<=1.5'
}

# --- the table ---

mkdir "$work/www"
auth=()
if wants push || wants pull || wants manifest; then
    start_servers
    auth=(-u "$REGISTRY_USER:$REGISTRY_PASSWORD")
    header="Authorization: Basic $(printf '%s:%s' "$REGISTRY_USER" "$REGISTRY_PASSWORD" | base64 -w 0)"
    if wants push || wants pull; then bench_push; fi
    if wants pull; then bench_pull; fi
    if wants manifest; then bench_manifest; fi
    kill "${pids[@]}" 2> /dev/null
    pids=()
    registry_stop
fi
if wants start; then bench_start; fi
if wants lists; then bench_lists; fi
if wants gc; then bench_gc; fi
rm -rf "$work/large" "$work/www"
if wants memory; then
    echo
    "$here/bench/connections.sh" "$build" || true
fi
