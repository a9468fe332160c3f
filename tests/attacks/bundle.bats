#!/usr/bin/env bats
# Bundles in an attacker's hands: kept for too long, older than what is known, joined from several. A bundle is a
# mirror that stands still, and nothing else.
load ../support/bulla
load ../support/forge

setup_file() { forge_setup_file; }
teardown_file() { forge_teardown_file; }
setup() {
    forge_setup
    bulla save "$REF" -o "$BATS_TEST_TMPDIR/old" > /dev/null
    new_machine
}
teardown() { forge_teardown; }

# Knows nothing but policy's root, and has no registry.
new_machine() {
    rm -rf "$BULLA_HOME"
    export BULLA_HOME=$BATS_TEST_TMPDIR/other
    rm -rf "$BULLA_HOME"
    mkdir -p "$BULLA_HOME"
    forge_policy "${1:-}"
}
at() { faketime -f "$1" bulla --cacert "$REGISTRY_CA" "${@:2}"; }
away() { echo 503 > "$TUF/timestamp.json.status"; }

# What may be there before the verdict: what was verified.
half_way() { ACCEPTED='root.json 1.json timestamp.json snapshot.json targets.json last-success'; }

@test "freeze: an expired bundle is no verdict, and grace counts from its expiry" {
    half_way
    run at +2h verify "$BATS_TEST_TMPDIR/old"
    expect 0 'bundle, 7[0-9]* s old'
    new_machine
    refused 3 'timestamp.*expired at' at +2d verify "$BATS_TEST_TMPDIR/old"
    refused 3 'timestamp.*expired at' at +2d load "$BATS_TEST_TMPDIR/old"
    new_machine 'offlineGrace: "4d"'
    run at +3d verify "$BATS_TEST_TMPDIR/old"
    expect 0 '^valid'
    refused 3 'timestamp.*expired at' at +6d verify "$BATS_TEST_TMPDIR/old"
    # Grace is for the timestamp only.
    new_machine 'offlineGrace: "99d"'
    refused 3 'snapshot.*expired at' at +40d verify "$BATS_TEST_TMPDIR/old"
    # The clock set back: before the bundle was made.
    new_machine
    refused 3 'the local clock is behind' at -1d verify "$BATS_TEST_TMPDIR/old"
}

@test "freeze: maxAge counts from when the bundle was current; a run has no fresher answer from it" {
    half_way
    new_machine 'maxAge: "1h"'
    run at +30m load "$BATS_TEST_TMPDIR/old"
    expect 0 '^loaded'
    refused 3 'policy allows 3600' at +2h verify "$BATS_TEST_TMPDIR/old"
    away
    need_root
    # Loaded half an hour after it was made: that is its age, whatever `refresh` says.
    forge_policy 'refresh: "10m", maxAge: "20m"'
    refused 125 'policy allows 1200' at +30m run --pull never "$REF"
    forge_policy 'refresh: "10m"'
    run at +30m run --pull never "$REF"
    expect 0 '^one$'
    grep -q 'not asked just now' <<< "$output"
    refused 125 'expired at' at +2d run --pull never "$REF"
}

@test "rollback: a bundle older than what is known changes nothing, and what is known counts" {
    bulla verify "$REF"
    release 2 'del(.targets.v1) | .targets.v2 = {length: 3, hashes: {sha256: ("0" * 64)}}'
    run bulla verify "$REF"
    expect 1 'not signed'
    before=$(state)
    # The newer metadata lacks the tag: the bundle's own older word for it is worth nothing.
    for command in verify load; do
        run bulla "$command" "$BATS_TEST_TMPDIR/old"
        expect 3 'older than what this machine knows'
        [[ $(state) == "$before" ]]
        run at +2d "$command" "$BATS_TEST_TMPDIR/old"
        expect 3 'older than what this machine knows.*expired'
        [[ $(state) == "$before" ]]
    done
    # The tag names another image now.
    release 3 '.targets.v1.hashes.sha256 = ("0" * 64)'
    bulla verify "$REF"
    refused 1 'the signed one is sha256:0000' bulla load "$BATS_TEST_TMPDIR/old"
    # The same image still: fine, and said to be what is known.
    release 4
    bulla verify "$REF"
    before=$(state)
    run bulla verify "$BATS_TEST_TMPDIR/old"
    expect 0 'older than what this machine knows'
    [[ $(state) == "$before" ]]
}

@test "rollback: a newer bundle protects from an older registry" {
    release 2
    bulla verify "$REF"
    bulla save "$REF" -o "$BATS_TEST_TMPDIR/new"
    new_machine
    bulla load "$BATS_TEST_TMPDIR/new"
    rm "$TUF"/2.*
    sign_timestamp 1
    refused 1 'rolled back' bulla verify "$REF"
}

@test "equal version: signed anew with a later date is no way out of expiry" {
    bulla verify "$BATS_TEST_TMPDIR/old"
    mkdir "$BATS_TEST_TMPDIR/open"
    tar -xf "$BATS_TEST_TMPDIR/old" -C "$BATS_TEST_TMPDIR/open"
    sign_timestamp 1 ".expires = \"$(date_in 864000)\""
    cp "$TUF/timestamp.json" "$BATS_TEST_TMPDIR/open/bulla/tuf/timestamp.json"
    tar -C "$BATS_TEST_TMPDIR/open" --no-recursion -cf "$BATS_TEST_TMPDIR/later" -T <(tar -tf "$BATS_TEST_TMPDIR/old")
    refused 3 'expired at' at +5d verify "$BATS_TEST_TMPDIR/later"
    forge_policy 'offlineGrace: "2d"'
    refused 3 'expired at' at +5d verify "$BATS_TEST_TMPDIR/later"
}

@test "roots: the chain leads from an old anchor; keys that were taken back sign no bundle" {
    ACCEPTED='root.json 1.json 2.json'
    sign_root 2 "$(root_key timestamp timestamp2) | .version = 2"
    refused 1 'signature' bulla verify "$REF"
    sign_timestamp 2 . seed:timestamp2
    bulla verify "$REF"
    bulla save "$REF" -o "$BATS_TEST_TMPDIR/two"
    [[ $(tar -tf "$BATS_TEST_TMPDIR/two" | grep -c root.json) == 2 ]]
    # Signed by the old keys.
    refused 1 'signature' bulla verify "$BATS_TEST_TMPDIR/old"
    new_machine
    run bulla verify "$BATS_TEST_TMPDIR/two"
    expect 0 '^root +version 2'
}
