# Commands that root runs on a data folder of another account: they leave nothing behind that is
# root's, and that account cannot lead them to files that are.
bats_require_minimum_version 1.5.0
load ../support/registry

setup() {
    # Above the folder everybody may pass; root's own temporary folders may be closed.
    DIR=$(mktemp -d /tmp/bulla-owner.XXXXXX)
    chmod 755 "$DIR"
    registry_init "$DIR/r"
    DATA=$DIR/r/data
    printf 'user: nobody\n' >> "$DIR/r/registry.yaml"
    chown -R nobody:nogroup "$DATA"
}

teardown() {
    registry_stop
    rm -rf "$DIR"
}

of_root() {
    find "$DATA" ! -user nobody
}

@test "a backup makes missing folders of storage for the account that serves" {
    rm -r "$DATA/aside" "$DATA/quarantine"
    bulla-registry backup "$DIR/backup" --config "$DIR/r/registry.yaml"
    [[ -d $DATA/aside/sha256 ]]
    [[ -z $(of_root) ]]
}

@test "what is restored belongs to the account that serves, all of it" {
    printf 'some bytes' > "$DIR/blob"
    registry_start "$DIR/r"
    push_blob acme/app "$DIR/blob"
    registry_stop
    bulla-registry backup "$DIR/backup" --config "$DIR/r/registry.yaml"
    rm -r "$DATA"
    bulla-registry restore "$DIR/backup" --config "$DIR/r/registry.yaml"
    [[ -n $(find "$DATA/blobs" -type f) ]]
    [[ -z $(of_root) ]]
    # A second name would give away what it is the other name of.
    [[ -z $(find "$DATA" -type f -links +1) ]]
    registry_start "$DIR/r"
    [[ $(registry_status "/v2/acme/app/blobs/$(digest_of "$DIR/blob")") == 200 ]]
    registry_stop
}

@test "commands change accounts, read the log and leave nothing of root's" {
    local command
    for command in "grant add admin x/* pull" "user list" "grant list" "group add ops" "audit verify" \
        "gc" "scrub" "token-key rotate" "api-token create admin"; do
        set -f
        # shellcheck disable=SC2086 # words
        bulla-registry $command --config "$DIR/r/registry.yaml"
        set +f
        [[ -z $(of_root) ]]
    done
}

@test "without a configured user they become whom the folder belongs to" {
    local command
    sed -i '/^user:/d' "$DIR/r/registry.yaml"
    for command in "gc" "scrub" "retention run" "grant add admin y/* pull"; do
        set -f
        # shellcheck disable=SC2086 # words
        bulla-registry $command --config "$DIR/r/registry.yaml"
        set +f
        [[ -z $(of_root) ]]
    done
}

@test "a link in the index's place leads no command into another file" {
    local command
    : > "$DIR/victim"
    rm "$DATA/index.db"
    setpriv --reuid nobody --regid nogroup --clear-groups ln -s "$DIR/victim" "$DATA/index.db"
    for command in "grant list" "grant add admin x/* pull" "audit verify" "backup $DIR/backup"; do
        set -f
        # shellcheck disable=SC2086 # words
        run bulla-registry $command --config "$DIR/r/registry.yaml"
        set +f
        [[ $status -ne 0 ]]
        [[ $output == *"symbolic link"* ]]
    done
    [[ ! -s $DIR/victim ]]
}

@test "no command makes a registry where there is none" {
    local command
    rm -r "$DATA"
    mkdir "$DATA"
    for command in "user list" "grant add admin x/* pull" "audit verify" "gc" "scrub" \
        "api-token list"; do
        set -f
        # shellcheck disable=SC2086 # words
        run bulla-registry $command --config "$DIR/r/registry.yaml"
        set +f
        [[ $status -eq 3 ]]
        [[ $output == *"holds no registry"* ]]
    done
    [[ -z $(ls -A "$DATA") ]]
}
