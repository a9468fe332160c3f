#!/usr/bin/env bats
# New keys for what the registry's signing service signs: asked for, listed by a root, in force.
load ../support/bulla

setup_file() {
    bulla_setup_file
    bulla key generate other > /dev/null
    make_image again:v1 one > /dev/null
}
teardown_file() { bulla_teardown_file; }

# Each test has a collection of its own, with v1 signed.
setup() {
    bulla_setup
    C=$REGISTRY_HOST/own/r$BATS_TEST_NUMBER
    bulla push store:again:v1 "$C:v1" > /dev/null
    bulla trust init "$C" --root-key root --targets-key targets > /dev/null
    bulla sign "$C:v1" --key targets > /dev/null
    bulla policy allow "$C" > /dev/null
}

key_url() { echo "/v2/own/r$BATS_TEST_NUMBER/_trust/tuf/$1.key"; }
key_in_force() { registry_curl -f "$(key_url "$1")" | forge id-of; } # ROLE
key_waiting() { registry_curl -f -X POST "$(key_url "$1")${2:-}" | forge id-of; } # ROLE [QUERY]
listed() { # ROLE [STAGED FILE]: what the root lists
    if [[ -n ${2:-} ]]; then
        jq -r ".files[] | select(.role == \"root\") | .signed.roles.$1.keyids[]" "$2"
    else
        served "$(root_version).root" | jq -r ".signed.roles.$1.keyids[]"
    fi
}
root_version() { bulla trust show "$C" --json 2> /dev/null | jq .root.version; }
served() { registry_curl -f "/v2/own/r$BATS_TEST_NUMBER/_trust/tuf/$1.json"; }
signer_of() { jq -r '.signatures[].keyid' <<< "$1"; }

@test "a new key signs, the old one is gone, and machines that know the collection follow" {
    local role old new
    cp -a "$BULLA_HOME" "$BATS_TEST_TMPDIR/elsewhere"
    bulla verify "$C:v1" --home "$BATS_TEST_TMPDIR/elsewhere"
    for role in snapshot timestamp; do
        old=$(key_in_force "$role")
        run bulla trust rotate "$C" "$role" --key root
        expect 0 "$role key added"
        new=$(key_in_force "$role")
        [[ $old != "$new" ]]
        grep -q "$new" <<< "$output"
        [[ $(listed "$role") == "$new" ]]
        run bulla verify "$C:v1" --home "$BATS_TEST_TMPDIR/elsewhere"
        expect 0 '^valid'
    done
    [[ $(signer_of "$(served timestamp)") == "$new" ]]
    [[ $(root_version) == 3 ]]
    # What comes later is signed by it, too, and a machine that has seen nothing starts from the old root.
    bulla trust renew "$C" targets --key targets > /dev/null
    rm -rf "$BULLA_HOME/trust/state"
    run bulla verify "$C:v1"
    expect 0 '^valid'
}

@test "both at once; twice in a row; --json" {
    local first
    run --separate-stderr bulla trust rotate "$C" snapshot timestamp --key root --json
    expect 0
    [[ $(jq -r .changed <<< "$output") == true ]]
    [[ $(root_version) == 2 ]]
    first=$(key_in_force snapshot)
    run bulla trust rotate "$C" timestamp snapshot --key root
    expect 0 "root: version 2 -> 3"
    [[ $(key_in_force snapshot) != "$first" ]]
    run bulla verify "$C:v1"
    expect 0 '^valid'
}

@test "ended between asking and publishing: nothing has changed, and the next try takes the same key" {
    local waiting before
    before=$(served timestamp)
    waiting=$(key_waiting snapshot)
    run bulla trust rotate "$C" snapshot --key targets
    expect 2 "not a key of role 'root'"
    [[ $(key_in_force snapshot) != "$waiting" ]]
    [[ $(served timestamp) == "$before" ]]
    run bulla verify "$C:v1"
    expect 0 '^valid'
    bulla trust renew "$C" targets --key targets > /dev/null
    run bulla trust rotate "$C" snapshot --key root
    expect 0
    [[ $(key_in_force snapshot) == "$waiting" ]]
}

@test "staged: two owners mean the same key; the second publication is told so" {
    local first=$BATS_TEST_TMPDIR/first.json second=$BATS_TEST_TMPDIR/second.json never=$BATS_TEST_TMPDIR/never.json
    bulla trust stage "$first" rotate "$C" snapshot
    bulla trust rotate "$C" snapshot --key root --stage "$second"
    [[ $(listed snapshot "$first") == "$(listed snapshot "$second")" ]]
    [[ $(key_in_force snapshot) != "$(listed snapshot "$first")" ]]
    run unshare -n "$(command -v bulla)" trust add-signature "$first" --key root --yes
    expect 0 "snapshot key added: $(listed snapshot "$first")"
    run bulla trust publish "$first"
    expect 0 "published"
    [[ $(key_in_force snapshot) == "$(listed snapshot "$first")" ]]
    run bulla trust publish "$second"
    expect 3 "stage it again"
    # Staged and never published costs nothing.
    bulla trust stage "$never" rotate "$C" snapshot timestamp
    bulla trust renew "$C" targets --key targets > /dev/null
    run bulla verify "$C:v1"
    expect 0 '^valid'
    [[ $(key_in_force snapshot) == "$(listed snapshot "$first")" ]]
}

@test "two owners at the same moment: both succeed" {
    local one two status_one=0 status_two=0
    cp -a "$BULLA_HOME" "$BATS_TEST_TMPDIR/elsewhere"
    bulla trust rotate "$C" snapshot --key root > "$BATS_TEST_TMPDIR/one" 2>&1 &
    one=$!
    bulla trust rotate "$C" snapshot --key root --home "$BATS_TEST_TMPDIR/elsewhere" > "$BATS_TEST_TMPDIR/two" 2>&1 &
    two=$!
    wait "$one" || status_one=$?
    wait "$two" || status_two=$?
    cat "$BATS_TEST_TMPDIR/one" "$BATS_TEST_TMPDIR/two"
    ((status_one == 0 && status_two == 0))
    [[ $(listed snapshot) == "$(key_in_force snapshot)" ]]
    run bulla verify "$C:v1"
    expect 0 '^valid'
}

@test "a root with a key that the service has not is refused, and says which ones it has" {
    local change=$BATS_TEST_TMPDIR/change.json staged waiting before
    before=$(served timestamp)
    bulla trust rotate "$C" timestamp --key root --stage "$change"
    staged=$(listed timestamp "$change")
    # The key that waited may be known to others: the service makes another one, and forgets it.
    run bulla trust rotate "$C" timestamp --another --key targets
    expect 2 "not a key of role 'root'"
    waiting=$(key_waiting timestamp)
    [[ $waiting != "$staged" ]]
    run bulla trust publish "$change"
    expect 1 "root must list the signing service's keys.*$waiting"
    [[ $(served timestamp) == "$before" && $(root_version) == 1 ]]
    run bulla trust rotate "$C" timestamp --key root
    expect 0
    [[ $(key_in_force timestamp) == "$waiting" ]]
    run bulla verify "$C:v1"
    expect 0 '^valid'
}

@test "who may: admin; what may be said: these two roles, and no keys" {
    registry_user signer
    registry_grant signer "own/*" pull,push,sign
    [[ $(registry_curl -o /dev/null -w '%{http_code}' -u signer:signer-password "$(key_url snapshot)") == 200 ]]
    [[ $(registry_curl -o /dev/null -w '%{http_code}' -u signer:signer-password -X POST "$(key_url snapshot)") == 403 ]]
    [[ $(registry_curl -o /dev/null -w '%{http_code}' -X POST "$(key_url root)") == 404 ]]
    [[ $(registry_curl -o /dev/null -w '%{http_code}' -X POST "$(key_url snapshot)?another=maybe") == 400 ]]
    run bulla trust rotate "$C" snapshot --new-key other --key root
    expect 2 "signing service makes the keys"
    run bulla trust rotate "$C" snapshot targets --key root
    expect 2 "'targets' is rotated by itself"
    run bulla trust rotate "$C" targets snapshot --new-key other --key root
    expect 2 "one role at a time"
    run bulla trust rotate "$C" targets --another --new-key other --key root
    expect 2 "for snapshot and timestamp"
    run bulla trust rotate 127.0.0.1:1/own/none snapshot --key root
    expect 3
    [[ $(root_version) == 1 ]]
}
