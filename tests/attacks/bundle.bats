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

# bins PREFIX KEY: a jq filter that splits a role into two bins. bin NAME: which of them is responsible for a tag.
bins() {
    printf '.targets = {} | .delegations = {keys: {"%s": %s}, succinct_roles: {keyids: ["%s"], threshold: 1,
        bit_length: 1, name_prefix: "%s"}}' "$(forge id "$2")" "$(forge key "$2")" "$(forge id "$2")" "$1"
}
bin() { echo $((0x$(printf %s "$1" | sha256sum | cut -c 1) / 8)); }

@test "a bundle holds all that a reader's policy may ask for: roles below roles, and the bins of split ones" {
    # What the search finds, and beside it three levels, the last one split.
    sign_role security 1 ".targets = {} | $(delegate alice 'v*')"
    sign_role alice 1 "$(bins bins seed:bins)"
    for i in 0 1; do sign_role "bins-$i" 1 "$( (($(bin v1) == i)) || echo '.targets = {}')" seed:bins; done
    sign_role releases 1
    sign_role others 1
    release 2 "$(delegate security '*') | $(delegate releases 'v*') | $(delegate others 'w*')"
    export BULLA_HOME=$BATS_TEST_TMPDIR/saver
    bulla save "$REF" -o "$BATS_TEST_TMPDIR/new"
    for file in 1.security 1.alice "1.bins-$(bin v1)" 1.releases; do
        tar -tf "$BATS_TEST_TMPDIR/new" "bulla/tuf/$file.json"
    done
    # What cannot vouch for this tag stays away.
    run ! tar -tf "$BATS_TEST_TMPDIR/new" bulla/tuf/1.others.json
    run ! tar -tf "$BATS_TEST_TMPDIR/new" "bulla/tuf/1.bins-$((1 - $(bin v1))).json"
    # One bundle under different policies: whoever asks for more gets it, or is refused as online.
    for rule in '["security/alice", "releases"]' '["security/alice"]' '["targets", "releases"]' \
        "[{role: \"security/alice\", keys: [\"$(forge id seed:bins)\"]}]"; do
        new_machine "signedBy: $rule"
        run bulla verify "$BATS_TEST_TMPDIR/new"
        expect 0 '^valid'
    done
    half_way
    ACCEPTED+=' security.json alice.json releases.json bins-0.json bins-1.json others.json'
    new_machine 'signedBy: ["others"]'
    refused 1 "'others' to vouch for 'v1'; it is not delegated" bulla load "$BATS_TEST_TMPDIR/new"
    new_machine "signedBy: [{role: \"security/alice\", keys: [\"$(forge id seed:alice)\"]}]"
    refused 1 'policy pins keys' bulla load "$BATS_TEST_TMPDIR/new"
    new_machine 'tags: {deny: ["v1"]}'
    refused 1 "does not allow tag 'v1'" bulla load "$BATS_TEST_TMPDIR/new"
    new_machine 'maxAge: "10m"'
    refused 3 'policy allows 600' at +1h verify "$BATS_TEST_TMPDIR/new"
    # A role that was taken out of the file: not to be known, and not "not signed".
    mkdir "$BATS_TEST_TMPDIR/open"
    tar -xf "$BATS_TEST_TMPDIR/new" -C "$BATS_TEST_TMPDIR/open"
    rm "$BATS_TEST_TMPDIR/open/bulla/tuf/1.alice.json"
    tar -C "$BATS_TEST_TMPDIR/open" --no-recursion -cf "$BATS_TEST_TMPDIR/less" \
        -T <(tar -tf "$BATS_TEST_TMPDIR/new" | grep -v alice)
    new_machine 'signedBy: ["security/alice"]'
    refused 3 "role 'alice'.*the bundle has no" bulla verify "$BATS_TEST_TMPDIR/less"
}

@test "a bundle of a split collection, of an index, and of one whose child is banned later" {
    [[ $(uname -m) == x86_64 ]] || skip "needs amd64"
    index=$BATS_TEST_TMPDIR/index
    jq -cn --arg digest "$DIGEST" --argjson size "$(stat -c %s "$BASE/manifests/$DIGEST")" '{schemaVersion: 2,
        mediaType: "application/vnd.oci.image.index.v1+json", manifests: [{digest: $digest, size: $size,
        mediaType: "application/vnd.oci.image.manifest.v1+json", platform: {os: "linux", architecture: "amd64"}}]}' > "$index"
    hex=$(sha256sum < "$index" | cut -d ' ' -f 1)
    cp "$index" "$WWW/v2/$REPO/manifests/sha256:$hex"
    entry=".targets.v1 = {length: $(stat -c %s "$index"), hashes: {sha256: \"$hex\"},
        custom: {mediaType: \"application/vnd.oci.image.index.v1+json\"}}"
    for i in 0 1; do sign_role "bins-$i" 1 "$( (($(bin v1) == i)) && echo "$entry" || echo '.targets = {}')" seed:bins; done
    release 2 "$(bins bins seed:bins)"
    export BULLA_HOME=$BATS_TEST_TMPDIR/saver
    bulla save "$REF" -o "$BATS_TEST_TMPDIR/new"
    release 3 "$(bins bins seed:bins) | .\"x-bulla-banned\" = [\"$DIGEST\"]"
    run bulla save "$REF" -o "$BATS_TEST_TMPDIR/banned"
    expect 1 "$DIGEST is banned"
    [[ ! -e $BATS_TEST_TMPDIR/banned ]]
    new_machine
    run bulla load "$BATS_TEST_TMPDIR/new"
    expect 0 '^loaded'
    grep -q "^digest sha256:$hex" <<< "$output"
    # Whoever has heard of the ban refuses the older bundle, whatever its own metadata says.
    new_machine
    run bulla verify "$REF"
    expect 1 "$DIGEST is banned"
    refused 1 "$DIGEST is banned" bulla load "$BATS_TEST_TMPDIR/new"
    refused 1 "$DIGEST is banned" bulla verify "$BATS_TEST_TMPDIR/new"
}
