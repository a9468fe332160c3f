#!/usr/bin/env bats
# The machine's own rules, bent: fail closed, and loudly.
load ../support/bulla
load ../support/forge

setup_file() { forge_setup_file; }
teardown_file() { forge_teardown_file; }
setup() { forge_setup; }
teardown() {
    forge_teardown
    [[ -z ${place:-} ]] || rm -rf "$place"
}

# scope NAME [MEMBERS]: a policy with that scope, for this test's collection and root.
scope() {
    jq -n --arg scope "$1" --arg root "$BATS_FILE_TMPDIR/root.json" "{version: 1, scopes: {(\$scope):
        ({collection: \"acme/app\", root: {file: \$root}} + {${2:-}})}}" > "$BULLA_POLICY"
}

@test "policy downgrade, missing policy: nothing runs" {
    rm "$BULLA_POLICY"
    refused 125 'policy.json' bulla run "$REF"
    refused 3 'policy.json' bulla verify "$REF"
    : > "$BULLA_POLICY"
    refused 125 'policy.json' bulla run "$REF"
    for text in '{}' '{"version":2}' '{"version":1,"default":"allow"}' '{"version":1,"default":"allow-signed"}' \
        '{"version":1,"scopes":{}}' '{"version":1}'; do
        echo "$text" > "$BULLA_POLICY"
        refused 125 'policy' bulla run "$REF"
    done
    forge_policy ''
    run bulla verify "$REF"
    expect 0 '^valid'
}

@test "environment override: no variable makes an unsigned or unverified image run" {
    release 2 '.targets = {}'
    for name in DOCKER_CONTENT_TRUST BULLA_NO_VERIFY BULLA_INSECURE BULLA_SKIP_VERIFY BULLA_POLICY_DEFAULT \
        BULLA_ALLOW BULLA_CLOCK SSL_CERT_FILE CURL_CA_BUNDLE; do
        run env "$name=0" bulla --cacert "$REGISTRY_CA" run "$REF"
        expect 125 "'v1' is not signed"
        run env "$name=1" bulla --cacert "$REGISTRY_CA" run "$REF"
        expect 125 "'v1' is not signed"
    done
    # A CA from the environment is not this command's; a proxy that lies gets as far as TLS.
    rm -rf "$BULLA_HOME"
    ACCEPTED='root.json 1.json' # policy's own
    refused 3 'certificate' env "SSL_CERT_FILE=$REGISTRY_CA" "CURL_CA_BUNDLE=$REGISTRY_CA" \
        "$(type -P bulla)" --cacert "$BATS_FILE_TMPDIR/bad/ca.crt" verify "$REF"
}

@test "there is no option that switches verification off" {
    for option in --insecure --no-verify --skip-verify --allow-unsigned --disable-content-trust --plain-http \
        --tls-verify=false; do
        run bulla run "$option" "$REF"
        expect 2 'unknown option'
    done
    run bulla verify --cacert "$REGISTRY_CA" "http://$REF"
    expect 2
}

@test "unsupported setting, unknown or duplicate member: refused, with its place" {
    good=$(cat "$BULLA_POLICY")
    jq '.scopes[].hardware = {root: {touch: "always"}}' <<< "$good" > "$BULLA_POLICY"
    refused 125 "hardware.*cannot be enforced" bulla run "$REF"
    refused 3 "hardware.*cannot be enforced" bulla verify "$REF"
    for filter in '.scopes[].signedby = ["x"]' '.scopes[].tag = {deny: ["v1"]}' '.scope = {}' \
        '.scopes[].run = {readonly: true}' '.scopes[].signedBy = []' '.scopes[].maxAge = 5' \
        '.scopes[].signedBy = [{role: "targets", keys: ["abc"]}]' '.scopes[].offlineGrace = "always"'; do
        jq "$filter" <<< "$good" > "$BULLA_POLICY"
        refused 125 'policy.json' bulla run "$REF"
        refused 1 'policy.json' bulla verify "$REF"
    done
    echo "${good/\"refresh\"/\"refresh\": \"0\", \"refresh\"}" > "$BULLA_POLICY"
    refused 125 'policy.json.*duplicate|policy.json.*line' bulla run "$REF"
    echo "$good" > "$BULLA_POLICY"
    run bulla verify "$REF"
    expect 0 '^valid'
}

@test "scope prefix confusion: whole path components only" {
    release 2
    mkdir -p "$WWW/v2/acme" "$WWW/v2/acme-evil"
    cp -r "$WWW/v2/$REPO" "$WWW/v2/acme/app"
    cp -r "$WWW/v2/$REPO" "$WWW/v2/acme-evil/app"
    cp -r "$WWW/v2/$REPO" "$WWW/v2/acme/app-evil"
    jq -n --arg scope "$REGISTRY_HOST/acme" --arg root "$BATS_FILE_TMPDIR/root.json" \
        '{version: 1, scopes: {($scope): {collection: "acme/", root: {file: $root}}}}' > "$BULLA_POLICY"
    run bulla verify "$REGISTRY_HOST/acme/app:v1"
    expect 0 '^valid'
    refused 3 'no trust anchor' bulla verify "$REGISTRY_HOST/acme-evil/app:v1"
    refused 125 'policy' bulla run "$REGISTRY_HOST/acme-evil/app:v1"
    # Inside the scope, but metadata of another collection.
    ACCEPTED='root.json 1.json'
    refused 1 "is for collection 'acme/app', not 'acme/app-evil'" bulla verify "$REGISTRY_HOST/acme/app-evil:v1"
    ACCEPTED=
    scope "$REGISTRY_HOST/acme/app"
    refused 125 'policy' bulla run "$REGISTRY_HOST/acme/app-evil:v1"
    # The host is a component, too.
    scope "${REGISTRY_HOST%?}"
    refused 125 'policy' bulla run "$REGISTRY_HOST/acme/app:v1"
    rm -rf "$WWW/v2/acme" "$WWW/v2/acme-evil"
}

@test "same name on two hosts: an anchor serves only where policy binds it" {
    bulla verify "$REF"
    # Another host shows a collection of the same name under a root of its own.
    first=$REGISTRY_HOST first_www=$WWW first_pid=$FILE_SERVER_PID
    WWW=$BATS_TEST_TMPDIR/www
    mkdir -p "$WWW/v2"
    cp -r "$BASE" "$WWW/v2/$REPO"
    TUF=$WWW/v2/$REPO/_trust/tuf
    forge_server_start
    second=$REGISTRY_HOST
    thief_tree() { # COLLECTION
        sign_root 1 "$(root_key root thief) | $(root_key targets thief) | .\"x-bulla-collection\" = \"$1\"" seed:thief
        sign_targets 2 ".\"x-bulla-collection\" = \"$1\"" seed:thief
        sign_snapshot 2 ".\"x-bulla-collection\" = \"$1\""
        sign_timestamp 2 ".\"x-bulla-collection\" = \"$1\""
    }
    thief_tree "$REPO"
    refused 3 'no trust anchor' bulla verify "$second/$REPO:v1"
    refused 125 'policy' bulla run "$second/$REPO:v1"
    # Trusted on first use there, it is worth nothing here, and does not run.
    run bulla verify --tofu "$second/$REPO:v1"
    expect 0 'first use'
    refused 125 'policy' bulla run "$second/$REPO:v1"
    REGISTRY_HOST=$first
    run bulla verify "$first/$REPO:v1"
    expect 0 'anchor: policy'
    # Policy binds each host to its own root: one name, two collections, two memories.
    thief_tree acme/app
    cp "$TUF/1.root.json" "$BATS_TEST_TMPDIR/second.root.json"
    jq --arg scope "$second/$REPO" --arg root "$BATS_TEST_TMPDIR/second.root.json" \
        '.scopes[$scope] = {collection: "acme/app", root: {file: $root}}' "$BULLA_POLICY" > "$BATS_TEST_TMPDIR/two.json"
    for place in "$second" "$first" "$second"; do
        run bulla --policy "$BATS_TEST_TMPDIR/two.json" verify "$place/$REPO:v1"
        expect 0 'anchor: policy'
    done
    # The second host's metadata at the first host's place.
    cp -r "$TUF/." "$first_www/v2/$REPO/_trust/tuf/"
    rm -rf "$BULLA_HOME"
    ACCEPTED='root.json 1.json timestamp.json snapshot.json'
    refused 1 'needed signatures' bulla verify "$first/$REPO:v1"
    kill "$FILE_SERVER_PID"
    FILE_SERVER_PID=$first_pid
}

@test "tag rules and pinned keys" {
    scope "$REGISTRY_HOST/$REPO" 'tags: {allow: ["v*"], deny: ["latest", "v0*"]}'
    release 2 '.targets.latest = .targets.v1 | .targets.v01 = .targets.v1 | .targets.other = .targets.v1'
    run bulla verify "$REF"
    expect 0 '^valid'
    for tag in latest v01 other; do
        refused 1 'policy|tag' bulla verify "$REGISTRY_HOST/$REPO:$tag"
        refused 125 'policy|tag' bulla run "$REGISTRY_HOST/$REPO:$tag"
    done
    scope "$REGISTRY_HOST/$REPO" "signedBy: [{role: \"targets\", keys: [\"$(forge id seed:thief)\"]}]"
    ACCEPTED=last-success
    refused 1 'policy pins keys' bulla verify "$REF"
    scope "$REGISTRY_HOST/$REPO" "signedBy: [{role: \"targets\", keys: [\"$(forge id seed:targets)\"]}]"
    run bulla verify "$REF"
    expect 0 '^valid'
}

@test "a root that others may write is no anchor" {
    need_root
    cp "$BATS_FILE_TMPDIR/root.json" "$BATS_TEST_TMPDIR/root.json"
    jq -n --arg scope "$REGISTRY_HOST/$REPO" --arg root "$BATS_TEST_TMPDIR/root.json" \
        '{version: 1, scopes: {($scope): {collection: "acme/app", root: {file: $root}}}}' > "$BULLA_POLICY"
    run bulla verify "$REF"
    expect 0 '^valid'
    chmod 666 "$BATS_TEST_TMPDIR/root.json"
    refused 3 'others may write to it' bulla verify "$REF"
    chmod 644 "$BATS_TEST_TMPDIR/root.json"
    chown 65534 "$BATS_TEST_TMPDIR/root.json"
    refused 3 'not to root' bulla verify "$REF"
}

@test "an unprivileged user's own policy cannot loosen the system's" {
    need_root
    place=$(mktemp -d "${TMPDIR:-/tmp}/bulla-policy.XXXXXX")
    chmod 755 "$place"
    mkdir -p "$place/etc/bulla" "$place/home" "$place/bin"
    cp /etc/passwd /etc/group "$place/etc/"
    cp -r /etc/ssl /etc/ld.so.cache "$place/etc/"
    cp "$(type -P bulla)" "$place/bin/"
    cp "$BATS_FILE_TMPDIR/root.json" "$REGISTRY_CA" "$place/"
    chown 65534:65534 "$place/home"
    as_nobody() { # ARGS…: with the system's policy in place
        # shellcheck disable=SC2016 # the inner shell's
        unshare --mount sh -c 'mount --bind "$0/etc" /etc && exec setpriv --reuid 65534 --regid 65534 \
            --clear-groups env -u REGISTRY_AUTH_FILE HOME="$0/home" BULLA_HOME="$0/home/bulla" BULLA_POLICY="$0/user.json" \
            "$0/bin/bulla" --cacert "$0/ca.crt" "$@"' "$place" "$@"
    }
    everything="{\"version\":1,\"scopes\":{\"$REGISTRY_HOST\":{}, \"$REGISTRY_HOST/$REPO\":
        {\"collection\":\"acme/app\",\"root\":{\"file\":\"$place/root.json\"}}}}"
    echo "$everything" > "$place/user.json"
    echo '{"version":1}' > "$place/etc/bulla/policy.json"
    run as_nobody run "$REF"
    expect 125 'policy'
    # The same rules in both: allowed by both.
    echo "$everything" > "$place/etc/bulla/policy.json"
    echo "{\"version\":1,\"scopes\":{\"$REGISTRY_HOST/$REPO\":{}}}" > "$place/user.json"
    run as_nobody verify "$REF"
    expect 0 '^valid'
    [[ $output != *'would refuse'* ]]
    # A user's other root, other collection, and longer grace.
    echo "${everything//acme\/app/other/app}" > "$place/user.json"
    run as_nobody verify "$REF"
    expect 1 'only the system|collection|root'
    # A system policy that is damaged stops everything.
    echo '{' > "$place/etc/bulla/policy.json"
    run as_nobody verify "$REF"
    expect 1 '/etc/bulla/policy.json'
    run as_nobody run "$REF"
    expect 125 '/etc/bulla/policy.json'
}
