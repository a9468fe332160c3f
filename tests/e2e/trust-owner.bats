#!/usr/bin/env bats
# What owners do to a collection after its first day: roles, keys, renewal, revocation, bins.
load ../support/bulla

setup_file() { bulla_setup_file; }
teardown_file() { bulla_teardown_file; }

# Each test has a collection of its own: init NAME makes acme/NAME with v1 signed.
setup() {
    bulla_setup
    command bulla key generate alice > /dev/null
    C=$REGISTRY_HOST/own/c$BATS_TEST_NUMBER
    push_again "$C:v1"
    bulla trust init "$C" --root-key root --targets-key targets > /dev/null
    bulla sign "$C:v1@$DIGEST" --key targets > /dev/null
    bulla policy allow "$C" > /dev/null
}

push_again() { # the same image under another repository, without a signature
    make_image "again:v1" one > /dev/null
    bulla push store:again:v1 "$1" > /dev/null
    DIGEST=$(registry_digest "${1#*/}")
}

registry_digest() { # NAME:TAG
    registry_curl -o /dev/null -D - -H 'Accept: */*' "/v2/${1%:*}/manifests/${1##*:}" |
        sed -n 's/^docker-content-digest: \(.*\)\r$/\1/Ip'
}

vouching_role() { # REF: role that vouches
    bulla verify "$1" --json 2> /dev/null | jq -r .role
}

@test "a delegated role signs its tags, and no others" {
    run bulla trust delegate "$C" releases --role-key alice --tags 'v*' --key targets
    expect 0 "role 'releases' delegated, may sign 'v\*'"
    run bulla sign "$C:v2@$DIGEST" --role releases --key alice
    expect 0 "role releases, version 1"
    [[ $(vouching_role "$C:v2") == releases ]]
    run bulla sign "$C:latest@$DIGEST" --role releases --key alice
    expect 2 "may not vouch for 'latest'"
    run bulla sign "$C:v3@$DIGEST" --role releases --key targets
    expect 2 "not a key of role 'releases'"
    run bulla sign "$C:v3@$DIGEST" --role nobody --key alice
    expect 2 "has no role 'nobody'"
    run bulla trust delegate "$C" releases --role-key alice --tags 'v*' --key targets
    expect 3 "delegated already"
    run bulla trust delegate "$C" targets --role-key alice --tags 'v*' --key targets
    expect 2 "no role name"
    run bulla trust delegate "$C" more --role-key alice --key targets
    expect 2 "tags"
}

@test "roles delegate on; a role taken back vouches no more" {
    command bulla key generate bob > /dev/null
    bulla trust delegate "$C" releases --role-key alice --tags 'v*' --key targets
    bulla sign "$C:v2@$DIGEST" --role releases --key alice
    run bulla trust delegate "$C" beta --from releases --role-key bob --tags 'v*-beta' --key alice
    expect 0
    run bulla sign "$C:v3-beta@$DIGEST" --role beta --key bob
    expect 0
    [[ $(vouching_role "$C:v3-beta") == beta ]]
    run bulla trust undelegate "$C" releases --key targets
    expect 0 "role 'releases' no longer delegated"
    run bulla verify "$C:v3-beta"
    expect 1 "is not signed in collection"
    run bulla verify "$C:v1"
    expect 0
    run bulla trust undelegate "$C" releases --key targets
    expect 2 "has no role"
    run bulla trust undelegate "$C" targets --key targets
    expect 2 "not delegated"
}

@test "a role name that was used before begins empty, behind its last version, with its new keys" {
    command bulla key generate bob > /dev/null
    bulla trust delegate "$C" releases --role-key alice --tags 'v*' --key targets
    bulla sign "$C:v2@$DIGEST" --role releases --key alice
    cp -a "$BULLA_HOME" "$BATS_TEST_TMPDIR/elsewhere" # knows version 1
    bulla trust undelegate "$C" releases --key targets
    run bulla trust delegate "$C" releases --role-key bob --tags 'v*' --key targets
    expect 1 "role 'releases' needs signatures"
    run bulla trust delegate "$C" releases --role-key bob --tags 'v*' --key targets --key bob
    expect 0 "releases: version 2"
    run bulla verify "$C:v2"
    expect 1 "is not signed in collection"
    bulla sign "$C:v3@$DIGEST" --role releases --key bob
    run bulla verify "$C:v3" --home "$BATS_TEST_TMPDIR/elsewhere"
    expect 0 "role *releases"
    # The same keys again do not bring back what they once signed; several can sign it in a ceremony.
    bulla trust undelegate "$C" releases --key targets
    bulla trust stage "$BATS_TEST_TMPDIR/change" delegate "$C" releases --role-key bob --tags 'v*' --key targets
    run bulla trust publish "$BATS_TEST_TMPDIR/change"
    expect 1 "role 'releases' needs signatures"
    bulla trust add-signature "$BATS_TEST_TMPDIR/change" --key bob --yes
    bulla trust publish "$BATS_TEST_TMPDIR/change"
    run bulla verify "$C:v3"
    expect 1 "is not signed in collection"
}

@test "a threshold of a delegated role must be reached" {
    command bulla key generate bob > /dev/null
    bulla trust delegate "$C" both --role-key alice --role-key bob --tags '*' --key targets
    run bulla sign "$C:v2@$DIGEST" --role both --key alice
    expect 1 "needs signatures of 2 keys"
    run bulla sign "$C:v2@$DIGEST" --role both --key alice --key bob
    expect 0
    run --separate-stderr bulla verify "$C:v2" --json
    [[ $(jq '.signers | length' <<< "$output") == 2 ]]
}

@test "rotate targets: the old key signs no more, the tags stay" {
    run bulla trust rotate "$C" targets --new-key alice --key root --key alice
    expect 0 "targets key removed"
    run bulla sign "$C:v2@$DIGEST" --key targets
    expect 2 "not a key of role 'targets'"
    run bulla sign "$C:v2@$DIGEST" --key alice
    expect 0
    run bulla verify "$C:v1"
    expect 0
}

@test "rotate root: old and new keys sign, other machines follow" {
    command bulla key generate root2 > /dev/null
    run bulla trust rotate "$C" root --new-key root2 --key root
    expect 1 "needs signatures"
    run bulla trust rotate "$C" root --new-key root2 --key root --key root2
    expect 0 "root: version 1 -> 2"
    cp -a "$BULLA_HOME" "$BATS_TEST_TMPDIR/elsewhere" # knows version 2
    run bulla trust rotate "$C" root --new-key root --key root --key root2
    expect 0 "root: version 2 -> 3"
    run bulla verify "$C:v1" --home "$BATS_TEST_TMPDIR/elsewhere"
    expect 0
}

@test "pin: a root that the pinned one leads to needs no word, another one --replace" {
    local at="$BATS_TEST_TMPDIR/at"
    command bulla key generate root2 > /dev/null
    run bulla trust pin "$C" --home "$at"
    expect 0 "^pinned for"
    bulla trust rotate "$C" root --new-key root2 --key root --key root2
    run bulla trust pin "$C" --home "$at"
    expect 0 "pinned already, by an earlier root that leads to this one"
    run bulla trust pin "$C" --home "$at" --replace
    expect 0 "^pinned for"
    run bulla trust pin "$C" --home "$at"
    expect 0 "^pinned already for"
    # The root of something else.
    cp "$at/trust/pins/$C/_/root.json" "$BATS_TEST_TMPDIR/good"
    bulla trust pin "$REGISTRY_HOST/acme/app" --home "$at"
    cp "$at/trust/pins/$REGISTRY_HOST/acme/app/_/root.json" "$at/trust/pins/$C/_/root.json"
    run bulla trust pin "$C" --home "$at"
    expect 3 "another root is pinned .* does not lead to this one"
    run bulla trust pin "$C" --home "$at" --replace
    expect 0 "^pinned for"
    cmp "$at/trust/pins/$C/_/root.json" "$BATS_TEST_TMPDIR/good"
    [[ ! -e $at/trust/looking ]]
}

@test "rotate a delegated role: its tags are signed again by the new key" {
    command bulla key generate bob > /dev/null
    bulla trust delegate "$C" releases --role-key alice --tags 'v*' --key targets
    bulla sign "$C:v2@$DIGEST" --role releases --key alice
    run bulla trust rotate "$C" releases --new-key bob --key targets --key bob
    expect 0 "releases key added"
    [[ $(vouching_role "$C:v2") == releases ]]
    run bulla sign "$C:v3@$DIGEST" --role releases --key alice
    expect 2 "not a key"
}

@test "keys of others are named by a file" {
    bulla key show alice --json | jq .key > "$BATS_TEST_TMPDIR/alice.json"
    bulla key remove alice
    run bulla trust delegate "$C" releases --role-key "$BATS_TEST_TMPDIR/alice.json" --tags 'v*' --key targets
    expect 0
    echo '{"keytype":"ed25519"}' > "$BATS_TEST_TMPDIR/bad.json"
    run bulla trust delegate "$C" more --role-key "$BATS_TEST_TMPDIR/bad.json" --tags 'v*' --key targets
    expect 2 "public key '.*bad.json'"
}

@test "renew: what expires soon is signed again with a later date" {
    run bulla trust renew "$C" --key targets
    expect 0 "nothing to change"
    bulla sign "$C:v2@$DIGEST" --key targets --expires 20d
    run bulla trust renew "$C" --key targets
    expect 0 "targets: version .* -> "
    [[ $(bulla trust show "$C" --json | jq -r .targets.expires) > $(date -u -d '+300 days' +%Y) ]]
    run bulla trust renew "$C" root --key root
    expect 0 "root: version 1 -> 2"
    run bulla trust renew "$C" timestamp --key root
    expect 2 "by itself"
    rm -rf "$BULLA_HOME/trust/state"
    run bulla trust renew "$C" targets --key targets
    expect 3 "has not published in collection"
    run bulla trust renew "$C" targets --key targets --without-history
    expect 0
}

@test "what the registry shows under an expired timestamp is signed anew only when told" {
    command -v faketime > /dev/null || skip "faketime is not installed"
    export ASAN_OPTIONS=verify_asan_link_order=0:${ASAN_OPTIONS:-} # faketime comes before a sanitizer
    cp -a "$BULLA_HOME" "$BATS_TEST_TMPDIR/later" # a clock that runs back would be another matter
    later() { faketime -f +3d "$(command -v bulla)" --home "$BATS_TEST_TMPDIR/later" --cacert "$REGISTRY_CA" "$@"; }
    for change in "sign $C:v2@$DIGEST" "trust renew $C targets" "trust revoke $C:v1"; do
        # shellcheck disable=SC2086
        run later $change --key targets
        expect 3 "timestamp of collection .* expired at .*this may be an old state"
    done
    run bulla verify "$C:v2"
    expect 1 "is not signed in collection"
    later sign "$C:v2@$DIGEST" --key targets --without-history
}

@test "revoke a tag; a barred tag stays barred whoever signs it" {
    bulla trust delegate "$C" releases --role-key alice --tags 'v*' --key targets
    bulla sign "$C:v2@$DIGEST" --role releases --key alice
    run bulla trust revoke "$C" --key targets # "latest" is not meant where nothing is said
    expect 2 'name the tag or the digest'
    run bulla trust revoke "$C:v1" --key targets
    expect 0 "tag 'v1' removed"
    run bulla verify "$C:v1"
    expect 1 "is not signed in collection"
    run bulla trust revoke "$C:v2" --key targets
    expect 2 "not a key of role 'releases'"
    run bulla trust revoke "$C:v2" --block --key targets
    expect 0 "role 'revoked' delegated, may sign 'v2'"
    run bulla verify "$C:v2"
    expect 1 "is not signed in collection"
    # The role signs it again: nobody hears.
    bulla sign "$C:v2@$DIGEST" --role releases --key alice --expires 30d || true
    run bulla verify "$C:v2"
    expect 1 "is not signed in collection"
    bulla sign "$C:v4@$DIGEST" --role releases --key alice
    run bulla trust revoke "$C:v4" --block --key targets
    expect 0
    run bulla verify "$C:v4"
    expect 1
    run bulla trust revoke "$C:never" --key targets
    expect 3 "no role vouches for 'never'"
}

@test "a blocked tag stays blocked for a replaced targets key, and its role is nobody else's" {
    run bulla trust delegate "$C" revoked --role-key alice --tags 'v*' --key targets
    expect 2 "where 'bulla trust revoke --block' puts tags"
    bulla trust revoke "$C:v1" --block --key targets
    bulla key generate targets2
    run bulla trust rotate "$C" targets --new-key targets2 --key root --key targets2
    expect 0 "revoked key added"
    run bulla sign "$C:v1@$DIGEST" --role revoked --key targets
    expect 2
    run bulla verify "$C:v1"
    expect 1 "is not signed in collection"
    run bulla trust revoke "$C:v1" --block --key targets2
    expect 3 "no role vouches"
}

@test "revoke --block takes a tag out of the bins of targets" {
    bulla trust split "$C" --bin-key alice --bins 2 --key targets --key alice
    run bulla trust revoke "$C:v1" --block --key alice
    expect 0 "tag 'v1' removed"
    run bulla verify "$C:v1"
    expect 1 "is not signed in collection"
}

@test "the key of the bins is replaced by whoever delegates to them" {
    bulla trust split "$C" --bin-key alice --bins 2 --key targets --key alice
    bulla key generate robot
    run bulla trust rotate "$C" targets-bin --new-key robot --key targets
    expect 1 "needs signatures of 1 keys, 0 given"
    run bulla trust rotate "$C" targets-bin --new-key robot --key targets --key robot
    expect 0 "targets-bin key added"
    run bulla verify "$C:v1"
    expect 0
    run bulla sign "$C:v2@$DIGEST" --key alice
    expect 2 "not a key of role"
    run bulla sign "$C:v2@$DIGEST" --key robot
    expect 0
}

@test "a banned digest is refused under every tag" {
    bulla sign "$C:v2@$DIGEST" --key targets
    run bulla trust revoke "$C@$DIGEST" --key targets
    expect 0 "banned: $DIGEST"
    run bulla verify "$C:v2"
    expect 1 "banned"
    run bulla verify "$C:v1"
    expect 1 "banned"
    run bulla trust revoke "$C@$DIGEST" --key targets
    expect 0 "nothing to change"
}

@test "split: tags move into bins, stay verified, and new ones go there" {
    for i in 2 3 4 5 6 7 8; do bulla sign "$C:v$i@$DIGEST" --key targets; done > /dev/null
    run bulla trust split "$C" --bin-key alice --bins 4 --key targets --key alice
    expect 0 "4 bins named 'targets-bin-"
    # What nothing went to is counted, not listed.
    grep -q "^empty bins: 1$" <<< "$output"
    run ! grep -q "^targets-bin-1" <<< "$output"
    for i in 1 4 8; do
        run bulla verify "$C:v$i"
        expect 0
    done
    [[ $(vouching_role "$C:v4") == targets ]]
    run bulla sign "$C:v9@$DIGEST" --key alice
    expect 0
    run bulla verify "$C:v9"
    expect 0
    run bulla trust revoke "$C:v9" --key alice
    expect 0 "tag 'v9' removed"
    run bulla verify "$C:v9"
    expect 1
    run bulla trust split "$C" --bin-key alice --key targets --key alice
    expect 3 "split already"
    run bulla trust delegate "$C" more --role-key alice --tags 'v*' --key targets
    expect 2 "split into bins"
}

@test "two owners change different things at once: both changes are there" {
    bulla trust delegate "$C" one --role-key alice --tags 'a*' --key targets > "$BATS_TEST_TMPDIR/one" 2>&1 &
    first=$!
    run bulla trust delegate "$C" two --role-key alice --tags 'b*' --key targets
    expect 0
    wait "$first"
    run bulla sign "$C:a1@$DIGEST" --role one --key alice
    expect 0
    run bulla sign "$C:b1@$DIGEST" --role two --key alice
    expect 0
}

@test "registry down, wrong passphrase: nothing is changed, status 3" {
    echo wrong > "$BATS_TEST_TMPDIR/wrong"
    chmod 600 "$BATS_TEST_TMPDIR/wrong"
    run bulla trust delegate "$C" x --role-key alice --tags 'v*' --key targets --passphrase-file "$BATS_TEST_TMPDIR/wrong"
    expect 3 "wrong passphrase"
    run bulla trust rotate "127.0.0.1:1/own/c" targets --new-key alice --key root --key alice
    expect 3
}

@test "trust show: the tree of roles, what each may sign and vouches for, and what expires" {
    bulla trust delegate "$C" releases --role-key alice --tags 'v*' --terminating --key targets
    run bulla trust show "$C"
    expect 0 "releases +delegated, not signed by anybody yet"
    bulla sign "$C:v2@$DIGEST" --role releases --key alice --expires 20d
    run bulla trust show "$C"
    expect 0 "warning: releases expires within 30 days"
    grep -q "may sign 'v\*', terminating" <<< "$output"
    run --separate-stderr bulla trust show "$C" --json
    [[ $(jq -r '.roles[1] | .name, .delegator, .threshold, .terminating, (.tags | keys[])' <<< "$output" | paste -sd' ') == "releases targets 1 true v2" ]]
    [[ $(jq '.warnings | length' <<< "$output") == 1 ]]
}

@test "what has expired is listed, marked, and renewed" {
    command -v faketime > /dev/null || skip "faketime is not installed"
    bulla trust delegate "$C" releases --role-key alice --tags 'v*' --key targets
    bulla sign "$C:v2@$DIGEST" --role releases --key alice --expires 1h
    # A sanitizer's library need not come before faketime's.
    export ASAN_OPTIONS=verify_asan_link_order=0:${ASAN_OPTIONS:-}
    ahead() { faketime -f +2h "$(command -v bulla)" --cacert "$REGISTRY_CA" "$@"; }
    run ahead verify "$C:v2"
    expect 1 "expired"
    run ahead trust show "$C"
    expect 0 "EXPIRED"
    run ahead trust renew "$C" --key alice
    expect 0 "releases: version 1 -> 2"
    run ahead verify "$C:v2"
    expect 0
}
