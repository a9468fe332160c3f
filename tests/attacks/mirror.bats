#!/usr/bin/env bats
# A registry, mirror or network that answers wrongly, slowly, without end, or not at all. Nothing of that may be
# taken for a missing signature, hang, or leave something half-done behind.
load ../support/bulla
load ../support/forge

setup_file() { forge_setup_file; }
teardown_file() { forge_teardown_file; }
setup() { forge_setup; }
teardown() { forge_teardown; }

# A new machine: no state, no image.
new_machine() {
    rm -rf "$BULLA_HOME"
}

places() {
    printf '%s\n' "$TUF/timestamp.json" "$TUF/1.snapshot.json" "$TUF/1.targets.json"
}

blobs() {
    jq -r '.config.digest, .layers[0].digest' "$WWW/v2/$REPO/manifests/$DIGEST"
}

# What may be there after a failure somewhere: what was verified before it.
half_way() {
    ACCEPTED='root.json 1.json timestamp.json snapshot.json targets.json last-success'
}

@test "status 404, 500, 503, 403, 401 at timestamp, snapshot, targets" {
    half_way
    while read -r file; do
        for answer in 404:3 500:3 503:3 429:3 403:1 401:1; do
            new_machine
            echo "${answer%:*}" > "$file.status"
            refused "${answer#*:}" "status ${answer%:*}|no trust metadata|bulla login" bulla verify "$REF"
            refused 125 "status ${answer%:*}|no trust metadata|bulla login" bulla run "$REF"
            rm "$file.status"
        done
    done < <(places)
    good_again 2
}

@test "the same with something stored: unreachable is said, 403 refuses" {
    release 2
    bulla verify "$REF"
    for name in timestamp.json 2.root.json; do
        echo 503 > "$TUF/$name.status"
        run bulla verify "$REF"
        expect 0 'status 503'
        grep -q cached <<< "$output"
        echo 403 > "$TUF/$name.status"
        refused 1 'denies access' bulla verify "$REF"
        rm "$TUF/$name.status"
    done
    # No timestamp any more where there was one: no verdict, and not "not signed".
    mv "$TUF/timestamp.json" "$TUF/gone"
    refused 3 'no trust metadata' bulla verify "$REF"
    good_again 3
}

@test "status 404, 500, 403, 401 at manifest, config, layer" {
    bulla verify "$REF"
    half_way
    for file in "manifests/$DIGEST" $(blobs | sed 's/^/blobs\//'); do
        for answer in 404:3 500:3 403:1 401:1; do
            echo "${answer%:*}" > "$WWW/v2/$REPO/$file.status"
            rm -rf "$BULLA_HOME/images"
            run bulla pull "$REF"
            expect "${answer#*:}" "status ${answer%:*}|bulla login"
            [[ $output != *"is not signed"* ]]
            [[ -z $(command bulla images --json | jq -r '.images[]') ]]
            rm "$WWW/v2/$REPO/$file.status"
        done
    done
    run bulla pull "$REF"
    expect 0 '^pulled'
}

@test "TLS error at timestamp, snapshot, targets, manifest, layer" {
    half_way
    layer=$WWW/v2/$REPO/blobs/$(blobs | tail -n 1)
    # A pull asks for metadata and for content over connections of their own.
    for note in first "$TUF/1.snapshot.json.badtls" "$TUF/1.targets.json.badtls" "$TUF/1.targets.json.lastgood" \
        "$layer.badtls"; do
        new_machine
        if [[ $note == first ]]; then kill -USR2 "$FILE_SERVER_PID"; else touch "$note"; fi
        run bulla pull "$REF"
        expect 3 'certificate'
        [[ $output != *"is not signed"* ]]
        [[ -z $(command bulla images --json | jq -r '.images[]') ]]
        kill -USR1 "$FILE_SERVER_PID"
        rm -f "$note"
        run bulla pull "$REF"
        expect 0 '^pulled'
    done
}

@test "a redirect of trust metadata is not followed" {
    echo 302 > "$TUF/timestamp.json.status"
    half_way
    refused 3 'redirect' bulla verify "$REF"
}

@test "endless data: timestamp, root, snapshot, targets" {
    half_way
    for file in timestamp.json 2.root.json 1.snapshot.json 1.targets.json; do
        new_machine
        [[ -e $TUF/$file ]] || cp "$TUF/1.root.json" "$TUF/$file"
        touch "$TUF/$file.endless"
        refused 1 'larger|more than|longer|limit' timeout 30 bulla --cacert "$REGISTRY_CA" verify "$REF"
        rm "$TUF/$file.endless"
        rm -f "$TUF/2.root.json"
    done
    good_again 2
}

@test "endless data: manifest, config, layer" {
    bulla verify "$REF"
    for file in "manifests/$DIGEST" $(blobs | sed 's/^/blobs\//'); do
        touch "$WWW/v2/$REPO/$file.endless"
        rm -rf "$BULLA_HOME/images"
        run timeout 30 bulla --cacert "$REGISTRY_CA" pull "$REF"
        expect 1 'larger|more than|longer|limit|bytes'
        (($(du -sk "$BULLA_HOME/images" | cut -f 1) < 20000))
        rm "$WWW/v2/$REPO/$file.endless"
    done
    run bulla pull "$REF"
    expect 0 '^pulled'
}

@test "malicious or slow mirror: stalls and drips end in time" {
    # The client's clock runs forty times as fast: its 30 seconds of patience are less than one.
    half_way
    for file in timestamp.json 1.targets.json; do
        new_machine
        touch "$TUF/$file.stall"
        refused 3 'slow|too little|time' timeout 60 faketime -f '+0 x40' bulla --cacert "$REGISTRY_CA" verify "$REF"
        rm "$TUF/$file.stall"
    done
    new_machine
    touch "$TUF/1.snapshot.json.drip"
    refused 3 'slow|too little|time' timeout 60 faketime -f '+0 x40' bulla --cacert "$REGISTRY_CA" verify "$REF"
    rm "$TUF/1.snapshot.json.drip"
    layer=$WWW/v2/$REPO/blobs/$(blobs | tail -n 1)
    touch "$layer.stall"
    run timeout 60 faketime -f '+0 x40' bulla --cacert "$REGISTRY_CA" pull "$REF"
    expect 3 'slow|too little|time'
    rm "$layer.stall"
    run bulla pull "$REF"
    expect 0 '^pulled'
}

@test "a stale mirror: metadata older than known is refused, what is known is kept" {
    release 2
    cp -r "$TUF" "$BATS_TEST_TMPDIR/old"
    release 3
    bulla verify "$REF"
    rm -rf "$TUF"
    cp -r "$BATS_TEST_TMPDIR/old" "$TUF"
    refused 1 'rolled back' bulla verify "$REF"
    good_again 4
}

@test "deep JSON, duplicate members, trailing bytes, no JSON at all" {
    bulla verify "$REF"
    deep=$(printf '{"signatures":[],"signed":%0100000d' 0 | sed 's/0/[/g')
    for text in "${deep:0:16000}" '{"signed":{},"signed":{},"signatures":[]}' "$(cat "$TUF/timestamp.json")}" \
        'x' '[]' 'null' '""' '{}' '{"signed":{"version":1e400},"signatures":[]}' "$(printf '\xff\xfe')"; do
        printf '%s' "$text" > "$TUF/timestamp.json"
        refused 1 '127.0.0.1.*: timestamp: ' bulla verify "$REF"
    done
    : > "$TUF/timestamp.json"
    refused 1 'timestamp' bulla verify "$REF"
    good_again 2
}

@test "deep JSON in targets that the snapshot vouches for" {
    bulla verify "$REF"
    ACCEPTED='timestamp.json snapshot.json'
    printf '{"signatures":[],"signed":%s' "$(printf '%0400000d' 0 | sed 's/0/{"a":/g')" > "$TUF/2.targets.json"
    sign_snapshot 2
    sign_timestamp 2
    refused 1 "role 'targets': .*(deep|nested)" bulla verify "$REF"
    good_again 3
}

@test "huge delegations, key tables, signature lists, ban lists" {
    bulla verify "$REF"
    ACCEPTED='timestamp.json snapshot.json'
    id=$(printf %064d 1)
    release 2 ".delegations = {keys: {}, roles: [range(1025) | {name: \"r\\(.)\", keyids: [\"$id\"],
        threshold: 1, terminating: false, paths: [\"*\"]}]}"
    refused 1 "role 'targets': .*(more than|limit|at most)" bulla verify "$REF"
    release 3 ".delegations = {keys: {}, roles: [{name: \"r\", keyids: [\"$id\"], threshold: 1,
        terminating: false, paths: [range(4097) | \"*\\(.)\"]}]}"
    refused 1 "role 'targets': .*(more than|limit|at most)" bulla verify "$REF"
    release 4 '."x-bulla-banned" = [range(10001) | "sha256:\(1000000 + .)" + "0" * 57]'
    refused 1 "role 'targets': .*(more than|limit|at most)" bulla verify "$REF"
    sign_targets 5
    jq -c '.signatures = [range(257) as $i | .signatures[0] | .keyid = "\(1000 + $i)" + "0" * 60]' \
        "$TUF/5.targets.json" > "$TUF/x"
    mv "$TUF/x" "$TUF/5.targets.json"
    sign_snapshot 5
    sign_timestamp 5
    refused 1 "role 'targets': .*(more than|limit|at most)" bulla verify "$REF"
    good_again 6
}

@test "endless signatures: a hundred thousand of them" {
    bulla verify "$REF"
    # many N FILE SIGNATURE: that signature N times, each under a key id of its own.
    many() {
        local body
        body=$(jq -c .signed "$2")
        awk -v n="$1" -v sig="$3" -v body="$body" 'BEGIN { printf "{\"signatures\":["
            for (i = 1; i <= n; i++) printf "%s{\"keyid\":\"%064x\",\"sig\":\"%s\"}", (i > 1 ? "," : ""), i, sig
            printf "],\"signed\":%s}", body }' > "$2.many"
        mv "$2.many" "$2"
    }
    cp "$TUF/timestamp.json" "$BATS_TEST_TMPDIR/good"
    sig=$(jq -r '.signatures[0].sig' "$TUF/timestamp.json")
    many 100000 "$TUF/timestamp.json" "$sig"
    refused 1 'larger|more than|limit' timeout 10 "$(type -P bulla)" --cacert "$REGISTRY_CA" verify "$REF"
    cp "$BATS_TEST_TMPDIR/good" "$TUF/timestamp.json"
    ACCEPTED='timestamp.json snapshot.json'
    # With signatures they are larger than any role's file may be, without them just not.
    for n in '100000 '"$sig"':length|larger|more than|limit' '50000 :at most 256'; do
        sign_targets 2
        many "${n%% *}" "$TUF/2.targets.json" "$(cut -d: -f1 <<< "${n#* }")"
        sign_snapshot 2
        sign_timestamp 2
        refused 1 "${n#*:}" timeout 10 "$(type -P bulla)" --cacert "$REGISTRY_CA" verify "$REF"
        rm -rf "$BULLA_HOME/trust"
        ACCEPTED='root.json 1.json timestamp.json snapshot.json'
    done
    good_again 3
}

@test "delegations in a circle, and more of them than are followed" {
    with=".targets = {} | $(delegate a '*')"
    sign_role a 1 ".targets = {} | $(delegate b '*')"
    sign_role b 1 ".targets = {} | $(delegate a '*')"
    release 2 "$with"
    run timeout 30 bulla --cacert "$REGISTRY_CA" verify "$REF"
    expect 1 "'v1' is not signed"
    filter='.targets = {}'
    for i in $(seq 70); do
        filter+=" | $(delegate "x$i" '*' seed:x)"
        sign_role "x$i" 3 '.targets = {}' seed:x
    done
    release 3 "$filter"
    run timeout 60 bulla --cacert "$REGISTRY_CA" verify "$REF"
    expect 1 'more than 64 roles could vouch'
    release 4
    run bulla verify "$REF"
    expect 0 '^valid'
}

@test "a compressed bomb of a layer ends where its diff id does" {
    bulla verify "$REF"
    layer=$BATS_TEST_TMPDIR/layer config=$BATS_TEST_TMPDIR/config manifest=$BATS_TEST_TMPDIR/manifest
    # 512 zeroes are what the diff id covers; 256 MiB more are in the same stream.
    diff_id=$(head -c 512 /dev/zero | sha256sum | cut -d ' ' -f 1)
    { head -c 512 /dev/zero | gzip && head -c 268435456 /dev/zero | gzip -1; } > "$layer"
    serve() { # FILE FOLDER: prints the hex digest
        local hex
        hex=$(sha256sum < "$1" | cut -d ' ' -f 1)
        cp "$1" "$WWW/v2/$REPO/$2/sha256:$hex"
        echo "$hex"
    }
    l=$(serve "$layer" blobs)
    jq -c ".rootfs.diff_ids = [\"sha256:$diff_id\"]" "$WWW/v2/$REPO/blobs/$(blobs | head -n 1)" > "$config"
    c=$(serve "$config" blobs)
    jq -c ".config.digest = \"sha256:$c\" | .config.size = $(stat -c %s "$config") | .layers = [.layers[0] |
        .digest = \"sha256:$l\" | .size = $(stat -c %s "$layer") |
        .mediaType = \"application/vnd.oci.image.layer.v1.tar+gzip\"]" "$WWW/v2/$REPO/manifests/$DIGEST" > "$manifest"
    m=$(serve "$manifest" manifests)
    release 2 ".targets.v1.hashes.sha256 = \"$m\" | .targets.v1.length = $(stat -c %s "$manifest")"
    run bulla pull "$REF"
    expect 1 "layer 1"
    [[ -z $(ls -A "$BULLA_HOME"/images/layers/sha256 2> /dev/null) ]]
    [[ -z $(command bulla images --json | jq -r '.images[]') ]]
    good_again 3
}
