#!/usr/bin/env bats
# Credentials: the files that podman, skopeo and docker share, credential helpers, namespaces, and many logins at once.
load ../support/bulla

setup_file() {
    umask 022
    bulla_environment "$BATS_FILE_TMPDIR/home"
    bulla_registry_start
    local name
    for name in anna bert; do
        registry_user "$name"
        registry_grant "$name" "$name/*" pull,push
    done
    make_image app:v1 one > /dev/null
}
teardown_file() { bulla_registry_stop; }
setup() {
    REGISTRY_CA=$REGISTRY_DIR/ca.crt
    cp -a "$BATS_FILE_TMPDIR/home" "$BATS_TEST_TMPDIR/home"
    bulla_environment "$BATS_TEST_TMPDIR/home"
    export REGISTRY_AUTH_FILE=$BATS_TEST_TMPDIR/auth.json HOME=$BATS_TEST_TMPDIR
    unset XDG_CONFIG_HOME XDG_RUNTIME_DIR DOCKER_CONFIG
    BIN=$BATS_TEST_TMPDIR/bin
    mkdir "$BIN"
    PATH=$BIN:$PATH
}

login() { # USER [OPTION…]
    bulla login "$REGISTRY_HOST" --username "$1" --password-stdin "${@:2}" <<< "$1-password"
}

# A helper that keeps one secret per host in a folder, and a diary of what it was asked.
helper() { # NAME
    cat > "$BIN/docker-credential-$1" << 'EOF'
#!/bin/sh
dir=$(dirname "$0")/kept; mkdir -p "$dir"
echo "$*" >> "$dir.diary"
case $1 in
store) jq -c . > "$dir/new" && mv "$dir/new" "$dir/$(jq -r .ServerURL "$dir/new" | tr ':' _)" ;;
get) cat "$dir/$(cat | tr ':' _)" 2> /dev/null || { echo 'credentials not found in native keychain'; exit 1; } ;;
erase) rm -f "$dir/$(cat | tr ':' _)" ;;
esac
EOF
    chmod 755 "$BIN/docker-credential-$1"
}

@test "login, who is it, logout, and each of them twice" {
    run bulla login "$REGISTRY_HOST" --get-login
    expect 3 "not logged in to '$REGISTRY_HOST'"
    run bulla logout "$REGISTRY_HOST"
    expect 3 "not logged in"
    run login anna
    expect 0 "logged in to $REGISTRY_HOST as 'anna'"
    run login anna
    expect 0
    run bulla login "$REGISTRY_HOST" --get-login
    expect 0
    [[ $output == anna ]]
    [[ $(bulla login "$REGISTRY_HOST" --get-login --json | jq -r .username) == anna ]]
    [[ $(stat -c %a "$REGISTRY_AUTH_FILE") == 600 ]]
    run login bert --json
    expect 0
    [[ $(jq -r '.username, .file' <<< "$output" | paste -sd' ') == "bert $REGISTRY_AUTH_FILE" ]]
    run bulla logout "$REGISTRY_HOST"
    expect 0 "logged out of"
    run bulla push store:app:v1 "$REGISTRY_HOST/anna/app:v1"
    expect 1 "bulla login $REGISTRY_HOST"
}

@test "what does not work is not stored" {
    login anna
    local before
    before=$(sha256sum < "$REGISTRY_AUTH_FILE")
    run bulla login "$REGISTRY_HOST" --username bert --password-stdin <<< wrong
    expect 1 "does not accept these credentials.*wrong user name or password"
    [[ $output != *"run 'bulla login"* ]]
    run bulla login 127.0.0.1:1 --username bert --password-stdin <<< wrong
    expect 3 "cannot be reached"
    run bulla login "$REGISTRY_HOST" --password-stdin <<< wrong
    expect 2 "username"
    run bulla login "$REGISTRY_HOST" --username bert --password-stdin < /dev/null
    expect 2 "no password"
    run bulla login "$REGISTRY_HOST" --username bert --token-service http://x --password-stdin <<< wrong
    expect 2 "want https"
    [[ $(sha256sum < "$REGISTRY_AUTH_FILE") == "$before" ]]
    [[ ! -e $HOME/.config/bulla/token-services.json ]]
}

@test "many logins at once lose nothing" {
    local i pids=()
    # To one real registry under many names: entries of other hosts are written in between.
    for ((i = 0; i < 12; i++)); do
        login anna > /dev/null &
        pids+=($!)
    done
    echo '{"auths":{"other.example":{"auth":"YTpi"}}}' > "$BATS_TEST_TMPDIR/second.json"
    for i in "${pids[@]}"; do wait "$i"; done
    [[ $(jq -c '.auths | keys' "$REGISTRY_AUTH_FILE") == "[\"$REGISTRY_HOST\"]" ]]
    export REGISTRY_AUTH_FILE=$BATS_TEST_TMPDIR/second.json
    pids=()
    for ((i = 0; i < 6; i++)); do
        { login anna && bulla logout "$REGISTRY_HOST" || true; } > /dev/null 2>&1 &
        pids+=($!)
    done
    for i in "${pids[@]}"; do wait "$i"; done
    [[ $(jq -r '.auths["other.example"].auth' "$REGISTRY_AUTH_FILE") == YTpi ]]
}

@test "the entry of the nearest namespace counts" {
    jq -n --arg h "$REGISTRY_HOST" --arg a "$(printf anna:anna-password | base64)" \
        --arg b "$(printf bert:bert-password | base64)" \
        '{auths: {($h): {auth: $a}, ($h + "/bert"): {auth: $b}, ($h + "/anna/bert"): {auth: $b}}}' \
        > "$REGISTRY_AUTH_FILE"
    run bulla push store:app:v1 "$REGISTRY_HOST/anna/app:v1"
    expect 0
    run bulla push store:app:v1 "$REGISTRY_HOST/bert/app:v1"
    expect 0
    run bulla push store:app:v1 "$REGISTRY_HOST/anna/bert/app:v1"
    expect 1 "denies access|bulla login"
}

@test "a credential helper keeps the password, and nobody else" {
    helper safe
    local form
    for form in "{\"credHelpers\":{\"$REGISTRY_HOST\":\"safe\"}}" '{"credsStore":"safe"}'; do
        echo "$form" > "$REGISTRY_AUTH_FILE"
        run login anna
        expect 0 "credential helper safe"
        run ! grep -rq "$(printf anna:anna-password | base64)" "$REGISTRY_AUTH_FILE"
        run ! grep -q anna-password "$REGISTRY_AUTH_FILE"
        run bulla push store:app:v1 "$REGISTRY_HOST/anna/app:v1"
        expect 0
        run bulla login "$REGISTRY_HOST" --get-login
        [[ $output == anna ]]
        run bulla logout "$REGISTRY_HOST"
        expect 0
        run bulla push store:app:v1 "$REGISTRY_HOST/anna/app:v2"
        expect 1 "bulla login"
    done
    # The verb is all that was ever on its command line.
    run ! grep -Ev '^(get|store|erase)$' "$BIN/kept.diary"
}

@test "helpers that fail, hang in the wrong folder or are missing are said" {
    echo "{\"credHelpers\":{\"$REGISTRY_HOST\":\"safe\"}}" > "$REGISTRY_AUTH_FILE"
    run bulla push store:app:v1 "$REGISTRY_HOST/anna/app:v1"
    expect 3 "docker-credential-safe' is not installed"
    helper safe
    mv "$BIN/docker-credential-safe" "$BATS_TEST_TMPDIR/"
    cd "$BATS_TEST_TMPDIR"
    PATH=.:$PATH run bulla push store:app:v1 "$REGISTRY_HOST/anna/app:v1"
    expect 3 "is not installed"
    printf '#!/bin/sh\nprintf "locked \\033[31m" >&2; exit 1\n' > "$BIN/docker-credential-safe"
    chmod 755 "$BIN/docker-credential-safe"
    run bulla push store:app:v1 "$REGISTRY_HOST/anna/app:v1"
    expect 3 'locked \\x1b\[31m'
    run login anna
    expect 3 "locked"
    echo "{\"credHelpers\":{\"$REGISTRY_HOST\":\"../safe\"}}" > "$REGISTRY_AUTH_FILE"
    run bulla push store:app:v1 "$REGISTRY_HOST/anna/app:v1"
    expect 1 "no name of a credential helper"
}

@test "podman's and docker's files are read, in their order" {
    unset REGISTRY_AUTH_FILE
    mkdir -p "$HOME/.docker"
    jq -n --arg h "$REGISTRY_HOST" --arg a "$(printf anna:anna-password | base64)" \
        '{auths: {("https://" + $h + "/v1/"): {auth: $a}}, "psFormat": "x"}' > "$HOME/.docker/config.json"
    run bulla push store:app:v1 "$REGISTRY_HOST/anna/app:v1"
    expect 0
    export XDG_RUNTIME_DIR=$BATS_TEST_TMPDIR/run
    mkdir -m 700 "$XDG_RUNTIME_DIR"
    mkdir "$BATS_TEST_TMPDIR/certs"
    cp "$REGISTRY_CA" "$BATS_TEST_TMPDIR/certs/ca.crt"
    podman login --cert-dir "$BATS_TEST_TMPDIR/certs" --username bert --password-stdin "$REGISTRY_HOST" \
        <<< bert-password
    [[ -e $XDG_RUNTIME_DIR/containers/auth.json ]]
    run bulla login "$REGISTRY_HOST" --get-login
    [[ $output == bert ]]
    run bulla push store:app:v1 "$REGISTRY_HOST/bert/app:v1"
    expect 0
}

@test "passwords are on no command line and in no message" {
    printf '#!/bin/sh\ncat > /dev/null; for p in /proc/[0-9]*; do tr "\\0" " " < $p/cmdline; echo; done > %s 2> /dev/null; exit 0\n' \
        "$BATS_TEST_TMPDIR/ps" > "$BIN/docker-credential-slow"
    chmod 755 "$BIN/docker-credential-slow"
    echo "{\"credHelpers\":{\"$REGISTRY_HOST\":\"slow\"}}" > "$REGISTRY_AUTH_FILE"
    printf 'anna-password' > "$BATS_TEST_TMPDIR/pw"
    run bulla login "$REGISTRY_HOST" --username anna --password-stdin --verbose < "$BATS_TEST_TMPDIR/pw"
    expect 0
    [[ $output != *anna-password* ]]
    grep -q 'docker-credential-slow' "$BATS_TEST_TMPDIR/ps"
    run ! grep -q 'anna-password' "$BATS_TEST_TMPDIR/ps"
}

@test "a folder that root's podman keeps to itself is not this user's" {
    install "$(type -P bulla)" "$BIN/bulla"
    chmod 755 "$BATS_TEST_TMPDIR" "$BIN"
    mkdir -m 777 "$BATS_TEST_TMPDIR/nobody"
    ask() { # OWNER-ONLY-MODE
        env -u REGISTRY_AUTH_FILE HOME=/ unshare -m sh -c 'mount -t tmpfs run /run && mkdir -m "$1" /run/containers &&
            exec setpriv --reuid 65534 --regid 65534 --clear-groups "$2" --home "$3" login 127.0.0.1:1 --get-login' \
            sh "$1" "$BIN/bulla" "$BATS_TEST_TMPDIR/nobody"
    }
    run ask 700
    expect 3 "not logged in"
    run ask 755
    expect 3 "not logged in"
}
