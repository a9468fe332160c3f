# HTTP as bad clients speak it: framing, floods, slowness, bombs. Each ends in a clear 4xx or a closed connection, costs
# little, and others are served meanwhile.
bats_require_minimum_version 1.5.0

setup_file() {
    load ../support/registry
    registry_init "$BATS_FILE_TMPDIR/r"
    sed -i 's/^  idleTimeout: .*/  idleTimeout: 3s/; s/^  minimumRate: .*/  minimumRate: 4m/
        s/^  connectionsPerAddress: .*/  connectionsPerAddress: 60/; s/^  bodyMemory: .*/  bodyMemory: 32m/
        s/^  blobSize: .*/  blobSize: 16m/' "$BATS_FILE_TMPDIR/r/registry.yaml"
    registry_start "$BATS_FILE_TMPDIR/r"
    for _ in 1 2 3; do
        registry_status /v2/ > /dev/null
        sleep 0.3 # all that starts by itself has
    done
    THREADS=$(awk '/^Threads/ { print $2 }' "/proc/$REGISTRY_PID/status")
    export THREADS
}

teardown_file() {
    load ../support/registry
    registry_stop
}

setup() {
    load ../support/registry
    cd "$BATS_TEST_TMPDIR" || return
    BASIC="Basic $(printf 'admin:%s' "$REGISTRY_PASSWORD" | base64 -w 0)"
    AUTH="Authorization: $BASIC"
    CHILDREN=()
}

teardown() {
    local pid
    for pid in "${CHILDREN[@]}"; do
        kill "$pid" 2> /dev/null || true
        wait "$pid" 2> /dev/null || true
    done
    for _ in $(seq 100); do
        [[ $(registry_status /v2/) == 200 ]] && return
        sleep 0.1
    done
    return 1
}

hostile() {
    /usr/bin/python3 "$BATS_TEST_DIRNAME/../support/hostile.py" "$REGISTRY_HOST" "$@"
}

# raw FORMAT: sends what printf makes of it, prints the answers.
raw() {
    # shellcheck disable=SC2059
    printf "$@" | hostile send
}

not_served() {
    ! grep -q "$1" "$REGISTRY_DIR/log"
}

new_upload() { # prints its path
    registry_curl -D - -o /dev/null -X POST /v2/h/app/blobs/uploads/ | sed -n 's/^Location: \(.*\)\r$/\1/p'
}

# chunked PATH BODY: a PATCH with that chunked body and a request behind it that must stay the second one.
chunked() {
    raw "PATCH $1 HTTP/1.1\r\nHost: x\r\n$AUTH\r\nTransfer-Encoding: chunked\r\n\r\n$2GET /v2/behind/$3/tags/list HTTP/1.1\r\nHost: x\r\n$AUTH\r\n\r\n"
}

upload_length() {
    registry_curl -o /dev/null -D - "$1" | sed -n 's/^Range: 0-\(.*\)\r$/\1/p'
}

@test "chunks: extensions and trailers are read over, the request behind is the second one" {
    path=$(new_upload)
    run chunked "$path" '5;name=value\r\nhello\r\n5;x="a;b"\r\nworld\r\n0;last\r\nTrailer: x\r\n\r\n' good
    [[ $(grep -c '^HTTP/1.1 ' <<< "$output") == 2 && $output == *" 202 "* ]]
    [[ $(upload_length "$path") == 9 ]]
    grep -q 'GET /v2/behind/good/tags/list 404' "$REGISTRY_DIR/log"
}

@test "chunks: sizes that are none end the connection, and nothing behind them is served" {
    n=0
    for size in -5 0x5 +5 '5 5' ffffffffffffffffffff 10000000000000000 '' g ' 5'; do
        path=$(new_upload)
        run chunked "$path" "$size\r\nhello\r\n0\r\n\r\n" "bad$((n += 1))"
        [[ $output != *" 202 "* || $size == ' 5' ]] || { echo "'$size': $output"; return 1; }
    done
    not_served '/v2/behind/bad[1-8]/'
}

@test "pipelined requests are answered one after the other" {
    for i in $(seq 100); do
        printf 'GET /v2/pipe/r%d/tags/list HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n' "$i" "$AUTH"
    done > requests
    hostile send < requests > answers
    [[ $(grep -c '^HTTP/1.1 404' answers) == 100 ]]
    cmp <(sed -n 's/.*\(pipe.r[0-9]*\).tags.list 404.*/\1/p' "$REGISTRY_DIR/log") <(seq -f 'pipe/r%g' 100)
}

@test "thousands of headers, and one huge one, are refused" {
    {
        printf 'GET /v2/many/headers/tags/list HTTP/1.1\r\nHost: x\r\n%s\r\n' "$AUTH"
        for i in $(seq 5000); do printf 'X-%d: y\r\n' "$i"; done
        printf '\r\n'
    } > many
    run hostile send < many
    [[ $output == *"HTTP/1.1 4"* || -z $output ]]
    {
        printf 'GET /v2/huge/header/tags/list HTTP/1.1\r\nHost: x\r\nX: '
        head -c 2000000 /dev/zero | tr '\0' a
        printf '\r\n\r\n'
    } > huge
    run hostile send < huge
    [[ $output == *"HTTP/1.1 4"* || -z $output ]]
    not_served 'many/headers\|huge/header'
    # A few hundred are odd, not wrong.
    {
        printf 'GET /v2/ HTTP/1.1\r\nHost: x\r\n%s\r\n' "$AUTH"
        for i in $(seq 200); do printf 'X-%d: y\r\n' "$i"; done
        printf '\r\n'
    } > some
    run hostile send < some
    [[ $output == *"HTTP/1.1 200"* ]]
}

@test "what is not TLS, or not HTTP, ends the connection" {
    before=$SECONDS
    printf 'GET / HTTP/1.1\r\nHost: x\r\n\r\n' | timeout 10 curl -sS --max-time 8 "http://$REGISTRY_HOST/" > out 2>&1 || true
    head -c 5000 /dev/urandom | timeout 10 bash -c "cat > /dev/tcp/127.0.0.1/$REGISTRY_PORT" || true
    run raw '\000\001\002\r\n\r\n'
    [[ $output != *"HTTP/1.1 200"* ]]
    run raw 'GET /v2/ HTTP/9.9\r\nHost: x\r\n\r\n'
    [[ $output != *"HTTP/1.1 200"* ]]
    run raw 'GET\r\n\r\n'
    [[ $output != *"HTTP/1.1 200"* ]]
    [[ $((SECONDS - before)) -le 20 ]]
}

cpu() {
    awk '{print $14 + $15}' "/proc/$REGISTRY_PID/stat"
}

@test "half-open handshakes burn no processor, end in time, and others are served" {
    before=$(cpu)
    hostile half-open 50 > ended &
    CHILDREN+=($!)
    for _ in $(seq 50); do grep -q open ended && break; sleep 0.1; done
    middle=$(cpu)
    sleep 2
    after=$(cpu)
    # Of 200 ticks that one burning core would have.
    [[ $((after - middle)) -lt 20 ]] || { echo "$before $middle $after"; return 1; }
    [[ $(curl -sS --interface 127.0.0.2 -o /dev/null -w '%{http_code}' --cacert "$REGISTRY_CA" "https://$REGISTRY_HOST/healthz") == 200 ]]
    wait "${CHILDREN[0]}"
    [[ $(tail -n 1 ended) == 50 ]]
}

@test "a flood of connections from one address does not keep out another" {
    mkfifo in
    hostile idle 200 < in > opened &
    CHILDREN+=($!)
    exec 6> in
    for _ in $(seq 100); do [[ -s opened ]] && break; sleep 0.1; done
    [[ $(< opened) -le 60 && $(< opened) -gt 30 ]]
    for _ in 1 2 3; do
        [[ $(curl -sS --interface 127.0.0.2 -o /dev/null -w '%{http_code}' --cacert "$REGISTRY_CA" "https://$REGISTRY_HOST/healthz") == 200 ]]
    done
    exec 6>&-
}

@test "a body slower than the minimum rate is ended" {
    run hostile trickle /v2/slow/app/manifests/v1 4000 50 "$BASIC"
    [[ $output -ge 2 && $output -le 9 ]]
    grep -q 'peer is too slow' "$REGISTRY_DIR/log"
}

@test "a reader slower than the minimum rate is ended" {
    head -c 12000000 /dev/urandom > blob
    digest=$(push_blob slow/app blob)
    slow() { grep 'peer is too slow' "$REGISTRY_DIR/log" | wc -l; }
    before=$(slow)
    hostile deaf "/v2/slow/app/blobs/$digest" "$BASIC" &
    CHILDREN+=($!)
    start=$SECONDS
    for _ in $(seq 150); do [[ $(slow) -gt $before ]] && break; sleep 0.1; done
    [[ $((SECONDS - start)) -ge 4 && $((SECONDS - start)) -le 12 ]]
}

@test "bodies over the limit: told before they are sent, or cut off" {
    type='Content-Type: application/vnd.oci.image.manifest.v1+json'
    head -c 4300000 /dev/zero > big
    [[ $(registry_status -X PUT -H "$type" --data-binary @big /v2/big/app/manifests/v1) == 413 ]]
    [[ $(registry_status -X PUT -H "$type" -H 'Transfer-Encoding: chunked' --data-binary @big /v2/big/app/manifests/v1) == 413 ]]
    # An endless one.
    run hostile send < <(
        printf 'PUT /v2/big/app/manifests/v1 HTTP/1.1\r\nHost: x\r\n%s\r\n%s\r\nTransfer-Encoding: chunked\r\n\r\n' "$AUTH" "$type"
        for _ in $(seq 64); do printf '100000\r\n'; head -c 1048576 /dev/zero; printf '\r\n'; done
    )
    [[ $output != *" 201 "* ]]
    head -c 17000000 /dev/zero > blob
    path=$(new_upload)
    [[ $(registry_status -X PATCH -T blob "$path") == 413 ]]
    [[ $(registry_status -X PATCH -H 'Transfer-Encoding: chunked' -T blob "$path") == 4[01][03] ]] || true
    [[ $(find "$REGISTRY_DIR/data" -size +16500k | wc -l) == 0 ]]
}

@test "range bombs" {
    head -c 100000 /dev/urandom > blob
    digest=$(push_blob range/app blob)
    bomb=bytes=$(printf '0-,%.0s' $(seq 2000))0-
    for range in "$bomb" 'bytes=0-1,5-6' 'bytes=-' 'bytes=9-1' 'bytes=100000-' 'bytes=18446744073709551615-'; do
        [[ $(registry_status -H "Range: $range" "/v2/range/app/blobs/$digest") == 416 ]]
    done
    [[ $(registry_curl -H 'Range: bytes=-1' "/v2/range/app/blobs/$digest" | wc -c) == 1 ]]
}

@test "bodies in memory have one bound: more is told to come again, and others go on" {
    mkfifo in
    hostile hold 8 4194304 /v2/held/app/manifests/v1 "$BASIC" < in > held &
    CHILDREN+=($!)
    exec 6> in
    for _ in $(seq 100); do [[ -s held ]] && break; sleep 0.1; done
    run registry_curl -i -X PUT -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' --data-binary @<(head -c 4000000 /dev/zero) \
        /v2/held/app/manifests/v2
    [[ $output == *"HTTP/1.1 503"* && $output == *"Retry-After: "* && $output == *"try again later"* ]]
    run registry_curl -i -F "files=@/dev/null;filename=root" /v2/held/app/_trust/tuf/
    [[ $output == *"HTTP/1.1 503"* && $output == *"Retry-After: "* ]]
    # Blobs go to the disk, not into memory.
    head -c 9000000 /dev/urandom > blob
    push_blob held/app blob
    exec 6>&-
    wait "${CHILDREN[0]}"
    CHILDREN=()
    for _ in $(seq 50); do
        push_image held/app v3 && return
        sleep 0.1
    done
    return 1
}

@test "after all of this the process is small and has as few threads as before" {
    for _ in $(seq 60); do
        threads=$(awk '/^Threads/ { print $2 }' "/proc/$REGISTRY_PID/status")
        [[ $threads -le $THREADS ]] && break
        sleep 0.2
    done
    [[ $threads -le $THREADS ]]
    # Sanitizers keep what was freed.
    ldd "$(command -v bulla-registry)" | grep -q libasan || [[ $(awk '/^VmRSS/ { print $2 }' "/proc/$REGISTRY_PID/status") -lt 40000 ]]
}
