# Backup beside a running server, restore, and what both refuse.

bats_require_minimum_version 1.5.0

setup() {
    load ../support/registry
    cd "$BATS_TEST_TMPDIR" || return
    registry_start "$BATS_TEST_TMPDIR/r"
    CONFIG=$BATS_TEST_TMPDIR/r/registry.yaml
}

teardown() {
    load ../support/registry
    [[ ${pid:-} ]] && kill "$pid" 2> /dev/null
    registry_stop
}

backup() {
    bulla-registry backup --config "$CONFIG" "$@"
}

restore() {
    bulla-registry restore --config "$CONFIG" "$@"
}

# The server stops, its data goes, and a restored registry takes its place.
replace_by() {
    registry_stop
    rm -rf r/data
    restore "$1" > restored
    registry_start "$BATS_TEST_TMPDIR/r"
}

@test "a backup made while others push restores to a whole registry" {
    head -c 3000000 /dev/urandom > big
    big=$(push_blob b/app big)
    first=$(push_image b/app v1)
    (while :; do push_image b/app "t$RANDOM" "$RANDOM" > /dev/null 2>&1 || exit; done) 3>&- &
    pid=$!
    run -0 backup copy
    [[ $output == *"bulla-signer backup"* ]]
    kill "$pid"
    wait "$pid" || true
    pid=
    after=$(push_image b/app after)
    replace_by copy
    grep -q 'bulla-registry serve' restored
    registry_curl "/v2/b/app/blobs/$big" | cmp - big
    [[ $(digest_of <(registry_curl /v2/b/app/manifests/v1)) == "$first" ]]
    [[ $(registry_status "/v2/b/app/manifests/$after") == 404 ]]
    for tag in $(registry_curl /v2/b/app/tags/list | jq -r '.tags[]'); do
        for d in $(registry_curl "/v2/b/app/manifests/$tag" | jq -r '.config.digest, .layers[].digest'); do
            [[ $(registry_status "/v2/b/app/blobs/$d") == 200 ]]
        done
    done
    push_image b/app again > /dev/null
    run -0 bulla-registry audit verify --config "$CONFIG"
    bulla-registry audit export --log changes --config "$CONFIG" | grep -q '"event":"registry.restore","result":"done"'
    run -0 bulla-registry scrub --config "$CONFIG"
    # No key and no password went along.
    [[ -z $(find copy -name '*key*' -o -name passphrase) ]]
    run ! grep -rq "$REGISTRY_PASSWORD" copy
}

@test "later backups into the same folder add what is new and forget what is gone" {
    push_image b/app v1 > /dev/null # three blobs
    echo loose > f1
    push_blob b/app f1 > /dev/null
    backup copy --json | jq -e '.blobs == 4 and .newBlobs == 4'
    [[ $(stat -c %h "$(find copy/blobs -type f | head -n 1)") == 2 ]] # linked, not copied
    echo more > f2
    push_blob b/app f2 > /dev/null
    backup copy --json --verify | jq -e '.blobs == 5 and .newBlobs == 1'
    [[ $(find copy -maxdepth 1 -name 'state-*' | wc -l) == 1 ]]
    sed -i '/^gc:/,/lease:/s/lease: .*/lease: 1s/' "$CONFIG"
    registry_stop
    sleep 2.1
    bulla-registry gc --config "$CONFIG"
    backup copy --json --copy | jq -e '.blobs == 3 and .newBlobs == 0'
    [[ $(find copy/blobs -type f | wc -l) == 3 ]]
    rm -rf r/data
    restore copy
}

@test "a backup that was cut off leaves the one before whole" {
    first=$(push_image b/app v1)
    backup copy > /dev/null
    for i in $(seq 20); do head -c 300000 /dev/urandom > f; push_blob b/app f > /dev/null; done
    for i in 1 2 3 4; do
        bulla-registry backup --copy --config "$CONFIG" copy > /dev/null 2>&1 3>&- &
        pid=$!
        sleep "0.0$i"
        kill -9 "$pid" 2> /dev/null || true
        wait "$pid" || true
        cp -a copy "copy$i"
    done
    pid=
    registry_stop
    for i in 1 2 3 4; do
        rm -rf r/data
        restore "copy$i"
    done
    registry_start "$BATS_TEST_TMPDIR/r"
    [[ $(digest_of <(registry_curl /v2/b/app/manifests/v1)) == "$first" ]]
    backup copy --json | jq -e '.lacking == 0'
}

@test "restore never touches data that is there, and never shows a damaged backup" {
    push_image b/app v1 > /dev/null
    backup --copy copy > /dev/null
    run -3 restore copy
    [[ $output == *"is not empty"* ]]
    registry_stop
    mv r/data kept
    cp -a copy good
    file=$(find copy/blobs -type f | head -n 1)
    chmod u+w "$file"
    printf 'x' | dd of="$file" bs=1 seek=3 conv=notrunc status=none
    run -1 restore copy
    [[ $output == *"blob sha256:"* && ! -e r/data ]]
    rm -f "$file"
    run -1 restore copy
    [[ $output == *"missing in the backup"* && ! -e r/data ]]
    rm -rf copy && cp -a good copy
    sed -i 's/"who":"admin"/"who":"other"/' copy/state-*/audit/changes-*.jsonl
    run -1 restore copy
    [[ $output == *"audit log"*"record"* && ! -e r/data ]]
    rm -rf copy && cp -a good copy
    printf 'x' | dd of="$(echo copy/state-*/index.db)" bs=1 seek=5000 conv=notrunc status=none
    run -1 restore copy
    [[ $output == *"index"* && ! -e r/data ]]
    rm -rf copy && cp -a good copy
    rm copy/backup.json
    run -3 restore copy
    [[ $output == *"no finished backup"* && ! -e r/data ]]
    restore good
    run -0 bulla-registry audit verify --config "$CONFIG"
}

@test "a backup takes no damaged blob, and says that it lacks it" {
    head -c 100000 /dev/urandom > f
    digest=$(push_blob b/app f)
    push_image b/app v1 > /dev/null
    file=r/data/blobs/sha256/${digest:7:2}/${digest#sha256:}
    chmod u+w "$file"
    printf 'xy' | dd of="$file" bs=1 seek=3 conv=notrunc status=none
    run -1 backup copy
    [[ $output == *"scrub"* && -z $(find copy/blobs -name "${digest#sha256:}") ]]
    replace_by copy
    [[ $(registry_status "/v2/b/app/blobs/$digest") == 404 ]]
    [[ $(registry_status /v2/b/app/manifests/v1) == 200 ]]
    [[ $(push_blob b/app f) == "$digest" ]]
    registry_curl "/v2/b/app/blobs/$digest" | cmp - f
}

@test "backups refuse foreign folders, one another, and nothing at all" {
    backup copy > /dev/null
    mkdir other && touch other/file
    run -3 backup other
    [[ $output == *"is not empty and no backup"* ]]
    registry_init "$BATS_TEST_TMPDIR/r2"
    run -3 bulla-registry backup --config r2/registry.yaml copy
    [[ $output == *"another registry"* ]]
    # Two at once, from the first moment on: the folder is empty and already somebody's.
    mkdir fresh
    for folder in copy fresh; do
        exec 8< "$folder"
        flock 8
        run -3 backup "$folder"
        [[ $output == *"another backup goes into '$folder' right now"* ]]
        exec 8<&-
        run -0 backup "$folder"
    done
    rm -rf r2/data && mkdir r2/data
    run -3 bulla-registry backup --config r2/registry.yaml new
    [[ $output == *"holds no registry"* && ! -e new ]]
    run -2 bulla-registry backup --config "$CONFIG"
    run -3 restore nowhere
    run -0 bulla-registry backup --help
    run -0 bulla-registry restore --help
}

@test "a restored registry follows two new roots and later publications, and clients verify" {
    export BULLA_HOME=$BATS_TEST_TMPDIR/home REGISTRY_AUTH_FILE=$BATS_TEST_TMPDIR/auth.json
    export BULLA_PASSPHRASE_FILE=$BATS_TEST_TMPDIR/passphrase
    (umask 077; head -c 18 /dev/urandom | base64 > "$BULLA_PASSPHRASE_FILE")
    ref=$REGISTRY_HOST/b/app
    # The port stays, so that names go on meaning the same registry.
    sed -i "s/^listen: .*/listen: \"$REGISTRY_HOST\"/" "$CONFIG"
    printf '%s' "$REGISTRY_PASSWORD" |
        bulla login --cacert "$REGISTRY_CA" -u admin --password-stdin "$REGISTRY_HOST"
    for key in root owner root2 root3; do bulla key generate "$key"; done
    push_image b/app v1 > /dev/null
    bulla trust init "$ref" --root-key root --targets-key owner --cacert "$REGISTRY_CA"
    bulla sign "$ref:v1" --trust-remote-tag --cacert "$REGISTRY_CA"
    cp -a home old-home # a client that will not look until the end
    bulla-signer backup signer.copy --config "$CONFIG"
    run -3 bulla-signer backup signer.copy --config "$CONFIG"
    backup copy > /dev/null
    bulla trust rotate "$ref" root --new-key root2 --key root --key root2 --cacert "$REGISTRY_CA"
    bulla trust rotate "$ref" root --new-key root3 --key root2 --key root3 --cacert "$REGISTRY_CA"
    push_image b/app v2 > /dev/null
    bulla sign "$ref:v2" --trust-remote-tag --cacert "$REGISTRY_CA"
    newest=$(registry_curl /v2/b/app/_trust/tuf/timestamp.json | jq .signed.version)
    replace_by copy
    push_image b/app v2 > /dev/null # what is newer than the backup is pushed again
    for _ in $(seq 100); do
        [[ $(registry_curl /v2/b/app/_trust/tuf/timestamp.json | jq .signed.version) -ge $newest ]] && break
        sleep 0.1
    done
    [[ $(registry_curl /v2/b/app/_trust/tuf/timestamp.json | jq .signed.version) -ge $newest ]]
    for n in 1 2 3; do [[ $(registry_status "/v2/b/app/_trust/tuf/$n.root.json") == 200 ]]; done
    bulla verify "$ref:v2" --cacert "$REGISTRY_CA"
    BULLA_HOME=$BATS_TEST_TMPDIR/old-home bulla verify "$ref:v2" --cacert "$REGISTRY_CA"
    # And goes on.
    push_image b/app v3 > /dev/null
    bulla sign "$ref:v3" --trust-remote-tag --cacert "$REGISTRY_CA"
    bulla verify "$ref:v3" --cacert "$REGISTRY_CA"
}

@test "what a killed garbage collector had moved aside is in the backup" {
    head -c 1000 /dev/urandom > f
    digest=$(push_blob k/app f)
    hex=${digest#sha256:}
    registry_kill
    mkdir -p "r/data/aside/sha256/${hex:0:2}"
    mv "r/data/blobs/sha256/${hex:0:2}/$hex" "r/data/aside/sha256/${hex:0:2}/"
    run backup copy
    [[ $status == 0 && $output != *"not in the backup"* ]]
    cmp f "copy/blobs/sha256/${hex:0:2}/$hex"
    run -0 backup copy --verify
    registry_start "$BATS_TEST_TMPDIR/r"
}
