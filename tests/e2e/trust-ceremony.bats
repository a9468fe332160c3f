#!/usr/bin/env bats
# Ceremonies: a change travels as a file from machine to machine, each signs after reading what it does.
load ../support/bulla

setup_file() { bulla_setup_file; }
teardown_file() { bulla_teardown_file; }

# Two offline machines with a root key each; this one has neither.
setup() {
    bulla_setup
    C=$REGISTRY_HOST/own/r$BATS_TEST_NUMBER
    for who in ann ben cas; do
        command bulla key generate "$who" --home "$BATS_TEST_TMPDIR/$who" > /dev/null
        command bulla key show "$who" --home "$BATS_TEST_TMPDIR/$who" --json | jq .key > "$BATS_TEST_TMPDIR/$who.json"
    done
    CHANGE=$BATS_TEST_TMPDIR/change.json
    make_image again:v1 one > /dev/null
    bulla push store:again:v1 "$C:v1" > /dev/null
}

# add_signature WHO [OPTION…]: on WHO's machine, without any network.
add_signature() {
    local who=$1
    shift
    unshare -n "$(command -v bulla)" --home "$BATS_TEST_TMPDIR/$who" trust add-signature "$CHANGE" --key "$who" "$@"
}

init_two_of_three() {
    bulla trust stage "$CHANGE" init "$C" --root-key "$BATS_TEST_TMPDIR/ann.json" --root-key "$BATS_TEST_TMPDIR/ben.json" \
        --root-key "$BATS_TEST_TMPDIR/cas.json" --root-threshold 2 --targets-key targets --key targets
    add_signature ben --yes
    add_signature ann --yes
    bulla trust publish "$CHANGE"
}

@test "a collection begins with two of three root keys that never meet" {
    run bulla trust stage "$CHANGE" init "$C" --root-key "$BATS_TEST_TMPDIR/ann.json" --root-key "$BATS_TEST_TMPDIR/ben.json" \
        --root-key "$BATS_TEST_TMPDIR/cas.json" --root-threshold 2 --targets-key targets --key targets
    expect 0 "staged in"
    run bulla trust publish "$CHANGE"
    expect 1 "needs signatures of 2 keys, 0 given"
    run add_signature ben --yes
    expect 0 "1 more needed"
    grep -q "root key added: $(command bulla key show ann --home "$BATS_TEST_TMPDIR/ann" --json | jq -r .keyid)" <<< "$output"
    run bulla trust publish "$CHANGE"
    expect 1 "needs signatures of 2 keys, 1 given"
    run add_signature ann --yes
    expect 0 "all signatures are there"
    run bulla trust publish "$CHANGE"
    expect 0 "published"
    run bulla sign "$C:v1" --key targets
    expect 0
    run bulla verify "$C:v1"
    expect 0
    run bulla trust publish "$CHANGE"
    expect 3 "."
}

@test "rotating a root key: old and new ones sign, in any order" {
    init_two_of_three
    CHANGE=$BATS_TEST_TMPDIR/rotate.json
    command bulla key generate dan --home "$BATS_TEST_TMPDIR/dan" > /dev/null
    command bulla key show dan --home "$BATS_TEST_TMPDIR/dan" --json | jq .key > "$BATS_TEST_TMPDIR/dan.json"
    run bulla trust stage "$CHANGE" rotate "$C" root --new-key "$BATS_TEST_TMPDIR/ann.json" \
        --new-key "$BATS_TEST_TMPDIR/dan.json" --threshold 2
    expect 0 "root key removed"
    add_signature dan --yes
    run add_signature cas --yes
    expect 0 "1 more needed"
    run add_signature ann --yes
    expect 0 "all signatures are there"
    run bulla trust publish "$CHANGE"
    expect 0
    [[ $(bulla trust show "$C" --json | jq .root.version) == 2 ]]
}

@test "who signs is shown what changes, and must agree" {
    init_two_of_three
    CHANGE=$BATS_TEST_TMPDIR/delegate.json
    bulla trust stage "$CHANGE" delegate "$C" releases --role-key "$BATS_TEST_TMPDIR/dan.json" --tags 'v*' 2> /dev/null || true
    bulla trust stage "$CHANGE" delegate "$C" releases --role-key "$BATS_TEST_TMPDIR/ann.json" --tags 'v*'
    run bulla trust add-signature "$CHANGE" --key targets < /dev/null
    expect 2 "nobody is there"
    # What is written beside the metadata is not what is shown.
    jq '.summary = ["nothing at all"]' "$CHANGE" > "$CHANGE.new" && mv "$CHANGE.new" "$CHANGE"
    run bulla trust add-signature "$CHANGE" --key targets --yes
    expect 0 "role 'releases' delegated, may sign 'v\*'"
    run ! grep -q "nothing at all" <<< "$output"
    run bulla trust add-signature "$CHANGE" --key root --yes
    expect 2 "not a key of role"
    run bulla trust publish "$CHANGE"
    expect 0
    run bulla trust add-signature "$CHANGE" --key targets --yes
    expect 3 "stage it again"
}

# Whoever stages a change also brings what it is compared with.
@test "a machine that does not know the collection is shown all that it signs, one that does refuses a made-up root" {
    init_two_of_three
    bulla sign "$C:v1" --key targets
    CHANGE=$BATS_TEST_TMPDIR/rotate.json
    bulla trust stage "$CHANGE" rotate "$C" targets --new-key "$BATS_TEST_TMPDIR/ann.json"
    run bulla trust add-signature "$CHANGE" --key root --yes # it knows
    run ! grep -q "tag 'v1'" <<< "$output"
    run add_signature ann --yes
    expect 0 "does not know that root: compare its keys"
    grep -q "tag 'v1' added: sha256:" <<< "$output"
    registry_curl -o "$BATS_TEST_TMPDIR/root.json" "/v2/own/r$BATS_TEST_NUMBER/_trust/tuf/1.root.json"
    command bulla policy allow "$C" --root "$BATS_TEST_TMPDIR/root.json" --policy "$BATS_TEST_TMPDIR/policy.json" > /dev/null
    run add_signature ben --yes --policy "$BATS_TEST_TMPDIR/policy.json"
    expect 0 "targets key removed"
    run ! grep -q "does not know" <<< "$output"
    jq '.signatures = []' "$BATS_TEST_TMPDIR/root.json" > "$BATS_TEST_TMPDIR/other.json"
    command bulla policy allow "$C" --root "$BATS_TEST_TMPDIR/other.json" --policy "$BATS_TEST_TMPDIR/policy.json" > /dev/null || true
    jq --arg f "$BATS_TEST_TMPDIR/other.json" '.scopes[].root.file = $f' "$BATS_TEST_TMPDIR/policy.json" > "$BATS_TEST_TMPDIR/policy2.json"
    run add_signature cas --yes --policy "$BATS_TEST_TMPDIR/policy2.json"
    expect 1 "is not the one that this machine knows"
}

@test "a change that was overtaken is not published" {
    init_two_of_three
    CHANGE=$BATS_TEST_TMPDIR/renew.json
    bulla trust stage "$CHANGE" renew "$C" targets --key targets
    bulla sign "$C:v1" --key targets
    run bulla trust publish "$CHANGE"
    expect 3 "stage it again"
}

@test "a staged change that was tampered with is not signed" {
    init_two_of_three
    CHANGE=$BATS_TEST_TMPDIR/renew.json
    bulla trust stage "$CHANGE" renew "$C" root
    tamper() {
        jq "$1" good > "$CHANGE"
        run add_signature ann --yes
        ((status != 0)) || { echo "signed after: $1"; return 1; }
    }
    cd "$BATS_TEST_TMPDIR"
    cp "$CHANGE" good
    tamper '.files[0].signed["x-bulla-collection"] = "other"'
    tamper '.files[0].signed.version = 7'
    tamper '.files[0].role = "targets"'
    tamper '.files[0].extra = 1'
    tamper '.collection = "other"'
    tamper '.base = []'
    tamper '.base[0].file |= sub("2"; "3")'
    tamper '.files = []'
    tamper '.bullaChange = 2'
    echo '{' > "$CHANGE"
    run add_signature ann --yes
    expect 1 "change file"
    run add_signature ann --yes --passphrase-file /nonexistent
    ((status != 0))
}

@test "stage refuses what cannot be staged, and does not overwrite" {
    run bulla trust stage "$CHANGE" show "$C"
    expect 2 "cannot be staged"
    run bulla trust stage "$CHANGE"
    expect 2 "usage"
    init_two_of_three
    run bulla trust stage "$CHANGE" renew "$C" root
    expect 3 "exists"
}
