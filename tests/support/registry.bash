# A registry of one's own for bats files: `load ../support/registry`.
#   registry_init DIR           makes DIR with admin user $REGISTRY_USER and a random $REGISTRY_PASSWORD
#   registry_start DIR          the same if DIR is new, then serves it: sets REGISTRY_DIR, REGISTRY_PID,
#                               REGISTRY_PORT, REGISTRY_HOST (127.0.0.1:PORT), REGISTRY_CA; log in DIR/log
#   registry_stop               ends it and waits; registry_kill: with SIGKILL
#   registry_curl [OPTION…] PATH   curl as the admin; PATH begins with /v2/
REGISTRY_USER=admin

registry_init() {
    REGISTRY_PASSWORD=$(head -c 18 /dev/urandom | base64)
    bulla-registry init "$1" --listen 127.0.0.1:0 --admin "$REGISTRY_USER" --password-stdin \
        <<< "$REGISTRY_PASSWORD" > /dev/null || return
    printf '%s' "$REGISTRY_PASSWORD" > "$1/admin-password"
}

registry_start() {
    REGISTRY_DIR=$1
    [[ -e $1/registry.yaml ]] || registry_init "$1" || return
    REGISTRY_PASSWORD=$(< "$1/admin-password")
    REGISTRY_CA=$1/ca.crt
    rm -f "$1/out"
    # bats waits for everything that holds its descriptor 3.
    bulla-registry serve --config "$1/registry.yaml" > "$1/out" 2>> "$1/log" 3>&- &
    REGISTRY_PID=$!
    local i
    for ((i = 0; i < 300; i++)); do
        REGISTRY_PORT=$(sed -n 's/^listening on .*://p' "$1/out" 2> /dev/null)
        [[ -n $REGISTRY_PORT ]] && break
        kill -0 "$REGISTRY_PID" 2> /dev/null || break
        sleep 0.1
    done
    if [[ -z $REGISTRY_PORT ]]; then
        echo "registry did not start:" >&2
        tail -n 20 "$1/log" >&2
        return 1
    fi
    REGISTRY_HOST=127.0.0.1:$REGISTRY_PORT
}

registry_end() {
    [[ -n ${REGISTRY_PID:-} ]] || return 0
    local signer
    signer=$(cat "/proc/$REGISTRY_PID/task/$REGISTRY_PID/children" 2> /dev/null)
    kill "-$1" "$REGISTRY_PID" 2> /dev/null
    wait "$REGISTRY_PID" 2> /dev/null
    REGISTRY_STATUS=$?
    REGISTRY_PID=
    # The signing service ends with its parent; the next one needs its lock and socket.
    local pid i
    for pid in $signer; do
        for ((i = 0; i < 100; i++)); do
            kill -0 "$pid" 2> /dev/null || break
            sleep 0.05
        done
    done
}

registry_stop() {
    registry_end TERM
}

registry_kill() {
    registry_end KILL
}

registry_curl() {
    curl -sS --cacert "$REGISTRY_CA" -u "$REGISTRY_USER:$REGISTRY_PASSWORD" "${@:1:$#-1}" \
        "https://$REGISTRY_HOST${*: -1}"
}
