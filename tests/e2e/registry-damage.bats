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

# It counts as missing, so that clients push it again.
refused() {
    run registry_curl -w '\n%{http_code}' "/v2/acme/app/manifests/$1"
    [[ $status == 0 && $output == *"damaged or lost: push it again"*404 && $output != *schemaVersion* ]]
}

@test "a damaged manifest counts as missing, is told in the log, and a push heals it" {
    cp "$file" "$BATS_TEST_TMPDIR/right"
    registry_stop # and with it what it remembers
    damage
    registry_start "$REGISTRY_DIR"
    refused v1
    refused "$manifest"
    grep -q "$manifest.*other\|damaged.*$manifest\|$manifest.*damaged" "$REGISTRY_DIR/log"
    [[ -e $REGISTRY_DIR/data/quarantine/sha256/${manifest:7:2}/${manifest:7} ]]
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
    local change
    cp "$file" "$BATS_TEST_TMPDIR/right"
    for change in -1 +1; do
        registry_stop
        chmod 600 "$file"
        truncate -s "$change" "$file"
        registry_start "$REGISTRY_DIR"
        refused v1
        [[ $(registry_status -X PUT -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' \
            --data-binary "@$BATS_TEST_TMPDIR/right" /v2/acme/app/manifests/v1) == 201 ]]
    done
}
