#!/usr/bin/env bats
# Images between this machine and a real registry over TLS: every source, nothing sent twice, and what is said
# where the registry is missing, untrusted, or refuses.
load ../support/bulla

setup_file() {
    umask 022
    bulla_environment "$BATS_FILE_TMPDIR/home"
    bulla_registry_start
    bulla login "$REGISTRY_HOST" --username "$REGISTRY_USER" --password-stdin <<< "$REGISTRY_PASSWORD" > /dev/null
    make_image app:v1 one > /dev/null
    # A folder with the CA alone: skopeo takes a key beside it for a client certificate's.
    mkdir "$BATS_FILE_TMPDIR/certs"
    cp "$REGISTRY_CA" "$BATS_FILE_TMPDIR/certs/"
}
teardown_file() { bulla_registry_stop; }
setup() {
    REGISTRY_CA=$REGISTRY_DIR/ca.crt
    bulla_environment "$BATS_FILE_TMPDIR/home"
    DEST=$REGISTRY_HOST/acme/t$BATS_TEST_NUMBER
}

# inspect REF: the digest the registry has for it, asked by another program.
inspect() {
    local found
    found=$(skopeo inspect --authfile "$REGISTRY_AUTH_FILE" --cert-dir "$BATS_FILE_TMPDIR/certs" "docker://$1") &&
        jq -r .Digest <<< "$found"
}

fetch() { # REF DIR: by another program
    skopeo copy -q --authfile "$REGISTRY_AUTH_FILE" --src-cert-dir "$BATS_FILE_TMPDIR/certs" "docker://$1" "oci:$2:x"
}

@test "the store, a layout and archives arrive byte for byte" {
    local digest source
    bulla push store:app:v1 "$DEST:store"
    digest=$(inspect "$DEST:store")
    [[ $digest == sha256:* ]]
    fetch "$DEST:store" "$BATS_TEST_TMPDIR/layout"
    skopeo copy -q "oci:$BATS_TEST_TMPDIR/layout:x" "oci-archive:$BATS_TEST_TMPDIR/image.tar:x"
    for source in "oci:$BATS_TEST_TMPDIR/layout:x" "oci-archive:$BATS_TEST_TMPDIR/image.tar:x"; do
        run bulla push "$source" "$DEST:again"
        expect 0
        [[ $(inspect "$DEST:again") == "$digest" ]]
    done
    skopeo copy -q "oci:$BATS_TEST_TMPDIR/layout:x" "docker-archive:$BATS_TEST_TMPDIR/docker.tar:acme/app:x"
    run bulla push "docker-archive:$BATS_TEST_TMPDIR/docker.tar" "$DEST:docker"
    expect 0
    fetch "$DEST:docker" "$BATS_TEST_TMPDIR/back"
}

@test "a second push sends no blob" {
    local before
    bulla push store:app:v1 "$DEST:v1"
    before=$(find "$REGISTRY_DIR/data/blobs" -type f | wc -l)
    run bulla push store:app:v1 "$DEST:v2" --json
    expect 0
    [[ $(find "$REGISTRY_DIR/data/blobs" -type f | wc -l) == "$before" ]]
    local digest
    digest=$(inspect "$DEST:v1")
    [[ $digest == sha256:* && $(inspect "$DEST:v2") == "$digest" ]]
}

@test "a large image arrives whole" {
    mkdir "$BATS_TEST_TMPDIR/root"
    head -c 67108864 /dev/urandom > "$BATS_TEST_TMPDIR/root/data"
    bulla import "$BATS_TEST_TMPDIR/root" large:v1 --compress none > /dev/null
    run bulla push store:large:v1 "$DEST:v1"
    expect 0
    fetch "$DEST:v1" "$BATS_TEST_TMPDIR/back"
    local layer
    for layer in "$BATS_TEST_TMPDIR"/back/blobs/sha256/*; do
        [[ $(sha256sum < "$layer" | cut -d ' ' -f 1) == "${layer##*/}" ]]
    done
}

@test "a damaged local layer is not pushed" {
    make_image damaged:v1 text > /dev/null
    local layer manifest
    manifest=$(bulla images --digests | sed -n 's/.*damaged:v1 .*sha256:\([0-9a-f]\{64\}\).*/\1/p' | head -n 1)
    [[ -n $manifest ]]
    layer=$(jq -r '.layers[0].digest' "$BULLA_HOME/images/blobs/sha256/$manifest")
    chmod u+w "$BULLA_HOME/images/blobs/sha256/${layer#sha256:}"
    flip_byte "$BULLA_HOME/images/blobs/sha256/${layer#sha256:}"
    run bulla push store:damaged:v1 "$DEST:v1"
    expect 1 "do(es)? not have its digest"
    run inspect "$DEST:v1"
    ((status != 0))
}

@test "no CA, no registry, no password: each is said, with what to do" {
    run command bulla push store:app:v1 "$DEST:v1"
    expect 3 "not trusted.*--cacert"
    run command bulla --cacert /nonexistent push store:app:v1 "$DEST:v1"
    expect 3 "nonexistent"
    run bulla push store:app:v1 127.0.0.1:1/acme/app:v1
    expect 3 "127.0.0.1:1 cannot be reached: connection refused"
    REGISTRY_AUTH_FILE=$BATS_TEST_TMPDIR/none run bulla push store:app:v1 "$DEST:v1"
    expect 1 "bulla login $REGISTRY_HOST"
    run bulla login "$REGISTRY_HOST" --username "$REGISTRY_USER" --password-stdin <<< "not-the-password"
    expect 1 "does not accept these credentials"
    [[ $output != *not-the-password* ]]
}

@test "a user without the right to push is refused" {
    registry_user reader
    registry_grant reader 'acme/*' pull
    REGISTRY_AUTH_FILE=$BATS_TEST_TMPDIR/auth.json bulla login "$REGISTRY_HOST" --username reader \
        --password-stdin <<< "reader-password"
    [[ $(stat -c %a "$BATS_TEST_TMPDIR/auth.json") == 600 ]]
    REGISTRY_AUTH_FILE=$BATS_TEST_TMPDIR/auth.json run bulla push store:app:v1 "$DEST:v1"
    expect 1 "denies access.*'reader' may not push in"
    # One who may not even look gets no reason with a HEAD, and is told all the same.
    registry_user stranger
    REGISTRY_AUTH_FILE=$BATS_TEST_TMPDIR/stranger.json bulla login "$REGISTRY_HOST" --username stranger \
        --password-stdin <<< "stranger-password"
    REGISTRY_AUTH_FILE=$BATS_TEST_TMPDIR/stranger.json run bulla push store:app:v1 "$DEST:v1"
    expect 1 "denies access.*'stranger' may not pull in"
}

@test "skopeo reads what login wrote, and login keeps what skopeo wrote" {
    local file=$BATS_TEST_TMPDIR/both.json
    export REGISTRY_AUTH_FILE=$file
    echo '{"auths":{"quay.example/ns":{"auth":"YTpi"}},"credHelpers":{"gcr.example":"x"}}' > "$file"
    bulla login "$REGISTRY_HOST" --username "$REGISTRY_USER" --password-stdin <<< "$REGISTRY_PASSWORD"
    [[ $(jq -c '[.auths["quay.example/ns"].auth, .credHelpers["gcr.example"]]' "$file") == '["YTpi","x"]' ]]
    [[ $(skopeo login --authfile "$file" --get-login "$REGISTRY_HOST") == "$REGISTRY_USER" ]]
    bulla logout "$REGISTRY_HOST"
    [[ $(jq -c '.auths | keys' "$file") == '["quay.example/ns"]' ]]
}

@test "a program that needs no network does not load libcurl" {
    run readelf -d "$(type -P bulla)"
    expect 0 NEEDED
    [[ $output != *libcurl* ]]
    LD_DEBUG=files run command bulla images
    expect 0 libcrypto
    [[ $output != *libcurl* ]]
    LD_DEBUG=files run bulla push store:app:v1 "$DEST:v1"
    expect 0 libcurl
}
