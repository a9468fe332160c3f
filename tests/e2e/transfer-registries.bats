#!/usr/bin/env bats
# Push to other people's registry (docker-registry): with a password, and with tokens of a service on another host.
# Then to our own with the same command lines.
load ../support/bulla

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# other_registry NAME AUTH-SECTION: docker-registry over TLS; its port in NAME.port, its pid in pids
other_registry() {
    local dir=$PEERS/$1 port i
    port=$(free_port)
    mkdir "$dir"
    cat > "$dir/config.yml" << EOF
version: 0.1
log: { level: warn }
storage: { filesystem: { rootdirectory: "$dir/data" }, delete: { enabled: true } }
http: { addr: "127.0.0.1:$port", tls: { certificate: "$PEERS/tls.crt", key: "$PEERS/tls.key" } }
$2
EOF
    # Without our variables: it takes every REGISTRY_… for a setting of its own.
    env -i PATH="$PATH" docker-registry serve "$dir/config.yml" > "$dir/log" 2>&1 3>&- &
    echo "$!" >> "$PEERS/pids"
    echo "$port" > "$dir.port"
    for ((i = 0; i < 200; i++)); do
        curl -s -o /dev/null --cacert "$PEERS/tls.crt" "https://127.0.0.1:$port/v2/" && return
        sleep 0.05
    done
    cat "$dir/log" >&2
    return 1
}

setup_file() {
    umask 022
    bulla_environment "$BATS_FILE_TMPDIR/home"
    export PEERS=$BATS_FILE_TMPDIR/peers
    mkdir "$PEERS"
    openssl req -x509 -newkey rsa:2048 -nodes -keyout "$PEERS/tls.key" -out "$PEERS/tls.crt" -days 2 \
        -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 2> /dev/null
    python3 "$BATS_TEST_DIRNAME/../support/token-service.py" "$PEERS" > "$PEERS/service.port" \
        2> "$PEERS/service.log" 3>&- &
    echo "$!" >> "$PEERS/pids"
    local i
    for ((i = 0; i < 200; i++)); do
        [[ -s $PEERS/service.port ]] && break
        sleep 0.05
    done
    python3 -W ignore -c 'import crypt; print("anna:" + crypt.crypt("anna-password", crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=32)))' \
        > "$PEERS/htpasswd"
    other_registry basic "auth: { htpasswd: { realm: r, path: \"$PEERS/htpasswd\" } }"
    other_registry token "auth: { token: { realm: \"https://127.0.0.1:$(< "$PEERS/service.port")/token\", service: tests, issuer: tests, rootcertbundle: \"$PEERS/tls.crt\" } }"
    local root=$BATS_FILE_TMPDIR/root
    mkdir "$root"
    head -c 3000000 /dev/urandom > "$root/data"
    bulla_import "$root" app:v1
}
bulla_import() { command bulla import "$1" "$2" > /dev/null; }
teardown_file() {
    local pid
    while read -r pid; do kill "$pid" 2> /dev/null; done < "$PEERS/pids"
    return 0
}
setup() {
    REGISTRY_CA=$PEERS/tls.crt
    cp -a "$BATS_FILE_TMPDIR/home" "$BATS_TEST_TMPDIR/home"
    bulla_environment "$BATS_TEST_TMPDIR/home"
    export REGISTRY_AUTH_FILE=$BATS_TEST_TMPDIR/auth.json XDG_CONFIG_HOME=$BATS_TEST_TMPDIR/config
    BASIC=127.0.0.1:$(< "$PEERS/basic.port") TOKEN=127.0.0.1:$(< "$PEERS/token.port")
    SERVICE=https://127.0.0.1:$(< "$PEERS/service.port")
    rm -f "$PEERS/requests"
}

login() { # HOST [OPTION…]
    bulla login "$1" --username anna --password-stdin "${@:2}" <<< anna-password
}

# here HOST/REPOSITORY:TAG: another program finds it whole
here() {
    skopeo copy -q --src-creds anna:anna-password --src-cert-dir "$BATS_TEST_TMPDIR/certs" "docker://$1" \
        "oci:$BATS_TEST_TMPDIR/back$RANDOM:x"
}
trust_peers() {
    mkdir "$BATS_TEST_TMPDIR/certs"
    cp "$PEERS/tls.crt" "$BATS_TEST_TMPDIR/certs/ca.crt"
}

@test "docker-registry with a password: push, again, and a mount into another repository" {
    trust_peers
    run bulla push store:app:v1 "$BASIC/acme/app:v1"
    expect 1 "bulla login $BASIC"
    login "$BASIC"
    run bulla push store:app:v1 "$BASIC/acme/app:v1" --json
    expect 0
    [[ $(jq .blobs <<< "$output") == 2 ]]
    here "$BASIC/acme/app:v1"
    run bulla push store:app:v1 "$BASIC/acme/app:v2" --json
    expect 0
    [[ $(jq -c '[.blobs, .present]' <<< "$output") == "[0,2]" ]]
    run bulla push store:app:v1 "$BASIC/acme/other:v1" --json
    expect 0
    [[ $(jq -c '[.blobs, .mounted]' <<< "$output") == "[0,2]" ]]
    here "$BASIC/acme/other:v1"
}

@test "docker-registry goes on with an upload that broke off" {
    login "$BASIC"
    trust_peers
    mkdir "$BATS_TEST_TMPDIR/proxy" "$BATS_TEST_TMPDIR/root"
    python3 "$BATS_TEST_DIRNAME/../support/cut-proxy.py" "${BASIC#*:}" "$BATS_TEST_TMPDIR/proxy" \
        > "$BATS_TEST_TMPDIR/proxy/port" 3>&- &
    local proxy=$! i
    for ((i = 0; i < 100; i++)); do
        [[ -s $BATS_TEST_TMPDIR/proxy/port ]] && break
        sleep 0.05
    done
    local host
    host=127.0.0.1:$(< "$BATS_TEST_TMPDIR/proxy/port")
    head -c 33554432 /dev/urandom > "$BATS_TEST_TMPDIR/root/data"
    command bulla import "$BATS_TEST_TMPDIR/root" big:v1 --compress none > /dev/null
    login "$host"
    echo "cut up 25000000" > "$BATS_TEST_TMPDIR/proxy/order"
    # Its upload Locations are absolute and follow the Host header, so they lead to the proxy again.
    run bulla push store:big:v1 "$host/acme/big:v1"
    kill "$proxy"
    expect 0 "trying again in"
    here "$BASIC/acme/big:v1"
}

@test "a token service elsewhere gets no password, unless its owner said so" {
    trust_peers
    run login "$TOKEN"
    expect 1 "wants tokens from ${SERVICE#https://}, but credentials are sent to the registry itself only"
    grep -q -- "bulla login $TOKEN --token-service $SERVICE" <<< "$output"
    [[ ! -e $PEERS/requests && ! -e $REGISTRY_AUTH_FILE ]]
    run login "$TOKEN" --token-service https://127.0.0.1:1
    expect 1 "registry itself only"
    [[ ! -e $PEERS/requests ]]
    run login "$TOKEN" --token-service "$SERVICE"
    expect 0
    [[ $(jq -c . "$XDG_CONFIG_HOME/bulla/token-services.json") == "{\"$TOKEN\":[\"$SERVICE\"]}" ]]
    run bulla push store:app:v1 "$TOKEN/acme/app:v1" --json
    expect 0
    [[ $(jq .blobs <<< "$output") == 2 ]]
    here "$TOKEN/acme/app:v1"
    run bulla push store:app:v1 "$TOKEN/acme/other:v1" --json
    expect 0
    [[ $(jq -c '[.blobs, .mounted]' <<< "$output") == "[0,2]" ]]
    # A wrong password is asked about once, not for ever.
    rm "$PEERS/requests"
    run bulla login "$TOKEN" --username anna --password-stdin --token-service "$SERVICE" <<< wrong
    expect 1 "does not accept these credentials"
    [[ $(wc -l < "$PEERS/requests") == 1 ]]
}

@test "the token service's certificate counts as much as the registry's" {
    # A service with a certificate that nobody here trusts: its name is right, its issuer is not.
    mkdir "$BATS_TEST_TMPDIR/evil"
    openssl req -x509 -newkey rsa:2048 -nodes -keyout "$BATS_TEST_TMPDIR/evil/tls.key" \
        -out "$BATS_TEST_TMPDIR/evil/tls.crt" -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 2> /dev/null
    python3 "$BATS_TEST_DIRNAME/../support/token-service.py" "$BATS_TEST_TMPDIR/evil" \
        > "$BATS_TEST_TMPDIR/evil/port" 2> /dev/null 3>&- &
    local service=$! i port
    for ((i = 0; i < 100; i++)); do
        [[ -s $BATS_TEST_TMPDIR/evil/port ]] && break
        sleep 0.05
    done
    port=$(< "$BATS_TEST_TMPDIR/evil/port")
    other_registry "evil$port" "auth: { token: { realm: \"https://127.0.0.1:$port/token\", service: tests, issuer: tests, rootcertbundle: \"$PEERS/tls.crt\" } }"
    run login "127.0.0.1:$(< "$PEERS/evil$port.port")" --token-service "https://127.0.0.1:$port"
    kill "$service"
    expect 3 "certificate of registry 127.0.0.1:$port is not trusted"
    [[ ! -e $BATS_TEST_TMPDIR/evil/requests ]]
}

@test "an identity token stands for the password" {
    login "$TOKEN" --token-service "$SERVICE"
    echo "{\"auths\":{\"$TOKEN\":{\"identitytoken\":\"anna-identity\"}}}" > "$REGISTRY_AUTH_FILE"
    rm -f "$PEERS/requests"
    run bulla push store:app:v1 "$TOKEN/acme/identity:v1"
    expect 0 ^pushed
    grep -q '^POST /token' "$PEERS/requests"
    run ! grep -q identity "$PEERS/requests"
    [[ $(bulla login "$TOKEN" --get-login) == "<token>" ]]
    echo "{\"auths\":{\"$TOKEN\":{\"identitytoken\":\"stale\"}}}" > "$REGISTRY_AUTH_FILE"
    run bulla push store:app:v1 "$TOKEN/acme/identity:v2"
    expect 1 "does not accept these credentials"
    [[ $output != *stale* ]]
}
