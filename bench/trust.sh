#!/usr/bin/env bash
# bench/trust.sh [BUILD-DIR] [ROUNDS] [TAGS…]: what it costs to verify one tag of a small, a large and a huge
# collection (10 1000 100000), cold and warm, beside `notary lookup` (Docker Notary v1, memory store); and what one
# more signature costs there. Medians; a missed budget is marked, not an error: machines differ.
# The largest collection is split into bins; tuf-js follows it, too, where tests/interop has installed it.
# shellcheck source=bench/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
build=$(cd "${1:-$top/build/release}" && pwd)
rounds=${2:-11}
shift $(($# < 2 ? $# : 2))
(($#)) && sizes=("$@") || sizes=(10 1000 100000)
PATH=$build/bin:$PATH
bench_need jq curl busybox openssl python3 bulla bulla-registry trust-load
split_from=2000 # as `bulla sign` advises, with a little patience

# --- figures ---

median() {
    sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'
}

line() { # WHAT BULLA NOTARY [BUDGET]
    awk -v w="$1" -v a="$2" -v b="${3:--}" -v m="${4:-}" 'BEGIN {
        printf "%-52s %10.1f %10s %7s  %-8s %s\n", w, a, b, b == "-" ? "-" : sprintf("%.2f", a / b),
            m == "" ? "-" : "<=" m, m == "" ? "-" : a <= m ? "ok" : "MISSED" }'
}

cpu_ms() { # PID: user and system time so far
    awk -v hz="$(getconf CLK_TCK)" '{ print ($14 + $15) * 1000 / hz }' "/proc/$1/stat"
}

# Processor time of one run of a command, in ms, as the mean of $rounds.
command_cpu() {
    local i
    TIMEFORMAT='%U %S'
    { time for ((i = 0; i < rounds; i++)); do "$@" > /dev/null 2>&1; done; } 2>&1 |
        awk -v n="$rounds" '{ print ($1 + $2) * 1000 / n }'
}

folder_bytes() { # FOLDER: of the metadata a client has stored
    find "$1" -name '*.json' ! -path '*/roots/*' -printf '%s\n' | awk '{ n += $1 } END { print n / 1024 }'
}

# --- bulla ---

received() {
    curl -sSk -u "bench:$(< "$work/secret")" "https://$host/metrics" | sed -n 's/^bulla_received_bytes_total //p'
}

verify() { # TAGS
    bulla --cacert "$ca" verify "$host/bench/t$1:v0000003"
}

verify_cold() {
    rm -rf "$BULLA_HOME/trust/state"
    verify "$1"
}

make_collection() { # TAGS
    local c=$host/bench/t$1 digest size i n
    bench_image "$work/root" "t$1"
    digest=$(bulla --cacert "$ca" verify "$c:v1" --json 2> /dev/null | jq -r .digest)
    size=$(curl -sSk -u "bench:$(< "$work/secret")" -H 'Accept: */*' "https://$host/v2/bench/t$1/manifests/v1" | wc -c)
    (($1 < split_from)) || bulla --cacert "$ca" trust split "$c" --bin-key bench --expect-tags "$1" > /dev/null
    for ((i = 0; i < $1; i += n)); do
        n=$(($1 - i < 50000 ? $1 - i : 50000))
        trust-load fill "$c" "$ca" bench "$digest" "$size" "$i" "$n"
    done
}

sign_one_more() { # TAGS: sets sign_ms, sign_kb, sign_cpu (registry and signing service)
    local c=$host/bench/t$1 signer before start
    bulla import "$work/root" "bench/t$1:more" --cmd '["/bin/true"]' --env "N=$1" > /dev/null 2>&1
    bulla --cacert "$ca" push "store:bench/t$1:more" "$c:more" > /dev/null
    signer=$(cat "/proc/$registry/task/$registry/children")
    before=$(received)
    start=$(cpu_ms "$registry"; cpu_ms "${signer%% *}")
    sign_ms=$(median_ms 1 bulla --cacert "$ca" sign "$c:more" --key bench)
    sign_cpu=$({ echo "$start"; cpu_ms "$registry"; cpu_ms "${signer%% *}"; } |
        awk 'NR < 3 { a += $1 } NR > 2 { b += $1 } END { print b - a }')
    sign_kb=$((($(received) - before) / 1024))
}

# --- notary ---

notary_start() {
    local port=4443
    port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$work/notary.key" -out "$work/notary.crt" \
        -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 2> /dev/null
    cat > "$work/notary.json" << JSON
{ "server": { "http_addr": "127.0.0.1:$port", "tls_key_file": "$work/notary.key", "tls_cert_file": "$work/notary.crt" },
  "trust_service": { "type": "local", "hostname": "", "port": "", "key_algorithm": "ecdsa" },
  "logging": { "level": "error" }, "storage": { "backend": "memory" } }
JSON
    notary-server -config "$work/notary.json" > "$work/notary.log" 2>&1 &
    bench_pids+=($!)
    notary_url=https://127.0.0.1:$port
    export NOTARY_ROOT_PASSPHRASE=first-passphrase NOTARY_TARGETS_PASSPHRASE=second-passphrase
    export NOTARY_SNAPSHOT_PASSPHRASE=third-passphrase NOTARY_DELEGATION_PASSPHRASE=fourth-passphrase
    for _ in $(seq 100); do curl -sk -o /dev/null "$notary_url/_notary_server/health" && return; sleep 0.1; done
    return 1
}

notary_client() {
    notary -s "$notary_url" -d "$work/notary" --tlscacert "$work/notary.crt" "$@"
}

# `notary addhash` stages one tag in 20 ms and more: the same files, written at once.
notary_collection() { # TAGS
    notary_client init "bench/t$1" > /dev/null
    notary_client key rotate "bench/t$1" snapshot -r > /dev/null
    python3 - "$work/notary/tuf/bench/t$1/changelist" "$1" << 'PY'
import base64, json, os, sys
folder, n = sys.argv[1], int(sys.argv[2])
os.makedirs(folder, exist_ok=True)
content = {"length": 500, "hashes": {"sha256": base64.b64encode(bytes(32)).decode()}}
data = base64.b64encode(json.dumps(content).encode()).decode()
for i in range(n):
    change = {"action": "create", "role": "targets", "type": "target", "path": "v%07d" % i, "data": data}
    with open("%s/%020d_%d.change" % (folder, i + 1, i), "w") as f:
        json.dump(change, f)
PY
    timeout 600 notary -s "$notary_url" -d "$work/notary" --tlscacert "$work/notary.crt" publish "bench/t$1" \
        > "$work/notary.out" 2>&1
}

lookup() {
    notary_client lookup "bench/t$1" v0000003
}

lookup_cold() {
    rm -rf "$work/notary/tuf/bench/t$1"
    lookup "$1"
}

notary_sign() { # TAGS
    notary_client addhash "bench/t$1" more 500 --sha256 "$(printf '%064d' 7)" > /dev/null
    notary_client publish "bench/t$1"
}

notary_sign_ms() { # TAGS: - where the collection is not there
    if [[ -z $has ]]; then echo -; else median_ms 1 notary_sign "$1"; fi
}

# --- the table ---

mkdir -p "$work/root/bin"
cp "$(command -v busybox)" "$work/root/bin/true"
bench_registry
registry=${bench_pids[0]}
peer=''
if command -v notary notary-server > /dev/null && notary_start; then peer=1; fi
[[ -n $peer ]] || echo "notary is not installed: no comparison"

printf '%-52s %10s %10s %7s  %-8s %s\n' what bulla notary ratio budget verdict
for n in "${sizes[@]}"; do
    make_collection "$n"
    theirs=() has=''
    if [[ -n $peer ]] && notary_collection "$n"; then has=1; fi
    [[ -z $peer || -n $has ]] || echo "notary: $n tags: $(tail -n 1 "$work/notary.out" | cut -c 1-100)"
    # cold, warm: ms; metadata: KiB; processor of the whole command: ms
    if [[ -n $has ]]; then
        theirs=("$(median_ms "$rounds" lookup_cold "$n")" "$(folder_bytes "$work/notary/tuf/bench/t$n")"
            "$(median_ms "$rounds" lookup "$n")" "$(command_cpu lookup "$n")")
    fi
    line "$n tags: cold verify, ms" "$(median_ms "$rounds" verify_cold "$n")" "${theirs[0]:--}"
    line "$n tags: cold, metadata fetched, KiB" "$(folder_bytes "$BULLA_HOME/trust/state")" "${theirs[1]:--}" 256
    line "$n tags: warm verify, ms" "$(median_ms "$rounds" verify "$n")" "${theirs[2]:--}"
    line "$n tags: warm, processor of the command, ms" "$(command_cpu verify "$n")" "${theirs[3]:--}"
    trust-load verify "$host/bench/t$n:v0000003" "$ca" "$((2 * rounds))" > "$work/warm"
    line "$n tags: warm, processor in process, with TLS, ms" "$(cut -d ' ' -f 1 "$work/warm" | median | awk '{ print $1 / 1000 }')"
    trust-load reuse "$host/bench/t$n:v0000003" "$ca" "$((2 * rounds))" > "$work/warm"
    line "$n tags: warm, processor in process, without, ms" \
        "$(cut -d ' ' -f 1 "$work/warm" | median | awk '{ print $1 / 1000 }')" - "$( ((n < split_from)) || echo 3)"
    sign_one_more "$n"
    line "$n tags: sign one more, ms" "$sign_ms" "$(notary_sign_ms "$n")"
    line "$n tags: sign one more, sent, KiB" "$sign_kb" - 256
    line "$n tags: sign one more, processor of the servers, ms" "$sign_cpu"
done

# --- a stock client ---

last=${sizes[-1]}
modules=$(find "$build"/tuf-js "$top"/build/*/tuf-js -maxdepth 2 -name node_modules 2> /dev/null | head -n 1 || true)
if [[ -n $modules ]] && command -v node > /dev/null; then
    bulla-registry grant add anonymous 'bench/*' pull --config "$work/registry/registry.yaml" > /dev/null
    export NODE_PATH=$modules NODE_EXTRA_CA_CERTS=$ca
    base=https://$host/v2/bench/t$last/_trust
    tuf_js() {
        rm -rf "$work/js"
        mkdir "$work/js"
        curl -sSk "$base/tuf/1.root.json" > "$work/js/root.json"
        node "$top/tests/interop/tuf-js/client.js" "$work/js" "$base/tuf" "$work/js-targets" "$base/targets" v0000003
    }
    line "$last tags: tuf-js, cold, ms" "$(median_ms 3 tuf_js)"
    line "$last tags: tuf-js, metadata fetched, KiB" "$(folder_bytes "$work/js")" - 256
else
    echo "tuf-js is not installed here (tests/interop/tuf-js.bats does it)"
fi
