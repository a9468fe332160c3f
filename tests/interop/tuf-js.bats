#!/usr/bin/env bats
# A second opinion: tuf-js, a TUF client that others wrote, follows what the registry serves, and refuses what it
# must refuse.
load ../support/bulla

# Every case is skipped, with this reason.
skip_all() { # REASON
    echo "$1" > "$BATS_FILE_TMPDIR/skip"
}

# Installed once for a build, each package pinned by its hash.
install_tuf_js() {
    local release folder log=$BATS_FILE_TMPDIR/npm.log
    if ! command -v node > /dev/null || ! command -v npm > /dev/null; then
        skip_all "node and npm are not installed"
        return
    fi
    release=$(node -e 'const [a, b] = process.versions.node.split(".").map(Number);
        console.log(a > 22 || (a == 22 && b >= 9) || (a == 20 && b >= 17) ? "node-20"
            : a > 20 || (a == 20 && b >= 5) || (a == 18 && b >= 17) ? "node-18" : "")')
    if [[ -z $release ]]; then
        skip_all "tuf-js needs node 18.17 or later; this is $(node --version)"
        return
    fi
    folder=$BULLA_BUILD/tuf-js/$release
    mkdir -p "$folder"
    exec 7> "$folder.lock"
    flock 7
    if [[ ! -e $folder/complete ]] || ! cmp -s "$folder/package-lock.json" \
        "$BATS_TEST_DIRNAME/tuf-js/$release/package-lock.json"; then
        rm -rf "${folder:?}"/*
        cp "$BATS_TEST_DIRNAME/tuf-js/$release"/package{,-lock}.json "$folder"
        if ! (cd "$folder" && timeout 120 npm ci --ignore-scripts --no-audit --no-fund --fetch-retries 1 \
            --cache "$folder/cache" < /dev/null > "$log" 2>&1); then
            if grep -Eq 'E(NOTFOUND|TIMEDOUT|CONNREFUSED|CONNRESET|HOSTUNREACH|NETUNREACH|AI_AGAIN)' "$log"; then
                skip_all "the packages of tuf-js cannot be had: no answer from the network"
                return
            fi
            cat "$log" >&2
            return 1
        fi
        touch "$folder/complete"
    fi
    exec 7>&-
    export NODE_PATH=$folder/node_modules
}

setup_file() {
    install_tuf_js
    [[ ! -e $BATS_FILE_TMPDIR/skip ]] || return 0
    bulla_setup_file
    registry_grant anonymous 'acme/*' pull
    # What the registry serves after the first signature, for later.
    keep_served "$BATS_FILE_TMPDIR/first"
}

teardown_file() {
    [[ ! -e $BATS_FILE_TMPDIR/registry.pid ]] || bulla_teardown_file
}

setup() {
    [[ ! -e $BATS_FILE_TMPDIR/skip ]] || skip "$(cat "$BATS_FILE_TMPDIR/skip")"
    bulla_setup
    export NODE_EXTRA_CA_CERTS=$REGISTRY_CA
    META=$BATS_TEST_TMPDIR/metadata
    TARGETS=$BATS_TEST_TMPDIR/targets
    mkdir "$META"
}

teardown() {
    [[ -z ${SERVER_PID:-} ]] || kill "$SERVER_PID" 2> /dev/null || true
}

served() { # PATH: what anybody gets
    curl -sS --fail --cacert "$REGISTRY_CA" "https://$REGISTRY_HOST/v2/acme/app/_trust/$1"
}

keep_served() { # FOLDER: the metadata of acme/app and the bytes of v1, as files of a static server
    local timestamp snapshot targets digest
    mkdir -p "$1/tuf" "$1/targets"
    served tuf/1.root.json > "$1/tuf/1.root.json"
    served tuf/timestamp.json > "$1/tuf/timestamp.json"
    timestamp=$(< "$1/tuf/timestamp.json")
    snapshot=$(jq -r '.signed.meta["snapshot.json"].version' <<< "$timestamp")
    served "tuf/$snapshot.snapshot.json" > "$1/tuf/$snapshot.snapshot.json"
    targets=$(jq -r '.signed.meta["targets.json"].version' "$1/tuf/$snapshot.snapshot.json")
    served "tuf/$targets.targets.json" > "$1/tuf/$targets.targets.json"
    digest=$(jq -r '.signed.targets.v1.hashes.sha256' "$1/tuf/$targets.targets.json")
    served "targets/$digest.v1" > "$1/targets/$digest.v1"
}

serve_files() { # FOLDER: sets FILES_URL
    : > "$BATS_TEST_TMPDIR/out" # what an earlier server said; the new one may be late
    static-http "$1" "$BATS_TEST_TMPDIR/log" > "$BATS_TEST_TMPDIR/out" 3>&- &
    SERVER_PID=$!
    local i
    for ((i = 0; i < 200; i++)); do
        grep -q listening "$BATS_TEST_TMPDIR/out" && break
        sleep 0.05
    done
    FILES_URL=http://$(sed -n 's/^listening on //p' "$BATS_TEST_TMPDIR/out")
}

client() { # BASE-URL NAME…
    local base=$1
    shift
    timeout 60 node "$BATS_TEST_DIRNAME/tuf-js/client.js" "$META" "$base/tuf" "$TARGETS" "$base/targets" "$@"
}

start_at_root() { # REPOSITORY: the anchor, as a user would be given it
    registry_curl "/v2/$1/_trust/tuf/1.root.json" > "$META/root.json"
}

# The bytes that tuf-js stored are those whose digest bulla vouches for.
same_digest() { # REFERENCE NAME
    local path
    path=$(sed -n "s/^$2 //p" <<< "$output")
    [[ $(digest_of "$path") == "$(bulla verify "$1" --json 2> /dev/null | jq -r .digest)" ]]
}

@test "a collection with nothing signed yet" {
    bulla trust init "$REGISTRY_HOST/acme/empty" --root-key root --targets-key targets > /dev/null
    start_at_root acme/empty
    run client "https://$REGISTRY_HOST/v2/acme/empty/_trust"
    expect 0
    run client "https://$REGISTRY_HOST/v2/acme/empty/_trust" v1
    expect 2 "no target v1"
}

@test "a tag's manifest, and a second one after it was signed" {
    local base=https://$REGISTRY_HOST/v2/acme/app/_trust
    start_at_root acme/app
    run client "$base" v1
    expect 0 "^v1 "
    same_digest "$REF" v1
    [[ $(jq .signed.version "$META/timestamp.json") == $(served tuf/timestamp.json | jq .signed.version) ]]
    publish second-tag.2 two
    run client "$base" v1 second-tag.2
    expect 0 "^second-tag.2 "
    same_digest "$REF" v1
    same_digest "$REGISTRY_HOST/acme/app:second-tag.2" second-tag.2
    run client "$base" v9
    expect 2 "no target v9"
}

@test "new keys for snapshot and timestamp, while the client knows the old ones" {
    local base=https://$REGISTRY_HOST/v2/acme/rotated/_trust role
    bulla trust init "$REGISTRY_HOST/acme/rotated" --root-key root --targets-key targets > /dev/null
    bulla push store:app:v1 "$REGISTRY_HOST/acme/rotated:v1" > /dev/null
    bulla sign "$REGISTRY_HOST/acme/rotated:v1" --key targets > /dev/null
    start_at_root acme/rotated
    run client "$base" v1
    expect 0 "^v1 "
    for role in snapshot timestamp; do
        bulla trust rotate "$REGISTRY_HOST/acme/rotated" "$role" --key root > /dev/null
        run client "$base" v1
        expect 0 "^v1 "
    done
    [[ $(jq .signed.version "$META/root.json") == 3 ]]
    same_digest "$REGISTRY_HOST/acme/rotated:v1" v1
}

@test "a digest as the name of a target" {
    local digest
    digest=$(bulla verify "$REF" --json 2> /dev/null | jq -r .digest)
    bulla sign "$REGISTRY_HOST/acme/app@$digest" --key targets > /dev/null
    start_at_root acme/app
    run client "https://$REGISTRY_HOST/v2/acme/app/_trust" "$digest"
    expect 0 "^$digest "
    [[ $(digest_of "${output#"$digest" }") == "$digest" ]]
}

@test "thresholds of two, and keys of both kinds" {
    bulla key generate root2 --type ecdsa-p256 > /dev/null
    bulla key generate targets2 --type ecdsa-p256 > /dev/null
    bulla trust init "$REGISTRY_HOST/acme/two" --root-key root --root-key root2 --root-threshold 2 \
        --targets-key targets --targets-key targets2 --targets-threshold 2 > /dev/null
    bulla push store:app:v1 "$REGISTRY_HOST/acme/two:v1" > /dev/null
    bulla sign "$REGISTRY_HOST/acme/two:v1" --key targets --key targets2 > /dev/null
    start_at_root acme/two
    run client "https://$REGISTRY_HOST/v2/acme/two/_trust" v1
    expect 0 "^v1 "
    same_digest "$REGISTRY_HOST/acme/two:v1" v1
}

@test "a key on a token" {
    . "$BATS_TEST_DIRNAME/../support/softhsm.sh"
    softhsm_module > /dev/null || skip "SoftHSM is not installed"
    softhsm_make_token "$BATS_TEST_TMPDIR/token" bulla-test 123456 01
    echo 123456 > "$BATS_TEST_TMPDIR/pin"
    chmod 600 "$BATS_TEST_TMPDIR/pin"
    export BULLA_PIN_FILE=$BATS_TEST_TMPDIR/pin
    local uri
    uri=$(bulla key token list --json | jq -r '.keys[0].uri')
    bulla trust init "$REGISTRY_HOST/acme/token" --root-key "$uri" --targets-key "$uri" > /dev/null
    bulla push store:app:v1 "$REGISTRY_HOST/acme/token:v1" > /dev/null
    bulla sign "$REGISTRY_HOST/acme/token:v1" --key "$uri" > /dev/null
    start_at_root acme/token
    run client "https://$REGISTRY_HOST/v2/acme/token/_trust" v1
    expect 0 "^v1 "
    same_digest "$REGISTRY_HOST/acme/token:v1" v1
}

@test "kept files of the registry still convince; a changed byte does not" {
    local file
    serve_files "$BATS_FILE_TMPDIR"
    cp "$BATS_FILE_TMPDIR/first/tuf/1.root.json" "$META/root.json"
    run client "$FILES_URL/first" v1
    expect 0 "^v1 "
    for file in "$BATS_FILE_TMPDIR"/first/tuf/{timestamp,*.snapshot,*.targets}.json; do
        cp -r "$BATS_FILE_TMPDIR/first" "$BATS_TEST_TMPDIR/changed"
        # A date that is as well-formed as the old one.
        sed -i 's/"expires":"20/"expires":"21/' "$BATS_TEST_TMPDIR/changed/tuf/${file##*/}"
        ! cmp -s "$file" "$BATS_TEST_TMPDIR/changed/tuf/${file##*/}"
        kill "$SERVER_PID"
        serve_files "$BATS_TEST_TMPDIR"
        rm -rf "$META"
        mkdir "$META"
        cp "$BATS_FILE_TMPDIR/first/tuf/1.root.json" "$META/root.json"
        run client "$FILES_URL/changed" v1
        expect 1 "UnsignedMetadataError|Expected hash"
        rm -rf "$BATS_TEST_TMPDIR/changed"
    done
}

@test "changed bytes of a target are refused" {
    local file
    cp -r "$BATS_FILE_TMPDIR/first" "$BATS_TEST_TMPDIR/changed"
    file=$(find "$BATS_TEST_TMPDIR/changed/targets" -type f)
    flip_byte "$file"
    serve_files "$BATS_TEST_TMPDIR"
    cp "$BATS_FILE_TMPDIR/first/tuf/1.root.json" "$META/root.json"
    run client "$FILES_URL/changed" v1
    expect 1 "LengthOrHashMismatchError"
}

@test "a rolled back registry is refused" {
    start_at_root acme/app
    publish newest newest
    run client "https://$REGISTRY_HOST/v2/acme/app/_trust" newest
    expect 0
    serve_files "$BATS_FILE_TMPDIR"
    run client "$FILES_URL/first" v1
    expect 1 "BadVersionError"
}

# The same client goes along, as one that is used does; another one begins anew each time.
follows() { # REPOSITORY TAG…: both see these tags
    local base=https://$REGISTRY_HOST/v2/$1/_trust repository=$1 tag fresh
    shift
    for fresh in no yes; do
        if [[ $fresh == yes ]]; then
            META=$BATS_TEST_TMPDIR/fresh
            rm -rf "$META"
            mkdir "$META"
            start_at_root "$repository"
        else
            META=$BATS_TEST_TMPDIR/metadata
        fi
        run client "$base" "$@"
        expect 0
        for tag in "$@"; do same_digest "$REGISTRY_HOST/$repository:$tag" "$tag"; done
    done
}

follows_not() { # REPOSITORY TAG
    META=$BATS_TEST_TMPDIR/metadata
    run client "https://$REGISTRY_HOST/v2/$1/_trust" "$2"
    expect 2 "no target $2"
}

@test "a collection's life: delegations, every rotation, renewal, revocation, bins" {
    local c=$REGISTRY_HOST/acme/life key
    for key in alice alice2 bin root3 targets3; do bulla key generate "life-$key" > /dev/null; done
    bulla trust init "$c" --root-key root --targets-key targets > /dev/null
    bulla push store:app:v1 "$c:v1" > /dev/null
    bulla push store:app:v1 "$c:a-1" > /dev/null
    bulla push store:app:v1 "$c:a-2" > /dev/null
    bulla sign "$c:v1" --key targets > /dev/null
    start_at_root acme/life
    follows acme/life v1
    bulla trust delegate "$c" alice --role-key life-alice --tags 'a-*' --key targets > /dev/null
    bulla sign "$c:a-1" --role alice --key life-alice > /dev/null
    follows acme/life v1 a-1
    bulla trust rotate "$c" alice --new-key life-alice2 --key targets --key life-alice2 > /dev/null
    bulla sign "$c:a-2" --role alice --key life-alice2 > /dev/null
    follows acme/life a-1 a-2
    bulla trust rotate "$c" targets --new-key life-targets3 --key root --key life-targets3 > /dev/null
    bulla trust rotate "$c" root --new-key life-root3 --key root --key life-root3 > /dev/null
    follows acme/life v1 a-1
    bulla trust rotate "$c" snapshot --key life-root3 > /dev/null
    follows acme/life v1
    bulla trust rotate "$c" snapshot timestamp --key life-root3 > /dev/null
    follows acme/life v1 a-1
    bulla sign "$c:a-1" --role alice --key life-alice2 > /dev/null
    bulla trust renew "$c" root targets alice --key life-root3 --key life-targets3 --key life-alice2 > /dev/null
    bulla trust split "$c" alice --bin-key life-bin --key life-alice2 --key life-bin > /dev/null
    follows acme/life v1 a-1 a-2
    bulla trust revoke "$c:a-1" --key life-bin > /dev/null
    follows_not acme/life a-1
    bulla trust revoke "$c:v1" --block --key life-targets3 > /dev/null
    follows_not acme/life v1
    follows acme/life a-2
    bulla trust undelegate "$c" alice --key life-targets3 > /dev/null
    follows_not acme/life a-2
}

@test "what the documentation shows for tuf-js works as it stands" {
    local program=$BATS_TEST_TMPDIR/shown.js
    {
        echo '(async () => {'
        # shellcheck disable=SC2016 # a pattern
        sed -n '/^```js$/,/^```$/{/^```/!p}' "$BATS_TEST_DIRNAME/../../docs/tuf-clients.md" |
            sed "s/127\.0\.0\.1:5443/$REGISTRY_HOST/"
        echo '})().catch((error) => { console.error(error); process.exitCode = 1; });'
    } > "$program"
    grep -q "$REGISTRY_HOST" "$program"
    start_at_root acme/app
    mkdir "$TARGETS"
    cd "$BATS_TEST_TMPDIR"
    run timeout 60 node "$program"
    expect 0
    [[ $(digest_of "$TARGETS"/*) == "$(bulla verify "$REF" --json 2> /dev/null | jq -r .digest)" ]]
}
