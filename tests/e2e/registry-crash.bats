# What survives kill -9 and a lost connection: everything acknowledged, and nothing else.

setup() {
    load ../support/registry
    cd "$BATS_TEST_TMPDIR" || return
    registry_start "$BATS_TEST_TMPDIR/r"
}

teardown() {
    load ../support/registry
    registry_stop
}

location() {
    sed -n 's/^location: \(.*\)\r$/\1/Ip'
}

@test "an acknowledged blob, manifest and tag are there after kill -9" {
    head -c 2000000 /dev/urandom > f
    digest=$(push_blob k/app f)
    manifest=$(push_image k/app v1)
    registry_kill
    registry_start "$BATS_TEST_TMPDIR/r"
    registry_curl "/v2/k/app/blobs/$digest" | cmp - f
    [[ $(digest_of <(registry_curl /v2/k/app/manifests/v1)) == "$manifest" ]]
}

@test "kill -9 in the middle of an upload leaves nothing visible, and the session goes on" {
    head -c 3000000 /dev/urandom > f
    url=$(registry_curl -o /dev/null -D - -X POST /v2/k/app/blobs/uploads/ | location)
    [[ $(registry_status -X PATCH --data-binary @<(head -c 1000000 f) "$url") == 202 ]]
    tail -c +1000001 f > rest
    registry_curl -o /dev/null --limit-rate 1M -X PATCH --data-binary @rest "$url" 2> /dev/null &
    sleep 0.7
    registry_kill
    wait
    registry_start "$BATS_TEST_TMPDIR/r"
    [[ $(registry_status "/v2/k/app/blobs/$(digest_of f)") == 404 ]]
    [[ -z $(find r/data/blobs -type f) ]]
    have=$(registry_curl -o /dev/null -D - "$url" | sed -n 's/^range: 0-\(.*\)\r$/\1/Ip')
    [[ $have -ge 999999 ]]
    tail -c +$((have + 2)) f > rest
    [[ $(registry_status -X PUT -H "Content-Range: $((have + 1))-2999999" --data-binary @rest \
        "$url?digest=$(digest_of f)") == 201 ]]
    registry_curl "/v2/k/app/blobs/$(digest_of f)" | cmp - f
}

@test "kill -9 while many push: every 201 holds, every blob has its digest" {
    for i in $(seq 24); do head -c 200000 /dev/urandom > "f$i"; done
    for i in $(seq 24); do
        [[ $(registry_status -X POST --data-binary "@f$i" \
            "/v2/k/app/blobs/uploads/?digest=$(digest_of "f$i")" 2> /dev/null) == 201 ]] && echo "f$i" >> done
    done &
    while [[ ! -s done || $(wc -l < done) -lt 8 ]]; do sleep 0.02; done
    registry_kill
    wait
    registry_start "$BATS_TEST_TMPDIR/r"
    [[ $(wc -l < done) -lt 24 ]]
    while read -r name; do
        registry_curl "/v2/k/app/blobs/$(digest_of "$name")" | cmp - "$name"
    done < done
    while read -r file; do
        [[ $(sha256sum < "$file") == "${file##*/}  -" ]]
    done < <(find r/data/blobs -type f)
}

@test "a lost connection leaves nothing visible and no monolithic upload behind" {
    head -c 3000000 /dev/urandom > f
    run timeout 1 curl -sS --cacert "$REGISTRY_CA" -u "admin:$REGISTRY_PASSWORD" --limit-rate 500k \
        -X POST --data-binary @f "https://$REGISTRY_HOST/v2/k/app/blobs/uploads/?digest=$(digest_of f)"
    [[ $status == 124 ]]
    for _ in $(seq 50); do [[ -z $(ls r/data/uploads) ]] && break; sleep 0.1; done
    [[ -z $(ls r/data/uploads) ]]
    [[ $(registry_status "/v2/k/app/blobs/$(digest_of f)") == 404 ]]
    grep -q 'broken off' r/log
}

@test "what a killed garbage collector had moved aside is missing to no scrub or backup before the next start" {
    aside() { mv "r/data/blobs/sha256/${hex:0:2}/$hex" "r/data/aside/sha256/${hex:0:2}/"; }
    head -c 1000 /dev/urandom > f
    digest=$(push_blob k/app f)
    hex=${digest#sha256:}
    registry_kill
    mkdir -p "r/data/aside/sha256/${hex:0:2}"
    aside
    bulla-registry backup copy --config r/registry.yaml
    cmp f "copy/blobs/sha256/${hex:0:2}/$hex"
    aside
    bulla-registry scrub --config r/registry.yaml
    cmp f "r/data/blobs/sha256/${hex:0:2}/$hex"
    rm "r/data/blobs/sha256/${hex:0:2}/$hex"
    run bulla-registry scrub --config r/registry.yaml
    [[ $status == 1 && $output == *"$digest is missing"* ]]
    registry_start "$BATS_TEST_TMPDIR/r"
}

@test "SIGTERM lets a running request end" {
    head -c 2000000 /dev/urandom > f
    registry_curl -o /dev/null -w '%{http_code}' --limit-rate 1M -X POST --data-binary @f \
        "/v2/k/app/blobs/uploads/?digest=$(digest_of f)" > code &
    sleep 0.7
    registry_stop
    wait
    [[ $REGISTRY_STATUS == 0 && $(< code) == 201 ]]
}

@test "a second registry on the same port says so" {
    cp -r r second
    sed -i "s/^listen: .*/listen: 127.0.0.1:$REGISTRY_PORT/; s|^  socket: .*|  socket: run/second.sock|" second/registry.yaml
    run bulla-registry serve --config second/registry.yaml
    [[ $status == 3 && $output == *"Address already in use"* ]]
}

@test "a second server on one data folder is refused, and a lock left by kill -9 is not in the way" {
    run bulla-registry serve --config r/registry.yaml
    [[ $status == 3 && $output == *"another bulla-registry serves '$PWD/r/data': stop that one first"* ]]
    [[ $output != *"listening on"* && $(registry_status /v2/) == 200 ]]
    registry_kill
    [[ -e r/data/serve.lock ]]
    registry_start "$BATS_TEST_TMPDIR/r"
    [[ $(registry_status /v2/) == 200 ]]
}

@test "it does not start without its certificate, its signing service's passphrase or its data" {
    registry_stop
    mv r/tls/server.crt r/tls/away
    run bulla-registry serve --config r/registry.yaml
    [[ $status == 3 && $output == *server.crt* ]]
    cp r/ca.crt r/tls/server.crt
    run bulla-registry serve --config r/registry.yaml
    [[ $status == 3 && $output == *"certificate and key"* ]]
    mv r/tls/away r/tls/server.crt
    mv r/signer/passphrase r/signer/away
    run bulla-registry serve --config r/registry.yaml
    [[ $status == 3 && $output == *"signing service"* ]]
    # Found out while it serves already; nothing would get better by going on.
    echo wrong > r/signer/passphrase
    chmod 600 r/signer/passphrase
    run timeout 60 bulla-registry serve --config r/registry.yaml
    [[ $status == 3 && $output == *"signing service ended at once"* ]]
    mv r/signer/away r/signer/passphrase
    echo broken > r/data/index.db
    run bulla-registry serve --config r/registry.yaml
    [[ $status != 0 && $output == *index* ]]
}
