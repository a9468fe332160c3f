#!/usr/bin/env bats
# Pushes and pulls that break off, between a real registry and a proxy that breaks them: what is tried again in
# the same run, what the next run goes on with, and that nothing is sent twice.
load ../support/bulla

LAYER=$((32 << 20))

setup_file() {
    umask 022
    head -c 18 /dev/urandom | base64 > "$BATS_FILE_TMPDIR/passphrase"
    chmod 600 "$BATS_FILE_TMPDIR/passphrase"
    echo '{ "version": 1, "default": "deny" }' > "$BATS_FILE_TMPDIR/policy.json"
    bulla_environment "$BATS_FILE_TMPDIR/home"
    bulla_registry_start
    mkdir "$BATS_FILE_TMPDIR/proxy"
    python3 "$BATS_TEST_DIRNAME/../support/cut-proxy.py" "$REGISTRY_PORT" "$BATS_FILE_TMPDIR/proxy" \
        > "$BATS_FILE_TMPDIR/proxy/port" 2> "$BATS_FILE_TMPDIR/proxy/log" 3>&- &
    echo "$!" > "$BATS_FILE_TMPDIR/proxy.pid"
    local i
    for ((i = 0; i < 100; i++)); do
        [[ -s $BATS_FILE_TMPDIR/proxy/port ]] && break
        sleep 0.05
    done
    export DIRECT=$REGISTRY_HOST PROXY=$BATS_FILE_TMPDIR/proxy
    export REGISTRY_HOST
    REGISTRY_HOST=127.0.0.1:$(< "$PROXY/port")
    bulla login "$REGISTRY_HOST" --username "$REGISTRY_USER" --password-stdin <<< "$REGISTRY_PASSWORD" > /dev/null
    bulla login "$DIRECT" --username "$REGISTRY_USER" --password-stdin <<< "$REGISTRY_PASSWORD" > /dev/null
    bulla key generate root > /dev/null
    # Two layers would need two imports: one of a size that takes a while is enough here.
    local root=$BATS_FILE_TMPDIR/root
    mkdir "$root"
    head -c "$LAYER" /dev/urandom > "$root/data"
    bulla import "$root" big:v1 --compress none > /dev/null
    bulla push store:big:v1 "$REGISTRY_HOST/acme/big:v1" > /dev/null
    bulla trust init "$REGISTRY_HOST/acme/big" --root-key root > /dev/null
    bulla sign "$REGISTRY_HOST/acme/big:v1" --key root > /dev/null
    bulla policy allow "$REGISTRY_HOST/acme/big" > /dev/null
}
teardown_file() {
    kill "$(< "$BATS_FILE_TMPDIR/proxy.pid")"
    bulla_registry_stop
}
setup() {
    REGISTRY_CA=$REGISTRY_DIR/ca.crt
    cp -a "$BATS_FILE_TMPDIR/home" "$BATS_TEST_TMPDIR/home"
    bulla_environment "$BATS_TEST_TMPDIR/home"
    # A layer of its own for each test: what one test pushed is not there for the next.
    DEST=$REGISTRY_HOST/acme/t$BATS_TEST_NUMBER
    echo pass > "$PROXY/order"
    rm -f "$PROXY/bytes"
}
teardown() {
    echo pass > "$PROXY/order"
}

# moved up|down: bytes that have passed in connections that are over.
moved() {
    local field=1 i
    [[ $1 == up ]] || field=2
    for ((i = 0; i < 100; i++)); do # the last connection's line may take a moment
        sleep 0.05
        [[ -s $PROXY/bytes ]] && ((i > 5)) && break
    done
    awk -v f="$field" '{ n += $f } END { print n + 0 }' "$PROXY/bytes"
}

fresh_image() { # NAME: a new layer in the store
    local root=$BATS_TEST_TMPDIR/root
    mkdir -p "$root"
    head -c "$LAYER" /dev/urandom > "$root/data"
    bulla import "$root" "$1" --compress none > /dev/null
}

# in_background COMMAND…: as job $job, its output in $BATS_TEST_TMPDIR/out; returns once the proxy hangs.
in_background() {
    "$@" > "$BATS_TEST_TMPDIR/out" 2>&1 3>&- &
    job=$!
    local i
    for ((i = 0; i < 200; i++)); do
        [[ -e $PROXY/order ]] || break
        sleep 0.05
    done
    sleep 1
    kill -0 "$job"
}

arrived() { # REF NAME: the registry has what the store has, as another program sees it
    local want path=${1#*/}
    path=${path%:*}
    want=$(bulla images --digests | awk -v n="$2" '$1 == n { print $2 }')
    [[ $want == sha256:* ]] || return 1
    mkdir -p "$BATS_TEST_TMPDIR/certs"
    cp "$REGISTRY_CA" "$BATS_TEST_TMPDIR/certs/ca.crt"
    skopeo copy -q --preserve-digests --authfile "$REGISTRY_AUTH_FILE" --src-cert-dir "$BATS_TEST_TMPDIR/certs" \
        "docker://$DIRECT/$path@$want" "oci:$BATS_TEST_TMPDIR/back"
}

@test "a push over a connection that breaks goes on by itself" {
    fresh_image mine:v1
    echo "cut up $((LAYER * 3 / 4))" > "$PROXY/order"
    run bulla push store:mine:v1 "$DEST:v1"
    expect 0 "trying again in"
    grep -q '^pushed' <<< "$output"
    arrived "$DEST:v1" mine:v1
    # Three quarters, and the rest; not all of it again.
    (($(moved up) < LAYER * 13 / 10))
}

@test "a pull over a connection that breaks goes on by itself" {
    need_root
    forget_images
    echo "cut down $((LAYER * 3 / 4))" > "$PROXY/order"
    run bulla pull "$REGISTRY_HOST/acme/big:v1"
    expect 0 "trying again in"
    (($(moved down) < LAYER * 12 / 10))
}

@test "a push that was killed goes on in the next run" {
    fresh_image mine:v1
    local job
    echo "hang up $((LAYER / 2))" > "$PROXY/order"
    in_background command bulla --cacert "$REGISTRY_CA" push store:mine:v1 "$DEST:v1"
    kill -KILL "$job"
    wait "$job" || true
    echo pass > "$PROXY/order"
    [[ $(find "$BULLA_HOME/images/uploads" -type f | wc -l) == 1 ]]
    sleep 0.5
    rm -f "$PROXY/bytes"
    run bulla push store:mine:v1 "$DEST:v1"
    expect 0 "^pushed"
    arrived "$DEST:v1" mine:v1
    (($(moved up) < LAYER * 7 / 10))
    # Nothing is remembered of what is over.
    [[ $(find "$BULLA_HOME/images/uploads" -type f | wc -l) == 0 ]]
}

@test "a pull that was killed goes on in the next run" {
    need_root
    local job
    forget_images
    echo "hang down $((LAYER / 2))" > "$PROXY/order"
    in_background command bulla --cacert "$REGISTRY_CA" pull "$REGISTRY_HOST/acme/big:v1"
    kill -KILL "$job"
    wait "$job" || true
    echo pass > "$PROXY/order"
    [[ $(find "$BULLA_HOME/images/tmp" -name 'part-sha256-*' | wc -l) == 1 ]]
    sleep 0.5
    rm -f "$PROXY/bytes"
    run bulla pull "$REGISTRY_HOST/acme/big:v1"
    expect 0 "^pulled"
    (($(moved down) < LAYER * 7 / 10))
    [[ $(find "$BULLA_HOME/images/tmp" -name 'part-*' | wc -l) == 0 ]]
}

@test "a registry that is killed and comes back in the middle of a push gets the rest" {
    fresh_image mine:v1
    local job i
    echo "hang up $((LAYER / 2))" > "$PROXY/order"
    in_background command bulla --cacert "$REGISTRY_CA" push store:mine:v1 "$DEST:v1"
    local pid
    pid=$(< "$BATS_FILE_TMPDIR/registry.pid")
    kill -KILL "$pid"
    for ((i = 0; i < 100; i++)); do
        registry_runs "$pid" || break
        sleep 0.05
    done
    echo pass > "$PROXY/order"
    local host=$REGISTRY_HOST
    REGISTRY_HOST=$DIRECT bulla_registry_start
    REGISTRY_HOST=$host
    wait "$job" || {
        cat "$BATS_TEST_TMPDIR/out" >&2
        false
    }
    grep -q 'trying again' "$BATS_TEST_TMPDIR/out"
    arrived "$DEST:v1" mine:v1
}

@test "two pulls of one image at once fetch it once" {
    need_root
    forget_images
    local one two
    command bulla --cacert "$REGISTRY_CA" pull "$REGISTRY_HOST/acme/big:v1" > "$BATS_TEST_TMPDIR/one" 2>&1 3>&- &
    one=$!
    command bulla --cacert "$REGISTRY_CA" pull "$REGISTRY_HOST/acme/big:v1" > "$BATS_TEST_TMPDIR/two" 2>&1 3>&- &
    two=$!
    wait "$one"
    wait "$two"
    grep -q ^pulled "$BATS_TEST_TMPDIR/one"
    grep -q ^pulled "$BATS_TEST_TMPDIR/two"
    (($(moved down) < LAYER * 12 / 10))
}

@test "what is there is not fetched again, also after its blobs were taken away and it is unpacked" {
    need_root
    run bulla pull "$REGISTRY_HOST/acme/big:v1"
    expect 0
    rm -f "$PROXY/bytes"
    run bulla pull "$REGISTRY_HOST/acme/big:v1" --json
    expect 0
    [[ $(jq '.bytes, .blobs' <<< "$output" | paste -sd' ') == "0 0" ]]
    (($(moved down) < 100000))
}

@test "a blob that another repository of the registry has is mounted" {
    run bulla push store:big:v1 "$DEST:v1" --json
    expect 0
    [[ $(jq '.blobs, .mounted' <<< "$output" | paste -sd' ') == "0 2" ]]
    (($(moved up) < 100000))
    run bulla push store:big:v1 "$DEST:v2"
    expect 0 "2 were there"
    # Without the right to read there: sent, not refused.
    registry_user writer
    registry_grant writer 'other/*' push,pull
    REGISTRY_AUTH_FILE=$BATS_TEST_TMPDIR/auth.json bulla login "$REGISTRY_HOST" --username writer \
        --password-stdin <<< "writer-password"
    REGISTRY_AUTH_FILE=$BATS_TEST_TMPDIR/auth.json run bulla push store:big:v1 "$REGISTRY_HOST/other/app:v1" --json
    expect 0
    [[ $(jq '.blobs, .mounted' <<< "$output" | paste -sd' ') == "2 0" ]]
}

@test "--parallel is a number from 1 to 16" {
    local n
    for n in 0 17 -1 x ''; do
        run bulla push store:big:v1 "$DEST:v1" --parallel="$n"
        expect 2 "parallel"
        run bulla pull "$REGISTRY_HOST/acme/big:v1" --parallel="$n"
        expect 2 "parallel"
    done
    run bulla push store:big:v1 "$DEST:v1" --parallel 1
    expect 0
}

@test "a copy that was killed goes on in the next run, and leaves nothing behind" {
    local job
    forget_images
    echo "hang down $((LAYER / 2))" > "$PROXY/order"
    in_background command bulla --cacert "$REGISTRY_CA" copy --image-only "$REGISTRY_HOST/acme/big:v1" \
        "$DIRECT/acme/t$BATS_TEST_NUMBER"
    kill -KILL "$job"
    wait "$job" || true
    echo pass > "$PROXY/order"
    [[ $(find "$BULLA_HOME/images/tmp" -name 'part-sha256-*' | wc -l) == 1 ]]
    sleep 0.5
    rm -f "$PROXY/bytes"
    run bulla copy --image-only "$REGISTRY_HOST/acme/big:v1" "$DIRECT/acme/t$BATS_TEST_NUMBER"
    expect 0 "^copied"
    (($(moved down) < LAYER * 7 / 10))
    [[ -z $(find "$BULLA_HOME/images/tmp" "$BULLA_HOME/images/blobs" -type f 2> /dev/null) ]]
    [[ $(registry_status "/v2/acme/t$BATS_TEST_NUMBER/manifests/v1") == 200 ]]
}
