#!/usr/bin/env bats
# Nothing that expires or gets lost ends a collection: three months pass in which nobody does anything, and the service
# is off; then each story is brought to its end by those who still have keys.
load ../support/bulla

# What happened "before" happened 100 days ago; the tests run now.
setup_file() {
    type -P faketime > /dev/null || skip "faketime is not installed"
    # A sanitizer's library need not come before faketime's.
    export ASAN_OPTIONS=verify_asan_link_order=0:${ASAN_OPTIONS:-}
    past bulla_setup_file
    H=$REGISTRY_HOST/own
    export H
    for key in alice bob root2 root3; do past command bulla key generate "$key"; done > /dev/null
    DIGEST=$(registry_curl -o /dev/null -D - -H 'Accept: */*' /v2/acme/app/manifests/v1 |
        sed -n 's/^docker-content-digest: \(.*\)\r$/\1/Ip')
    export DIGEST
    past prepare > /dev/null
    bulla_registry_restart
}

teardown_file() { [[ ! -e $BATS_FILE_TMPDIR/registry.pid ]] || bulla_teardown_file; }
setup() { bulla_setup; }

# past COMMAND…: 100 days ago. faketime starts programs; functions get what it sets.
past() {
    local -x LD_PRELOAD FAKETIME
    LD_PRELOAD=$(faketime -f -100d sh -c 'echo "$LD_PRELOAD"')
    FAKETIME=-100d
    "$@"
}

# A collection of its own, which vouches for v1. A list of root keys may follow.
begin() { # NAME [INIT OPTION…]
    local c=$H/$1
    shift
    (($#)) || set -- --root-key root
    bulla push store:app:v1 "$c:v1"
    bulla trust init "$c" "$@" --targets-key targets
    bulla sign "$c:v1" --key targets
    bulla policy allow "$c"
}

delegate() { # NAME [SIGN OPTION…]
    bulla trust delegate "$H/$1" releases --role-key alice --tags 'v*' --key targets
    bulla sign "$H/$1:v2@$DIGEST" --role releases --key alice "${@:2}"
}

prepare() {
    local c
    for c in targets delegated root lost unseen; do begin "$c"; done
    begin roots --root-key root --root-key root2 --root-key root3 --root-threshold 2
    bulla trust renew "$H/targets" targets --key targets --expires 30d
    delegate delegated --expires 30d
    delegate lost
    bulla trust renew "$H/root" root --expires 30d
    bulla trust renew "$H/unseen" targets --key targets --expires 30d
}

# Who has known the collection all the time, and who comes today with the first root.
everybody() { # STATUS PATTERN REF
    local who
    rm -rf "$BATS_TEST_TMPDIR/new"
    for who in "${OLD:=$(mktemp -d "$BATS_TEST_TMPDIR/old.XXXX")}" "$BATS_TEST_TMPDIR/new"; do
        [[ $who != "$OLD" || -e $OLD/trust ]] || cp -a "$BATS_FILE_TMPDIR/home/." "$OLD"
        run bulla verify "$3" --home "$who"
        expect "$1" "$2" || return
    done
}

@test "the service was off for months: it signs anew when it is back" {
    # Nobody answers: what is stored here is too old, and is still shown.
    run command bulla verify "$REF"
    expect 3 'could not determine.*timestamp expired'
    run command bulla trust show "$REGISTRY_HOST/acme/app"
    expect 0 'timestamp .*EXPIRED'
    everybody 0 'asked the registry just now' "$REF"
    [[ $(bulla trust show "$REGISTRY_HOST/acme/app" --json | jq -r .timestamp.expires) > $(date -u +%FT%TZ) ]]
}

@test "expired targets: refused, listed and marked, mended by renew" {
    everybody 1 "targets.*expired" "$H/targets:v1"
    run bulla trust show "$H/targets"
    expect 0 'targets .*EXPIRED'
    grep -q "warning: targets expired: 'bulla trust renew' signs it again" <<< "$output"
    grep -q "v1  *$DIGEST" <<< "$output"
    run --separate-stderr bulla trust show "$H/targets" --json
    [[ $(jq -r '.warnings[]' <<< "$output") == 'targets expired'* ]]
    run bulla trust renew "$H/targets" --key targets
    expect 0 'targets: version 3 -> 4'
    everybody 0 '' "$H/targets:v1"
    run bulla trust show "$H/targets"
    run ! grep -qi expired <<< "$output"
}

@test "an expired delegated role: the rest goes on, its own keys renew it" {
    everybody 1 "releases.*expired" "$H/delegated:v2"
    everybody 0 '' "$H/delegated:v1"
    run bulla trust show "$H/delegated"
    expect 0 'releases .*EXPIRED'
    run bulla trust renew "$H/delegated" --key alice
    expect 0 'releases: version 1 -> 2'
    everybody 0 'role *releases' "$H/delegated:v2"
}

@test "an expired root: its own keys sign a successor, which old and new clients take" {
    everybody 1 "root.*expired" "$H/root:v1"
    run bulla trust show "$H/root"
    expect 0 'root .*EXPIRED'
    grep -q 'warning: root expired' <<< "$output"
    run bulla trust renew "$H/root" targets --key targets
    expect 1 'root expired at .* first .bulla trust renew .*/own/root root'
    # Another of its owners, on a machine that has not seen it.
    run bulla trust pin "$H/root" --home "$BATS_TEST_TMPDIR/other"
    expect 0 'pinned'
    run bulla trust renew "$H/root" root --key root
    expect 0 'root: version 2 -> 3'
    everybody 0 '' "$H/root:v1"
}

@test "a lost targets key: root keys name another, the tags stay" {
    bulla key remove targets
    run bulla trust repair "$H/lost" targets --new-key bob --key root --key bob
    expect 0 'targets key added'
    everybody 0 '' "$H/lost:v1"
    everybody 0 'role *releases' "$H/lost:v2"
    run bulla sign "$H/lost:v3@$DIGEST" --key bob
    expect 0
}

@test "a lost key of a delegated role: whoever delegates names another" {
    bulla key remove alice
    run bulla trust repair "$H/delegated" releases --new-key bob --key targets --key bob
    expect 0 'releases key added'
    everybody 0 'role *releases' "$H/delegated:v2"
}

@test "lost root keys: enough are left, then too few, then a new anchor" {
    local new=$H/again
    command bulla key generate fresh > /dev/null
    # One of three.
    bulla key remove root3
    run bulla trust rotate "$H/roots" root --new-key root --new-key root2 --new-key fresh --threshold 2 \
        --key root --key root2 --key fresh
    expect 0 'root: version 1 -> 2'
    everybody 0 '' "$H/roots:v1"
    # Two of three: whatever is signed, the root in force needs two of its own.
    bulla key remove root2
    bulla key remove fresh
    run bulla trust renew "$H/roots" root --key root
    expect 1 "root .keys in force.* needs signatures of 2 keys, 1 given"
    grep -q 'a new anchor helps' <<< "$output"
    # What is signed holds until it expires; meanwhile a collection of new keys takes over.
    everybody 0 '' "$H/roots:v1"
    bulla push store:app:v1 "$new:v1"
    bulla trust init "$new" --root-key alice --targets-key bob
    bulla sign "$new:v1" --key bob
    run bulla verify "$new:v1" --home "$BATS_TEST_TMPDIR/user"
    expect 3 'no trust anchor'
    bulla trust pin "$new" --home "$BATS_TEST_TMPDIR/user"
    cp "$BULLA_POLICY" "$BATS_TEST_TMPDIR/policy.json"
    run bulla policy allow "$new" --home "$BATS_TEST_TMPDIR/user" --policy "$BATS_TEST_TMPDIR/policy.json"
    expect 0
    run bulla verify "$new:v1" --home "$BATS_TEST_TMPDIR/user" --policy "$BATS_TEST_TMPDIR/policy.json"
    expect 0 'anchor: policy'
}

@test "a machine without history renews only what its owner has compared" {
    rm -rf "$BULLA_HOME/trust/state"
    run bulla trust renew "$H/unseen" targets --key targets
    expect 3 'has not published in collection .* repeat with --without-history'
    run bulla trust repair "$H/unseen" targets --new-key bob --key root --key bob
    expect 3 'has not published in collection'
    # Looking at it is no history: the registry may have shown an old state to the looker, too.
    run bulla trust show "$H/unseen"
    expect 0
    run bulla trust renew "$H/unseen" targets --key targets --without-history
    expect 0 'targets: version 3 -> 4'
}

@test "a clock that is days behind: could not determine, and the clock is named" {
    run bulla verify "$REF"
    expect 0
    run faketime -f -3d bulla --cacert "$REGISTRY_CA" verify "$REF"
    expect 3 'the clock is .* seconds behind the last refresh; set it right'
    run faketime -f -3d bulla --cacert "$REGISTRY_CA" verify "$REF" --home "$BATS_TEST_TMPDIR/new"
    expect 3 'the local clock is behind'
    run faketime -f -3d bulla --cacert "$REGISTRY_CA" trust renew "$REGISTRY_HOST/acme/app" targets --key targets
    expect 3 'clock'
    run bulla verify "$REF"
    expect 0
}

# Targets was signed 100 days ago for 365.
@test "what expires is said 90, 30 and 7 days ahead, and counted for monitoring" {
    warned() { # DAYS PATTERN
        run faketime -f "+$1d" bulla --cacert "$REGISTRY_CA" trust show "$REGISTRY_HOST/acme/app"
        expect 0 "warning: targets $2"
    }
    run bulla trust show "$REGISTRY_HOST/acme/app"
    expect 0
    run ! grep -q warning <<< "$output"
    warned 180 'expires within 90 days'
    warned 240 'expires within 30 days'
    warned 260 'expires within 7 days'
    warned 270 'expired'
    registry_curl /metrics > "$BATS_TEST_TMPDIR/metrics"
    grep -E '^bulla_trust_expiry_days\{.*acme/app.*role="targets".*\} 26[45]' "$BATS_TEST_TMPDIR/metrics" ||
        { grep trust_ "$BATS_TEST_TMPDIR/metrics"; false; }
}

# The last one: the registry of all the others ends here.
@test "a registry set up anew under the same name: nobody follows without --replace" {
    local ref=$REGISTRY_HOST/acme/app:v1 policy=$BATS_TEST_TMPDIR/policy.json
    user() { bulla "$@" --home "$BATS_TEST_TMPDIR/user" --policy "$policy"; }
    echo '{ "version": 1, "default": "deny" }' | tee "$policy" > "$BATS_TEST_TMPDIR/owner.json"
    export BULLA_POLICY=$BATS_TEST_TMPDIR/owner.json
    user trust pin "$ref"
    user policy allow "$REGISTRY_HOST/acme/app"
    user verify "$ref"
    bulla_registry_stop
    registry_init "$BATS_TEST_TMPDIR/anew"
    sed -i "s/^listen:.*/listen: \"$REGISTRY_HOST\"/" "$BATS_TEST_TMPDIR/anew/registry.yaml"
    registry_start "$BATS_TEST_TMPDIR/anew"
    echo "$REGISTRY_PID" > "$BATS_FILE_TMPDIR/registry.pid"
    export REGISTRY_AUTH_FILE=$BATS_TEST_TMPDIR/auth.json
    bulla login "$REGISTRY_HOST" --username "$REGISTRY_USER" --password-stdin <<< "$REGISTRY_PASSWORD"
    # Its owner starts again with what is left.
    bulla push store:app:v1 "$ref"
    run bulla trust init "$ref" --root-key root2 --targets-key targets
    expect 3 "another root is pinned here .* remove '$BULLA_HOME/trust/pins/"
    rm -r "$BULLA_HOME/trust/pins/$REGISTRY_HOST/acme/app"
    bulla trust init "$ref" --root-key root2 --targets-key targets
    bulla sign "$ref" --key targets
    run user verify "$ref"
    ((status != 0))
    run user trust pin "$ref"
    expect 3 "another root is pinned .*--replace"
    run user verify "$ref"
    ((status != 0))
    user trust pin "$ref" --replace
    run user policy allow "$REGISTRY_HOST/acme/app"
    expect 0
    run user verify "$ref"
    expect 0 "anchor: policy"
}
