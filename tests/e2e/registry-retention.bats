# Immutable tags and retention: what stays what it is, what goes and why.

setup_file() {
    load ../support/registry
    registry_init "$BATS_FILE_TMPDIR/r"
    cat >> "$BATS_FILE_TMPDIR/r/registry.yaml" << 'EOF'
tags:
  immutable:
    - repository: "fixed/*"
      pattern: "v*"
    - repository: "keep/app"
      pattern: stable-?
    - {repository: all, pattern: "*"}
retention:
  - repository: "keep/app"
    keepLast: 2
    keepTags: ["release-*"]
    deleteUntagged: 0s
  - repository: "age/*"
    keepWithin: 3s
  - repository: "untagged/*"
    deleteUntagged: 2s
EOF
    sed -i 's/^  lease: .*/  lease: 1s/; s/^  interval: 5m/  interval: 1h/' "$BATS_FILE_TMPDIR/r/registry.yaml"
    registry_start "$BATS_FILE_TMPDIR/r"
    export REGISTRY_HOST
}

teardown_file() {
    load ../support/registry
    registry_stop
}

setup() {
    load ../support/registry
    cd "$BATS_TEST_TMPDIR" || return
}

retention() {
    bulla-registry retention "$@" --config "$REGISTRY_DIR/registry.yaml"
}

tags() {
    registry_curl "/v2/$1/tags/list" | sed 's/.*"tags":\[\(.*\)\].*/\1/; s/"//g'
}

put_again() { # REPOSITORY TAG DIGEST: the same manifest under another tag
    registry_curl -H 'Accept: */*' "/v2/$1/manifests/$3" > again
    registry_status -X PUT -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' --data-binary @again \
        "/v2/$1/manifests/$2"
}

@test "an immutable tag is set once, the same again is fine, and it is not deleted" {
    first=$(push_image fixed/app v1 one)
    run push_image fixed/app v1 two
    [[ $status != 0 ]]
    [[ $(digest_of <(registry_curl /v2/fixed/app/manifests/v1)) == "$first" ]]
    run registry_curl -X DELETE /v2/fixed/app/manifests/v1
    [[ $output == *'"DENIED"'* && $output == *"tag 'v1' is immutable"* ]]
    run registry_curl -X DELETE "/v2/fixed/app/manifests/$first"
    [[ $output == *"tag 'v1', which is immutable, needs it"* ]]
    [[ $(put_again fixed/app v1 "$first") == 201 ]]
    [[ $(put_again fixed/app other "$first") == 201 ]]
    second=$(push_image fixed/app other three)
    [[ $(registry_status -X DELETE /v2/fixed/app/manifests/other) == 202 ]]
    # Another manifest, several tags at once: none of them is set.
    registry_curl "/v2/fixed/app/manifests/$second" > again
    run registry_curl -X PUT -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' --data-binary @again \
        "/v2/fixed/app/manifests/$second?tag=new&tag=v1"
    [[ $output == *"tag 'v1' is immutable and names $first"* ]]
    [[ $(registry_status /v2/fixed/app/manifests/new) == 404 ]]
    # Lists of referrers are rewritten all the time.
    [[ $(put_again fixed/app "sha256-${first#sha256:}" "$first") == 201 ]]
    [[ $(put_again fixed/app "sha256-${first#sha256:}" "$second") == 201 ]]
    push_image all "sha256-abc" x
    push_image all "sha256-abc" y
}

@test "of many pushes to one immutable tag at once exactly one is taken" {
    printf '{}' > config
    push_blob fixed/race config > /dev/null
    for i in $(seq 8); do
        printf 'layer %s' "$i" > "layer$i"
        push_blob fixed/race "layer$i" > /dev/null
        image_manifest "$(digest_of config)" 2 "$(digest_of "layer$i")" "$(stat -c %s "layer$i")" > "m$i"
    done
    for i in $(seq 8); do
        registry_status -X PUT -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' \
            --data-binary "@m$i" /v2/fixed/race/manifests/v9 > "code$i" &
    done
    wait
    [[ $(cat code*) != *409* && $(grep -l 201 code* | wc -l) == 1 && $(grep -l 403 code* | wc -l) == 7 ]]
}

@test "skopeo says why an immutable tag is refused" {
    command -v skopeo > /dev/null || skip "no skopeo"
    push_image fixed/sk v1 one > /dev/null
    push_image fixed/sk x two > /dev/null
    mkdir certs && cp "$REGISTRY_CA" certs/ca.crt
    run skopeo copy --src-cert-dir certs --dest-cert-dir certs --src-creds "admin:$REGISTRY_PASSWORD" \
        --dest-creds "admin:$REGISTRY_PASSWORD" "docker://$REGISTRY_HOST/fixed/sk:x" "docker://$REGISTRY_HOST/fixed/sk:v1"
    [[ $status != 0 && $output == *"tag 'v1' is immutable"* ]]
}

@test "the newest stay, patterns and immutable tags stay, the rest is listed and then goes" {
    for tag in release-1 stable-1 t1 t2 t3 t4; do
        push_image keep/app "$tag" "layer $tag" > /dev/null
        sleep 1.05
    done
    run retention --dry-run
    [[ $status == 0 && $output == *"keep/app:t1 (sha256:"*"): rule 1, not among the newest 2"* ]]
    [[ $output == *"keep/app:t2 "* && $output != *t3* && $output != *t4* && $output != *stable* && $output != *release* ]]
    [[ $(tags keep/app) == release-1,stable-1,t1,t2,t3,t4 ]]
    [[ $(retention --dry-run --json | grep -c '"repository":"keep/app"') == 2 ]]
    run retention run
    [[ $status == 0 && $output == *"keep/app:t1 "* ]]
    [[ $(tags keep/app) == release-1,stable-1,t3,t4 ]]
    run retention run
    [[ $output == *"nothing has named it for 0s"* || $output == *"removed 0"* ]]
    bulla-registry audit export --config "$REGISTRY_DIR/registry.yaml" 2> /dev/null | grep -q retention.remove
    # What the removed tags named goes with the next runs.
    sleep 2.1
    retention run > /dev/null
    bulla-registry gc --config "$REGISTRY_DIR/registry.yaml" > /dev/null
    hex=$(printf 'layer t1' | sha256sum)
    [[ ! -e $REGISTRY_DIR/data/blobs/sha256/${hex:0:2}/${hex%% *} ]]
    hex=$(printf 'layer t3' | sha256sum)
    [[ -e $REGISTRY_DIR/data/blobs/sha256/${hex:0:2}/${hex%% *} ]]
}

@test "tags go by age" {
    push_image age/app old > /dev/null
    sleep 4.2
    push_image age/app new > /dev/null
    run retention run
    [[ $output == *"age/app:old "*"not set within 3s"* ]]
    [[ $(tags age/app) == new ]]
}

@test "untagged manifests go, unless an index, a subject or a lease holds them" {
    lone=$(push_image untagged/app gone "lone")
    child=$(push_image untagged/app child "child")
    size=$(registry_curl "/v2/untagged/app/manifests/$child" | wc -c)
    printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"%s","size":%s}]}' \
        "$child" "$size" > index
    [[ $(registry_status -X PUT -H 'Content-Type: application/vnd.oci.image.index.v1+json' --data-binary @index \
        /v2/untagged/app/manifests/all) == 201 ]]
    printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":"a/b","config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"%s","size":2},"layers":[],"subject":{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"%s","size":%s}}' \
        "$(printf '{}' > c && push_blob untagged/app c)" "$child" "$size" > ref
    referrer=$(digest_of ref)
    [[ $(registry_status -X PUT -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' --data-binary @ref \
        "/v2/untagged/app/manifests/$referrer") == 201 ]]
    registry_status -X DELETE /v2/untagged/app/manifests/gone > /dev/null
    registry_status -X DELETE /v2/untagged/app/manifests/child > /dev/null
    run retention run
    [[ $output != *untagged/app* ]]
    sleep 3.2
    registry_curl -o /dev/null -I "/v2/untagged/app/manifests/$lone" # a pusher's HEAD: a lease
    run retention run
    [[ $output != *"$lone"* ]]
    sleep 2.1
    run retention run
    [[ $output == *"untagged/app@$lone: rule 3, nothing has named it for 2s"* ]]
    for d in "$child" "$referrer"; do [[ $(registry_status "/v2/untagged/app/manifests/$d") == 200 ]]; done
    [[ $(registry_status "/v2/untagged/app/manifests/$lone") == 404 ]]
    # With the index goes what only it held, and then what refers to that.
    registry_status -X DELETE /v2/untagged/app/manifests/all > /dev/null
    for _ in 1 2 3; do sleep 3.2; retention run > /dev/null; done
    for d in "$child" "$referrer" "$(digest_of index)"; do
        [[ $(registry_status "/v2/untagged/app/manifests/$d") == 404 ]]
    done
}

@test "its command line is strict, and a rule that makes no sense is named with its line" {
    run bulla-registry retention --config "$REGISTRY_DIR/registry.yaml"
    [[ $status == 2 && $output == *"--dry-run"* ]]
    run retention run --all
    [[ $status == 2 ]]
    cp -r "$REGISTRY_DIR/registry.yaml" bad.yaml
    printf '  - repository: "Bad/*"\n    keepLast: 3\n' >> bad.yaml
    run bulla-registry config check --config bad.yaml
    [[ $status == 1 && $output == *"line $(($(wc -l < bad.yaml) - 1)): retention.repository: 'Bad/*'"* ]]
}
