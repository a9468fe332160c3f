#!/usr/bin/env bats
# Owners whose registry lies to them: it would have them sign again what was replaced or taken back long ago.
load ../support/bulla
load ../support/forge

# The collection's root and targets keys are this owner's.
setup_file() {
    forge_setup_file
    (umask 077 && head -c 18 /dev/urandom | base64 > "$BATS_FILE_TMPDIR/passphrase")
    export BULLA_HOME=$BATS_FILE_TMPDIR/owner
    local name
    for name in root targets new; do bulla key generate "$name" > /dev/null; done
    for name in root targets; do
        printf '{"%s":{"id":"%s","key":%s}}\n' "$name" "$(forge id "$name")" "$(forge key "$name")"
    done | cat "$BATS_FILE_TMPDIR/keys.json" - | jq -s add > "$BATS_FILE_TMPDIR/keys"
    mv "$BATS_FILE_TMPDIR/keys" "$BATS_FILE_TMPDIR/keys.json"
    TUF=$BASE/_trust/tuf
    sign_root 1 . root
    owners_release 1
    cp "$TUF/1.root.json" "$BATS_FILE_TMPDIR/root.json"
}
teardown_file() { forge_teardown_file; }
setup() {
    forge_setup
    cp -a "$BATS_FILE_TMPDIR/owner" "$BULLA_HOME"
    C=$REGISTRY_HOST/$REPO
    ACCEPTED='root.json 1.json timestamp.json snapshot.json targets.json last-success'
}
teardown() { forge_teardown; }

owners_release() { # N [FILTER]
    sign_targets "$1" "${2:-.}" targets
    sign_snapshot "$1"
    sign_timestamp "$1"
}

posts() { grep -c "^POST /v2/$REPO/" "$WWW/requests"; }

# As it was at release 2, when `evil` was signed still; release 3 has taken it back.
roll_back() {
    owners_release 2 '.targets.evil = .targets.v1'
    cp "$TUF/timestamp.json" "$BATS_TEST_TMPDIR/old"
    owners_release 3
    bulla verify "$REF" > /dev/null
    cp "$TUF/timestamp.json" "$BATS_TEST_TMPDIR/new"
    cp "$BATS_TEST_TMPDIR/old" "$TUF/timestamp.json"
    rm "$TUF"/3.*
}

@test "rollback through renew, repair and other changes: known versions are the floor" {
    roll_back
    refused 1 'rolled back' bulla trust renew "$C" targets --key targets
    refused 1 'rolled back' bulla trust renew "$C" targets --key targets --without-history
    refused 1 'rolled back' bulla trust repair "$C" targets --new-key new --key root --key new
    refused 1 'rolled back' bulla trust rotate "$C" targets --new-key new --key root --key new
    refused 1 'rolled back' bulla trust delegate "$C" more --role-key new --tags '*' --key targets
    refused 1 'rolled back' bulla trust revoke "$C:evil" --key targets
    refused 1 'rolled back' bulla sign "$C:v2@$DIGEST" --key targets
    refused 1 'rolled back' bulla trust stage "$BATS_TEST_TMPDIR/change.json" renew "$C" targets
    [[ ! -e $BATS_TEST_TMPDIR/change.json && $(posts) == 0 ]]
}

@test "rollback through renew and repair: without history they are confirmed, and asking twice is no history" {
    roll_back
    for command in 'renew targets' 'repair targets --new-key new --key root --key new'; do
        rm -rf "$BULLA_HOME/trust"
        for _ in 1 2; do
            # shellcheck disable=SC2086 # words
            refused 3 'has not published in collection .*--without-history' \
                bulla trust ${command%% *} "$C" ${command#* } --key targets
        done
    done
    [[ $(posts) == 0 ]]
    # Who confirms is shown what would be signed, and it goes to the registry.
    echo 409 > "$TUF/.status"
    bulla trust renew "$C" targets --key targets --without-history || true
    [[ $(posts) != 0 ]]
}

@test "rollback through rebase: what was known before the conflict still counts" {
    roll_back
    # The first answer is the newest, then somebody else is said to have been faster, and then all is old.
    mv "$BATS_TEST_TMPDIR/new" "$TUF/timestamp.json"
    owners_release 3
    cp "$BATS_TEST_TMPDIR/old" "$TUF/timestamp.json.swap"
    echo 409 > "$TUF/.status"
    refused 1 'rolled back' bulla trust renew "$C" targets --key targets --without-history
    [[ $(posts) == 1 ]]
    rm "$TUF"/timestamp.json.s*
    refused 1 'rolled back' at_old bulla sign "$C:v2@$DIGEST" --key targets
    [[ $(posts) == 2 ]]
    # A registry that is always overtaken is given up.
    run bulla trust renew "$C" targets --key targets --without-history
    expect 3 '409|conflict|faster|overtaken|published'
    (($(posts) < 12))
    rm "$TUF/.status"
    run bulla verify "$REF"
    expect 0 '^valid'
}

# The command with the old timestamp from the second request on.
at_old() {
    cp "$BATS_TEST_TMPDIR/old" "$TUF/timestamp.json.swap"
    "$@"
    local status=$?
    rm "$TUF"/timestamp.json.s*
    return "$status"
}

@test "failures while an owner looks: nothing is signed on a guess" {
    bulla verify "$REF"
    owners_release 2
    for place in 2.root.json timestamp.json 2.snapshot.json 2.targets.json; do
        for answer in 500:3 403:1 307:3; do
            echo "${answer%:*}" > "$TUF/$place.status"
            refused "${answer#*:}" "status ${answer%:*}|denies access|redirect" \
                bulla trust renew "$C" targets --key targets --without-history
            refused "${answer#*:}" "status ${answer%:*}|denies access|redirect" bulla sign "$C:v2@$DIGEST" --key targets
            rm "$TUF/$place.status"
        done
    done
    [[ $(posts) == 0 ]]
}

@test "a registry that takes a publication and shows nothing of it is not believed" {
    bulla verify "$REF"
    for status in 200 201 204; do
        echo "$status" > "$TUF/.status"
        refused 3 'does not show it|status 20' bulla sign "$C:v2@$DIGEST" --key targets
    done
    # Nor one that sends the owner elsewhere with what was signed.
    echo 307 > "$TUF/.status"
    echo "https://localhost:${REGISTRY_HOST##*:}/v2/elsewhere/" > "$TUF/.location"
    refused 3 'redirect' bulla sign "$C:v2@$DIGEST" --key targets
    run ! grep -q elsewhere "$WWW/requests"
    rm "$TUF/.status" "$TUF/.location"
    run bulla verify "$REF"
    expect 0 '^valid'
}
