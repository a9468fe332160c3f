#!/usr/bin/env bats
# What stolen keys are good for, and for how long. (Retired root keys are in metadata.bats.)
load ../support/bulla
load ../support/forge

setup_file() { forge_setup_file; }
teardown_file() { forge_teardown_file; }
setup() { forge_setup; }
teardown() { forge_teardown; }

at() { faketime -f "$1" bulla --cacert "$REGISTRY_CA" "${@:2}"; }

# machine NAME: one that keeps what it knows for itself.
machine() { export BULLA_HOME=$BATS_TEST_TMPDIR/$1; }

@test "targets key stolen, signer honest: after root rotation one timestamp lifetime plus offlineGrace, not more" {
    evil=$REGISTRY_HOST/$REPO:evil
    # The thief publishes; the service signs what the key of targets signed.
    release 2 '.targets.evil = .targets.v1'
    cp -r "$TUF" "$BATS_TEST_TMPDIR/stolen"
    for name in cut graced free; do
        machine "$name"
        run bulla verify "$evil"
        expect 0 '^valid'
    done
    # The owners replace the key; targets are clean again.
    sign_root 2 "$(root_key targets fresh)"
    sign_targets 3 . seed:fresh
    sign_snapshot 3
    sign_timestamp 3
    # Whoever reaches the registry sees that at once; a run does not use what it stored.
    run bulla verify "$evil"
    expect 1 "'evil' is not signed"
    run bulla run "$evil"
    expect 125 "'evil' is not signed"
    # The thief holds all of it back, and shows what there was: until that has expired.
    rm -rf "$TUF"
    cp -r "$BATS_TEST_TMPDIR/stolen" "$TUF"
    refused 1 'signatures|rolled back' bulla verify "$evil"
    machine cut
    run at +23h verify "$evil"
    expect 0 '^valid'
    machine cut2 # a new one
    run at +23h verify "$evil"
    expect 0 '^valid'
    refused 1 'timestamp.*expired at' at +25h verify "$evil"
    machine cut
    refused 1 'timestamp.*expired at' at +25h verify "$evil"
    refused 125 'timestamp.*expired at' at +25h run "$evil"
    # Cut off from everything the same; offlineGrace, and it alone, makes it longer.
    echo 500 > "$TUF/timestamp.json.status"
    refused 3 'expired at' at +25h verify "$evil"
    forge_policy 'offlineGrace: "2d"'
    machine graced
    run at +70h verify "$evil"
    expect 0 '^valid'
    refused 3 'expired at' at +73h verify "$evil"
    # And never where the registry itself shows what has expired.
    rm "$TUF/timestamp.json.status"
    refused 1 'timestamp.*expired at' at +25h verify "$evil"
}

@test "fewer than threshold root keys stolen: nothing" {
    keys="$(root_key root root root2 root3) | .roles.root.threshold = 2"
    sign_root 1 "$keys" seed:root seed:root2
    cp "$TUF/1.root.json" "$BATS_TEST_TMPDIR/root.json"
    jq --arg file "$BATS_TEST_TMPDIR/root.json" '.scopes[].root.file = $file' "$BULLA_POLICY" > "$BATS_TEST_TMPDIR/p"
    mv "$BATS_TEST_TMPDIR/p" "$BULLA_POLICY"
    run bulla verify "$REF"
    expect 0 '^valid'
    # One key: alone, twice, under another id, with a threshold of the thief's own, with keys of his.
    thief="$(root_key targets thief)"
    sign_root 2 "$keys | $thief" seed:root
    refused 1 'root: 1 of 2 needed signatures' bulla verify "$REF"
    refused 125 'root: 1 of 2 needed signatures' bulla run "$REF"
    sign_root 2 "$keys | $thief" seed:root seed:root
    refused 1 'two signatures by key' bulla verify "$REF"
    sign_root 2 "$(root_key root root thief) | $thief" seed:root seed:thief
    refused 1 'root: 1 of 2 needed signatures' bulla verify "$REF"
    sign_root 2 "$(root_key root root) | $thief" seed:root
    refused 1 'root: 1 of 2 needed signatures' bulla verify "$REF"
    alias=$(forge key seed:root | jq -c '.note = "again"')
    id=$(forge id-of <<< "$alias")
    sign_root 2 "$keys | $thief | .keys[\"$id\"] = $alias | .roles.root.keyids += [\"$id\"]" seed:root
    jq -c ".signatures += [.signatures[0] | .keyid = \"$id\"]" "$TUF/2.root.json" > "$TUF/x"
    mv "$TUF/x" "$TUF/2.root.json"
    refused 1 'root: 1 of 2 needed signatures' bulla verify "$REF"
    # Nor do the keys of other roles help.
    sign_root 2 "$keys | $thief" seed:root seed:targets seed:snapshot seed:timestamp
    refused 1 'root: 1 of 2 needed signatures' bulla verify "$REF"
    rm "$TUF/2.root.json"
    good_again 2
}

@test "replay to a new client: old metadata lasts one timestamp lifetime" {
    cp -r "$TUF" "$BATS_TEST_TMPDIR/old"
    release 2 '.targets = {}'
    run bulla verify "$REF"
    expect 1 "'v1' is not signed"
    rm -rf "$TUF"
    cp -r "$BATS_TEST_TMPDIR/old" "$TUF"
    refused 1 'rolled back' bulla verify "$REF"
    machine new
    run at +23h verify "$REF"
    expect 0 '^valid'
    machine newer
    ACCEPTED='root.json 1.json'
    refused 1 'timestamp.*expired at' at +25h verify "$REF"
    refused 125 'timestamp.*expired at' at +25h run "$REF"
}

@test "timestamp and snapshot keys stolen, network controlled: bounded by the earliest expiry, ended by minVersion" {
    release 2 '.targets.evil = .targets.v1'
    cp -r "$TUF" "$BATS_TEST_TMPDIR/old"
    release 3 # has taken it back
    bulla verify "$REF"
    evil=$REGISTRY_HOST/$REPO:evil
    # Old targets under a snapshot and a timestamp of the thief's, with versions and dates as he likes.
    rm -rf "$TUF"
    cp -r "$BATS_TEST_TMPDIR/old" "$TUF"
    sign_snapshot 9 ".expires = \"$(date_in 315360000)\""
    sign_timestamp 9 ".expires = \"$(date_in 315360000)\""
    ACCEPTED='timestamp.json'
    refused 1 "version 2 of 'targets', known is 3" bulla verify "$evil"
    # A new client believes it until the targets expire, which he cannot sign.
    machine new
    run at +29d verify "$evil"
    expect 0 '^valid'
    ACCEPTED='root.json 1.json timestamp.json snapshot.json'
    machine newer
    refused 1 "targets expired at" at +31d verify "$evil"
    refused 125 "targets expired at" at +31d run "$evil"
    # The owners replace both keys. He holds root 2 back; a policy that wants it is not to be fooled.
    id=$(forge id seed:root)
    jq --arg id "$id" '.scopes[].root = {keys: [$id], minVersion: 2}' "$BULLA_POLICY" > "$BATS_TEST_TMPDIR/p"
    mv "$BATS_TEST_TMPDIR/p" "$BULLA_POLICY"
    machine warned
    refused 3 'no trust metadata' bulla verify "$evil"
    sign_root 2 "$(root_key snapshot snapshot2) | $(root_key timestamp timestamp2)"
    ACCEPTED='root.json 2.json'
    refused 1 'timestamp: 0 of 1 needed signatures' bulla verify "$evil"
    rm "$TUF/9.snapshot.json"
    sign_targets 4
    sign_snapshot 4 . seed:snapshot2
    sign_timestamp 4 . seed:timestamp2
    run bulla verify "$REF"
    expect 0 '^valid'
}
