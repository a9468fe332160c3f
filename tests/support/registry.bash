# A registry of one's own for bats files: `load ../support/registry`.
#   registry_init DIR           makes DIR with admin user $REGISTRY_USER and a random $REGISTRY_PASSWORD
#   registry_start DIR          the same if DIR is new, then serves it: sets REGISTRY_DIR, REGISTRY_PID,
#                               REGISTRY_PORT, REGISTRY_HOST (127.0.0.1:PORT), REGISTRY_CA; log in DIR/log
#                               $REGISTRY_RUN, where set, is a command that runs the server: it ends with `exec "$@"`
#   registry_stop               ends it and waits; registry_kill: with SIGKILL
#   registry_curl [OPTION…] PATH   curl as the admin; PATH begins with /v2/
#   registry_status [OPTION…] PATH   the same, prints the HTTP status only
#   registry_user NAME          makes a user; the password is NAME-password
#   registry_grant SUBJECT PATTERN ACTIONS
REGISTRY_USER=admin

registry_init() {
    REGISTRY_PASSWORD=$(head -c 18 /dev/urandom | base64)
    bulla-registry init "$1" --listen 127.0.0.1:0 --admin "$REGISTRY_USER" --password-stdin \
        <<< "$REGISTRY_PASSWORD" > /dev/null || return
    printf '%s' "$REGISTRY_PASSWORD" > "$1/admin-password"
}

# One try: sets REGISTRY_PORT where it came up.
registry_serve() {
    : > "$1/out"
    # bats waits for everything that holds its descriptor 3.
    ${REGISTRY_RUN:-exec} bulla-registry serve --config "$1/registry.yaml" > "$1/out" 2>> "$1/log" 3>&- &
    REGISTRY_PID=$!
    echo "$REGISTRY_PID" > "$1/pid"
    local i
    for ((i = 0; i < 300; i++)); do
        REGISTRY_PORT=$(sed -n 's/^listening on .*://p' "$1/out" 2> /dev/null || true)
        [[ -n $REGISTRY_PORT ]] && break
        kill -0 "$REGISTRY_PID" 2> /dev/null || break
        sleep 0.1
    done
}

# A server that starts again on its old port may find it lent to somebody's outgoing connection for a moment.
registry_start() {
    local try
    REGISTRY_DIR=$1
    [[ -e $1/registry.yaml ]] || registry_init "$1" || return
    REGISTRY_PASSWORD=$(< "$1/admin-password")
    REGISTRY_CA=$1/ca.crt
    for ((try = 0; try < 40; try++)); do
        registry_serve "$1"
        [[ -z $REGISTRY_PORT ]] && tail -n 3 "$1/log" | grep -q 'Address already in use' || break
        sleep 0.5
    done
    if [[ -z $REGISTRY_PORT ]]; then
        echo "registry did not start:" >&2
        tail -n 20 "$1/log" >&2
        return 1
    fi
    REGISTRY_HOST=127.0.0.1:$REGISTRY_PORT
    export REGISTRY_DIR REGISTRY_PASSWORD REGISTRY_CA REGISTRY_PID REGISTRY_PORT REGISTRY_HOST
}

# Whether a process of that number still runs (a zombie does not).
registry_runs() {
    local state
    state=$(sed -n 's/^State:\t\(.\).*/\1/p' "/proc/$1/status" 2> /dev/null)
    [[ -n $state && $state != Z ]]
}

registry_end() {
    local pids pid i
    # Started again by a test, seen from teardown_file: the file knows.
    REGISTRY_PID=$(cat "${REGISTRY_DIR:-/nonexistent}/pid" 2> /dev/null || true)
    [[ -n $REGISTRY_PID ]] || return 0
    rm -f "$REGISTRY_DIR/pid"
    # The signing service ends with its parent; the next one needs its lock and socket.
    pids="$REGISTRY_PID $(cat "/proc/$REGISTRY_PID/task/$REGISTRY_PID/children" 2> /dev/null)"
    kill "-$1" "$REGISTRY_PID" 2> /dev/null
    for pid in $pids; do
        for ((i = 0; i < 400; i++)); do
            registry_runs "$pid" || break
            sleep 0.05
        done
    done
    REGISTRY_STATUS=0
    wait "$REGISTRY_PID" 2> /dev/null || REGISTRY_STATUS=$?
    REGISTRY_PID=
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

registry_status() {
    registry_curl -o /dev/null -w '%{http_code}' "$@"
}

registry_user() {
    bulla-registry user add "$1" --password-stdin --config "$REGISTRY_DIR/registry.yaml" \
        <<< "$1-password"
}

registry_grant() {
    bulla-registry grant add "$@" --config "$REGISTRY_DIR/registry.yaml"
}

# digest_of FILE: sha256:… of it.
digest_of() {
    echo "sha256:$(sha256sum < "$1" | cut -d ' ' -f 1)"
}

# push_blob REPOSITORY FILE: in one POST; prints the digest.
push_blob() {
    local digest
    digest=$(digest_of "$2")
    [[ $(registry_status -X POST -H 'Content-Type: application/octet-stream' --data-binary "@$2" \
        "/v2/$1/blobs/uploads/?digest=$digest") == 201 ]] && echo "$digest"
}

# push_image REPOSITORY TAG [TEXT]: a small image whose layer is TEXT; prints the manifest's digest.
push_image() {
    local dir config layer
    dir=$(mktemp -d "$BATS_TEST_TMPDIR/image.XXXX")
    printf '%s' "${3:-layer of $1:$2}" > "$dir/layer"
    printf '{"architecture":"amd64","os":"linux"}' > "$dir/config"
    config=$(push_blob "$1" "$dir/config") && layer=$(push_blob "$1" "$dir/layer") || return
    image_manifest "$config" "$(stat -c %s "$dir/config")" "$layer" "$(stat -c %s "$dir/layer")" \
        > "$dir/manifest"
    [[ $(registry_status -X PUT -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' \
        --data-binary "@$dir/manifest" "/v2/$1/manifests/$2") == 201 ]] && digest_of "$dir/manifest"
}

# image_manifest CONFIG-DIGEST SIZE LAYER-DIGEST SIZE
image_manifest() {
    printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",'
    printf '"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"%s","size":%s},' \
        "$1" "$2"
    printf '"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"%s","size":%s}]}' \
        "$3" "$4"
}
