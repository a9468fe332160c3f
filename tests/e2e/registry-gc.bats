# Garbage collection beside a running server: what goes, what stays and why, leases, strays.

setup_file() {
    load ../support/registry
    registry_init "$BATS_FILE_TMPDIR/r"
    sed -i 's/^  lease: .*/  lease: 2s/; s/^  interval: 5m/  interval: 1h/' "$BATS_FILE_TMPDIR/r/registry.yaml"
    registry_start "$BATS_FILE_TMPDIR/r"
    export REGISTRY_HOST
}

teardown_file() {
    load ../support/registry
    registry_stop
}

setup() {
    load ../support/registry
    REGISTRY_PORT=${REGISTRY_HOST##*:}
    cd "$BATS_TEST_TMPDIR" || return
}

gc() {
    bulla-registry gc --config "$REGISTRY_DIR/registry.yaml" "$@"
}

blob_file() {
    local hex=${1#sha256:}
    echo "$REGISTRY_DIR/data/blobs/sha256/${hex:0:2}/$hex"
}

# Leases of what was pushed before are over.
lapse() {
    sleep 3.2
}

random_blob() {
    head -c "${2:-1000}" /dev/urandom > "$BATS_TEST_TMPDIR/random"
    push_blob "$1" "$BATS_TEST_TMPDIR/random"
}

@test "what nothing needs goes, what a manifest needs stays, leases hold until they end" {
    loose=$(random_blob gc/one)
    manifest=$(push_image gc/one v1 "kept layer")
    layer="sha256:$(printf 'kept layer' | sha256sum | cut -d ' ' -f 1)"
    gc > /dev/null
    [[ -e $(blob_file "$loose") ]]
    [[ $(gc --why "$loose") == "gc/one: lease until "* ]]
    lapse
    run gc --dry-run
    [[ $status == 0 && $output == *"gc/one: unlink $loose 1000 bytes"* && $output == *"storage: remove $loose"* ]]
    [[ $output != *$layer* && $output != *$manifest* ]]
    [[ -e $(blob_file "$loose") && $(registry_status "/v2/gc/one/blobs/$loose") == 200 ]]
    run gc
    [[ $status == 0 && $output == *"1 blobs, 1000 bytes; the server frees the space"* ]]
    [[ ! -e $(blob_file "$loose") && -e $(blob_file "$layer") && -e $(blob_file "$manifest") ]]
    [[ $(registry_status "/v2/gc/one/blobs/$loose") == 404 ]]
    [[ $(registry_status "/v2/gc/one/blobs/$layer") == 200 ]]
    run gc --json
    [[ $output == *'"blobs":0'* && $output == *'"examined":0'* && $output == *'"links":0'* ]]
}

@test "--why names tag, index, referrer, signature's absence; unknown is 3, no digest is 2" {
    manifest=$(push_image why/app v1 "why layer")
    layer="sha256:$(printf 'why layer' | sha256sum | cut -d ' ' -f 1)"
    size=$(stat -c %s "$(blob_file "$manifest")")
    printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"%s","size":%s}]}' \
        "$manifest" "$size" > index
    [[ $(registry_status -X PUT -H 'Content-Type: application/vnd.oci.image.index.v1+json' \
        --data-binary @index /v2/why/app/manifests/all) == 201 ]]
    config=$(printf '{}' > c && push_blob why/app c)
    printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":"text/x","config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"%s","size":2},"layers":[],"subject":{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"%s","size":%s}}' \
        "$config" "$manifest" "$size" > ref
    referrer=$(digest_of ref)
    [[ $(registry_status -X PUT -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' \
        --data-binary @ref "/v2/why/app/manifests/$referrer") == 201 ]]
    lapse
    gc > /dev/null
    run gc --why "$layer"
    [[ $status == 0 && $output == *"why/app: tag 'v1', through"*"$manifest"* ]]
    [[ $output == *"why/app: tag 'all', through"*"$(digest_of index)"* ]]
    run gc --why "$manifest"
    [[ ${lines[0]} == "why/app: tag 'all', through" && ${lines[2]} == "why/app: tag 'v1'" ]]
    run gc --why "$referrer"
    [[ $output == "why/app: it refers to '$manifest'" ]]
    run gc --json --why "$config"
    [[ $output == *"\"digest\":\"$referrer\""* && $output == *"\"holds\":\"referrer\""* ]]
    [[ $output == *"\"name\":\"$manifest\""* && ${#lines[@]} == 1 ]]
    run gc --why "sha256:$(printf x | sha256sum | cut -d ' ' -f 1)"
    [[ $status == 3 && $output == *"is not in this registry"* ]]
    run gc --why sha256:12
    [[ $status == 2 ]]
    run gc --why "$layer" --dry-run
    [[ $status == 2 ]]
}

@test "a deleted image goes with its blobs, an untagged manifest stays" {
    a=$(push_image del/app v1 "only here")
    b=$(push_image del/app v2 "also only here")
    layer_a="sha256:$(printf 'only here' | sha256sum | cut -d ' ' -f 1)"
    layer_b="sha256:$(printf 'also only here' | sha256sum | cut -d ' ' -f 1)"
    [[ $(registry_status -X DELETE "/v2/del/app/manifests/$a") == 202 ]]
    [[ $(registry_status -X DELETE /v2/del/app/manifests/v2) == 202 ]]
    lapse
    gc > /dev/null
    [[ ! -e $(blob_file "$a") && ! -e $(blob_file "$layer_a") ]]
    [[ -e $(blob_file "$b") && -e $(blob_file "$layer_b") ]]
    [[ $(gc --why "$layer_b") == *"untagged manifest, through"*"$b"* ]]
}

@test "a blob deleted in one repository does not come back there when another pushes it" {
    blob=$(random_blob back/a)
    [[ $(registry_status -X DELETE "/v2/back/a/blobs/$blob") == 202 ]]
    gc > /dev/null
    [[ ! -e $(blob_file "$blob") ]]
    [[ $(push_blob back/b random) == "$blob" ]]
    [[ $(registry_status "/v2/back/b/blobs/$blob") == 200 ]]
    [[ $(registry_status "/v2/back/a/blobs/$blob") == 404 ]]
    [[ $(registry_status -X POST "/v2/back/c/blobs/uploads/?mount=$blob&from=back/a") == 202 ]]
    [[ $(registry_status -X POST "/v2/back/c/blobs/uploads/?mount=$blob&from=back/b") == 201 ]]
}

@test "a mount and a pusher's HEAD begin a lease, a reader's HEAD does not" {
    blob=$(random_blob lease/a)
    registry_user "reader$$"
    registry_grant "reader$$" 'lease/*' pull
    lapse
    [[ $(curl -sS --cacert "$REGISTRY_CA" -u "reader$$:reader$$-password" -I -o /dev/null -w '%{http_code}' \
        "https://$REGISTRY_HOST/v2/lease/a/blobs/$blob") == 200 ]]
    [[ $(gc --why "$blob") == "nothing holds it: the next run removes it" ]]
    [[ $(registry_status -I "/v2/lease/a/blobs/$blob") == 200 ]]
    [[ $(gc --why "$blob") == "lease/a: lease until "* ]]
    [[ $(registry_status -X POST "/v2/lease/b/blobs/uploads/?mount=$blob&from=lease/a") == 201 ]]
    gc > /dev/null
    [[ -e $(blob_file "$blob") ]]
    [[ $(gc --why "$blob") == *"lease/b: lease until "* ]]
    lapse
    gc > /dev/null
    [[ ! -e $(blob_file "$blob") ]]
}

@test "signed content stays, and cannot be deleted before it is revoked" {
    load ../support/bulla
    bulla_environment "$BATS_TEST_TMPDIR/home"
    export BULLA_PASSPHRASE_FILE=$BATS_TEST_TMPDIR/passphrase
    echo '{ "version": 1, "default": "deny" }' > policy.json
    export BULLA_POLICY=$BATS_TEST_TMPDIR/policy.json
    (umask 077 && head -c 18 /dev/urandom | base64 > passphrase)
    bulla login "$REGISTRY_HOST" --username admin --password-stdin <<< "$REGISTRY_PASSWORD" > /dev/null
    bulla key generate root > /dev/null
    bulla key generate targets > /dev/null
    image=$(push_image signed/app v1 "signed layer")
    layer="sha256:$(printf 'signed layer' | sha256sum | cut -d ' ' -f 1)"
    bulla trust init "$REGISTRY_HOST/signed/app" --root-key root --targets-key targets > /dev/null
    bulla sign "$REGISTRY_HOST/signed/app:v1@$image" --key targets > /dev/null
    [[ $(registry_status -X DELETE /v2/signed/app/manifests/v1) == 403 ]]
    [[ $(registry_status -X DELETE "/v2/signed/app/manifests/$image") == 403 ]]
    lapse
    gc > /dev/null
    [[ -e $(blob_file "$layer") ]]
    run gc --why "$layer"
    [[ $output == *"signed/app: signed target 'v1', through"* ]]
}

@test "a run looks at the garbage, not at what lives" {
    for i in $(seq 40); do push_image many/app "v$i" "layer $i" > /dev/null; done
    lapse
    gc > /dev/null
    for i in $(seq 3); do registry_status -X DELETE "/v2/many/app/manifests/v$i" > /dev/null; done
    blob=$(random_blob many/app)
    lapse
    run gc --json
    examined=$(sed 's/.*"examined":\([0-9]*\).*/\1/' <<< "$output")
    [[ $examined -ge 2 && $examined -le 6 ]]
    [[ ! -e $(blob_file "$blob") ]]
}

@test "pushes go on while collections run, and nothing acknowledged is lost" {
    for i in $(seq 6); do printf 'contended %s' "$i" > "f$i"; done
    (for _ in $(seq 12); do gc; done > gc.out 2>&1; echo "$?" > gc.rc) &
    for round in $(seq 4); do
        for i in $(seq 6); do
            digest=$(digest_of "f$i")
            [[ $(push_blob "race/r$round" "f$i") == "$digest" ]]
            registry_curl "/v2/race/r$round/blobs/$digest" | cmp - "f$i"
            [[ $(registry_status -X DELETE "/v2/race/r$round/blobs/$digest") == 202 ]]
        done
    done
    wait
    [[ $(< gc.rc) == 0 ]]
}

@test "the command does the server's work when there is none, and leaves nothing aside" {
    blob=$(random_blob still/a)
    registry_status -X DELETE "/v2/still/a/blobs/$blob" > /dev/null
    registry_stop
    run gc
    [[ $status == 0 && $output != *"the server"* ]]
    [[ ! -e $(blob_file "$blob") && -z $(find "$REGISTRY_DIR/data/aside" -type f) ]]
    # A crash between the file and its row: what the index knows goes back, the rest is removed.
    registry_start "$REGISTRY_DIR"
    kept=$(random_blob still/a)
    registry_kill
    hex=${kept#sha256:}
    mkdir -p "$REGISTRY_DIR/data/aside/sha256/${hex:0:2}" "$REGISTRY_DIR/data/aside/sha256/00"
    mv "$(blob_file "$kept")" "$REGISTRY_DIR/data/aside/sha256/${hex:0:2}/"
    echo unknown > "$REGISTRY_DIR/data/aside/sha256/00/00$(printf '%062d' 0)"
    registry_start "$REGISTRY_DIR"
    [[ $(registry_status "/v2/still/a/blobs/$kept") == 200 ]]
    [[ -z $(find "$REGISTRY_DIR/data/aside" -type f) ]]
}

@test "gc leaves no file of root in a data folder of another account" {
    cp -r "$REGISTRY_DIR/registry.yaml" "$REGISTRY_DIR/data" .
    rm -f data/index.db-wal data/index.db-shm data/serve.lock
    sed -i '/^user:/d; s/^dataDir: .*/user: nobody\ndataDir: data/' registry.yaml
    [[ $(id -u) == 0 ]] || skip "needs root"
    chmod go+x "$BATS_RUN_TMPDIR" "$BATS_RUN_TMPDIR/test" "$BATS_TEST_TMPDIR"
    chown -R nobody data
    bulla-registry gc --config registry.yaml
    [[ -e data/index.db ]]
    [[ -z $(find data -user root) ]]
}
