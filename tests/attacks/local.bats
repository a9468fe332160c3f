#!/usr/bin/env bats
# Keys that were partly stolen, files that others may write, and rules that must not be read too kindly.
load ../support/bulla
load ../support/forge

setup_file() { forge_setup_file; }
teardown_file() { forge_teardown_file; }
setup() {
    forge_setup
    SERVED=$WWW/v2/$REPO
}
teardown() { forge_teardown; }

# anchor JSON: the policy of this test with another root.
anchor() {
    jq -n --arg scope "$REGISTRY_HOST/$REPO" "{version: 1, scopes: {(\$scope):
        {collection: \"acme/app\", root: $1, refresh: \"0\"}}}" > "$BULLA_POLICY"
}

@test "one of several root keys stolen: key ids in policy are no list of single keys" {
    ids="\"$(forge id seed:root)\", \"$(forge id seed:root2)\", \"$(forge id seed:root3)\""
    anchor "{keys: [$ids]}"
    # The thief's own root: his keys for everything, and his threshold.
    sign_root 1 "$(root_key root root) | .roles.root.threshold = 1 | $(root_key targets thief) | \
        $(root_key snapshot thief) | $(root_key timestamp thief)" seed:root
    sign_targets 1 . seed:thief
    sign_snapshot 1 . seed:thief
    sign_timestamp 1 . seed:thief
    refused 1 'policy' bulla verify "$REF"
    refused 125 'policy' bulla run "$REF"
    # The owners' own, signed by two of three: enough where policy says so.
    sign_root 1 "$(root_key root root root2 root3) | .roles.root.threshold = 2" seed:root seed:root2
    release 1
    refused 1 "all of them, unless 'threshold' says" bulla verify "$REF"
    anchor "{keys: [$ids], threshold: 2}"
    run bulla verify "$REF"
    expect 0 '^valid'
}

@test "signedBy: one key does not vouch twice" {
    forge_policy 'signedBy: ["alice", "bob"]'
    sign_targets 2 "$(delegate alice 'v*' seed:both) | $(delegate bob 'v*' seed:both)"
    sign_role alice 1 . seed:both
    sign_role bob 1 . seed:both
    sign_snapshot 2
    sign_timestamp 2
    run bulla verify "$REF"
    expect 1 'vouched for another role'
    [[ $output != *'valid  '* ]]
    sign_targets 3 "$(delegate alice 'v*' seed:both) | $(delegate bob 'v*')"
    sign_role bob 2
    sign_snapshot 3
    sign_timestamp 3
    run bulla verify "$REF"
    expect 0 '^valid'
}

@test "a banned digest under another digest algorithm" {
    need_root
    file=$SERVED/manifests/$DIGEST
    sha512=$(sha512sum < "$file" | cut -d ' ' -f 1)
    cp "$file" "$SERVED/manifests/sha512:$sha512"
    ban=".\"x-bulla-banned\" = [\"$DIGEST\"]"
    release 2 ".targets.v1.hashes = {sha512: \"$sha512\"} | $ban"
    run bulla verify "$REF"
    expect 1 'banned'
    run bulla run "$REF"
    expect 125 'banned'
    jq -cn --arg d "sha512:$sha512" --argjson size "$(stat -c %s "$file")" '{schemaVersion: 2,
        mediaType: "application/vnd.oci.image.index.v1+json", manifests: [{digest: $d, size: $size,
        mediaType: "application/vnd.oci.image.manifest.v1+json", platform: {os: "linux", architecture: "amd64"}}]}' \
        > "$BATS_TEST_TMPDIR/index"
    hex=$(sha256sum < "$BATS_TEST_TMPDIR/index" | cut -d ' ' -f 1)
    cp "$BATS_TEST_TMPDIR/index" "$SERVED/manifests/sha256:$hex"
    release 3 ".targets.v1 = {length: $(stat -c %s "$BATS_TEST_TMPDIR/index"), hashes: {sha256: \"$hex\"},
        custom: {mediaType: \"application/vnd.oci.image.index.v1+json\"}} | $ban"
    run bulla verify "$REF"
    expect 1 'banned'
    run bulla run "$REF"
    expect 125 'banned'
    run bulla pull "$REF"
    expect 1 'banned'
    # By its own name, too; and what a registry does not show is not called compared.
    sed -i "s/sha512:$sha512/$DIGEST/" "$BATS_TEST_TMPDIR/index"
    hex=$(sha256sum < "$BATS_TEST_TMPDIR/index" | cut -d ' ' -f 1)
    cp "$BATS_TEST_TMPDIR/index" "$SERVED/manifests/sha256:$hex"
    release 4 ".targets.v1 = {length: $(stat -c %s "$BATS_TEST_TMPDIR/index"), hashes: {sha256: \"$hex\"},
        custom: {mediaType: \"application/vnd.oci.image.index.v1+json\"}} | $ban"
    rm "$file"
    run bulla verify "$REF"
    expect 1 'banned'
    rm "$SERVED/manifests/sha256:$hex"
    run bulla verify "$REF"
    expect 0 'not compared'
}

@test "minVersion beside a root file is not ignored" {
    anchor "{file: \"$BATS_FILE_TMPDIR/root.json\", minVersion: 3}"
    run bulla verify "$REF"
    expect 1 'minVersion'
}

@test "forced offline: a tag that the stored metadata lacks is undetermined, not unsigned" {
    bulla verify "$REF"
    echo 503 > "$TUF/timestamp.json.status"
    refused 3 'cannot be asked' bulla verify "$REGISTRY_HOST/$REPO:v2"
    refused 125 'cannot be asked' bulla run "$REGISTRY_HOST/$REPO:v2"
    rm "$TUF/timestamp.json.status"
    run bulla verify "$REGISTRY_HOST/$REPO:v2"
    expect 1 "'v2' is not signed"
}

@test "signed a moment after a refused start: asked again before 'not signed' is said" {
    need_root
    forge_policy ''
    jq '.scopes[].refresh = "1h"' "$BULLA_POLICY" > "$BULLA_POLICY.new" && mv "$BULLA_POLICY.new" "$BULLA_POLICY"
    run bulla run "$REGISTRY_HOST/$REPO:v2"
    expect 125 "not signed"
    release 2 '.targets.v2 = .targets.v1'
    run bulla run "$REGISTRY_HOST/$REPO:v2"
    expect 0 '^one$'
}

@test "trust folder that others may write: a forged pin is not believed" {
    need_root
    echo '{"version":1}' > "$BULLA_POLICY"
    mkdir -p "$BULLA_HOME/trust/pins/$REGISTRY_HOST/$REPO/_"
    cp "$BATS_FILE_TMPDIR/root.json" "$BULLA_HOME/trust/pins/$REGISTRY_HOST/$REPO/_/root.json"
    chmod 777 "$BULLA_HOME/trust"
    run bulla verify "$REGISTRY_HOST/$REPO:v1"
    expect 3 'others may write'
    chmod 700 "$BULLA_HOME/trust"
    chown 65534 "$BULLA_HOME/trust"
    run bulla verify "$REGISTRY_HOST/$REPO:v1"
    expect 3 'belongs to'
}

@test "a user's policy file that others may write is not root's policy" {
    need_root
    mkdir -p "$BATS_TEST_TMPDIR/config/bulla"
    cp "$BULLA_POLICY" "$BATS_TEST_TMPDIR/config/bulla/policy.json"
    chown 65534 "$BATS_TEST_TMPDIR/config/bulla/policy.json"
    unset BULLA_POLICY
    export XDG_CONFIG_HOME=$BATS_TEST_TMPDIR/config
    run bulla run "$REF"
    expect 125 'policy.*belongs to'
    chown 0 "$BATS_TEST_TMPDIR/config/bulla/policy.json"
    chmod 666 "$BATS_TEST_TMPDIR/config/bulla/policy.json"
    run bulla run "$REF"
    expect 125 'others may write'
    chmod 644 "$BATS_TEST_TMPDIR/config/bulla/policy.json"
    run bulla run "$REF"
    expect 0 '^one$'
}

@test "an unprivileged start says at once that it needs root" {
    need_root
    mkdir "$BATS_TEST_TMPDIR/nobody"
    chown 65534 "$BATS_TEST_TMPDIR/nobody"
    chmod 755 "$BATS_TEST_TMPDIR" "$BATS_FILE_TMPDIR" "$BATS_RUN_TMPDIR"
    # The build may lie where only root can go.
    install -m 755 "$(type -P bulla)" "$BATS_TEST_TMPDIR/bulla"
    run setpriv --reuid 65534 --regid 65534 --clear-groups env BULLA_HOME="$BATS_TEST_TMPDIR/nobody/h" \
        "$BATS_TEST_TMPDIR/bulla" --cacert "$REGISTRY_CA" run "$REF"
    expect 125 'needs root'
    [[ -z $(find "$BATS_TEST_TMPDIR/nobody/h/images/blobs" -type f) ]]
}

@test "no volume shows the store, by whatever name home is given" {
    need_root
    bulla pull "$REF"
    ln -s "$BULLA_HOME" "$BATS_TEST_TMPDIR/link"
    run bulla --home "$BATS_TEST_TMPDIR/link" run -v "$BULLA_HOME/images:/data" "$REF" ls /data
    expect 125 'never shown'
    cd "$BATS_TEST_TMPDIR"
    run bulla --home home run -v "$BULLA_HOME/images:/data" "$REF" ls /data
    expect 125 'never shown'
}

@test "an image's own bad working folder is no wrong usage" {
    need_root
    jq -c '.config.WorkingDir = "../x"' "$SERVED/blobs/$(jq -r .config.digest "$SERVED/manifests/$DIGEST")" \
        > "$BATS_TEST_TMPDIR/config"
    config=$(sha256sum < "$BATS_TEST_TMPDIR/config" | cut -d ' ' -f 1)
    cp "$BATS_TEST_TMPDIR/config" "$SERVED/blobs/sha256:$config"
    jq -c ".config.digest = \"sha256:$config\" | .config.size = $(stat -c %s "$BATS_TEST_TMPDIR/config")" \
        "$SERVED/manifests/$DIGEST" > "$BATS_TEST_TMPDIR/manifest"
    hex=$(sha256sum < "$BATS_TEST_TMPDIR/manifest" | cut -d ' ' -f 1)
    cp "$BATS_TEST_TMPDIR/manifest" "$SERVED/manifests/sha256:$hex"
    release 2 ".targets.v1.hashes.sha256 = \"$hex\" | .targets.v1.length = $(stat -c %s "$BATS_TEST_TMPDIR/manifest")"
    run bulla run "$REF"
    expect 125 "image's own working folder.*--workdir"
    run bulla run -w / "$REF"
    expect 0 '^one$'
}

@test "mounts inside mounts: none covers another, whatever the order and the spelling" {
    need_root
    mkdir -p "$BATS_TEST_TMPDIR/outer/sub" "$BATS_TEST_TMPDIR/inner"
    echo found > "$BATS_TEST_TMPDIR/inner/file"
    run bulla run -v "$BATS_TEST_TMPDIR/inner:/data/sub/" -v "$BATS_TEST_TMPDIR/outer:/data" "$REF" cat /data/sub/file
    expect 0 '^found$'
    run bulla run --tmpfs /run/lock --tmpfs /tmp/:size=64k "$REF" cat /proc/mounts
    expect 0 ' /run/lock tmpfs'
    [[ $(grep -c ' /tmp tmpfs' <<< "$output") == 1 ]]
    grep -q ' /tmp tmpfs .*size=64k' <<< "$output"
    run bulla run -v "$BATS_TEST_TMPDIR/inner:/" "$REF"
    expect 2 "container's root"
}

@test "a pin for a mirror is looked up under the name that policy gives it" {
    jq -n --arg scope "$REGISTRY_HOST/$REPO" '{version: 1, scopes: {($scope): {collection: "acme/app"}}}' \
        > "$BULLA_POLICY"
    run bulla trust pin "$REGISTRY_HOST/$REPO"
    expect 0 "root version 1 of 'acme/app'"
    run bulla verify "$REF"
    expect 0 'anchor: pin'
    # Where policy gives it no other name, another collection's root is none.
    echo '{"version": 1}' > "$BULLA_POLICY"
    run bulla trust pin "$REGISTRY_HOST/$REPO" --replace
    expect 1 "is for collection 'acme/app'"
}

@test "a damaged root in the trust state is undetermined, with a way out" {
    bulla verify "$REF"
    find "$BULLA_HOME/trust/state" -name root.json -exec sh -c 'echo x > "$1"' sh {} ';'
    refused 3 'HOME/trust/state' bulla verify "$REF"
    rm -rf "$BULLA_HOME/trust/state"
    run bulla verify "$REF"
    expect 0 '^valid'
}
