#!/usr/bin/env bats
# The three-valued verdict: each cause once, with its status; "not signed" is said of one only. And what policy asks
# for beside the search: signedBy, digests, superseded.
load ../support/bulla
load ../support/forge

setup_file() { forge_setup_file; }
teardown_file() { forge_teardown_file; }
setup() { forge_setup; }
teardown() { forge_teardown; }

# verdict STATUS REASON COMMAND…: ends so, for people and as JSON; only of "not-signed" it says "not signed".
verdict() {
    local word='could not determine' name=undetermined
    (($1 != 1)) || word=refused name=refused
    run --separate-stderr "${@:3}" --json "$REF"
    [[ $status == "$1" ]]
    [[ $(jq -r '.verdict + " " + .reason' <<< "$output") == "$name $2" ]]
    run "${@:3}" "$REF"
    expect "$1" "^bulla: $word '$REF': "
    [[ $(wc -l <<< "$output") == 1 ]]
    [[ $2 == not-signed ]] || run ! grep -qi 'not signed' <<< "$output"
}
at() { faketime -f "$1" bulla --cacert "$REGISTRY_CA" "${@:2}"; }

@test "refused: the tag is not there, metadata bad, older or expired, banned, policy, 401 and 403" {
    release 2 '.targets = {}'
    verdict 1 not-signed bulla verify
    grep -q "'v1' is not signed in collection 'acme/app'" <<< "$output"
    release 3
    bulla verify "$REF"
    cp "$TUF/timestamp.json" "$BATS_TEST_TMPDIR/third"
    sign_timestamp 4 . seed:thief
    verdict 1 bad-signature bulla verify
    echo '{' > "$TUF/timestamp.json"
    verdict 1 invalid bulla verify
    release 4
    bulla verify "$REF"
    cp "$BATS_TEST_TMPDIR/third" "$TUF/timestamp.json"
    verdict 1 rollback bulla verify
    release 5 ".\"x-bulla-collection\" = \"acme/other\""
    verdict 1 wrong-collection-or-role bulla verify
    release 6
    verdict 1 expired at +2d verify
    release 7 ".\"x-bulla-banned\" = [\"$DIGEST\"]"
    verdict 1 banned bulla verify
    release 8
    forge_policy 'tags: {deny: ["v1"]}'
    verdict 1 policy bulla verify
    forge_policy ''
    for answer in 401:unauthorized 403:denied; do
        echo "${answer%:*}" > "$TUF/timestamp.json.status"
        verdict 1 "${answer#*:}" bulla verify
        rm "$TUF/timestamp.json.status"
    done
}

@test "could not determine: no metadata, no answer, TLS, clock, no anchor, too old, a policy that is not there" {
    echo 404 > "$TUF/timestamp.json.status"
    verdict 3 no-trust bulla verify
    echo 500 > "$TUF/timestamp.json.status"
    verdict 3 network bulla verify
    rm "$TUF/timestamp.json.status"
    kill -USR2 "$FILE_SERVER_PID"
    verdict 3 tls bulla verify
    kill -USR1 "$FILE_SERVER_PID"
    verdict 3 clock at -1h verify
    bulla verify "$REF"
    echo 503 > "$TUF/timestamp.json.status"
    verdict 3 stale at +2d verify
    rm "$TUF/timestamp.json.status"
    run bulla --policy "$BATS_TEST_TMPDIR/none.json" verify "$REF"
    expect 3 "none.json' is not there.*--policy"
    BULLA_POLICY=$BATS_TEST_TMPDIR/none.json run bulla verify "$REF"
    expect 3 "none.json' is not there.*BULLA_POLICY"
    echo '{"version":1}' > "$BULLA_POLICY"
    verdict 3 no-trust bulla verify
    REF=127.0.0.1:1/$REPO:v1
    bulla policy allow "127.0.0.1:1/$REPO" --root-key "$(forge id seed:root)"
    verdict 3 network bulla verify
}

@test "signedBy: a path of roles, each verified by the one before it" {
    forge_policy 'signedBy: ["security/alice"]'
    sign_role security 1 ".targets = {} | $(delegate alice 'v*')"
    sign_role alice 1
    release 2 "$(delegate security '*')"
    run bulla verify "$REF"
    expect 0 '^valid'
    # By name alone a role is one that targets delegates.
    forge_policy 'signedBy: ["alice"]'
    ACCEPTED='timestamp.json snapshot.json targets.json last-success'
    refused 1 "'alice' to vouch for 'v1'; it is not delegated by 'targets'" bulla verify "$REF"
    # Somebody else's alice is not security's, though the file is the same.
    ACCEPTED+=' security.json'
    forge_policy 'signedBy: ["security/alice"]'
    release 3 "$(delegate security '*') | $(delegate alice '*')"
    sign_role security 2 ".targets = {} | $(delegate alice 'v*' seed:other)"
    sign_snapshot 3
    sign_timestamp 3
    refused 1 "role 'alice'.*signatures" bulla verify "$REF"
    # Each step must be delegated for this name.
    sign_role security 4 ".targets = {} | $(delegate alice 'w*')"
    release 4 "$(delegate security '*')"
    ACCEPTED+=' alice.json'
    refused 1 "it is not delegated by 'security'" bulla verify "$REF"
    sign_role security 5 ".targets = {} | $(delegate alice 'v*')"
    release 5 "$(delegate security 'w*')"
    refused 1 "it is not delegated by 'targets'" bulla verify "$REF"
    # The last one must mean the same digest as the search does.
    sign_role alice 6 ".targets.v1.hashes.sha256 = \"$(printf %064d 5)\""
    release 6 "$(delegate security '*')"
    refused 1 "'security/alice' to vouch for this digest; it does not" bulla verify "$REF"
    run bulla run "$REF"
    expect 125 "'security/alice' to vouch for this digest"
    # A role that is to vouch and cannot be asked for is no refusal.
    sign_role alice 7
    release 7 "$(delegate security '*')"
    echo 503 > "$TUF/7.alice.json.status"
    refused 3 "role 'alice'.*503" bulla verify "$REF"
    rm "$TUF/7.alice.json.status"
    run bulla verify "$REF"
    expect 0 '^valid'
}

@test "signedBy: keys are shared out, so that none counts twice and none is lost" {
    forge_policy 'signedBy: ["alice", "bob"]'
    id() { forge id "seed:$1"; }
    # Two keys in alice, of which one must sign; bob's is one of them.
    both="$(delegate alice 'v*' seed:one) | .delegations.keys[\"$(id two)\"] = $(forge key seed:two)
        | .delegations.roles[0].keyids += [\"$(id two)\"] | $(delegate bob 'v*' seed:one)"
    sign_role alice 1 . seed:one seed:two
    sign_role bob 1 . seed:one
    release 2 "$both"
    run bulla verify "$REF"
    expect 0 '^valid'
    ACCEPTED='timestamp.json snapshot.json targets.json alice.json bob.json last-success'
    sign_role alice 3 . seed:one
    release 3 "$both"
    refused 1 'vouched for another role' bulla verify "$REF"
    # One key written in two ways has two ids, and is one key.
    other=$(forge key seed:one | jq -c '.note = "again"')
    again=$(forge id-of <<< "$other")
    sign_role alice 4 . seed:one
    sign_role bob 4 . seed:one
    jq -c ".signatures[0].keyid = \"$again\"" "$TUF/4.bob.json" > "$TUF/x" && mv "$TUF/x" "$TUF/4.bob.json"
    release 4 "$(delegate alice 'v*' seed:one) | .delegations.keys[\"$again\"] = $other |
        .delegations.roles += [{name: \"bob\", keyids: [\"$again\"], threshold: 1, terminating: false, paths: [\"*\"]}]"
    refused 1 'vouched for another role' bulla verify "$REF"
    # Pinned keys: so many of them, and of no others.
    forge_policy "signedBy: [{role: \"targets\", keys: [\"$(id targets)\", \"$(id two)\"], threshold: 2}]"
    refused 1 "policy pins keys for role 'targets'; 1 of 2 signed" bulla verify "$REF"
    # A root that lets anybody sign does not help against pins.
    sign_root 2 "$(root_key targets targets two thief)"
    release 5 . seed:targets
    sign_targets 6 . seed:targets seed:thief
    sign_snapshot 6
    sign_timestamp 6
    ACCEPTED+=' root.json 2.json'
    refused 1 "1 of 2 signed" bulla verify "$REF"
    sign_targets 7 . seed:targets seed:two
    sign_snapshot 7
    sign_timestamp 7
    run bulla verify "$REF"
    expect 0 '^valid'
}

@test "digests: by a signed target of that name only, and where a list of tags says so" {
    name=$REGISTRY_HOST/$REPO@$DIGEST
    run bulla verify "$name"
    expect 1 "'$DIGEST' is not signed"
    release 2 ".targets[\"$DIGEST\"] = .targets.v1"
    run bulla verify "$name"
    expect 0 '^valid'
    ACCEPTED=last-success
    forge_policy 'tags: {allow: ["*"]}'
    refused 1 'does not allow a reference without a tag' bulla verify "$name"
    forge_policy 'tags: {allow: ["sha256:*"]}'
    run bulla verify "$name"
    expect 0 '^valid'
    refused 1 "does not allow tag 'v1'" bulla verify "$REF"
    forge_policy 'tags: {deny: ["sha256:*"]}'
    refused 1 'does not allow a reference without a tag' bulla verify "$name"
    # A target of that name that means another image.
    forge_policy ''
    release 3 ".targets[\"$DIGEST\"] = (.targets.v1 | .hashes.sha256 = \"$(printf %064d 5)\")"
    ACCEPTED='timestamp.json snapshot.json last-success'
    refused 1 "target '$DIGEST' names other content" bulla verify "$name"
    refused 1 "target '$DIGEST' names other content" bulla verify --recorded "$DIGEST" "$name"
}

@test "what runs: current, superseded, revoked, banned, and not to be known" {
    older=sha256:$(printf %064d 5)
    recorded() { bulla verify --recorded "$DIGEST" "$REF" "$@"; }
    run recorded
    expect 0 '^valid'
    release 2 ".targets.v1.hashes.sha256 = \"${older#sha256:}\""
    run recorded
    expect 0 "^warning: 'v1' means $older now: what runs was superseded"
    [[ $(recorded --json 2> /dev/null | jq -c '[.verdict, .superseded, .digest]') == "[\"valid\",true,\"$older\"]" ]]
    run bulla verify --recorded "$DIGEST" "$REF@$DIGEST"
    expect 0 'was superseded'
    # The next start may wait for a second signature; what runs had its own when it started.
    forge_policy 'signedBy: ["alice"]'
    run recorded
    expect 0 'was superseded'
    forge_policy 'superseded: "refuse"'
    ACCEPTED=last-success
    refused 1 "$DIGEST was superseded: policy refuses that" recorded
    release 3
    run recorded
    expect 0 '^valid'
    forge_policy ''
    release 4 '.targets = {}'
    run recorded
    expect 1 "'v1' is not signed"
    # Banned, by its tag, or after it was superseded; a ban on its successor is not its own.
    release 5 ".\"x-bulla-banned\" = [\"$DIGEST\"]"
    run recorded
    expect 1 "$DIGEST is banned"
    release 6 ".targets.v1.hashes.sha256 = \"${older#sha256:}\" | .\"x-bulla-banned\" = [\"$DIGEST\"]"
    run recorded
    expect 1 "$DIGEST is banned"
    # Known is known, whether the registry can be asked or not.
    echo 503 > "$TUF/timestamp.json.status"
    run recorded
    expect 1 "$DIGEST is banned"
    rm "$TUF/timestamp.json.status"
    release 7 ".targets.v1.hashes.sha256 = \"${older#sha256:}\" | .\"x-bulla-banned\" = [\"$older\"]"
    run recorded
    expect 0 'was superseded'
    run bulla verify "$REF"
    expect 1 "$older is banned"
    new=$BULLA_HOME/trust
    mv "$new" "$BATS_TEST_TMPDIR/away"
    echo 503 > "$TUF/timestamp.json.status"
    run recorded
    expect 3 'could not determine'
    run bulla verify --recorded nonsense "$REF"
    expect 2 'no digest'
}
