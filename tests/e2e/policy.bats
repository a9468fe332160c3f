#!/usr/bin/env bats
# bulla policy: fingerprints are shown and never typed, each decision is explained, nothing bad is written.
load ../support/bulla

setup_file() {
    export ROOT=$BATS_FILE_TMPDIR/root.json ID
    ID=$(forge id seed:root)
    # shellcheck disable=SC2016 # jq's own variables
    jq -cn --arg id "$ID" --argjson key "$(forge key seed:root)" '{_type: "root", spec_version: "1.0.34", version: 3,
        expires: "2040-01-01T00:00:00Z", consistent_snapshot: true, "x-bulla-collection": "acme/app",
        keys: {($id): $key}, roles: (["root", "targets", "snapshot", "timestamp"] |
        map({(.): {keyids: [$id], threshold: 1}}) | add)}' | forge sign seed:root > "$ROOT"
}
setup() {
    export BULLA_HOME=$BATS_TEST_TMPDIR/home BULLA_POLICY=$BATS_TEST_TMPDIR/policy.json
    cd "$BATS_TEST_TMPDIR" || return
}
teardown() { [[ -z ${place:-} ]] || rm -rf "$place"; }

bulla() { command bulla "$@"; }

@test "allow: shows the root's keys, keeps a copy, and says which collection it serves" {
    run bulla policy allow r.io/acme/app --root "$ROOT"
    expect 0 "^root version 3 of 'acme/app', 1 of:"
    grep -q "^  $ID$" <<< "$output"
    mv "$ROOT" elsewhere
    run bulla policy check "$BULLA_POLICY"
    mv elsewhere "$ROOT"
    expect 0 '1 scopes'
    run ! grep -q warning <<< "$output"
    [[ $(bulla policy allow r.io/acme/app --root "$ROOT" --json | jq -c '[.rootKeys, .rootVersion]') == "[[\"$ID\"],3]" ]]
    # Another name: only when it is said.
    before=$(cat "$BULLA_POLICY")
    run bulla policy allow mirror.io/copy --root "$ROOT"
    expect 2 "of collection 'acme/app', the scope means 'copy'; '--collection acme/app'"
    run bulla policy allow mirror.io/copy --root "$ROOT" --collection other
    expect 2 "the scope means 'other'"
    run bulla policy allow mirror.io/copy --root "$ROOT" --collection ../x
    expect 2 "no repository's name"
    [[ $(cat "$BULLA_POLICY") == "$before" ]]
    bulla policy allow mirror.io/copy --root "$ROOT" --collection acme/app
    [[ $(jq -r '.scopes["mirror.io/copy"].collection' "$BULLA_POLICY") == acme/app ]]
    # A second time, and with a setting that a person wrote: it stays.
    jq '.scopes["mirror.io/copy"].maxAge = "1h"' "$BULLA_POLICY" > p && mv p "$BULLA_POLICY"
    run bulla policy allow mirror.io/copy --root "$ROOT"
    expect 0
    [[ $(jq -c '.scopes["mirror.io/copy"] | [.collection, .maxAge]' "$BULLA_POLICY") == '["acme/app","1h"]' ]]
    # Wider than the root.
    run bulla policy allow r.io/acme --root "$ROOT"
    expect 0 "warning: the root is of collection 'acme/app'"
    # What is no root.
    run bulla policy allow r.io/x --root "$BULLA_POLICY"
    expect 1 'root'
    run bulla policy allow r.io/x --root none.json
    expect 3 'none.json'
    run bulla policy allow r.io/x
    expect 3 "trust pin r.io/x"
    run bulla policy allow r.io/x --root "$ROOT" --root-key "$ID"
    expect 2 'either'
    run bulla policy allow r.io/x --root "$ROOT" --min-version 2
    expect 2 'go with --root-key'
    echo '{"version":1,"oops":1}' > bad.json
    run bulla --policy bad.json policy allow r.io/x --root-key "$ID"
    expect 1 'bad.json.*: /oops: unknown member'
    [[ $(cat bad.json) == '{"version":1,"oops":1}' ]]
    # Two at once: both are there.
    for i in 1 2 3 4 5 6; do bulla policy allow "two.io/n$i" --root-key "$ID" > /dev/null & done
    wait
    [[ $(jq '[.scopes | keys[] | select(startswith("two.io"))] | length' "$BULLA_POLICY") == 6 ]]
}

@test "check: the place of a fault, roots that are not there, what cannot be enforced" {
    echo '{ "version": 1, "scopes": { "r.io/a": { "signedBy": [ "x", "Y" ] } } }' > p.json
    run bulla policy check p.json
    expect 1 "policy 'p.json': /scopes/r.io~1a/signedBy/1: "
    printf '{\n"version": 1,,\n}\n' > p.json
    run bulla policy check p.json
    expect 1 'line 2, column'
    echo '{ "version": 1, "scopes": { "r.io/a": { "root": { "file": "gone.json" } } } }' > p.json
    run bulla policy check p.json
    expect 0 "warning: scope 'r.io/a': the root that policy names:.*gone.json"
    [[ $(bulla policy check p.json --json 2> /dev/null | jq '.warnings | length') == 1 ]]
    echo '{ "version": 1, "scopes": { "r.io/a": { "hardware": { "root": { "touch": "always" } } } } }' > p.json
    run bulla policy check p.json
    expect 3 '/scopes/r.io~1a/hardware: cannot be enforced by this version.*take it out'
    run bulla policy check none.json
    expect 3 'none.json'
}

@test "test: explains step by step, for people and for scripts" {
    jq -n --arg root "$ROOT" '{version: 1, scopes: {"r.io": {}, "r.io/acme": {collection: "acme/", root: {file: $root},
        signedBy: ["security/alice"], tags: {allow: ["v*"], deny: ["v0*"]}, maxAge: "1h", superseded: "refuse",
        run: {network: ["none"], readOnly: true}}}}' > "$BULLA_POLICY"
    run bulla policy test r.io/acme/app:v1
    expect 0 "^file .*'r.io/acme' is the longest"
    for line in "^tags  *'v1'; allowed: 'v\*'; denied: 'v0\*'" "^signedBy .*'security/alice' must vouch" \
        '^run .*"network":\["none"\]' '^collection acme/app$' "^anchor .*version 3 of 'acme/app', 1 of 1 keys" \
        "^key  *$ID" '^freshness .*after 60 s; maxAge 3600 s; offlineGrace 0 s; superseded: refuse' \
        '^decision  *allowed$'; do
        expect 0 "$line"
    done
    run bulla policy test r.io/acme/app:v01
    expect 1 '^tags  *NO: '
    expect 1 '^decision  *NO: refused: '
    expect 1 "^bulla: policy .* does not allow tag 'v01'"
    run --separate-stderr bulla policy test --json r.io/acme/app:v01
    [[ $(jq -c '[.allowed, (.steps | map(select(.passed | not).step))]' <<< "$output") == '[false,["tags","decision"]]' ]]
    run bulla policy test r.io/other:v1
    expect 0 "^anchor  *NO: none: policy names no root and none is pinned"
    run bulla policy test q.io/other:v1
    expect 1 "^file  *NO: .*none of its 2 scopes covers 'q.io/other'"
    run bulla policy test 'q.io/UPPER:v1'
    expect 2
    run bulla --policy none.json policy test r.io/a:v1
    expect 3 'none.json'
}

@test "show: every file, every scope, with what was left out" {
    jq -n '{version: 1, scopes: {"r.io/acme": {collection: "acme/", tags: {allow: ["v*"]}, run: {memory: "1g"}}}}' \
        > "$BULLA_POLICY"
    run bulla policy show
    expect 0 '^    refreshSeconds  *60'
    expect 0 '^    collection  *"acme/"'
    # shellcheck disable=SC2016 # jq's own variable
    [[ $(bulla policy show --json | jq -c '.files[0].scopes["r.io/acme"]') == '{"collection":"acme/","tags":{"allow":["v*"]},"refreshSeconds":60,"offlineGraceSeconds":0,"superseded":"allow","tofu":false,"run":{"memoryBytes":1073741824}}' ]]
    unset BULLA_POLICY
    XDG_CONFIG_HOME=$PWD run bulla policy show
    [[ -e /etc/bulla/policy.json ]] || expect 0 'no policy file: nothing may run'
}

@test "under a system policy: a user's own names no root, and is told" {
    need_root
    place=$(mktemp -d "${TMPDIR:-/tmp}/bulla-policy.XXXXXX")
    chmod 755 "$place"
    mkdir -p "$place/etc/bulla" "$place/bin" "$place/home"
    cp /etc/passwd /etc/group /etc/ld.so.cache "$place/etc/"
    cp "$(type -P bulla)" "$place/bin/"
    cp "$ROOT" "$place/root.json"
    chmod 644 "$place/root.json"
    chown 65534:65534 "$place/home"
    as_nobody() {
        # shellcheck disable=SC2016 # the inner shell's
        unshare --mount sh -c 'mount --bind "$0/etc" /etc && cd "$0" && exec setpriv --reuid 65534 --regid 65534 \
            --clear-groups env -u BULLA_POLICY -u XDG_CONFIG_HOME HOME="$0/home" BULLA_HOME="$0/home/bulla" \
            "$0/bin/bulla" "$@"' "$place" "$@"
    }
    jq -n --arg root "$place/root.json" '{version: 1, scopes: {"r.io/acme": {collection: "acme/", root: {file: $root}}}}' \
        > "$place/etc/bulla/policy.json"
    run as_nobody policy allow r.io/acme/app --root "$place/root.json"
    expect 1 "only it may name root and collection there; leave --root out"
    run as_nobody policy test r.io/acme/app:v1
    expect 0 '^decision  *allowed'
    run as_nobody policy allow r.io/acme/app
    expect 0 "root and collection are those of '/etc/bulla/policy.json', scope 'r.io/acme'"
    run as_nobody policy show
    expect 0 '^/etc/bulla/policy.json .system.'
    expect 0 'both must allow'
    run as_nobody policy test r.io/acme/app:v1
    expect 0 "^collection acme/app"
    run as_nobody policy test r.io/acme/other:v1
    expect 1 "^file  *NO: $place/home/.config/bulla/policy.json .user."
    # A root in the user's file all the same.
    jq '.scopes["r.io/acme/app"].root = {file: "/x"}' "$place/home/.config/bulla/policy.json" > "$place/new"
    cat "$place/new" > "$place/home/.config/bulla/policy.json"
    run as_nobody policy test r.io/acme/app:v1
    expect 1 "^decision  *NO: refused: .*only the system's policy may set"
    # --policy stands in for the user's file only; for root it replaces all.
    echo '{"version":1,"scopes":{"q.io":{}}}' > "$place/named.json"
    run as_nobody --policy "$place/named.json" policy test q.io/a:v1
    expect 1 'in place of the user'
    expect 1 "^file  *NO: /etc/bulla/policy.json"
    run bulla --policy "$place/named.json" policy test q.io/a:v1
    expect 0 'in place of all files'
}
