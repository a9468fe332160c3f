#!/usr/bin/env bats
# Several mirrors in order: what each may do to a verdict, and what none can.
# The registry itself is a dead port (or $REGISTRY_HOST/own), the mirrors are folders of one file server.
load ../support/bulla
load ../support/forge

setup_file() { forge_setup_file; }
teardown_file() { forge_teardown_file; }
teardown() { forge_teardown; }
setup() {
    forge_setup
    ONE=$REPO TWO=${REPO}b
    cp -r "$WWW/v2/$ONE" "$WWW/v2/$TWO"
    dead
}

policy() { # LOCATION [MEMBERS]: the registry there, both mirrors in order
    REF=$1:v1
    jq -n --arg scope "$1" --arg one "$REGISTRY_HOST/$ONE" --arg two "$REGISTRY_HOST/$TWO" \
        --arg root "$BATS_FILE_TMPDIR/root.json" "
        {version: 1, scopes: {(\$scope): ({collection: \"acme/app\", root: {file: \$root}, refresh: \"0\",
            mirrors: [\$one, \$two]} + {${2:-}})}}" > "$BULLA_POLICY"
}

# Nobody listens at port 1.
dead() { policy 127.0.0.1:1/acme/app "${1:-}"; }

new_machine() { rm -rf "$BULLA_HOME"; }
blobs() { jq -r '.config.digest, .layers[0].digest' "$WWW/v2/$REPO/manifests/$DIGEST"; }

# Metadata that is good on its own may have been kept when a later file turned out not to be.
half_way() { ACCEPTED='root.json 1.json timestamp.json snapshot.json targets.json last-success'; }

at() { TUF=$WWW/v2/$1/_trust/tuf; }

freshness() { bulla verify --json "$REF" | jq -r '.verdict + " " + .freshness'; }

@test "the registry is away: the first mirror that answers well is asked, for proofs and for content" {
    half_way
    run bulla verify "$REF"
    expect 0 'a mirror answered, not the registry'
    [[ $(freshness) == 'valid mirror' ]]
    run bulla pull "$REF"
    expect 0 "^pulled $REF"
    # The first one is gone, or knows nothing: the second.
    for status in 404 503 500; do
        echo "$status" > "$WWW/v2/$ONE/_trust/tuf/timestamp.json.status"
        new_machine
        run bulla verify "$REF"
        expect 0 "$TWO|mirror answered"
        [[ $(freshness) == 'valid mirror' ]]
    done
    # Nobody: not "not signed", and with the registry's own reason.
    cp "$WWW/v2/$ONE/_trust/tuf/timestamp.json.status" "$WWW/v2/$TWO/_trust/tuf/"
    new_machine
    refused 3 '127.0.0.1:1' bulla verify "$REF"
}

@test "a registry that answers is believed alone: its bad answer refuses, whatever the mirrors say" {
    half_way
    mkdir -p "$WWW/v2/own$REPO"
    cp -r "$BASE/." "$WWW/v2/own$REPO/"
    policy "$REGISTRY_HOST/own$REPO"
    at "own$REPO"
    [[ $(freshness) == 'valid online' ]]
    sign_timestamp 2 '.expires = "2020-01-01T00:00:00Z"'
    refused 1 'expired' bulla verify "$REF"
    sign_timestamp 2 . seed:thief
    refused 1 'signature' bulla verify "$REF"
    release 2 '.targets = {}'
    run bulla verify "$REF"
    expect 1 "'v1' is not signed"
    echo 403 > "$TUF/timestamp.json.status"
    refused 1 'denies access' bulla verify "$REF"
    # Nothing there at all is no answer.
    rm -r "$TUF"
    new_machine
    [[ $(freshness) == 'valid mirror' ]]
}

@test "a mirror's bad answer says something of the mirror only" {
    half_way
    at "$ONE"
    for bad in 'sign_timestamp 2 . seed:thief' "sign_timestamp 2 '.expires = \"2020-01-01T00:00:00Z\"'" \
        "echo x > $WWW/v2/$ONE/_trust/tuf/timestamp.json" 'sign_targets 1 .targets={}' \
        "release 2 '.targets = {}'" "release 2 '.\"x-bulla-collection\" = \"acme/evil\"'"; do
        new_machine
        rm -rf "$TUF"
        cp -r "$BASE/_trust/tuf" "$TUF"
        eval "$bad"
        run bulla verify "$REF"
        # A newer set by the owner's online keys is known from then on, and the other mirror has it not.
        if [[ $bad == release* ]]; then
            expect 3 "v1.*not in what was stored|older than what"
        else
            expect 0 '^valid'
        fi
    done
    # Both: nobody knows; the registry has refused nothing.
    at "$TWO"
    sign_timestamp 2 . seed:thief
    at "$ONE"
    rm -rf "$TUF"
    cp -r "$BASE/_trust/tuf" "$TUF"
    sign_timestamp 2 . seed:thief
    new_machine
    refused 3 'signature' bulla verify "$REF"
}

@test "a stale mirror: what is known counts while it has not expired, else the next mirror" {
    at "$ONE"
    cp -r "$TUF" "$BATS_TEST_TMPDIR/old"
    release 3
    [[ $(freshness) == 'valid mirror' ]]
    rm -rf "$TUF"
    cp -r "$BATS_TEST_TMPDIR/old" "$TUF"
    run bulla verify "$REF"
    expect 0 'stale mirror'
    [[ $(freshness) == 'valid cached' ]]
    # Two days on what is known has expired; the second mirror has something newer.
    at "$TWO"
    rm -rf "$TUF"
    cp -r "$BATS_TEST_TMPDIR/old" "$TUF"
    sign_targets 4
    sign_snapshot 4
    sign_timestamp 4 ".expires = \"$(date_in 500000)\""
    at "$ONE"
    run faketime -f +2d bulla --cacert "$REGISTRY_CA" verify "$REF"
    expect 0 'mirror answered'
    grep -q "^timestamp  version 4" <<< "$output"
}

# The same people may own several collections: by their keys alone any of the roots would do.
@test "a mirror's root of another collection is passed over" {
    policy 127.0.0.1:1/acme/app
    jq --arg id "$(forge id seed:root)" '.scopes[].root = {keys: [$id]}' "$BULLA_POLICY" > "$BULLA_POLICY.new"
    mv "$BULLA_POLICY.new" "$BULLA_POLICY"
    new_machine
    run bulla verify "$REF"
    expect 0 '^valid'
    sign_root 1 '."x-bulla-collection" = "acme/other"' # the first mirror's
    new_machine
    run bulla verify "$REF"
    expect 0 '^valid'
}

@test "slow mirrors are given up for the next one" {
    touch "$WWW/v2/$ONE/_trust/tuf/timestamp.json.stall"
    run timeout 60 faketime -f '+0 x10' bulla --cacert "$REGISTRY_CA" verify "$REF"
    expect 0 'mirror answered'
}

@test "content comes from whoever has the right bytes" {
    bulla verify "$REF"
    half_way
    layer=blobs/$(blobs | tail -n 1)
    for file in "manifests/$DIGEST" "$layer"; do
        for bad in "echo 404 > $WWW/v2/$ONE/$file.status" "echo x > $WWW/v2/$ONE/$file" \
            "touch $WWW/v2/$ONE/$file.endless"; do
            rm -rf "$BULLA_HOME/images"
            cp "$WWW/v2/$TWO/$file" "$WWW/v2/$ONE/$file"
            eval "$bad"
            run bulla pull "$REF"
            expect 0 "asking $REGISTRY_HOST|^pulled"
            grep -q "^pulled" <<< "$output"
            rm -f "$WWW/v2/$ONE/$file".{status,endless}
        done
        cp "$WWW/v2/$TWO/$file" "$WWW/v2/$ONE/$file"
    done
    # Nobody has them.
    rm -rf "$BULLA_HOME/images"
    echo x > "$WWW/v2/$ONE/$layer"
    echo x > "$WWW/v2/$TWO/$layer"
    run bulla pull "$REF"
    ((status != 0))
    [[ -z $(command bulla images --json | jq -r '.images[]') ]]
}

@test "what a mirror said is never taken for an answer of now, and age is counted from its timestamp" {
    at "$ONE"
    sign_timestamp 2 ".\"x-bulla-issued\" = \"$(date_in -7200)\""
    [[ $(bulla verify --json "$REF" | jq '.ageSeconds > 7000') == true ]]
    dead 'maxAge: "1h"'
    at "$TWO"
    rm -rf "$TUF"
    cp -r "$WWW/v2/$ONE/_trust/tuf" "$TUF"
    refused 3 'policy allows 3600' bulla verify "$REF"
}
