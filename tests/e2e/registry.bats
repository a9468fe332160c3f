# The registry with other people's tools, and who may do what.

bats_require_minimum_version 1.5.0

setup_file() {
    load ../support/registry
    registry_start "$BATS_FILE_TMPDIR/r"
    mkdir "$BATS_FILE_TMPDIR/certs"
    cp "$REGISTRY_CA" "$BATS_FILE_TMPDIR/certs/ca.crt"
    export CERTS=$BATS_FILE_TMPDIR/certs IMAGE=$BATS_FILE_TMPDIR/image
    mkdir -p "$BATS_FILE_TMPDIR/root/bin"
    cp "$(command -v busybox)" "$BATS_FILE_TMPDIR/root/bin/"
    umoci init --layout "$IMAGE"
    umoci new --image "$IMAGE:base"
    umoci insert --rootless --image "$IMAGE:base" --tag v1 "$BATS_FILE_TMPDIR/root" /
    umoci gc --layout "$IMAGE"
    umoci remove --image "$IMAGE:base"
    umoci gc --layout "$IMAGE"
}

teardown_file() {
    load ../support/registry
    registry_stop
}

setup() {
    load ../support/registry
}

copy_in() {
    skopeo copy -q --dest-cert-dir "$CERTS" --dest-creds "admin:$REGISTRY_PASSWORD" "$@"
}

copy_out() {
    skopeo copy -q --src-cert-dir "$CERTS" --src-creds "admin:$REGISTRY_PASSWORD" "$@"
}

@test "skopeo copies an OCI image in and out, byte for byte" {
    copy_in "oci:$IMAGE:v1" "docker://$REGISTRY_HOST/acme/app:v1"
    copy_out "docker://$REGISTRY_HOST/acme/app:v1" "oci:$BATS_TEST_TMPDIR/back:v1"
    diff -r "$IMAGE/blobs" "$BATS_TEST_TMPDIR/back/blobs"
}

@test "skopeo copies Docker schema 2 in and out" {
    copy_in --format v2s2 "oci:$IMAGE:v1" "docker://$REGISTRY_HOST/acme/docker:v1"
    registry_curl /v2/acme/docker/manifests/v1 |
        jq -e '.mediaType == "application/vnd.docker.distribution.manifest.v2+json"'
    copy_out "docker://$REGISTRY_HOST/acme/docker:v1" "dir:$BATS_TEST_TMPDIR/back"
    cmp <(registry_curl /v2/acme/docker/manifests/v1) "$BATS_TEST_TMPDIR/back/manifest.json"
}

@test "skopeo copies an uncompressed image" {
    tar -C "$BATS_FILE_TMPDIR/root" -cf "$BATS_TEST_TMPDIR/layer.tar" .
    digest=$(digest_of "$BATS_TEST_TMPDIR/layer.tar")
    printf '{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":["%s"]}}' \
        "$digest" > "$BATS_TEST_TMPDIR/config"
    image_manifest "$(push_blob acme/plain "$BATS_TEST_TMPDIR/config")" \
        "$(stat -c %s "$BATS_TEST_TMPDIR/config")" \
        "$(push_blob acme/plain "$BATS_TEST_TMPDIR/layer.tar")" \
        "$(stat -c %s "$BATS_TEST_TMPDIR/layer.tar")" > "$BATS_TEST_TMPDIR/manifest"
    [[ $(registry_status -X PUT -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' \
        --data-binary "@$BATS_TEST_TMPDIR/manifest" /v2/acme/plain/manifests/v1) == 201 ]]
    copy_out "docker://$REGISTRY_HOST/acme/plain:v1" "dir:$BATS_TEST_TMPDIR/back"
    cmp "$BATS_TEST_TMPDIR/layer.tar" "$BATS_TEST_TMPDIR/back/${digest#sha256:}"
}

@test "init refuses a folder that is a registry already and leaves it alone" {
    before=$(find "$REGISTRY_DIR" -name ca.key -exec sha256sum {} +)
    run bulla-registry init "$REGISTRY_DIR" --admin admin --password-stdin <<< other-password
    [[ $status == 3 && $output == *"holds a registry already"* ]]
    [[ $before == "$(find "$REGISTRY_DIR" -name ca.key -exec sha256sum {} +)" ]]
}

@test "keys and passphrase are for their owner only" {
    for file in ca.key tls/server.key signer/passphrase data/index.db; do
        [[ $(stat -c %a "$REGISTRY_DIR/$file") == 600 ]]
    done
    [[ $(stat -c %a "$REGISTRY_DIR/data") == 700 ]]
}

@test "wrong usage is exit 2 and names the nearest option" {
    run bulla-registry serve --confg x
    [[ $status == 2 && $output == *"did you mean '--config'"* ]]
    run bulla-registry serve --config a --config b
    [[ $status == 2 && $output == *"given twice"* ]]
    run bulla-registry frobnicate
    [[ $status == 2 ]]
    run bulla-registry user add 'no/name' --password-stdin --config "$REGISTRY_DIR/registry.yaml" <<< x
    [[ $status == 2 ]]
    run bulla-registry user add shorty --password-stdin --config "$REGISTRY_DIR/registry.yaml" <<< short
    [[ $status == 2 && $output == *"8 to 256"* ]]
    run bulla-registry grant add admin 'a*' pull --config "$REGISTRY_DIR/registry.yaml"
    [[ $status == 2 ]]
    run bulla-registry grant add nobody-such '*' pull --config "$REGISTRY_DIR/registry.yaml"
    [[ $status == 3 && $output == *"no user"* ]]
    run bulla-registry --help
    [[ $status == 0 && $output == usage:* ]]
    run bulla-registry --config x user list
    [[ $status == 2 && $output == *"command comes first"* ]]
    run bulla-registry grant remove admin '*' --config "$REGISTRY_DIR/registry.yaml"
    [[ $status == 2 && $output == *"missing; --help"* ]]
}

@test "each command has a --help, wherever it stands" {
    n=0
    while read -r word; do
        run bulla-registry "$word" --help
        [[ $status == 0 && $output == "usage: bulla-registry $word"* && $output == *"exit status: 0 "* ]]
        run bulla-registry "$word" some thing --config nowhere --help
        [[ $status == 0 && $output == "usage: bulla-registry $word"* ]]
        n=$((n + 1))
    done < <(bulla-registry --help | sed -n 's/^  \([a-z][a-z-]*\) .*/\1/p' | sort -u)
    ((n == 14))
}

@test "init says what is wrong with its arguments and leaves nothing" {
    cd "$BATS_TEST_TMPDIR"
    run bulla-registry init new --listen localhost --admin a --password-stdin <<< long-enough
    [[ $status == 2 && $output == *"not ADDRESS:PORT"* ]]
    run bulla-registry init new --password-stdin <<< long-enough
    [[ $status == 2 && $output == *"--admin"* ]]
    [[ ! -e new ]]
    run bulla-registry init new --listen 127.0.0.1:0
    [[ $status == 0 && $output == *"user add NAME"*"grant add NAME"* ]]
}

@test "no tool makes a registry where the disk is not mounted" {
    cd "$BATS_TEST_TMPDIR"
    bulla-registry init new --listen 127.0.0.1:0
    mv new/data data
    for there in no yes; do # missing, then an empty mount point
        [[ $there == no ]] || mkdir new/data
        for words in serve gc 'gc --dry-run' 'retention run' scrub 'audit verify' 'audit export' 'user list' \
            'group add g' 'grant list' 'api-token list' 'token-key list' 'token-key rotate' 'backup copy'; do
            # shellcheck disable=SC2086 # words
            run bulla-registry $words --config new/registry.yaml
            [[ $status == 3 && $output == *"holds no registry: is its disk mounted?"* ]]
        done
        [[ $there == no || -z $(ls -A new/data) ]]
        [[ $there == yes || ! -e new/data ]]
    done
    rmdir new/data
    mv data new/data
    run bulla-registry backup new/data/copy --config new/registry.yaml
    [[ $status == 2 && $output == *"lies in dataDir"* && ! -e new/data/copy ]]
}

@test "config check says what it thinks" {
    run bulla-registry config check --config "$REGISTRY_DIR/registry.yaml"
    [[ $status == 0 && $output == *"development set-up"* ]]
    echo 'nonsense: 1' > "$BATS_TEST_TMPDIR/bad.yaml"
    run bulla-registry config check --config "$BATS_TEST_TMPDIR/bad.yaml"
    [[ $status == 1 && $output == *"line 1"* ]]
    # What would keep the server from starting is not fine.
    for change in 's|certificate: .*|certificate: tls/none.crt|' 's|key: .*|key: ca.key|' 's|^#user: .*|user: no-such-user|'; do
        sed "$change" "$REGISTRY_DIR/registry.yaml" > "$REGISTRY_DIR/other.yaml"
        run bulla-registry config check --config "$REGISTRY_DIR/other.yaml"
        rm "$REGISTRY_DIR/other.yaml"
        [[ $status != 0 && $output != *"is fine"* ]]
    done
}

@test "the base endpoint asks for credentials, with one challenge" {
    run curl -sS -i --cacert "$REGISTRY_CA" "https://$REGISTRY_HOST/v2/"
    [[ $output == *"401 Unauthorized"* && $output == *'WWW-Authenticate: Bearer realm="https://'"$REGISTRY_HOST"'/auth/token",service="bulla-registry"'* ]]
    [[ $(grep -ci '^www-authenticate' <<< "$output") == 1 ]]
    [[ $(registry_status /v2/) == 200 ]]
    REGISTRY_PASSWORD=wrong-password
    [[ $(registry_status /v2/) == 401 ]]
}

@test "grants decide: pull, push, delete, and nothing else" {
    push_image team/one v1
    registry_user bob
    REGISTRY_USER=bob REGISTRY_PASSWORD=bob-password
    [[ $(registry_status /v2/team/one/manifests/v1) == 403 ]]
    registry_grant bob 'team/*' pull
    [[ $(registry_status /v2/team/one/manifests/v1) == 200 ]]
    [[ $(registry_status -X POST /v2/team/one/blobs/uploads/) == 403 ]]
    [[ $(registry_status -X DELETE /v2/team/one/manifests/v1) == 403 ]]
    [[ $(registry_status /v2/teams/manifests/v1) == 403 ]]
    registry_grant bob team/one push,delete
    [[ $(registry_status -X POST /v2/team/one/blobs/uploads/) == 202 ]]
    [[ $(registry_status -X POST /v2/team/two/blobs/uploads/) == 403 ]]
    [[ $(registry_status -X DELETE /v2/team/one/manifests/v1) == 202 ]]
    bulla-registry grant remove bob 'team/*' pull --config "$REGISTRY_DIR/registry.yaml"
    [[ $(registry_status /v2/team/one/tags/list) == 403 ]]
    run bulla-registry grant list --config "$REGISTRY_DIR/registry.yaml"
    [[ $output == *"bob"*"team/one"*"push,delete"* ]]
}

@test "a changed or removed user is forgotten at once" {
    registry_user carol
    registry_grant carol '*' pull
    REGISTRY_USER=carol REGISTRY_PASSWORD=carol-password
    [[ $(registry_status /v2/) == 200 ]]
    bulla-registry user passwd carol --password-stdin --config "$REGISTRY_DIR/registry.yaml" \
        <<< another-password
    [[ $(registry_status /v2/) == 401 ]]
    REGISTRY_PASSWORD=another-password
    [[ $(registry_status /v2/) == 200 ]]
    bulla-registry user remove carol --config "$REGISTRY_DIR/registry.yaml"
    [[ $(registry_status /v2/) == 401 ]]
    run bulla-registry grant list --config "$REGISTRY_DIR/registry.yaml"
    [[ $output != *carol* ]]
}

@test "anonymous callers get what was granted to them" {
    push_image public/app v1
    anonymous() { curl -sS -o /dev/null -w '%{http_code}' --cacert "$REGISTRY_CA" "$@"; }
    [[ $(anonymous "https://$REGISTRY_HOST/v2/public/app/manifests/v1") == 401 ]]
    registry_grant anonymous 'public/*' pull
    [[ $(anonymous "https://$REGISTRY_HOST/v2/public/app/manifests/v1") == 200 ]]
    [[ $(anonymous -u : "https://$REGISTRY_HOST/v2/public/app/manifests/v1") == 200 ]]
    [[ $(anonymous -u admin:wrong-password "https://$REGISTRY_HOST/v2/public/app/manifests/v1") == 401 ]]
    [[ $(anonymous -X POST "https://$REGISTRY_HOST/v2/public/app/blobs/uploads/") == 401 ]]
    skopeo copy -q --src-cert-dir "$CERTS" --src-no-creds \
        "docker://$REGISTRY_HOST/public/app:v1" "dir:$BATS_TEST_TMPDIR/out"
    bulla-registry grant remove anonymous 'public/*' pull --config "$REGISTRY_DIR/registry.yaml"
}

@test "the catalogue shows what the caller may pull" {
    push_image seen/a v1
    push_image seen/b v1
    push_image hidden/c v1
    registry_user dora
    registry_grant dora 'seen/*' pull
    [[ $(registry_curl /v2/_catalog | jq -c '.repositories | index("hidden/c") != null') == true ]]
    REGISTRY_USER=dora REGISTRY_PASSWORD=dora-password
    [[ $(registry_curl /v2/_catalog | jq -c .repositories) == '["seen/a","seen/b"]' ]]
    run registry_curl -i '/v2/_catalog?n=1'
    [[ $output == *'</v2/_catalog?n=1&last=seen/a>; rel="next"'* ]]
    [[ $(registry_curl '/v2/_catalog?n=1&last=seen/a' | jq -c .repositories) == '["seen/b"]' ]]
    [[ $(curl -sS -o /dev/null -w '%{http_code}' --cacert "$REGISTRY_CA" "https://$REGISTRY_HOST/v2/_catalog") == 401 ]]
}

@test "tags come sorted and in pages" {
    for tag in b a C 10 9; do push_image tags/app "$tag" same; done
    [[ $(registry_curl /v2/tags/app/tags/list | jq -c .) == '{"name":"tags/app","tags":["10","9","C","a","b"]}' ]]
    run registry_curl -i '/v2/tags/app/tags/list?n=2&last=9'
    [[ $output == *'["C","a"]'* && $output == *'</v2/tags/app/tags/list?n=2&last=a>; rel="next"'* ]]
    run registry_curl -i '/v2/tags/app/tags/list?n=2&last=a'
    [[ $output == *'["b"]'* && $output != *Link:* ]]
    [[ $(registry_curl '/v2/tags/app/tags/list?n=0' | jq -c .tags) == '[]' ]]
    [[ $(registry_curl '/v2/nothing/here/tags/list' | jq -r '.errors[0].code') == NAME_UNKNOWN ]]
}

@test "deleting a tag leaves the manifest, deleting the manifest takes its tags" {
    digest=$(push_image del/app v1)
    push_image del/app v2 "layer of del/app:v1"
    [[ $(registry_status -X DELETE /v2/del/app/manifests/v1) == 202 ]]
    [[ $(registry_status /v2/del/app/manifests/v1) == 404 ]]
    [[ $(registry_status "/v2/del/app/manifests/$digest") == 200 ]]
    [[ $(registry_status -X DELETE "/v2/del/app/manifests/$digest") == 202 ]]
    [[ $(registry_status /v2/del/app/manifests/v2) == 404 ]]
    [[ $(registry_curl /v2/del/app/tags/list | jq -c .tags) == '[]' ]]
    [[ $(registry_status -X DELETE "/v2/del/app/manifests/$digest") == 404 ]]
}

@test "the log has every request and no secret" {
    registry_curl -o /dev/null /v2/acme/app/manifests/logged
    for _ in $(seq 40); do # written once the answer is out
        grep -q "GET /v2/acme/app/manifests/logged 404" "$REGISTRY_DIR/log" && break
        sleep 0.05
    done
    grep -q "GET /v2/acme/app/manifests/logged 404" "$REGISTRY_DIR/log"
    run ! grep -qF "$REGISTRY_PASSWORD" "$REGISTRY_DIR/log"
    run ! grep -qi "basic\|authorization" "$REGISTRY_DIR/log"
    run ! grep -qF "$(printf 'admin:%s' "$REGISTRY_PASSWORD" | base64 -w 0)" "$REGISTRY_DIR/log"
}

@test "it walls itself in: no new privileges, seccomp, not dumpable, no foreign files" {
    grep -q '^NoNewPrivs:.1' "/proc/$REGISTRY_PID/status"
    grep -q '^Seccomp:.2' "/proc/$REGISTRY_PID/status"
    [[ $(stat -c %U "/proc/$REGISTRY_PID/io") == root ]]
    program=$(readlink "/proc/$REGISTRY_PID/exe")
    run ! grep -E 'NEEDED.*(libcurl|libarchive|libpkcs11)' <(readelf -d "$program")
}
