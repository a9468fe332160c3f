# docs/registry.md is right: its commands work in their order, and the units in packaging/ run what they say.
bats_require_minimum_version 1.5.0

setup() {
    load ../support/registry
    TOP=$BATS_TEST_DIRNAME/../..
    cd "$BATS_TEST_TMPDIR" || return
    PASSWORD='a password for tests'
}

teardown() {
    local pid
    for pid in ${SERVER_PID:-} ${SIGNER_PID:-}; do
        kill "$pid" 2> /dev/null || true
        wait "$pid" || true
    done
    [[ -z ${OWN:-} ]] || rm -rf "$OWN"
}

await_server() { # sets HOST once it says where it listens
    local i
    HOST=
    for ((i = 0; i < 300; i++)); do
        HOST=$(sed -n 's/^listening on //p' out 2> /dev/null || true)
        [[ -z $HOST ]] || return 0
        registry_runs "$SERVER_PID"
        sleep 0.1
    done
    return 1
}

# A documented line with this test's names.
adapt() {
    LINE=${1//\/srv\//$PWD/}
    LINE=${LINE//127.0.0.1:5443/127.0.0.1:0}
    LINE=${LINE//DIGEST/$DIGEST}
    LINE=${LINE//HOST/${HOST:-}}
    [[ $LINE != 'bulla login '* ]] || LINE+=" --password-stdin --cacert $PWD/bulla/ca.crt"
}

stop_server() {
    kill "$SERVER_PID"
    wait "$SERVER_PID"
    SERVER_PID=
}

@test "the commands of docs/registry.md work in the order in which they stand" {
    export BULLA_HOME=$PWD/home REGISTRY_AUTH_FILE=$PWD/auth.json
    DIGEST=sha256:$(printf x | sha256sum | cut -d ' ' -f 1)
    n=0
    while IFS= read -r -u 8 line; do
        adapt "$line"
        echo "$LINE"
        case $LINE in
            'bulla-registry serve '*)
                eval "exec $LINE" > out 2> log 3>&- 8<&- &
                SERVER_PID=$!
                await_server
                REGISTRY_HOST=$HOST REGISTRY_CA=$PWD/bulla/ca.crt REGISTRY_PASSWORD=$PASSWORD REGISTRY_USER=alice
                printf x > x
                push_blob acme/app x
                ;;
            'bulla-registry restore '*)
                run eval "$LINE"
                [[ $status != 0 ]] # the server runs, and its data is there
                stop_server
                rm -rf bulla/data
                eval "$LINE"
                ;;
            *) eval "$LINE" <<< "$PASSWORD" ;;
        esac
        n=$((n + 1))
    done 8< <(sed -n 's/^    \(bulla.*\)/\1/p' "$TOP/docs/registry.md")
    ((n >= 15))
    # What was restored is what there was.
    rm out
    bulla-registry serve --config bulla/registry.yaml > out 2> log 3>&- &
    SERVER_PID=$!
    await_server
    REGISTRY_HOST=$HOST
    [[ $(registry_curl "/v2/acme/app/blobs/$DIGEST") == x ]]
    REGISTRY_USER=bob
    [[ $(registry_status "/v2/acme/app/blobs/$DIGEST") == 200 ]]
}

@test "each configuration key, folder and message that docs/registry.md names exists" {
    bulla-registry init r --listen 127.0.0.1:0 --admin alice --password-stdin <<< "$PASSWORD"
    for key in gc:interval:5m gc:lease:24h scrub:interval:7d audit:level:all; do
        IFS=: read -r part name value <<< "$key"
        sed -n "/^$part:/,/^[a-z]/p" r/registry.yaml | grep -q "^  $name: $value\$"
    done
    for folder in blobs uploads aside quarantine index.db; do [[ -e r/data/$folder ]]; done
    for text in 'it is damaged, restore it from a backup' 'another bulla-registry serves' \
        'holds no registry: is its disk mounted?' ': use a newer program' 'the file of blob'; do
        grep -q -F "$text" "$TOP/docs/registry.md"
        # Messages may be split over lines of the source, not within these words.
        grep -r -q -F "$text" "$TOP/registry" "$TOP/base"
    done
    grep -r -q bulla_scrub_damaged_total "$TOP/registry"
}

@test "the units are valid, and run registry and signing service as two accounts" {
    command -v systemd-analyze > /dev/null || skip "systemd is not installed"
    [[ $EUID == 0 ]] || skip "needs root to change accounts"
    OWN=$(mktemp -d)
    chmod 755 "$OWN"
    bulla-registry init "$OWN/bulla" --listen 127.0.0.1:0 --admin alice --password-stdin <<< "$PASSWORD"
    sed -i 's/^#user: .*/user: daemon/; s/^  #user: .*/  user: nobody/' "$OWN/bulla/registry.yaml"
    chown -R daemon "$OWN/bulla/data" "$OWN/bulla/tls"
    for unit in bulla-signer bulla-registry; do
        sed "s|/usr/local/bin/|$BULLA_BUILD/bin/|g; s|/srv/bulla|$OWN/bulla|g" "$TOP/packaging/$unit.service" \
            > "$OWN/$unit.service"
    done
    run systemd-analyze verify --man=no --recursive-errors=no "$OWN/bulla-signer.service" "$OWN/bulla-registry.service"
    echo "$output"
    [[ $status == 0 && -z $(grep "$OWN" <<< "$output") ]]
    command_of() { sed -n "s/^$2=-\{0,1\}//p" "$OWN/$1.service" | sed 's/\$\$/$/g'; }
    eval "exec $(command_of bulla-signer ExecStart)" > signer.out 2> signer.log 3>&- &
    SIGNER_PID=$!
    eval "$(command_of bulla-signer ExecStartPost)"
    eval "$(command_of bulla-registry ExecStartPre)"
    eval "exec $(command_of bulla-registry ExecStart)" > out 2> log 3>&- &
    SERVER_PID=$!
    await_server
    REGISTRY_HOST=$HOST REGISTRY_CA=$OWN/bulla/ca.crt REGISTRY_PASSWORD=$PASSWORD REGISTRY_USER=alice
    [[ $(ps -o user= -p "$SERVER_PID") == daemon && $(ps -o user= -p "$SIGNER_PID") == nobody ]]
    [[ -z $(cat "/proc/$SERVER_PID/task/$SERVER_PID/children") ]] # it uses the other one
    [[ $(registry_status /v2/two/app/_trust/tuf/snapshot.key) == 200 ]]
    MAINPID=$SERVER_PID
    eval "$(command_of bulla-registry ExecReload)"
    [[ $(registry_status /v2/) == 200 ]]
    registry_runs "$SERVER_PID"
    # The way back from a signing service that died: the unit starts it again, the registry finds it.
    kill -KILL "$SIGNER_PID"
    wait "$SIGNER_PID" || true
    [[ $(registry_status /v2/three/app/_trust/tuf/snapshot.key) == 502 ]]
    eval "$(command_of bulla-signer ExecStartPre)"
    eval "exec $(command_of bulla-signer ExecStart)" > signer.out 2>> signer.log 3>&- &
    SIGNER_PID=$!
    eval "$(command_of bulla-signer ExecStartPost)"
    [[ $(registry_status /v2/three/app/_trust/tuf/snapshot.key) == 200 ]]
}
