#!/usr/bin/env bats
# The documentation is right: each command and option it shows exists, each file it points to is there, and the
# commands it lists work in the order in which they stand.
load ../support/bulla

setup() {
    TOP=$BATS_TEST_DIRNAME/../..
    W=$BATS_TEST_TMPDIR
    umask 022
}

teardown() {
    [[ -n ${SERVER_PID:-} ]] || return 0
    kill "$SERVER_PID"
    wait "$SERVER_PID" || true
}

texts() {
    printf '%s\n' "$TOP"/README.md "$TOP"/SECURITY.md "$TOP"/docs/*.md
}

# Command lines of code blocks and of `…` in the text, without comments, one a line.
command_lines() {
    local file
    for file in $(texts); do
        sed -n 's/^    \(bulla\(-registry\)\? .*\)/\1/p' "$file"
        awk '/^```/ { inside = !inside; next } inside && /^bulla(-registry)? /' "$file"
        # shellcheck disable=SC2016 # a pattern
        grep -v '^    ' "$file" | grep -o '`bulla\(-registry\)\? [^`]*`' | tr -d '\140'
    done | sed 's/  *#.*//; s/[][]//g' | sort -u
}

# The lines of the indented blocks between HEADING and the next one, as they stand.
block_after() { # FILE HEADING
    awk -v heading="$2" '/^## / { on = $0 == heading; next } on && /^    / { print substr($0, 5) }' "$1"
}

# The help of the command that the words begin with; false where there is none.
help_of() { # PROGRAM WORD…
    local program=$1 n words=()
    shift
    while (($#)) && [[ $1 =~ ^[a-z][a-z0-9-]*$ ]]; do
        words+=("$1")
        shift
    done
    if [[ $program == bulla-registry ]]; then
        help=$(bulla-registry --help)
        # "user add NAME … also: passwd, remove NAME, list"
        if ((${#words[@]} == 1)); then
            grep -q "^  ${words[0]}\b" <<< "$help"
        else
            grep -q "^  ${words[0]} .*\b${words[1]}\b" <<< "$help"
        fi
        return
    fi
    for ((n = ${#words[@]}; n > 0; n--)); do
        help=$(command bulla "${words[@]:0:n}" --help 2> /dev/null) &&
            grep -q "^usage: bulla ${words[*]:0:n}" <<< "$help" && return
    done
    return 1
}

@test "each command and option in the documentation exists" {
    local line words word help checked=0 bad=0
    while IFS= read -r line; do
        read -r -a words <<< "$line"
        # `bulla --help` and `bulla COMMAND --help`
        [[ ${words[1]} =~ ^[a-z] ]] || continue
        checked=$((checked + 1))
        if ! help_of "${words[@]}"; then
            echo "no such command: $line" >&2
            bad=1
            continue
        fi
        # The options of a staged change are that change's.
        [[ $line != 'bulla trust stage '* ]] || help+=$(command bulla trust "${words[4]}" --help)
        for word in "${words[@]:1}"; do
            [[ $word =~ ^--?[a-z] ]] || continue
            grep -q -E "(^|[^a-z-])${word%%=*}\b" <<< "$help" && continue
            echo "no option $word: $line" >&2
            bad=1
        done
    done < <(command_lines)
    # Fewer would mean that the lines are no longer found.
    ((checked >= 20 && bad == 0))
}

@test "each file that the documentation points to is there" {
    local file target found=0
    for file in $(texts); do
        while IFS= read -r target; do
            [[ $target == http* || $target == '#'* ]] && continue
            found=$((found + 1))
            [[ -e $(dirname "$file")/${target%%#*} ]] || {
                echo "$file: no $target" >&2
                return 1
            }
        done < <(grep -o '](\([^)]*\))' "$file" | sed 's/^](//; s/)$//')
    done
    while IFS= read -r target; do
        found=$((found + 1))
        [[ -x $TOP/$target ]]
    done < <(sed -n 's|^    \./\([a-z./-]*\).*|\1|p' "$TOP/README.md")
    ((found >= 6))
}

# A user with nothing yet, and a token.
fresh_user() {
    unset BULLA_POLICY
    export BULLA_HOME=$W/home HOME=$W XDG_CONFIG_HOME=$W/config REGISTRY_AUTH_FILE=$W/auth.json
    export BULLA_PASSPHRASE_FILE=$W/passphrase BULLA_PIN_FILE=$W/pin
    echo 'a passphrase for tests' > "$BULLA_PASSPHRASE_FILE"
    echo 123456 > "$BULLA_PIN_FILE"
    chmod 600 "$BULLA_PASSPHRASE_FILE" "$BULLA_PIN_FILE"
    . "$BATS_TEST_DIRNAME/../support/softhsm.sh"
    softhsm_module > /dev/null || skip "SoftHSM is not installed"
    softhsm_make_token "$W/token" bulla-docs 123456 01
    TOKEN=$(command bulla key token list --json | jq -r '.keys[0].uri')
    [[ $TOKEN == pkcs11:* ]]
}

make_rootfs() {
    mkdir -p "$W/rootfs/bin"
    cp "$(command -v busybox)" "$W/rootfs/bin/echo"
    tar -C "$W/rootfs" -cf "$W/rootfs.tar" .
}

# A documented line, with this test's names in the place of the shown ones; printed, and set in LINE.
substitute() { # LINE
    LINE=${1//\/srv\/bulla/$W/registry}
    LINE=${LINE//127.0.0.1:5443/127.0.0.1:0}
    LINE=${LINE//\'pkcs11:…\'/\'$TOKEN\'}
    LINE=${LINE//HOST/${REGISTRY_HOST:-}}
    LINE=${LINE//acme\/app/$REPOSITORY}
    LINE=${LINE//rootfs.tar/$W/rootfs.tar}
    # Else it asks on the terminal.
    [[ $LINE != 'bulla trust add-signature '* ]] || LINE+=' --yes'
    LINE=${LINE%%  \#*}
    # Without it the password is asked for on the terminal.
    [[ $LINE != 'bulla login '* ]] || LINE+=' --password-stdin'
    echo "$LINE"
}

start_server() {
    local i
    eval "exec $LINE" > "$W/out" 2> "$W/log" 3>&- &
    SERVER_PID=$!
    for ((i = 0; i < 300; i++)); do
        REGISTRY_HOST=$(sed -n 's/^listening on //p' "$W/out" 2> /dev/null || true)
        [[ -z $REGISTRY_HOST ]] || return 0
        kill -0 "$SERVER_PID" || break
        sleep 0.1
    done
    cat "$W/log" >&2
    return 1
}

# The block's lines in their order; each must end with 0. RUN: what the containers printed.
follow() { # FILE HEADING
    local line
    FOLLOWED=0
    while IFS= read -r -u 8 line; do
        substitute "$line"
        case $LINE in
            'bulla-registry serve '*) start_server ;;
            'bulla run '*) ((EUID != 0)) || RUN=$(eval "$LINE" < /dev/null) ;;
            bulla*) eval "$LINE" <<< "$PASSWORD" ;;
            *) continue ;;
        esac
        FOLLOWED=$((FOLLOWED + 1))
        # What comes next happens on another machine: a home with nothing in it.
        [[ $LINE != 'bulla sign '* || -n ${STAY:-} ]] || export BULLA_HOME=$W/other
    done 8< <(block_after "$1" "$2")
}

@test "the commands of README and docs/trust.md work in their order" {
    PASSWORD='a password for tests' REPOSITORY=acme/app REGISTRY_CA=$W/registry/ca.crt
    fresh_user
    make_rootfs
    cd "$W" # files that the lines name are made here
    follow "$TOP/README.md" '## The commands'
    ((FOLLOWED >= 12))
    if ((EUID == 0)); then [[ $RUN == hello ]]; fi

    # Another collection on the same registry; the reader has a key and an image.
    REPOSITORY=acme/second BULLA_HOME=$W/home
    command bulla key generate release
    bulla push store:app:v1 "$REGISTRY_HOST/acme/second:v1"
    run follow "$TOP/docs/trust.md" '## Collections and roles'
    expect 0 'bulla trust show'
    run bulla verify "$REGISTRY_HOST/acme/second:v1"
    expect 0 'anchor: pin'
    # What its owner does later, alone and with others; the image is the owner's.
    export BULLA_HOME=$W/home
    STAY=1 follow "$TOP/docs/trust.md" '## What owners do later'
    ((FOLLOWED >= 9))
    STAY=1 follow "$TOP/docs/trust.md" '## Many tags'
    ((FOLLOWED == 2))
    STAY=1 follow "$TOP/docs/trust.md" '## Where several must sign'
    ((FOLLOWED >= 12))
    run bulla verify "$REGISTRY_HOST/acme/second:v2"
    expect 1 'not signed'
    # As docs/operations.md says, with this test's names.
    awk '/^```/ { inside = $0 == "```yaml"; wanted = 0; next } /^mirrors:/ { wanted = inside } wanted' \
        "$TOP/docs/operations.md" > "$W/mirrors"
    grep -q '^mirrors:$' "$W/mirrors"
    sed 's|acme/\*|acme/second|; s|copies/\*|copies/app|' "$W/mirrors" >> "$W/registry/registry.yaml"
    cp "$W"/home/trust/state/*/acme/second/_/roots/1.json acme.root.json
    cp acme.root.json "$W/registry/"
    sed -i "s/^listen:.*/listen: \"$REGISTRY_HOST\"/" "$W/registry/registry.yaml"
    echo "$SERVER_PID" > "$W/registry/pid"
    REGISTRY_DIR=$W/registry registry_stop
    LINE="bulla-registry serve --config $W/registry/registry.yaml"
    start_server
    STAY=1 follow "$TOP/docs/trust.md" '## Copies'
    ((FOLLOWED == 3))
    run bulla trust show "$REGISTRY_HOST/acme/second" --json
    [[ $(jq .root.version <<< "$output") == 3 ]]
    STAY=1 follow "$TOP/docs/trust.md" '## Without a network'
    ((FOLLOWED == 3))
    STAY=1 follow "$TOP/docs/trust.md" '## Renewing'
    STAY=1 follow "$TOP/docs/trust.md" '## Keys that are lost'
    ((FOLLOWED >= 6))
    run bulla verify "$REGISTRY_HOST/acme/second2:v1"
    expect 0 'anchor: policy'
    run bulla verify "$REGISTRY_HOST/acme/second:v1"
    expect 0
    STAY=1 follow "$TOP/docs/trust.md" '## Keys that are stolen'
    run bulla verify "$REGISTRY_HOST/acme/second:v1"
    expect 1 'not signed'
}

@test "the policy in docs/trust.md is one" {
    awk '/^```/ { inside = $0 == "```json"; next } inside' "$TOP/docs/trust.md" > "$W/policy.json"
    [[ -s $W/policy.json ]]
    run command bulla policy check "$W/policy.json"
    expect 0 '1 scope'
}
