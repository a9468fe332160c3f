# A registry in an attacker's hands: `load ../support/bulla`, then `load ../support/forge`.
# A file server holds one repository a test ($REPO, collection acme/app) whose metadata is made here with keys
# that the attacker may have or not: seed:root, seed:targets, seed:snapshot, seed:timestamp, any other name.
#   forge_setup_file, forge_setup, forge_teardown, forge_teardown_file   in the bats functions of that name
#   sign_root N [FILTER [KEY…]]       N.root.json; FILTER (jq) changes what is signed, KEYs sign it (default:
#   sign_targets, sign_snapshot, sign_timestamp: the same   the role's own key)
#   sign_role ROLE N [FILTER [KEY…]]  a delegated role
#   release N [FILTER]                targets N (FILTER), and a snapshot and timestamp N for it
#   delegate ROLE PATTERN [KEY]       a jq filter that adds a delegation to targets
#   root_key ROLE NAME…               a jq filter: these keys sign ROLE
#   refused STATUS PATTERN COMMAND…   must end so, must not say "not signed", must leave trust and images alone
#                                     (but for the files named in ACCEPTED) and sign no success
#   good_again N                      release N is taken
# Notes on served files: tests/tools/main_file_server.c. Variables: WWW, TUF, REPO, REF, DIGEST, REGISTRY_HOST.

# The policy of this test: its collection, its root, and MEMBERS. Every command asks the registry.
forge_policy() { # MEMBERS
    jq -n --arg scope "$REGISTRY_HOST/$REPO" --arg root "$BATS_FILE_TMPDIR/root.json" "
        {version: 1, scopes: {(\$scope): ({collection: \"acme/app\", root: {file: \$root}, refresh: \"0\"} +
        {$1})}}" > "$BULLA_POLICY"
}

# date_in SECONDS: from now, as TUF writes it.
date_in() { date -u -d "@$(($(date +%s) + $1))" +%Y-%m-%dT%H:%M:%SZ; }

forge_server_start() {
    : > "$BATS_FILE_TMPDIR/out" # the other process may be late
    file-server --root "$WWW" --cert "$BATS_FILE_TMPDIR/good/tls/server.crt" \
        --key "$BATS_FILE_TMPDIR/good/tls/server.key" --bad-cert "$BATS_FILE_TMPDIR/bad/tls/server.crt" \
        --bad-key "$BATS_FILE_TMPDIR/bad/tls/server.key" > "$BATS_FILE_TMPDIR/out" 3>&- &
    FILE_SERVER_PID=$!
    local i
    for ((i = 0; i < 600; i++)); do
        REGISTRY_HOST=$(sed -n 's/^listening on //p' "$BATS_FILE_TMPDIR/out")
        [[ -z $REGISTRY_HOST ]] || break
        sleep 0.05
    done
    [[ -n $REGISTRY_HOST ]]
}

# The image's blobs and manifest where the repository in $1 shows them.
forge_serve_image() {
    local blob
    mkdir -p "$1/manifests" "$1/blobs"
    for blob in "$BULLA_HOME"/images/blobs/sha256/*; do
        cp "$blob" "$1/blobs/sha256:${blob##*/}"
    done
    cp "$1/blobs/$DIGEST" "$1/manifests/$DIGEST"
    echo "$DIGEST" > "$1/manifests/v1.digest"
    : > "$1/manifests/v1"
}

forge_setup_file() {
    umask 022
    # A sanitizer's run-time must not mind a preloaded library (faketime).
    export ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}verify_asan_link_order=0
    export WWW=$BATS_FILE_TMPDIR/www BASE=$BATS_FILE_TMPDIR/base FILE_SERVER_PID REGISTRY_HOST REGISTRY_CA DIGEST
    mkdir -p "$WWW/v2"
    # Certificates of last month: a clock set back must not already fail at TLS.
    faketime -f -30d bulla-registry init "$BATS_FILE_TMPDIR/good" --listen 127.0.0.1:0 > /dev/null
    bulla-registry init "$BATS_FILE_TMPDIR/bad" --listen 127.0.0.1:0 > /dev/null
    REGISTRY_CA=$BATS_FILE_TMPDIR/good/ca.crt
    forge_server_start
    bulla_environment "$BATS_FILE_TMPDIR/home"
    make_image app:v1 one > /dev/null
    DIGEST=$(command bulla images --json | jq -r '.images[0].digest')
    mkdir -p "$BASE/_trust/tuf"
    forge_serve_image "$BASE"
    TUF=$BASE/_trust/tuf
    local name
    for name in root targets snapshot timestamp; do
        printf '{"%s":{"id":"%s","key":%s}}\n' "$name" "$(forge id "seed:$name")" "$(forge key "seed:$name")"
    done | jq -s add > "$BATS_FILE_TMPDIR/keys.json"
    sign_root 1
    release 1
    cp "$TUF/1.root.json" "$BATS_FILE_TMPDIR/root.json"
}

forge_teardown_file() {
    kill -TERM "$FILE_SERVER_PID" 2> /dev/null || true
}

forge_setup() {
    REPO=t$BATS_TEST_NUMBER
    REF=$REGISTRY_HOST/$REPO:v1
    TUF=$WWW/v2/$REPO/_trust/tuf
    cp -r "$BASE" "$WWW/v2/$REPO"
    bulla_environment "$BATS_TEST_TMPDIR/home"
    export BULLA_POLICY=$BATS_TEST_TMPDIR/policy.json ACCEPTED=''
    export REGISTRY_AUTH_FILE=$BATS_TEST_TMPDIR/auth.json
    forge_policy ''
}

forge_teardown() {
    kill -USR1 "$FILE_SERVER_PID"
}

# body TYPE VERSION LIFETIME MEMBERS: what is signed.
body() {
    jq -cn --arg type "$1" --argjson version "$2" --arg expires "$(date_in "$3")" \
        --arg issued "$(date_in 0)" --slurpfile keys "$BATS_FILE_TMPDIR/keys.json" "
        {_type: \$type, spec_version: \"1.0.34\", version: \$version, expires: \$expires,
         \"x-bulla-collection\": \"acme/app\"} + $4"
}

# sign FILE FILTER DEFAULT-KEY [KEY…] < BODY
sign() {
    local keys=("${@:4}")
    jq -c "$2" | forge sign "${keys[@]:-$3}" > "$1.new" && mv "$1.new" "$1"
}

sign_root() {
    # shellcheck disable=SC2016 # jq's own variable
    body root "$1" 31536000 '{consistent_snapshot: true,
        keys: ($keys[0] | map({(.id): .key}) | add),
        roles: ($keys[0] | map_values({keyids: [.id], threshold: 1}))}' |
        sign "$TUF/$1.root.json" "${2:-.}" seed:root "${@:3}"
}

sign_role() { # ROLE N [FILTER [KEY…]]
    local length
    length=$(stat -c %s "$BASE/manifests/$DIGEST")
    body targets "$2" 2592000 "{\"x-bulla-role\": \"$1\", targets: {v1: {length: $length,
        hashes: {sha256: \"${DIGEST#sha256:}\"},
        custom: {mediaType: \"application/vnd.oci.image.manifest.v1+json\"}}}}" |
        sign "$TUF/$2.$1.json" "${3:-.}" "seed:$1" "${@:4}"
}

sign_targets() { sign_role targets "$@"; }

# meta FILE: its entry in a snapshot or timestamp.
meta() {
    local name=${1##*/}
    printf '{"%s":{"version":%s,"length":%s,"hashes":{"sha256":"%s"}}}' "${name#*.}" "${name%%.*}" \
        "$(stat -c %s "$1")" "$(sha256sum < "$1" | cut -d ' ' -f 1)"
}

# newest ROLE: the file with the highest version.
newest() {
    local files=("$TUF"/*."$1.json")
    printf '%s\n' "${files[@]}" | sort -V | tail -n 1
}

sign_snapshot() {
    local role metas=''
    for role in $(find "$TUF" -name '*.*.json' -printf '%f\n' | sed 's/^[0-9]*\.//; s/\.json$//' | sort -u); do
        [[ $role == root || $role == snapshot ]] || metas+=$(meta "$(newest "$role")")
    done
    body snapshot "$1" 2592000 "{meta: $(jq -cs add <<< "$metas")}" |
        sign "$TUF/$1.snapshot.json" "${2:-.}" seed:snapshot "${@:3}"
}

sign_timestamp() {
    body timestamp "$1" 86400 "{\"x-bulla-issued\": \$issued, meta: ($(meta "$(newest snapshot)") |
        with_entries(.key = \"snapshot.json\"))}" |
        sign "$TUF/timestamp.json" "${2:-.}" seed:timestamp "${@:3}"
}

release() { # N [FILTER]
    sign_targets "$1" "${2:-.}"
    sign_snapshot "$1"
    sign_timestamp "$1"
}

delegate() { # ROLE PATTERN [KEY [terminating]]
    local key=${3:-seed:$1} id
    id=$(forge id "$key")
    printf '.delegations.keys["%s"] = %s | .delegations.roles += [{name: "%s", keyids: ["%s"], threshold: 1,
        terminating: %s, paths: ["%s"]}]' "$id" "$(forge key "$key")" "$1" "$id" "${4:-false}" "$2"
}

root_key() { # ROLE NAME…
    local name filter=".roles[\"$1\"].keyids = []"
    for name in "${@:2}"; do
        filter+=" | .keys[\"$(forge id "seed:$name")\"] = $(forge key "seed:$name")"
        filter+=" | .roles[\"$1\"].keyids += [\"$(forge id "seed:$name")\"]"
    done
    echo "$filter"
}

# Everything a verdict rests on, and every image file.
state() {
    local except name
    except=(-name lock -o -name '*.lock')
    for name in $ACCEPTED; do except+=(-o -name "$name"); done
    (cd "$BULLA_HOME" && find . -type f ! \( "${except[@]}" \) ! -path '*/tmp/*' -exec sha256sum {} + | sort -k 2)
}

refused() { # STATUS PATTERN COMMAND…
    local before after
    mkdir -p "$BULLA_HOME"
    before=$(state)
    run "${@:3}"
    expect "$1" "$2"
    if grep -q 'is not signed in' <<< "$output" || grep -q '^valid' <<< "$output"; then
        echo "said 'not signed' or 'valid': $output" >&2
        return 1
    fi
    after=$(state)
    if ! diff <(echo "$before") <(echo "$after"); then
        echo "the state changed" >&2
        return 1
    fi
}

good_again() { # N
    release "$1"
    run bulla verify "$REF"
    expect 0 '^valid'
    grep -q "$DIGEST" <<< "$output"
}
