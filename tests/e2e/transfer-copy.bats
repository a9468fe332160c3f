#!/usr/bin/env bats
# bulla copy: images with their proofs between two registries, and what then verifies and runs there.
load ../support/bulla

# A second registry; it sees none of the first one's variables.
start_other() {
    (
        registry_start "$BATS_FILE_TMPDIR/other" || exit 1
        sed -i "s/^listen:.*/listen: \"$REGISTRY_HOST\"/" "$REGISTRY_DIR/registry.yaml"
        echo "$REGISTRY_HOST" > "$BATS_FILE_TMPDIR/other.host"
    )
}

stop_other() {
    (
        REGISTRY_DIR=$BATS_FILE_TMPDIR/other
        registry_stop
    )
}

setup_file() {
    bulla_setup_file
    export BASE=$BATS_FILE_TMPDIR OTHER
    registry_curl /v2/acme/app/_trust/tuf/1.root.json > "$BASE/acme.root.json"
    registry_init "$BASE/other"
    cp "$BASE/acme.root.json" "$BASE/other/"
    printf '%s\n' 'mirrors:' '  - repository: "copies/*"' '    collection: "acme/*"' '    root: acme.root.json' \
        '  - repository: wrong' '    collection: acme/other' '    root: acme.root.json' \
        >> "$BASE/other/registry.yaml"
    cp "$BASE/acme.root.json" "$BASE/registry/"
    printf '%s\n' 'mirrors:' '  - repository: near/app' '    collection: acme/app' '    root: acme.root.json' \
        >> "$BASE/registry/registry.yaml"
    bulla_registry_restart
    start_other
    OTHER=$(< "$BASE/other.host")
    cat "$BASE/registry/ca.crt" "$BASE/other/ca.crt" > "$BASE/both.crt"
    command bulla --cacert "$BASE/both.crt" login "$OTHER" --username admin --password-stdin \
        < "$BASE/other/admin-password" > /dev/null
    bulla trust delegate "$REGISTRY_HOST/acme/app" releases --role-key targets --tags 'v*' --key targets > /dev/null
    bulla push store:app:v1 "$REGISTRY_HOST/acme/app:v0" > /dev/null
    bulla sign "$REGISTRY_HOST/acme/app:v0" --role releases --key targets > /dev/null
}
teardown_file() {
    stop_other
    bulla_teardown_file
}
setup() {
    bulla_setup
    cd "$BATS_TEST_TMPDIR" || return
    REGISTRY_CA=$BASE/both.crt
    export BULLA_POLICY=$BATS_TEST_TMPDIR/policy.json
    jq -n --arg a "$REGISTRY_HOST/acme" --arg b "$OTHER/copies" --arg c "$REGISTRY_HOST/near/app" \
        --arg root "$BASE/acme.root.json" '{version: 1, scopes: {
            ($a): {collection: "acme/", root: {file: $root}}, ($b): {collection: "acme/", root: {file: $root}},
            ($c): {collection: "acme/app", root: {file: $root}}}}' > "$BULLA_POLICY"
}

other_curl() {
    curl -sS --cacert "$BASE/other/ca.crt" -u "admin:$(< "$BASE/other/admin-password")" "${@:1:$#-1}" \
        "https://$OTHER${*: -1}"
}

# A tag of its own for each test: nothing of it is at the other registry.
own_tag() {
    TAG=v$BATS_TEST_NUMBER.1
    REGISTRY_CA=$BASE/registry/ca.crt publish "$TAG" "text of $TAG"
    SRC=$REGISTRY_HOST/acme/app:$TAG
    DST=$OTHER/copies/app
    DIGEST=$(bulla verify --json "$SRC" | jq -r .digest)
}

@test "copied with its proofs, it verifies and runs at the destination, and a second copy does nothing" {
    own_tag
    run bulla copy "$SRC" "$DST"
    expect 0 "^copied $DST:$TAG"
    grep -q '^proofs copied' <<< "$output"
    run bulla verify "$DST:$TAG"
    expect 0 '^collection acme/app'
    grep -q "$DIGEST" <<< "$output"
    [[ $(bulla verify --json "$DST:$TAG" | jq -r .freshness) == online ]]
    run bulla copy --json "$SRC" "$DST:$TAG"
    expect 0
    [[ $(jq -r '"\(.image) \(.proofs) \(.bytes) \(.blobs) \(.digest)"' <<< "$output") =~ ^true\ unchanged\ [0-9]+\ 0\ $DIGEST$ ]]
    forget_images
    if ((EUID == 0)); then
        run bulla run "$DST:$TAG"
        expect 0 "^text of $TAG"
    fi
    # Nothing of the image stays on this machine.
    forget_images
    bulla copy "$SRC" "$DST"
    [[ -z $(find "$BULLA_HOME/images/blobs" "$BULLA_HOME/images/tmp" -type f 2> /dev/null) ]]
}

@test "only what changed is sent; two copies at once are fine" {
    own_tag
    forget_images
    bulla copy "$SRC" "$DST" > a 2>&1 &
    local one=$!
    bulla --home "$BULLA_HOME" copy "$SRC" "$DST" > b 2>&1 &
    local two=$!
    wait "$one"
    wait "$two"
    run bulla verify "$DST:$TAG"
    expect 0
    [[ $(other_curl /v2/copies/app/_trust/mirror | jq -c .) == '{"collection":"acme/app","mirrored":true}' ]]
    # Every file of the collection is there, the delegated role's and the first root included.
    other_curl -f /v2/copies/app/_trust/tuf/1.root.json | cmp - "$BASE/acme.root.json"
    other_curl -f /v2/copies/app/_trust/tuf/1.releases.json > role
    REGISTRY_CA=$BASE/registry/ca.crt registry_curl /v2/acme/app/_trust/tuf/1.releases.json | cmp - role
}

@test "within one registry blobs are mounted, not moved" {
    own_tag
    forget_images
    run --separate-stderr bulla copy --json "$SRC" "$REGISTRY_HOST/near/app"
    expect 0
    [[ $(jq -r '"\(.blobs) \(.mounted) \(.proofs)"' <<< "$output") == '0 2 copied' ]]
    run bulla verify "$REGISTRY_HOST/near/app:$TAG"
    expect 0
}

@test "a whole index is copied, with every platform's image" {
    own_tag
    local size
    REGISTRY_CA=$BASE/registry/ca.crt
    registry_curl "/v2/acme/app/manifests/$TAG" > child
    size=$(stat -c %s child)
    jq -cn --arg d "$DIGEST" --argjson s "$size" '{schemaVersion: 2, manifests: [["amd64", "linux"], ["arm64", "linux"]
        | {mediaType: "application/vnd.oci.image.manifest.v1+json", digest: $d, size: $s,
           platform: {architecture: .[0], os: .[1]}}], mediaType: "application/vnd.oci.image.index.v1+json"}' > index
    [[ $(registry_status -X PUT -H 'Content-Type: application/vnd.oci.image.index.v1+json' --data-binary @index \
        "/v2/acme/app/manifests/v4.index") == 201 ]]
    bulla sign "$REGISTRY_HOST/acme/app:v4.index" --trust-remote-tag --key targets
    REGISTRY_CA=$BASE/both.crt
    run bulla copy "$REGISTRY_HOST/acme/app:v4.index" "$DST"
    expect 0 '^copied'
    other_curl -f /v2/copies/app/manifests/v4.index | cmp - index
    other_curl -f "/v2/copies/app/manifests/$DIGEST" | cmp - child
    run bulla verify "$DST:v4.index"
    expect 0
}

@test "an index with a banned image is not copied without the ban" {
    own_tag
    REGISTRY_CA=$BASE/registry/ca.crt
    make_image app:ban "banned" > /dev/null
    bulla push store:app:ban "$REGISTRY_HOST/acme/app:v5.ban"
    registry_curl "/v2/acme/app/manifests/$TAG" > child
    registry_curl /v2/acme/app/manifests/v5.ban > banned
    jq -cn --arg a "sha256:$(sha256sum < child | cut -d' ' -f1)" --argjson s "$(stat -c %s child)" \
        --arg b "sha256:$(sha256sum < banned | cut -d' ' -f1)" --argjson t "$(stat -c %s banned)" '
        {schemaVersion: 2, manifests: [[$a, $s, "amd64"], [$b, $t, "arm64"]
            | {mediaType: "application/vnd.oci.image.manifest.v1+json", digest: .[0], size: .[1],
               platform: {architecture: .[2], os: "linux"}}], mediaType: "application/vnd.oci.image.index.v1+json"}' > index
    [[ $(registry_status -X PUT -H 'Content-Type: application/vnd.oci.image.index.v1+json' --data-binary @index \
        /v2/acme/app/manifests/v5.index) == 201 ]]
    bulla sign "$REGISTRY_HOST/acme/app:v5.index" --trust-remote-tag --key targets
    bulla trust revoke "$REGISTRY_HOST/acme/app@sha256:$(sha256sum < banned | cut -d' ' -f1)" --key targets
    REGISTRY_CA=$BASE/both.crt
    run bulla copy "$REGISTRY_HOST/acme/app:v5.index" "$DST:v5.index" --image-only
    expect 1 'nothing was copied: sha256:.* is banned'
}

@test "what is not signed is refused with a hint, and copied only on demand, without proofs" {
    make_image "app:plain" plain > /dev/null
    bulla push store:app:plain "$REGISTRY_HOST/acme/app:plain" > /dev/null
    SRC=$REGISTRY_HOST/acme/app:plain DST=$OTHER/copies/app
    run bulla copy "$SRC" "$DST"
    expect 1 "is not signed.*|--unverified"
    grep -q -- --unverified <<< "$output"
    [[ $(other_curl -o /dev/null -w '%{http_code}' /v2/copies/app/manifests/plain) == 404 ]]
    run bulla copy --json --unverified "$SRC" "$OTHER/else/app:other"
    expect 0
    [[ $(jq -r '"\(.image) \(.proofs)"' <<< "$output") == 'true none' ]]
    [[ $(other_curl -o /dev/null -w '%{http_code}' /v2/else/app/manifests/other) == 200 ]]
}

@test "a destination that takes no proofs gets nothing, or the image alone where that is asked for" {
    own_tag
    run bulla copy "$SRC" "$OTHER/else/app"
    expect 3 "nothing was copied: registry .* does not mirror into 'else/app'"
    [[ $(other_curl -o /dev/null -w '%{http_code}' "/v2/else/app/manifests/$TAG") == 404 ]]
    run bulla copy "$SRC" "$OTHER/wrong"
    expect 1 "of collection 'acme/app'.* mirrors 'acme/other'"
    run bulla copy --image-only "$SRC" "$OTHER/else/app:mine"
    expect 0 '^copied'
    [[ $(other_curl -o /dev/null -w '%{http_code}' /v2/else/app/manifests/mine) == 200 ]]
    run bulla copy "$SRC" "$DST:other-name"
    expect 2 'cannot be verified as'
    run bulla copy "$SRC" "$REGISTRY_HOST/acme/app"
    expect 2 'same repository'
    run bulla copy "$SRC" "$DST@$DIGEST"
    expect 2 'not to a digest'
}

@test "no rights at the destination: said before anything is sent" {
    own_tag
    REGISTRY_AUTH_FILE=$BATS_TEST_TMPDIR/auth.json
    REGISTRY_CA=$BASE/registry/ca.crt command bulla --cacert "$BASE/both.crt" login "$REGISTRY_HOST" \
        --username admin --password-stdin < "$BASE/registry/admin-password" > /dev/null
    run bulla copy "$SRC" "$DST"
    expect 1 "bulla login"
    [[ $(other_curl -o /dev/null -w '%{http_code}' "/v2/copies/app/manifests/$TAG") == 404 ]]
}

@test "a newer set at the destination is not replaced by an older one" {
    own_tag
    bulla copy "$SRC" "$DST"
    before=$(other_curl /v2/copies/app/_trust/tuf/timestamp.json | sha256sum)
    # The origin's state of a moment ago, as a bundle or a lagging mirror would have it.
    bulla trust renew "$REGISTRY_HOST/acme/app" targets --key targets
    run bulla verify "$DST:$TAG"
    expect 1 'rolled back|older'
    run bulla copy "$SRC" "$DST"
    expect 0 'proofs copied'
    [[ $(other_curl /v2/copies/app/_trust/tuf/timestamp.json | sha256sum) != "$before" ]]
    run bulla verify "$DST:$TAG"
    expect 0
}

@test "a registry that goes down halfway: the next copy goes on" {
    own_tag
    bulla copy "$SRC" "$DST"
    TAG=v9.2
    REGISTRY_CA=$BASE/registry/ca.crt publish "$TAG" again
    SRC=$REGISTRY_HOST/acme/app:$TAG
    stop_other
    run bulla copy "$SRC" "$DST"
    expect 3
    [[ $(wc -l <<< "$output") == 1 ]]
    start_other
    run bulla copy "$SRC" "$DST"
    expect 0 '^copied'
    run bulla verify "$DST:$TAG"
    expect 0
}
