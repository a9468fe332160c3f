#!/usr/bin/env bats
# Bytes that changed on the disk are never served as what their digest promises.
bats_require_minimum_version 1.5.0
load ../support/registry

setup() {
    registry_start "$BATS_TEST_TMPDIR/r"
    manifest=$(push_image acme/app v1)
    file=$REGISTRY_DIR/data/blobs/sha256/${manifest:7:2}/${manifest:7}
}

teardown() {
    registry_stop
}

damage() {
    chmod 600 "$file"
    printf 'X' | dd of="$file" bs=1 seek=20 conv=notrunc status=none
}

@test "a damaged manifest is an error of the server, told in the log, and a push heals it" {
    cp "$file" "$BATS_TEST_TMPDIR/right"
    registry_stop # and with it what it remembers
    damage
    registry_start "$REGISTRY_DIR"
    [[ $(registry_status /v2/acme/app/manifests/v1) == 500 ]]
    [[ $(registry_status "/v2/acme/app/manifests/$manifest") == 500 ]]
    run ! grep -q X <(registry_curl /v2/acme/app/manifests/v1)
    grep -q "stored blob $manifest has other bytes" "$REGISTRY_DIR/log"
    [[ $(registry_status -X PUT -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' \
        --data-binary "@$BATS_TEST_TMPDIR/right" /v2/acme/app/manifests/v1) == 201 ]]
    cmp <(registry_curl /v2/acme/app/manifests/v1) "$BATS_TEST_TMPDIR/right"
}

@test "what was verified before is served from memory while the file is damaged" {
    registry_curl -o "$BATS_TEST_TMPDIR/before" /v2/acme/app/manifests/v1
    damage
    cmp <(registry_curl /v2/acme/app/manifests/v1) "$BATS_TEST_TMPDIR/before"
}

@test "a manifest that grew or shrank is not served" {
    local size
    size=$(stat -c %s "$file")
    chmod 600 "$file"
    for ((new = size - 1; new <= size + 1; new += 2)); do
        registry_stop
        truncate -s "$new" "$file"
        registry_start "$REGISTRY_DIR"
        [[ $(registry_status /v2/acme/app/manifests/v1) == 500 ]]
    done
}
