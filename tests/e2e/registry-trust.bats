# The trust API over HTTP: what is published, served, renewed and refused.

setup_file() {
    load ../support/registry
    registry_init "$BATS_FILE_TMPDIR/r"
    sed -i 's/^  timestampLifetime: .*/  timestampLifetime: 1m/' "$BATS_FILE_TMPDIR/r/registry.yaml"
    registry_start "$BATS_FILE_TMPDIR/r"
    export BULLA_HOME=$BATS_FILE_TMPDIR/home REGISTRY_AUTH_FILE=$BATS_FILE_TMPDIR/auth.json
    export BULLA_PASSPHRASE_FILE=$BATS_FILE_TMPDIR/passphrase
    (umask 077; head -c 18 /dev/urandom | base64 > "$BULLA_PASSPHRASE_FILE")
    printf '%s' "$REGISTRY_PASSWORD" |
        bulla login --cacert "$REGISTRY_CA" -u admin --password-stdin "$REGISTRY_HOST"
    bulla key generate root
    bulla key generate owner --type ecdsa-p256
    BATS_TEST_TMPDIR=$BATS_FILE_TMPDIR push_image acme/app v1
    bulla trust init "$REGISTRY_HOST/acme/app" --root-key root --targets-key owner --cacert "$REGISTRY_CA"
    bulla sign "$REGISTRY_HOST/acme/app:v1" --trust-remote-tag --cacert "$REGISTRY_CA"
}

teardown_file() {
    load ../support/registry
    registry_stop
}

setup() {
    load ../support/registry
    cd "$BATS_TEST_TMPDIR" || return
    TUF=/v2/acme/app/_trust/tuf
}

# publish [REPOSITORY] FILE=ROLE…: prints status and body.
publish() {
    local parts=() part
    for part in "$@"; do parts+=(-F "files=@${part%%=*};filename=${part#*=}"); done
    registry_curl -w '\n%{http_code}\n' "${parts[@]}" "$TUF/"
}

timestamp_version() {
    registry_curl "$TUF/timestamp.json" | jq .signed.version
}

@test "what was published is served: names, types, bytes" {
    registry_curl "$TUF/2.targets.json" > targets
    registry_curl "$TUF/2.snapshot.json" |
        jq -e --arg d "$(sha256sum < targets | cut -c -64)" '.signed.meta["targets.json"].hashes.sha256 == $d'
    run registry_curl -i "$TUF/timestamp.json"
    [[ $output == *"Content-Type: application/json"* && $output == *"Cache-Control: no-cache"* ]]
    for missing in 3.root.json root.json targets.json snapshot.json 1.timestamp.json 9.targets.json x.json; do
        [[ $(registry_status "$TUF/$missing") == 404 ]]
    done
    [[ $(registry_status /v2/acme/unsigned/_trust/tuf/timestamp.json) == 404 ]]
}

@test "a target is served by hash and name, and only if it is signed" {
    registry_curl /v2/acme/app/manifests/v1 > manifest
    hash=$(sha256sum < manifest | cut -c -64)
    registry_curl "/v2/acme/app/_trust/targets/$hash.v1" | cmp - manifest
    [[ $(registry_status "/v2/acme/app/_trust/targets/$hash.v2") == 404 ]]
    other=$(push_image acme/app unsigned)
    [[ $(registry_status "/v2/acme/app/_trust/targets/${other#sha256:}.unsigned") == 404 ]]
    [[ $(registry_status "/v2/acme/app/_trust/targets/${other#sha256:}.v1") == 404 ]]
}

@test "a signed digest and its tag cannot be deleted; another tag of it can" {
    digest=$(digest_of <(registry_curl /v2/acme/app/manifests/v1))
    run registry_curl -X DELETE /v2/acme/app/manifests/v1
    [[ $output == *"revoke first"* ]]
    [[ $(registry_status -X DELETE "/v2/acme/app/manifests/$digest") == 403 ]]
    registry_curl /v2/acme/app/manifests/v1 > manifest
    [[ $(registry_status -X PUT -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' \
        --data-binary @manifest /v2/acme/app/manifests/alias) == 201 ]]
    [[ $(registry_status -X DELETE /v2/acme/app/manifests/alias) == 202 ]]
    [[ $(registry_status "/v2/acme/app/manifests/$digest") == 200 ]]
}

@test "the service's keys are for those who may sign" {
    registry_curl "$TUF/timestamp.key" | jq -e '.keytype == "ed25519"'
    run registry_curl "$TUF/1.root.json"
    [[ $output == *"$(registry_curl "$TUF/snapshot.key" | jq -r .keyval.public)"* ]]
    [[ $(registry_status "$TUF/targets.key") == 404 ]]
    registry_user reader
    registry_grant reader '*' pull,push,delete,admin
    REGISTRY_USER=reader REGISTRY_PASSWORD=reader-password
    [[ $(registry_status "$TUF/timestamp.key") == 403 ]]
    [[ $(registry_status -F "files=@$0;filename=targets" "$TUF/") == 403 ]]
}

@test "bad publications: signature, version, collection, unknown digest; nothing changes" {
    before=$(registry_curl "$TUF/2.snapshot.json")
    registry_curl "$TUF/2.targets.json" > current
    jq -c '.signed.version = 3' current > changed
    [[ $(publish changed=targets) == *bad-signature*400 ]]
    jq -c '.signed.version = 3 | .signatures = []' current > changed
    [[ $(publish changed=targets) == *bad-signature*400 ]]
    jq -c '.signed.version = 7' current > changed
    [[ $(publish changed=targets) == *conflict*409 ]]
    jq -c '.signed.version = 1' current > changed
    [[ $(publish changed=targets) == *409 ]]
    jq -c '.signed.version = 3 | .signed["x-bulla-collection"] = "acme/other"' current > changed
    [[ $(publish changed=targets) == *400 ]]
    echo '{}' > changed
    [[ $(publish changed=targets) == *400 ]]
    : > changed
    [[ $(publish changed=targets) == *400 ]]
    registry_curl "$TUF/1.root.json" | jq -c '.signed.version = 2' > changed
    [[ $(publish changed=root) == *bad-signature*400 ]]
    [[ $(registry_status "$TUF/3.targets.json") == 404 && $(registry_status "$TUF/2.root.json") == 404 ]]
    [[ $before == "$(registry_curl "$TUF/2.snapshot.json")" ]]
}

@test "bad forms are 400, too many or too large parts 413" {
    registry_curl "$TUF/2.targets.json" > current
    [[ $(publish current=snapshot) == *"own service"*400 ]]
    [[ $(publish current=timestamp) == *400 ]]
    [[ $(publish current=../targets) == *400 ]]
    [[ $(publish current=Targets) == *400 ]]
    [[ $(publish current=targets current=targets) == *"given twice"*400 ]]
    [[ $(registry_status -F "other=@current;filename=targets" "$TUF/") == 400 ]]
    [[ $(registry_status -X POST --data-binary @current "$TUF/") == 400 ]]
    post() { registry_status -X POST -H "Content-Type: multipart/form-data; boundary=$1" --data-binary "@$2" "$TUF/"; }
    printf -- '--bound\r\nContent-Disposition: form-data; name="files"; filename="targets"\r\n\r\n{}' > cut
    [[ $(post bound cut) == 400 ]]
    [[ $(post "$(printf %071d 0)" cut) == 400 ]]
    [[ $(post '' cut) == 400 ]]
    : > nothing
    [[ $(post bound nothing) == 400 ]]
    for i in $(seq 2101); do
        printf -- '--bound\r\nContent-Disposition: form-data; name="files"; filename="role%d"\r\n\r\n{}\r\n' "$i"
    done > many
    echo '--bound--' >> many
    [[ $(post bound many) == 413 ]]
    head -c 25500000 /dev/zero > huge
    [[ $(registry_status -F "files=@huge;filename=targets" "$TUF/") == 413 ]]
    head -c 5500000 /dev/zero | tr '\0' ' ' > large
    [[ $(publish large=targets) == *413 ]]
}

@test "Docker Notary v1 metadata is refused by name" {
    echo '{"signed":{"_type":"Targets","version":1,"targets":{}},"signatures":[{"keyid":"x","method":"ecdsa","sig":"x"}]}' > notary
    [[ $(publish notary=targets) == *"Notary v1"*400 ]]
    [[ $(publish notary=targets/releases) == *"Notary v1"*400 ]]
}

@test "a repository's first root needs admin" {
    registry_user signer
    registry_grant signer 'acme/*' pull,push,sign
    printf '%s' signer-password |
        REGISTRY_AUTH_FILE=$PWD/auth bulla login --cacert "$REGISTRY_CA" -u signer --password-stdin "$REGISTRY_HOST"
    REGISTRY_AUTH_FILE=$PWD/auth run bulla trust init "$REGISTRY_HOST/acme/squat" --root-key root \
        --targets-key owner --cacert "$REGISTRY_CA"
    [[ $status != 0 && $output == *admin* ]]
    [[ $(registry_status /v2/acme/squat/_trust/tuf/1.root.json) == 404 ]]
    push_image acme/app v9
    REGISTRY_AUTH_FILE=$PWD/auth bulla sign "$REGISTRY_HOST/acme/app:v9" --trust-remote-tag --cacert "$REGISTRY_CA"
}

@test "a moved tag changes nothing that is signed" {
    signed=$(registry_curl "$TUF/timestamp.json")
    push_image acme/app v1 "something else"
    hash=$(jq -r '.signed.targets.v1.hashes.sha256' <(registry_curl "$TUF/2.targets.json"))
    [[ $(registry_status "/v2/acme/app/_trust/targets/$hash.v1") == 200 ]]
    [[ $(registry_status -X DELETE "/v2/acme/app/manifests/sha256:$hash") == 403 ]]
}

@test "the timestamp is renewed before it expires, without the signing service it is served as it is" {
    before=$(timestamp_version)
    for _ in $(seq 45); do
        now=$(timestamp_version)
        [[ $now -gt $before ]] && break
        sleep 1
    done
    [[ $now -gt $before ]]
    signer=$(cat "/proc/$REGISTRY_PID/task/$REGISTRY_PID/children")
    kill "$signer"
    for _ in $(seq 50); do registry_runs "$signer" || break; sleep 0.1; done
    [[ $(timestamp_version) == "$now" ]]
    registry_curl "$TUF/2.targets.json" > current
    [[ $(registry_status "$TUF/timestamp.key") == 502 ]]
    sleep 1
    [[ $(timestamp_version) == "$now" ]]
    grep -q 'signing service ended' "$REGISTRY_DIR/log"
    registry_stop
    registry_start "$REGISTRY_DIR"
    registry_curl "$TUF/2.targets.json" | cmp - current
    [[ $(timestamp_version) -ge $now ]]
}
