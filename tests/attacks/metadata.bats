#!/usr/bin/env bats
# Metadata that an attacker signed, kept, mixed or copied from elsewhere. Each row of the design's table of
# attacks is a test of its name; the registry is a file server in the attacker's hands.
load ../support/bulla
load ../support/forge

setup_file() { forge_setup_file; }
teardown_file() { forge_teardown_file; }
setup() { forge_setup; }
teardown() { forge_teardown; }

# known N: this machine has seen release N.
known() {
    release "$1"
    bulla verify "$REF" > /dev/null
}

@test "an honest tree is valid" {
    run bulla verify "$REF"
    expect 0 '^valid'
    grep -q "$DIGEST" <<< "$output"
    need_root
    run bulla run "$REF"
    expect 0 '^one$'
}

@test "metadata signed by an unlisted key" {
    known 2
    cp -r "$TUF" "$BATS_TEST_TMPDIR/good"
    sign_timestamp 3 . seed:thief
    refused 1 'timestamp: 0 of 1 needed signatures' bulla verify "$REF"
    refused 125 'timestamp: 0 of 1 needed signatures' bulla run "$REF"
    ACCEPTED=timestamp.json
    sign_snapshot 3 . seed:thief
    sign_timestamp 3
    refused 1 'snapshot: 0 of 1 needed signatures' bulla verify "$REF"
    ACCEPTED='timestamp.json snapshot.json'
    sign_targets 4 . seed:thief
    sign_snapshot 4
    sign_timestamp 4
    refused 1 "role 'targets': .*0 of 1 needed signatures" bulla verify "$REF"
    refused 125 "role 'targets': .*0 of 1 needed signatures" bulla run "$REF"
    # A key that signs one role signs no other.
    sign_targets 5 . seed:timestamp seed:snapshot
    sign_snapshot 5
    sign_timestamp 5
    refused 1 "role 'targets': .*0 of 1 needed signatures" bulla verify "$REF"
    good_again 6
    ACCEPTED=
    sign_root 2 "$(root_key root thief)" seed:thief
    refused 1 'root: .*0 of 1 needed signatures' bulla verify "$REF"
    rm "$TUF/2.root.json"
    good_again 7
}

@test "root: the new root must reach its own threshold, and the old one's" {
    known 2
    sign_root 2 "$(root_key root other)" seed:root
    refused 1 'root by its own keys: 0 of 1' bulla verify "$REF"
    sign_root 2 "$(root_key root other)" seed:other
    refused 1 'root: .*0 of 1 needed' bulla verify "$REF"
    sign_root 2 "$(root_key root other)" seed:root seed:other
    good_again 3
    # What the retired key signs now counts for nothing.
    sign_root 3 "$(root_key root root)" seed:root
    refused 1 'root: .*0 of 1 needed' bulla verify "$REF"
}

@test "below threshold; duplicate signatures; one key under two ids" {
    two="$(root_key targets targets second) | .roles.targets.threshold = 2"
    sign_root 2 "$two" seed:root
    release 2
    ACCEPTED='timestamp.json snapshot.json root.json 1.json 2.json'
    refused 1 "1 of 2 needed signatures" bulla verify "$REF"
    # The same signature twice.
    sign_targets 3 . seed:targets seed:targets
    sign_snapshot 3
    sign_timestamp 3
    refused 1 "two signatures by key" bulla verify "$REF"
    # The same key behind an object with one member more, and so another id.
    alias=$(forge key seed:targets | jq -c '.note = "again"')
    id=$(forge id-of <<< "$alias")
    sign_root 3 "$two | .keys[\"$id\"] = $alias | .roles.targets.keyids = [.roles.targets.keyids[0], \"$id\"]"
    sign_targets 4
    jq -c ".signatures += [.signatures[0] | .keyid = \"$id\"]" "$TUF/4.targets.json" > "$TUF/x"
    mv "$TUF/x" "$TUF/4.targets.json"
    sign_snapshot 4
    sign_timestamp 4
    ACCEPTED+=' 3.json'
    refused 1 "1 of 2 needed signatures" bulla verify "$REF"
    # An id that is not the key's own.
    sign_root 4 ".keys[\"$(printf %064d 7)\"] = $(forge key seed:targets)"
    refused 1 'its key object has the id' bulla verify "$REF"
    sign_root 4 "$two"
    sign_targets 5 . seed:targets seed:second
    sign_snapshot 5
    sign_timestamp 5
    run bulla verify "$REF"
    expect 0 '^valid'
}

@test "rollback: timestamp, snapshot, targets, root" {
    known 2
    cp "$TUF/timestamp.json" "$BATS_TEST_TMPDIR/timestamp.2"
    known 3
    cp "$BATS_TEST_TMPDIR/timestamp.2" "$TUF/timestamp.json"
    refused 1 'timestamp was rolled back: timestamp has version 2, known is 3' bulla verify "$REF"
    refused 1 'timestamp was rolled back' bulla pull "$REF"
    # An older timestamp for the newest snapshot is older all the same.
    sign_timestamp 2
    refused 1 'timestamp was rolled back: timestamp has version 2, known is 3' bulla verify "$REF"
    # A newer timestamp that names the older snapshot.
    sign_timestamp 4 ".meta = $(meta "$TUF/2.snapshot.json" | jq -c 'with_entries(.key = "snapshot.json")')"
    refused 1 'rolled back: .*snapshot version 2, known is 3' bulla verify "$REF"
    # A newer snapshot that names the older targets, or forgets them.
    ACCEPTED=timestamp.json
    sign_snapshot 4 ".meta = $(meta "$TUF/2.targets.json")"
    sign_timestamp 5
    refused 1 "version 2 of 'targets', known is 3" bulla verify "$REF"
    sign_snapshot 6 '.meta = {}'
    sign_timestamp 6
    refused 1 "no longer lists 'targets'" bulla verify "$REF"
    # An older root in the place of the next one.
    ACCEPTED=
    cp "$TUF/1.root.json" "$TUF/2.root.json"
    refused 1 'root has version 1, it must be 2' bulla verify "$REF"
    sign_root 3
    mv "$TUF/3.root.json" "$TUF/2.root.json"
    refused 1 'root has version 3, it must be 2' bulla verify "$REF"
    rm "$TUF/2.root.json"
    good_again 7
}

@test "run does not take what was rolled back either" {
    known 2
    cp "$TUF/timestamp.json" "$BATS_TEST_TMPDIR/timestamp.2"
    known 3
    cp "$BATS_TEST_TMPDIR/timestamp.2" "$TUF/timestamp.json"
    # Not even where an earlier refresh could be used again: a run asks unless policy's time has not passed.
    refused 125 'timestamp was rolled back' bulla run "$REF"
}

@test "rollback: a delegated role" {
    deny='.targets = {}'
    with="$deny | $(delegate releases 'v*')"
    sign_role releases 1
    release 2 "$with"
    run bulla verify "$REF"
    expect 0 '^role +releases|^valid'
    sign_role releases 2
    release 3 "$with"
    run bulla verify "$REF"
    expect 0 '^valid'
    ACCEPTED='timestamp.json'
    cp "$TUF/1.releases.json" "$BATS_TEST_TMPDIR/old"
    sign_snapshot 4 ".meta[\"releases.json\"] = ($(meta "$TUF/1.releases.json") | .[\"releases.json\"])"
    sign_timestamp 4
    refused 1 "version 1 of 'releases', known is 2" bulla verify "$REF"
    sign_snapshot 5 'del(.meta["releases.json"])'
    sign_timestamp 5
    refused 1 "no longer lists 'releases'" bulla verify "$REF"
    sign_role releases 6
    release 6 "$with"
    run bulla verify "$REF"
    expect 0 '^valid'
}

@test "mix-and-match: files of different releases" {
    known 2
    cp "$TUF/2.targets.json" "$BATS_TEST_TMPDIR/targets.2"
    release 3
    ACCEPTED=timestamp.json
    # The snapshot of another release under the name that is asked for.
    cp "$TUF/3.snapshot.json" "$BATS_TEST_TMPDIR/snapshot.3"
    cp "$TUF/2.snapshot.json" "$TUF/3.snapshot.json"
    refused 1 'snapshot: .*(length|bytes|sha256)' bulla verify "$REF"
    # One that has its bytes vouched for, but another version than the timestamp says.
    cp "$BATS_TEST_TMPDIR/snapshot.3" "$TUF/3.snapshot.json"
    cp "$TUF/2.snapshot.json" "$TUF/4.snapshot.json"
    sign_timestamp 4 '.meta["snapshot.json"].version = 4'
    refused 1 'snapshot has version 2, the timestamp names 4' bulla verify "$REF"
    # Targets of another release.
    ACCEPTED='timestamp.json snapshot.json'
    rm "$TUF/4.snapshot.json"
    release 5
    cp "$BATS_TEST_TMPDIR/targets.2" "$TUF/5.targets.json"
    refused 1 "role 'targets': .*(length|bytes|sha256)" bulla verify "$REF"
    sign_snapshot 6 ".meta = $(meta "$TUF/5.targets.json")"
    sign_timestamp 6
    refused 1 "role 'targets': .*version 2" bulla verify "$REF"
    # Without length or hash nothing ties the files together.
    sign_targets 7
    sign_snapshot 7 'del(.meta["targets.json"].hashes)'
    sign_timestamp 7
    refused 1 'no length or SHA-256' bulla verify "$REF"
    sign_snapshot 8
    sign_timestamp 8 'del(.meta["snapshot.json"].length)'
    refused 1 'no length or SHA-256' bulla verify "$REF"
    good_again 9
}

@test "freeze: an expired timestamp, snapshot, targets or root" {
    known 2
    refused 1 'timestamp.*expired at' faketime -f +3d bulla --cacert "$REGISTRY_CA" verify "$REF"
    refused 125 'timestamp.*expired at' faketime -f +3d bulla --cacert "$REGISTRY_CA" run "$REF"
    ACCEPTED='timestamp.json'
    sign_snapshot 3 ".expires = \"$(date_in -60)\""
    sign_timestamp 3
    refused 1 'snapshot expired at' bulla verify "$REF"
    ACCEPTED='timestamp.json snapshot.json'
    sign_targets 4 ".expires = \"$(date_in -60)\""
    sign_snapshot 4
    sign_timestamp 4
    refused 1 'targets expired at' bulla verify "$REF"
    ACCEPTED='timestamp.json snapshot.json 2.json root.json'
    release 5
    sign_root 2 ".expires = \"$(date_in -60)\""
    refused 1 'root expired at' bulla verify "$REF"
    # An expired root does not brick: its successor is taken.
    sign_root 3
    good_again 6
}

@test "fast-forward, then keys rotated" {
    known 2
    # Snapshot and timestamp keys are stolen: versions jump to the end.
    sign_snapshot 1000000 . seed:snapshot
    sign_timestamp 1000000
    run bulla verify "$REF"
    expect 0 '^valid'
    rm "$TUF/1000000.snapshot.json"
    # The owner's own versions look like a rollback until a root replaces the keys.
    release 3
    refused 1 'timestamp was rolled back' bulla verify "$REF"
    sign_root 2 "$(root_key snapshot snapshot2) | $(root_key timestamp timestamp2)"
    sign_snapshot 3 . seed:snapshot2
    sign_timestamp 3 . seed:timestamp2
    run bulla verify "$REF"
    expect 0 '^valid'
    # And the thief's keys are worth nothing.
    sign_timestamp 1000001
    refused 1 'timestamp: 0 of 1 needed signatures' bulla verify "$REF"
    sign_timestamp 4 . seed:timestamp2
    run bulla verify "$REF"
    expect 0 '^valid'
    # One of the two keys replaced is enough: the timestamp that the other one signed is forgotten, too.
    sign_snapshot 1000000 . seed:snapshot2
    sign_timestamp 1000000 . seed:timestamp2
    bulla verify "$REF"
    rm "$TUF/1000000.snapshot.json"
    sign_root 3 "$(root_key snapshot snapshot3) | $(root_key timestamp timestamp2)"
    sign_snapshot 5 . seed:snapshot3
    sign_timestamp 5 . seed:timestamp2
    run bulla verify "$REF"
    expect 0 '^valid'
}

@test "timestamp and snapshot keys stolen: targets cannot be forged" {
    known 2
    forged='.targets.v1.hashes.sha256 = "'$(printf %064d 5)'"'
    ACCEPTED='timestamp.json snapshot.json'
    sign_targets 3 "$forged" seed:timestamp seed:snapshot
    sign_snapshot 3
    sign_timestamp 3
    refused 1 "role 'targets': .*0 of 1 needed signatures" bulla verify "$REF"
    # Nor the signed file's bytes changed, its signature left as it is.
    sign_targets 4
    jq -c ".signed |= ($forged)" "$TUF/4.targets.json" > "$TUF/x"
    mv "$TUF/x" "$TUF/4.targets.json"
    sign_snapshot 4
    sign_timestamp 4
    refused 1 "role 'targets': .*0 of 1 needed signatures" bulla verify "$REF"
    good_again 5
}

@test "targets key stolen: worthless once root has replaced it" {
    known 2
    sign_root 2 "$(root_key targets fresh)"
    ACCEPTED='timestamp.json snapshot.json root.json 2.json'
    release 3 '.targets.evil = .targets.v1'
    refused 1 "role 'targets': .*0 of 1 needed signatures" bulla verify "$REGISTRY_HOST/$REPO:evil"
    # Not from memory either: what the old key signed before is not used again.
    release 2
    sign_timestamp 4
    refused 1 "rolled back|needed signatures" bulla verify "$REF"
    sign_targets 5 . seed:fresh
    sign_snapshot 5
    sign_timestamp 5
    run bulla verify "$REF"
    expect 0 '^valid'
    run bulla verify "$REGISTRY_HOST/$REPO:evil"
    expect 1 "'evil' is not signed"
}

@test "retired root keys stolen: minVersion and root file anchors" {
    old=$(forge id seed:root) new=$(forge id seed:later)
    sign_root 2 "$(root_key root later)" seed:root seed:later
    good_again 2
    # The thief of key 'root' shows a new machine a root 2 of his own.
    cp "$TUF/2.root.json" "$BATS_TEST_TMPDIR/root.2"
    sign_root 2 "$(root_key targets thief)" seed:root
    sign_targets 3 . seed:thief
    sign_snapshot 3
    sign_timestamp 3
    export BULLA_HOME=$BATS_TEST_TMPDIR/new
    anchor() {
        printf '{"version":1,"scopes":{"%s":{"collection":"acme/app","root":%s}}}' "$REGISTRY_HOST/$REPO" "$1" \
            > "$BULLA_POLICY"
    }
    anchor "{\"keys\":[\"$new\"],\"minVersion\":2}"
    refused 1 'root is not signed by the keys that policy names' bulla verify "$REF"
    anchor "{\"keys\":[\"$old\"],\"minVersion\":3}"
    refused 3 'no trust metadata' bulla verify "$REF"
    cp "$BATS_TEST_TMPDIR/root.2" "$BATS_TEST_TMPDIR/anchor.json"
    anchor "{\"file\":\"$BATS_TEST_TMPDIR/anchor.json\"}"
    ACCEPTED='root.json 2.json timestamp.json snapshot.json'
    refused 1 "needed signatures" bulla verify "$REF"
    cp "$BATS_TEST_TMPDIR/root.2" "$TUF/2.root.json"
    anchor "{\"keys\":[\"$new\"],\"minVersion\":2}"
    good_again 4
}

@test "cross-collection replay" {
    known 2
    other='."x-bulla-collection" = "acme/other"'
    sign_timestamp 3 "$other"
    refused 1 "timestamp is for collection 'acme/other', not 'acme/app'" bulla verify "$REF"
    ACCEPTED=timestamp.json
    sign_snapshot 4 "$other"
    sign_timestamp 4
    refused 1 "snapshot is for collection 'acme/other'" bulla verify "$REF"
    ACCEPTED='timestamp.json snapshot.json'
    release 5 "$other"
    refused 1 "targets is for collection 'acme/other'" bulla verify "$REF"
    release 6 'del(."x-bulla-collection")'
    refused 1 "targets does not say which collection" bulla verify "$REF"
    ACCEPTED=
    sign_root 2 "$other"
    refused 1 "root is for collection 'acme/other'" bulla verify "$REF"
    rm "$TUF/2.root.json"
    good_again 7
}

@test "role swap with shared keys" {
    # One key signs for targets, alice and releases.
    with=".targets = {} | $(delegate alice 'dev*' seed:targets) | $(delegate releases 'v*' seed:targets)"
    sign_role alice 1 . seed:targets
    sign_role releases 1 '.targets = {}' seed:targets
    release 2 "$with"
    run bulla verify "$REF"
    expect 1 'not signed'
    ACCEPTED='timestamp.json snapshot.json targets.json last-success'
    sign_role alice 2 . seed:targets
    cp "$TUF/2.alice.json" "$TUF/2.releases.json"
    sign_snapshot 3
    sign_timestamp 3
    refused 1 "role 'alice' was given as 'releases'" bulla verify "$REF"
    # A delegated role as top-level targets, and targets as a delegated role.
    sign_role alice 4 . seed:targets
    cp "$TUF/4.alice.json" "$TUF/4.targets.json"
    sign_snapshot 4
    sign_timestamp 4
    refused 1 "role 'alice' was given as 'targets'" bulla verify "$REF"
    sign_targets 5 "$with"
    sign_role releases 5 '."x-bulla-role" = "targets"' seed:targets
    sign_snapshot 5
    sign_timestamp 5
    refused 1 "role 'targets' was given as 'releases'" bulla verify "$REF"
    sign_role releases 6 . seed:targets
    release 6 "$with"
    run bulla verify "$REF"
    expect 0 '^valid'
}

@test "a role vouches only for what is delegated to it" {
    with=".targets = {} | $(delegate alice 'dev*')"
    sign_role alice 1
    release 2 "$with"
    run bulla verify "$REF"
    expect 1 "'v1' is not signed"
    forge_policy 'signedBy: ["alice"]'
    ACCEPTED='timestamp.json snapshot.json targets.json last-success'
    run bulla verify "$REF"
    expect 1
    # Nor may policy's signedBy be satisfied by a role that names another digest.
    sign_role alice 3 '.targets.v1.hashes.sha256 = "'"$(printf %064d 5)"'"'
    release 3 "$(delegate alice 'v*')"
    ACCEPTED='timestamp.json snapshot.json targets.json alice.json last-success'
    refused 1 "policy wants role 'alice' to vouch for this digest" bulla verify "$REF"
    sign_role alice 4
    release 4 "$(delegate alice 'v*')"
    run bulla verify "$REF"
    expect 0 '^valid'
}

@test "tag re-vouched after revocation: a terminating empty delegation ends the search" {
    sign_role closed 1 '.targets = {}'
    sign_role alice 1
    release 2 ".targets = {} | $(delegate alice '*')"
    run bulla verify "$REF"
    expect 0 '^valid'
    release 3 ".targets = {} | $(delegate closed v1 seed:closed true) | $(delegate alice '*')"
    run bulla verify "$REF"
    expect 1 "'v1' is not signed"
    run bulla run "$REF"
    expect 125 "'v1' is not signed"
    # Withholding the closing role does not open the way to the next one.
    ACCEPTED='timestamp.json snapshot.json targets.json'
    rm -rf "$BULLA_HOME/trust"
    rm "$TUF/1.closed.json"
    run bulla verify "$REF"
    expect 3 "role 'closed'"
    sign_role closed 4 '.targets = {}'
    release 4 ".targets = {} | $(delegate closed v2 seed:closed true) | $(delegate alice '*')"
    run bulla verify "$REF"
    expect 0 '^valid'
}

@test "names as paths: roles, targets, collections, files" {
    bulla verify "$REF"
    ACCEPTED='timestamp.json snapshot.json'
    local n=2 name
    for name in ../../x a/b .. root; do
        release "$n" ".targets = {} | $(delegate X '*' seed:x) | .delegations.roles[0].name = \"$name\""
        refused 1 "is not a role name|cannot be delegated" bulla verify "$REF"
        n=$((n + 1))
    done
    for name in ../x a/b .hidden; do
        release "$n" ".targets[\"$name\"] = .targets.v1"
        refused 1 'neither a tag nor a digest' bulla pull "$REF"
        n=$((n + 1))
    done
    for name in ../../../x /x 'acme/../x' acme//x; do
        jq --arg name "$name" '.scopes[].collection = $name' "$BULLA_POLICY" > "$BATS_TEST_TMPDIR/policy"
        refused 1 'policy.*collection' env BULLA_POLICY="$BATS_TEST_TMPDIR/policy" "$(type -P bulla)" \
            --cacert "$REGISTRY_CA" verify "$REF"
    done
    # A snapshot may list what it likes: a name that no delegation leads to is never a file.
    sign_targets "$n"
    sign_snapshot "$n" ".meta[\"../../../x.json\"] = .meta[\"targets.json\"]"
    sign_timestamp "$n"
    run bulla verify "$REF"
    expect 0 '^valid'
    [[ -z $(find "$BATS_TEST_TMPDIR" -name 'x*' -o -name '*%2F*') ]]
    run bulla verify "$REGISTRY_HOST/../$REPO:v1"
    expect 2
}
