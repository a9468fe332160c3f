# Running the registry: certificates that change, a stop that finishes, health and numbers, log lines, confinement.
bats_require_minimum_version 1.5.0

setup_file() {
    load ../support/registry
    registry_init "$BATS_FILE_TMPDIR/r"
    printf 'metrics:\n  socket: run/metrics.sock\n' >> "$BATS_FILE_TMPDIR/r/registry.yaml"
    sed -i '/^log:/,/^  format:/ { s/^  level: .*/  level: debug/; s/^  format: .*/  format: json/ }' "$BATS_FILE_TMPDIR/r/registry.yaml"
    registry_start "$BATS_FILE_TMPDIR/r"
}

teardown_file() {
    load ../support/registry
    registry_stop
}

setup() {
    load ../support/registry
    cd "$BATS_TEST_TMPDIR" || return
    OWN=''
}

teardown() {
    [[ -z $OWN ]] || { REGISTRY_DIR=$OWN && registry_stop; }
    [[ -z ${PUBLIC:-} ]] || rm -rf "$PUBLIC"
}

# A registry of this test alone, with these sed commands on its configuration.
own() {
    OWN=$BATS_TEST_TMPDIR/own
    [[ -e $OWN ]] || registry_init "$OWN"
    (($#)) && sed -i "$@" "$OWN/registry.yaml"
    registry_start "$OWN"
}

# certificate NAME [DAYS]: NAME.crt and NAME.key, of the registry's development CA.
certificate() {
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$1.key" -out "$1.csr" \
        -subj "/CN=$1" 2> /dev/null
    openssl x509 -req -in "$1.csr" -CA "$OWN/ca.crt" -CAkey "$OWN/ca.key" -days "${2:-2}" -out "$1.crt" \
        -extfile <(echo 'subjectAltName=IP:127.0.0.1') 2> /dev/null
}

install_pair() { # NAME: each file replaced at once, the two one after the other
    cp "$1.crt" "$OWN/tls/new.crt" && mv "$OWN/tls/new.crt" "$OWN/tls/server.crt"
    cp "$1.key" "$OWN/tls/new.key" && mv "$OWN/tls/new.key" "$OWN/tls/server.key"
}

served_name() {
    openssl s_client -connect "$REGISTRY_HOST" < /dev/null 2> /dev/null | openssl x509 -noout -subject |
        sed 's/.*CN = //'
}

until_served() { # NAME
    for _ in $(seq 60); do
        [[ $(served_name) == "$1" ]] && return
        sleep 0.1
    done
    echo "still '$(served_name)'" >&2
    return 1
}

until_logged() { # PATTERN
    for _ in $(seq 100); do
        grep -q "$1" "$REGISTRY_DIR/log" && return
        sleep 0.1
    done
    tail -n 5 "$REGISTRY_DIR/log" >&2
    return 1
}

@test "SIGHUP takes a new certificate into use, and no connection is dropped" {
    own
    certificate second
    mkfifo in
    openssl s_client -quiet -connect "$REGISTRY_HOST" < in > answers 2> /dev/null &
    client=$!
    exec 6> in
    printf 'GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n' >&6
    for _ in $(seq 50); do grep -q alive answers && break; sleep 0.1; done
    install_pair second
    kill -HUP "$REGISTRY_PID"
    until_served second
    printf 'GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n' >&6
    wait "$client"
    exec 6>&-
    [[ $(grep -c '"alive":true' answers) == 2 ]]
    [[ $(registry_status /v2/) == 200 ]]
}

@test "changed files are noticed without a signal" {
    own
    certificate third
    install_pair third
    until_served third
    until_logged 'a new certificate is in use'
}

@test "links that are turned to new files in another folder are followed" {
    registry_init "$BATS_TEST_TMPDIR/own"
    mkdir "$BATS_TEST_TMPDIR/archive"
    for kind in crt key; do
        mv "own/tls/server.$kind" "archive/one.$kind"
        ln -s "../../archive/one.$kind" "own/tls/server.$kind"
    done
    own
    certificate two
    mv two.crt two.key archive/
    for kind in crt key; do ln -sfn "../../archive/two.$kind" "own/tls/server.$kind"; done
    until_served two
}

@test "a bad new pair leaves the old one in use and says so" {
    own
    before=$(served_name)
    certificate good
    certificate other
    certificate expired 0
    bad() { # WORD: the reason in the log
        : > "$OWN/log"
        kill -HUP "$REGISTRY_PID"
        until_logged 'the one before stays'
        grep -q "$1" "$OWN/log"
        [[ $(served_name) == "$before" ]]
    }
    cp good.crt "$OWN/tls/server.crt"
    cp other.key "$OWN/tls/server.key"
    bad 'do not belong together'
    echo nonsense > "$OWN/tls/server.crt"
    bad 'certificate:'
    cp good.crt "$OWN/tls/server.crt"
    : > "$OWN/tls/server.key"
    bad 'key:'
    rm "$OWN/tls/server.key"
    bad 'No such file'
    sleep 1.1
    install_pair expired
    bad 'expired on'
    install_pair good
    kill -HUP "$REGISTRY_PID"
    until_served good
    run ! grep -q 'BEGIN' "$OWN/log"
}

@test "a first certificate that does not fit its key is refused at the start" {
    registry_init "$BATS_TEST_TMPDIR/bad"
    OWN=$BATS_TEST_TMPDIR/bad certificate other
    cp other.key "$BATS_TEST_TMPDIR/bad/tls/server.key"
    run timeout 20 bulla-registry serve --config "$BATS_TEST_TMPDIR/bad/registry.yaml"
    [[ $status == 3 && $output == *"do not belong together"* ]]
}

# slow_push: an upload of some seconds, in the background; its status goes to the file "code".
slow_push() {
    head -c 3000000 /dev/urandom > blob
    digest=$(digest_of blob)
    curl -sS --cacert "$REGISTRY_CA" -u "$REGISTRY_USER:$REGISTRY_PASSWORD" -o /dev/null -w '%{http_code}' \
        --limit-rate "$1" -X POST -H 'Content-Type: application/octet-stream' --data-binary @blob \
        "https://$REGISTRY_HOST/v2/slow/app/blobs/uploads/?digest=$digest" > code 2> curl.err &
    client=$!
    for _ in $(seq 100); do
        [[ $(find "$REGISTRY_DIR/data/uploads" -size +100k | wc -l) -gt 0 ]] && return
        sleep 0.05
    done
    return 1
}

@test "SIGTERM finishes what runs, refuses what is new, and ends with 0" {
    own
    slow_push 1m
    kill -TERM "$REGISTRY_PID"
    sleep 0.3
    run curl -sS --cacert "$REGISTRY_CA" "https://$REGISTRY_HOST/healthz"
    [[ $status == 7 ]] # refused
    wait "$client"
    [[ $(< code) == 201 ]]
    status=0
    wait "$REGISTRY_PID" || status=$?
    [[ $status == 0 ]]
    registry_start "$OWN"
    [[ $(registry_status "/v2/slow/app/blobs/$digest") == 200 ]]
}

@test "while it stops, a request on an old connection is told to go elsewhere" {
    own
    mkfifo in
    openssl s_client -quiet -connect "$REGISTRY_HOST" < in > answers 2> /dev/null &
    other=$!
    exec 6> in
    printf 'GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n' >&6
    for _ in $(seq 50); do grep -q alive answers && break; sleep 0.1; done
    slow_push 1m
    kill -TERM "$REGISTRY_PID"
    until_logged 'stopping: 1 requests are running'
    printf 'GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n' >&6
    wait "$other"
    exec 6>&-
    grep -q '^HTTP/1.1 503' answers
    grep -q '^Connection: close' answers
    grep -q '^Retry-After: ' answers
    wait "$client"
    [[ $(< code) == 201 ]]
}

@test "what takes longer than the grace is broken off" {
    own 's/^  stopGrace: .*/  stopGrace: 1s/'
    slow_push 100k
    start=$SECONDS
    kill -TERM "$REGISTRY_PID"
    status=0
    wait "$REGISTRY_PID" || status=$?
    [[ $status == 0 && $((SECONDS - start)) -le 4 ]]
    run ! wait "$client"
    grep -q 'took too long' "$OWN/log"
}

@test "a second SIGTERM ends it at once" {
    own
    slow_push 100k
    start=$SECONDS
    kill -TERM "$REGISTRY_PID"
    until_logged 'stopping: 1 requests are running'
    kill -TERM "$REGISTRY_PID"
    status=0
    wait "$REGISTRY_PID" || status=$?
    [[ $status == 0 && $((SECONDS - start)) -le 3 ]]
    run ! wait "$client"
}

plain() { # PATH [OPTION…]: over the Unix socket
    curl -sS --unix-socket "$REGISTRY_DIR/run/metrics.sock" "${@:2}" "http://localhost$1"
}

@test "health and readiness need no credentials and say nothing of anybody" {
    for path in /healthz /readyz; do
        run curl -sS -i --cacert "$REGISTRY_CA" "https://$REGISTRY_HOST$path"
        [[ $output == "HTTP/1.1 200 OK"* && $output == *"Cache-Control: no-store"* ]]
        [[ $(curl -sS -o /dev/null -w '%{http_code}' -X DELETE --cacert "$REGISTRY_CA" "https://$REGISTRY_HOST$path") == 40[15] ]]
        plain "$path" -f
    done
    [[ $(plain /readyz) == '{"ready":true,"index":"ok","disk":"ok","signer":"ok"}' ]]
    [[ $(plain /v2/ -o /dev/null -w '%{http_code}') == 404 ]]
    [[ $(plain /metrics -o /dev/null -w '%{http_code}' -X POST) == 405 ]]
    [[ $(stat -c %a "$REGISTRY_DIR/run/metrics.sock") == 660 ]]
}

@test "not ready where the index cannot be written; without the signer it still serves" {
    own
    signer=$(cat "/proc/$REGISTRY_PID/task/$REGISTRY_PID/children")
    kill "$signer"
    until_logged 'the signing service ended'
    ask() {
        curl -sS -w ' %{http_code}' --cacert "$REGISTRY_CA" "https://$REGISTRY_HOST/readyz"
    }
    [[ $(ask | tr '\n' ' ') == '{"ready":true,"index":"ok","disk":"ok","signer":"unreachable"}  200' ]]
    sleep 2.1 # an answer is kept for so long
    mkfifo in
    sqlite3 "$OWN/data/index.db" < in > /dev/null &
    locker=$!
    exec 6> in
    echo 'BEGIN IMMEDIATE;' >&6
    sleep 0.3
    [[ $(ask | tr '\n' ' ') == '{"ready":false,"index":"unwritable","disk":"ok","signer":"unreachable"}  503' ]]
    exec 6>&-
    wait "$locker"
    sleep 2.1
    [[ $(ask) == *'"ready":true'*200 ]]
}

@test "not ready on a full disk" {
    [[ $EUID == 0 ]] || skip "needs root for a disk of its own"
    OWN=$BATS_TEST_TMPDIR/own
    registry_init "$OWN"
    # In a mount namespace of the server's own: nobody else sees the small disk.
    unshare -m --propagation private sh -c 'cp -a "$1/data" "$1/kept" && mount -t tmpfs -o size=48m none "$1/data" &&
        cp -a "$1/kept/." "$1/data/" && exec bulla-registry serve --config "$1/registry.yaml"' - "$OWN" \
        > "$OWN/out" 2> "$OWN/log" 3>&- &
    echo $! > "$OWN/pid"
    for _ in $(seq 100); do grep -q '^listening' "$OWN/out" && break; sleep 0.1; done
    port=$(sed -n 's/^listening on .*://p' "$OWN/out")
    run curl -sS -w ' %{http_code}' --cacert "$OWN/ca.crt" "https://127.0.0.1:$port/readyz"
    [[ $output == '{"ready":false,"index":"ok","disk":"full","signer":"ok"}'*503 ]]
    REGISTRY_DIR=$OWN
    grep -q 'is full' "$OWN/log"
}

# metric NAME: its value; NAME with labels as they are written.
metric() {
    plain /metrics | awk -v name="$1" '$1 == name { print $2; found = 1 } END { exit !found }'
}

@test "metrics are for admins of everything, on the registry's port" {
    registry_user watcher
    registry_grant watcher '*' pull,push,delete,sign
    registry_grant watcher 'team/*' admin
    ask() {
        curl -sS -o /dev/null -w '%{http_code}' --cacert "$REGISTRY_CA" "$@" "https://$REGISTRY_HOST/metrics"
    }
    [[ $(ask) == 401 ]]
    [[ $(ask -u watcher:watcher-password) == 403 ]]
    [[ $(ask -u "$REGISTRY_USER:$REGISTRY_PASSWORD") == 200 ]]
    registry_grant watcher '*' admin
    [[ $(ask -u watcher:watcher-password) == 200 ]]
}

@test "metrics count what happens, in a form that Prometheus' own parser takes" {
    blobs=$(metric bulla_storage_blobs)
    bytes=$(metric bulla_storage_bytes)
    received=$(metric bulla_received_bytes_total)
    head -c 100000 /dev/urandom > blob
    digest=$(push_blob count/app blob)
    registry_curl -o out "/v2/count/app/blobs/$digest"
    [[ $(registry_status /v2/count/app/manifests/none) == 404 ]]
    [[ $(metric bulla_storage_blobs) == $((blobs + 1)) ]]
    [[ $(metric bulla_storage_bytes) == $((bytes + 100000)) ]]
    [[ $(metric bulla_received_bytes_total) -ge $((received + 100000)) ]]
    [[ $(metric 'bulla_requests_total{route="blob",method="GET",status="2xx"}') == 1 ]]
    [[ $(metric 'bulla_requests_total{route="manifest",method="GET",status="4xx"}') == 1 ]]
    push_blob count/app blob
    [[ $(metric bulla_storage_blobs) == $((blobs + 1)) ]]
    [[ $(metric bulla_ready) == 1 && $(metric bulla_signer_reachable) == 1 ]]
    [[ $(metric bulla_certificate_expiry_timestamp_seconds) -gt $(date +%s) ]]
    id=$(registry_curl -i -X POST /v2/count/app/blobs/uploads/ | sed -n 's/^Docker-Upload-UUID: \(.*\)\r$/\1/p')
    [[ $(metric bulla_uploads_open) == 1 ]]
    registry_curl -X DELETE "/v2/count/app/blobs/uploads/$id"
    [[ $(metric bulla_uploads_open) == 0 ]]
    plain /metrics > metrics
    /usr/bin/python3 "$BATS_TEST_DIRNAME/../support/check-metrics.py" < metrics
}

@test "metrics tell when trust metadata expires, for a bounded number of collections" {
    export BULLA_HOME=$BATS_TEST_TMPDIR/home REGISTRY_AUTH_FILE=$BATS_TEST_TMPDIR/auth.json
    export BULLA_PASSPHRASE_FILE=$BATS_TEST_TMPDIR/passphrase
    (umask 077; echo passphrase > "$BULLA_PASSPHRASE_FILE")
    printf '%s' "$REGISTRY_PASSWORD" | bulla login --cacert "$REGISTRY_CA" -u admin --password-stdin "$REGISTRY_HOST"
    bulla key generate root
    before=$(metric bulla_publications_total)
    bulla trust init "$REGISTRY_HOST/days/app" --root-key root --cacert "$REGISTRY_CA"
    [[ $(metric bulla_publications_total) == $((before + 1)) ]]
    days=$(metric 'bulla_trust_expiry_days{collection="days/app",role="timestamp"}')
    awk -v d="$days" 'BEGIN { exit !(d > 0.9 && d <= 1) }'
    [[ $(metric 'bulla_trust_soonest_expiry_days{kind="timestamp"}') ]]
    for role in root targets snapshot; do
        metric "bulla_trust_expiry_days{collection=\"days/app\",role=\"$role\"}"
    done
    sqlite3 -cmd '.timeout 10000' "$REGISTRY_DIR/data/index.db" "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200)
        INSERT INTO repository(name, created_s) SELECT 'many/r' || i, 0 FROM n;
        INSERT INTO trust_file(repository, role, version, data, current, expires_s)
        SELECT id, 'root', 1, x'00', 1, 4000000000 + id FROM repository WHERE name LIKE 'many/%';"
    plain /metrics > metrics
    [[ $(grep -c '^bulla_trust_expiry_days{.*role="root"' metrics) == 20 ]]
    grep -q '^bulla_trust_expiry_days{collection="days/app",role="root"}' metrics
    /usr/bin/python3 "$BATS_TEST_DIRNAME/../support/check-metrics.py" < metrics
}

@test "one request id: in the answer's header, in an error's detail, in the log" {
    registry_curl -D headers -o body '/v2/logged/app/manifests/v1?token=query-secret'
    id=$(sed -n 's/^X-Request-Id: \([0-9a-f]*\)\r$/\1/p' headers)
    [[ ${#id} == 16 ]]
    [[ $(jq -r '.errors[0].detail.requestId' body) == "$id" ]]
    line=$(grep "\"request\":\"$id\"" "$REGISTRY_DIR/log")
    jq -e '.method == "GET" and .path == "/v2/logged/app/manifests/v1" and .status == 404 and .subject == "admin"
        and .address == "127.0.0.1" and .route == "manifest" and .bytesOut > 0 and .bytesIn == 0
        and .durationUs > 0 and .level == "info" and .completed == 1' <<< "$line"
    [[ $(registry_curl -o /dev/null -D - /v2/ | grep -ic '^x-request-id: ') == 1 ]]
    [[ $(registry_curl -o /dev/null -D - -H 'X-Request-Id: forged' /v2/ | grep -c forged) == 0 ]]
}

@test "every log line is JSON, and none has a secret" {
    registry_curl -o /dev/null -H 'Authorization: Bearer secret-of-a-token' '/v2/?access_token=query-secret'
    registry_curl -g -o /dev/null -H 'Cookie: cookie-secret' $'/v2/%22%0a%1b[31m/tags/list'
    registry_curl -o /dev/null -u admin:wrong-secret /v2/
    registry_curl -o /dev/null -X POST -d 'password=body-secret' '/auth/token'
    # The signing service shares the stream.
    jq -es 'all(.time and .level and .program and .message)' "$REGISTRY_DIR/log" > /dev/null
    for secret in secret-of-a-token query-secret cookie-secret wrong-secret body-secret "$REGISTRY_PASSWORD" \
        "$(printf 'admin:%s' "$REGISTRY_PASSWORD" | base64 -w 0)" "$(printf 'admin:wrong-secret' | base64 -w 0)"; do
        run ! grep -qF -- "$secret" "$REGISTRY_DIR/log"
    done
    run ! grep -qi 'authorization\|bearer\|basic ' "$REGISTRY_DIR/log"
}

# confined PID USER: every thread of it has given everything up.
confined() {
    local status uid
    uid=$(id -u "$2")
    [[ -n $(ls "/proc/$1/task") ]]
    for status in /proc/"$1"/task/*/status; do
        grep -q '^NoNewPrivs:.1$' "$status"
        grep -q '^Seccomp:.2$' "$status"
        grep -q "^Uid:.$uid.$uid.$uid.$uid\$" "$status"
        if [[ $uid != 0 ]]; then
            grep -q '^CapEff:.0*$' "$status"
            grep -q '^CapPrm:.0*$' "$status"
            grep -q '^Groups:.[0-9]* *$' "$status"
        fi
    done
}

# public_registry: like `own`, in a folder that other accounts can reach.
public_registry() {
    PUBLIC=$(mktemp -d /tmp/bulla-ops.XXXXXX)
    chmod 755 "$PUBLIC"
    OWN=$PUBLIC/r
    registry_init "$OWN"
}

@test "every thread is confined, as root too" {
    registry_curl -o /dev/null /v2/
    exec 6<> "/dev/tcp/127.0.0.1/$REGISTRY_PORT" # a connection's thread
    sleep 0.2
    confined "$REGISTRY_PID" "$(id -un)"
    exec 6>&-
}

@test "a server that never was root is not dumpable" {
    [[ $EUID == 0 ]] || skip "needs root to change accounts"
    public_registry
    mkdir "$PUBLIC/bin"
    cp "$(command -v bulla-registry)" "$(command -v bulla-signer)" "$PUBLIC/bin/" # where anybody may start them
    chown -R daemon "$OWN"
    setpriv --reuid daemon --regid daemon --clear-groups "$PUBLIC/bin/bulla-registry" serve \
        --config "$OWN/registry.yaml" > "$OWN/out" 2> "$OWN/log" 3>&- &
    echo $! > "$OWN/pid"
    # Of a process that is not dumpable, /proc belongs to root; of others, to their account.
    setpriv --reuid daemon --regid daemon --clear-groups sleep 1 3>&- &
    sleep 0.5
    [[ $(stat -c %U "/proc/$!/environ") == daemon ]]
    for _ in $(seq 100); do grep -q '^listening' "$OWN/out" && break; sleep 0.1; done
    [[ $(stat -c %U "/proc/$(< "$OWN/pid")/environ") == root ]]
    confined "$(< "$OWN/pid")" daemon
}

@test "registry and signer run as two accounts, and neither reads the other's files" {
    [[ $EUID == 0 ]] || skip "needs root to change accounts"
    public_registry
    sed -i 's/^#user: .*/user: daemon/; s/^  #user: .*/  user: nobody/' "$OWN/registry.yaml"
    chown -R daemon "$OWN/data" "$OWN/tls"
    run bulla-registry config check --config "$OWN/registry.yaml"
    [[ $status == 0 && $output != *"development set-up"* && $output != *"needs a restart"* ]]
    registry_start "$OWN"
    signer=$(tr -d ' ' < "/proc/$REGISTRY_PID/task/$REGISTRY_PID/children")
    registry_curl -o /dev/null /v2/
    confined "$REGISTRY_PID" daemon
    confined "$signer" nobody
    [[ $(stat -c '%U %a' "$OWN/signer") == 'nobody 700' ]]
    [[ $(stat -c '%U %a' "$OWN/signer/passphrase") == 'root 600' ]]
    run ! setpriv --reuid daemon --clear-groups ls "$OWN/signer"
    run ! setpriv --reuid nobody --clear-groups ls "$OWN/data"
    # The link between them works, and pushed files are the registry's.
    printf x > x
    [[ $(registry_status /v2/two/app/_trust/tuf/snapshot.key) == 200 ]]
    push_blob two/app x
    [[ -z $(find "$OWN/data" ! -user daemon) ]]
    OWN=$OWN certificate second
    install_pair second
    chown daemon "$OWN"/tls/server.*
    kill -HUP "$REGISTRY_PID"
    until_served second
}

@test "a key that the service's account cannot read: said at once, and the old one stays" {
    [[ $EUID == 0 ]] || skip "needs root to change accounts"
    public_registry
    sed -i 's/^#user: .*/user: daemon/' "$OWN/registry.yaml"
    chown -R daemon "$OWN/data"
    run bulla-registry config check --config "$OWN/registry.yaml"
    [[ $status == 0 && $output == *"user 'daemon' cannot read"*"needs a restart"* ]]
    registry_start "$OWN"
    grep -q 'cannot be read a second time.*needs a restart' "$OWN/log"
    before=$(served_name)
    certificate second
    install_pair second
    chmod 600 "$OWN/tls/server.key"
    until_logged 'the one before stays'
    [[ $(served_name) == "$before" ]]
    [[ $(registry_status /v2/) == 200 ]]
}

@test "secrets in the data folder are refused, by the check and at the start" {
    registry_init "$BATS_TEST_TMPDIR/r"
    cp r/registry.yaml good.yaml
    refused() { # SED WORD
        sed "$1" good.yaml > r/registry.yaml
        run bulla-registry config check --config r/registry.yaml
        [[ $status == 1 && $output == *"$2"*"lies in dataDir"* ]]
        run timeout 20 bulla-registry serve --config r/registry.yaml
        [[ $status == 1 && $output == *"$2"*"lies in dataDir"* ]]
    }
    refused 's/^dataDir: .*/dataDir: ./' tls.key
    refused 's/^  dataDir: .*/  dataDir: data\/signer/' signer.dataDir
    refused 's/^  passphraseFile: .*/  passphraseFile: data\/p/' signer.passphraseFile
    refused 's/^  key: .*/  key: data\/..\/data\/k/' tls.key
    ln -s "$PWD/r/data" r/alias
    refused 's/^  key: .*/  key: alias\/k/' tls.key
    cp good.yaml r/registry.yaml
    run bulla-registry config check --config r/registry.yaml
    [[ $status == 0 ]]
}

@test "the metrics socket: a stale one is replaced, another's is not, a file is not removed" {
    own '$a metrics:\n  socket: run/m.sock'
    registry_kill
    [[ -S $OWN/run/m.sock ]]
    registry_start "$OWN"
    REGISTRY_DIR=$OWN
    curl -sS -f --unix-socket "$OWN/run/m.sock" http://localhost/healthz
    registry_stop
    rm "$OWN/run/m.sock"
    echo precious > "$OWN/run/m.sock"
    run timeout 20 bulla-registry serve --config "$OWN/registry.yaml"
    [[ $status != 0 && $output == *"no socket"* ]]
    [[ $(< "$OWN/run/m.sock") == precious ]]
}
