# Damaged, missing and unreadable blobs: found, never served, healed by a push.

bats_require_minimum_version 1.5.0

setup() {
    load ../support/registry
    cd "$BATS_TEST_TMPDIR" || return
    registry_start "$BATS_TEST_TMPDIR/r"
    head -c 100000 /dev/urandom > f
}

teardown() {
    load ../support/registry
    registry_stop
}

scrub() {
    bulla-registry scrub --config "$REGISTRY_DIR/registry.yaml" "$@"
}

# file_of DIGEST
file_of() {
    local hex=${1#sha256:}
    echo "$REGISTRY_DIR/data/blobs/sha256/${hex:0:2}/$hex"
}

# damage DIGEST: another byte in the middle.
damage() {
    local file size
    file=$(file_of "$1")
    chmod u+w "$file"
    size=$(stat -c %s "$file")
    printf '\377\0' | dd of="$file" bs=1 seek=$((size / 2)) conv=notrunc status=none
}

@test "a damaged blob is quarantined, named with its tags, not served, and healed by a push" {
    run -0 scrub
    push_image s/app v1 "$(base64 -w0 f)" > /dev/null
    layer=$(registry_curl /v2/s/app/manifests/v1 | jq -r '.layers[0].digest')
    registry_curl "/v2/s/app/blobs/$layer" > layer
    damage "$layer"
    run -1 scrub
    [[ $output == *"damaged $layer"* && $output == *"needed by s/app:v1"* ]]
    [[ ! -e $(file_of "$layer") && -n $(find "$REGISTRY_DIR/data" -path '*quarantine*' -name "*${layer#sha256:}*") ]]
    run registry_curl -w '\n%{http_code}' "/v2/s/app/blobs/$layer"
    [[ ${lines[-1]} == 404 && $output == *BLOB_UNKNOWN* && $output == *"push it again"* ]]
    [[ $(registry_status -I "/v2/s/app/blobs/$layer") == 404 ]]
    # Neither mounted nor named by a new manifest.
    [[ $(registry_status -X POST "/v2/s/other/blobs/uploads/?mount=$layer&from=s/app") == 202 ]]
    registry_curl /v2/s/app/manifests/v1 | jq -c '.annotations = {"a": "b"}' > other
    [[ $(registry_status -X PUT -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' \
        --data-binary @other /v2/s/app/manifests/v2) == 4?? ]]
    run -1 scrub --json
    jq -e --arg d "$layer" '.findings[0].digest == $d and .findings[0].neededBy == [{"repository":"s/app","tag":"v1"}]' \
        <<< "${output%bulla-registry:*}"
    [[ $(push_blob s/app layer) == "$layer" ]]
    registry_curl "/v2/s/app/blobs/$layer" | cmp - layer
    run -0 scrub
    bulla-registry audit export --log changes --config r/registry.yaml | grep -c '"event":"blob.damaged"' | grep -qx 1
    bulla-registry audit verify --config r/registry.yaml
}

@test "a missing file is found, and healed by a push" {
    digest=$(push_blob s/app f)
    rm -f "$(file_of "$digest")"
    run -1 scrub
    [[ $output == *"missing $digest"* && $output == *"needed by s/app"* ]]
    [[ $(registry_status "/v2/s/app/blobs/$digest") == 404 ]]
    [[ $(push_blob s/app f) == "$digest" ]]
    run -0 scrub
}

@test "a damaged manifest is never served, scrubbed or not" {
    digest=$(push_image s/app v1)
    cat "$(file_of "$digest")" > manifest # not through the server, which remembers good bytes
    damage "$digest"
    run registry_curl -w '\n%{http_code}' /v2/s/app/manifests/v1
    [[ ${lines[-1]} == 404 && $output == *MANIFEST_UNKNOWN* && $output == *"push it again"* ]]
    [[ ! -e $(file_of "$digest") ]]
    [[ $(registry_status -X PUT -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' \
        --data-binary @manifest /v2/s/app/manifests/v1) == 201 ]]
    registry_curl /v2/s/app/manifests/v1 | cmp - manifest
    run -0 scrub
}

@test "what cannot be read is not called damaged" {
    digest=$(push_blob s/app f)
    file=$(file_of "$digest")
    rm -f "$file"
    mkdir "$file"
    run -3 scrub
    [[ $output == *"could not be read"* && $output != *quarantine* ]]
    rmdir "$file"
    [[ $(push_blob s/app f) == "$digest" ]]
    run -0 scrub
}

@test "an interrupted round goes on where it was; two at once are refused" {
    for i in $(seq 40); do printf '%01000d' "$i" > small && push_blob s/app small > /dev/null; done
    bulla-registry scrub --config r/registry.yaml --rate 10000 > /dev/null 2>&1 3>&- &
    pid=$!
    sleep 2.5
    run -3 scrub
    [[ $output == *"another scrub"* ]]
    kill -9 "$pid"
    wait "$pid" || true
    run -0 scrub --json
    n=$(jq .blobs <<< "$output")
    [[ $n -gt 0 && $n -lt 40 ]]
    run -0 scrub --json
    [[ $(jq .blobs <<< "$output") == 40 ]]
}

@test "the server scrubs by itself, and says so in log, numbers and audit" {
    registry_stop
    sed -i '/^scrub:/,/rate:/s/interval: .*/interval: 1s/' r/registry.yaml
    registry_start "$BATS_TEST_TMPDIR/r"
    digest=$(push_blob s/app f)
    damage "$digest"
    for _ in $(seq 60); do [[ -e $(file_of "$digest") ]] || break; sleep 0.2; done
    [[ ! -e $(file_of "$digest") ]]
    for _ in $(seq 20); do grep -q "blob $digest is damaged" r/log && break; sleep 0.1; done
    grep -q "blob $digest is damaged" r/log
    [[ $(registry_status "/v2/s/app/blobs/$digest") == 404 ]]
    registry_stop
    bulla-registry audit export --log changes --config r/registry.yaml | grep -q "\"object\":\"$digest\",\"detail\":\"its bytes"
}

@test "usage" {
    run -2 scrub --rate fast
    run -0 bulla-registry scrub --help
    [[ $output == *"exit status"* ]]
    run -3 bulla-registry scrub --config missing.yaml
}
