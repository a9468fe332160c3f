#!/usr/bin/env bats
# One trust store, and many who use it: at once, as other users, where nothing can be written.
load ../support/bulla
load ../support/forge

setup_file() { forge_setup_file; }
teardown_file() { forge_teardown_file; }
setup() { forge_setup; }
teardown() {
    forge_teardown
    [[ -z ${place:-} ]] || rm -rf "$place"
}

# together N COMMAND…: N at once; each must end with 0.
together() {
    local i pids=()
    for ((i = 0; i < $1; i++)); do
        "${@:2}" > "$BATS_TEST_TMPDIR/out.$i" 2>&1 3>&- &
        pids+=($!)
    done
    for i in "${pids[@]}"; do wait "$i" || { tail "$BATS_TEST_TMPDIR"/out.* >&2; return 1; }; done
}

# The registry's name is the collection's: nothing in policy says what it means.
plain_place() {
    mkdir -p "$WWW/v2/acme"
    cp -r "$WWW/v2/$REPO" "$WWW/v2/acme/app"
    REPO=acme/app REF=$REGISTRY_HOST/acme/app:v1 TUF=$WWW/v2/acme/app/_trust/tuf
    echo '{"version":1}' > "$BULLA_POLICY"
}

@test "many pins and first uses at once: one root is pinned, none is in the other's way" {
    plain_place
    pin=$BULLA_HOME/trust/pins/$REGISTRY_HOST/acme/app/_/root.json
    together 6 bulla verify --tofu "$REF"
    cmp "$pin" "$TUF/1.root.json"
    rm -rf "$BULLA_HOME"
    together 6 bulla trust pin "$REF"
    cmp "$pin" "$TUF/1.root.json"
    [[ $(grep -l '^pinned for' "$BATS_TEST_TMPDIR"/out.* | wc -l) == 1 ]]
    [[ ! -e $BULLA_HOME/trust/looking ]]
    together 3 bulla trust pin --replace "$REF"
    # What a killed one left does not stop the next, and is not believed.
    mkdir -p "$BULLA_HOME/trust/looking/trust/pins/$REGISTRY_HOST/acme/app/_"
    echo '{}' > "$BULLA_HOME/trust/looking/trust/pins/$REGISTRY_HOST/acme/app/_/root.json"
    rm "$pin"
    run bulla trust pin "$REF"
    expect 0 '^pinned for'
    cmp "$pin" "$TUF/1.root.json"
    [[ ! -e $BULLA_HOME/trust/looking ]]
    rm -r "$WWW/v2/acme"
}

@test "another user's home, a home that cannot be written, a full disk: undetermined, and nothing is lost" {
    need_root
    place=$(mktemp -d "${TMPDIR:-/tmp}/bulla-home.XXXXXX")
    chmod 755 "$place"
    cp "$BULLA_POLICY" "$place/policy.json"
    cp "$REGISTRY_CA" "$place/ca.crt"
    cp "$BATS_FILE_TMPDIR/root.json" "$place/root.json"
    cp "$(type -P bulla)" "$place/bulla"
    chmod 644 "$place"/*.json "$place/ca.crt"
    jq --arg root "$place/root.json" '.scopes[].root.file = $root' "$BULLA_POLICY" > "$place/policy.json"
    mkdir "$place/mnt"
    bulla --home "$place/home" verify "$REF"
    as_nobody() {
        setpriv --reuid 65534 --regid 65534 --clear-groups env -u REGISTRY_AUTH_FILE HOME=/nonexistent \
            "$place/bulla" --cacert "$place/ca.crt" --policy "$place/policy.json" --home "$place/home" "$@"
    }
    run as_nobody verify "$REF"
    expect 3 'could not determine.*Permission denied'
    chmod -R a+rX "$place/home"
    run as_nobody verify "$REF"
    expect 3 "belongs to user 0, not to the caller \(user 65534\)"
    # shellcheck disable=SC2016 # the inner shell's
    run unshare --mount sh -c 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && shift 0 && exec "$@"' \
        "$place/home" "$place/bulla" --cacert "$place/ca.crt" --policy "$place/policy.json" --home "$place/home" verify "$REF"
    expect 3 'could not determine.*Read-only file system'
    # Full: what was known is still there when there is room again, and nothing half-written.
    release 2
    # shellcheck disable=SC2016
    run unshare --mount bash -c 'set -e
        mount -t tmpfs -o size=256k,nr_inodes=64 none "$1/mnt"
        cp -a "$1/home/trust" "$1/mnt/"
        find "$1/mnt" -type f ! -name lock | sort > "$1/before"
        dd if=/dev/zero of="$1/mnt/fill" bs=4096 2> /dev/null || true
        bulla() { "$1/bulla" --cacert "$1/ca.crt" --policy "$1/policy.json" --home "$1/mnt" verify "$2"; }
        status=0; bulla "$@" || status=$?
        find "$1/mnt" -type f ! -name lock ! -name fill | sort | cmp - "$1/before"
        rm "$1/mnt/fill"
        bulla "$@" | grep -q "^valid" && echo "and then valid"
        exit "$status"' _ "$place" "$REF"
    expect 3 'could not determine.*No space left'
    expect 3 '^and then valid'
}
