# What the conformance tests share: callers, requests, images. `load ../support/conformance`.
#   conformance_setup_file      in setup_file: a registry, user tester, grants for each caller's folder
#   conformance_setup           in setup: a folder of its own
#   each_caller FUNCTION        runs it as every kind of caller in CALLERS (default: basic and anonymous; there is
#                               bearer, too, which does what clients do with a challenge); sets CALLER, REPO and
#                               OTHER (repositories)
#   request METHOD PATH [CURL OPTION…]    sets STATUS; headers in ./headers, body in ./body
#   want STATUS…                the last request's
#   header NAME                 its value in the last answer
#   error_code                  the first error's code in the last answer
#   sum ALGORITHM FILE          its digest
#   upload FILE [ALGORITHM]     POST and PUT; prints the digest
#   put_manifest FILE REFERENCE [TYPE [CURL OPTION…]]
#   resident                    the most memory the registry had so far, in KiB
#   grew_less_than KIB BEFORE   since then; sanitizers keep what was freed, so not under them
#   make_image [ARCHITECTURE]   pushes config and two layers; prints nothing, leaves ./manifest
. "$BATS_TEST_DIRNAME/../support/registry.bash"

OCI=application/vnd.oci.image
MANIFEST=$OCI.manifest.v1+json
INDEX=$OCI.index.v1+json
EMPTY=application/vnd.oci.empty.v1+json
MISSING=sha256:$(printf '%064d' 404)
export OCI MANIFEST INDEX EMPTY MISSING

conformance_setup_file() {
    registry_start "$BATS_FILE_TMPDIR/r"
    registry_user tester
    registry_grant tester 'basic/*' pull,push,delete
    registry_grant tester 'bearer/*' pull,push,delete
    registry_grant anonymous 'anonymous/*' pull,push,delete
}

conformance_setup() {
    cd "$BATS_TEST_TMPDIR" || return
}

each_caller() {
    for CALLER in ${CALLERS:-basic anonymous}; do
        REPO=$CALLER/test$BATS_TEST_NUMBER
        OTHER=$CALLER/other$BATS_TEST_NUMBER
        mkdir "$BATS_TEST_TMPDIR/$CALLER"
        cd "$BATS_TEST_TMPDIR/$CALLER" || return
        echo "as $CALLER:"
        "$1"
    done
}

# token: for what the last answer's challenge asks for
token() {
    local challenge realm service scopes=() scope
    challenge=$(header www-authenticate)
    realm=$(sed -n 's/^Bearer realm="\([^"]*\)".*/\1/p' <<< "$challenge")
    service=$(sed -n 's/.*service="\([^"]*\)".*/\1/p' <<< "$challenge")
    for scope in $(sed -n 's/.*scope="\([^"]*\)".*/\1/p' <<< "$challenge"); do
        scopes+=(--data-urlencode "scope=$scope")
    done
    curl -sS --cacert "$REGISTRY_CA" -u tester:tester-password -G "$realm" --data-urlencode "service=$service" "${scopes[@]}" |
        jq -r .token
}

send() {
    STATUS=$(curl -sS --cacert "$REGISTRY_CA" --path-as-is -D headers -w '%{http_code}' "$@")
}

request() {
    local path=$2 how=(-X "$1" -o body)
    LAST="$1 $2"
    # curl takes a HEAD's headers for its output.
    [[ $1 == HEAD ]] && how=(--head -o /dev/null)
    shift 2
    : > body
    [[ $CALLER == basic ]] && how+=(-u tester:tester-password)
    # One token for each repository and kind of request, as clients keep them; mounts want two scopes.
    local have=${path%%\?*}
    have=${LAST%% *}${have%/*}
    have=$BATS_TEST_TMPDIR/token.${have//\//.}
    [[ $path == *mount=* ]] && have+=.mount
    if [[ $CALLER == bearer && -e $have ]]; then
        send "${how[@]}" -H "@$have" "$@" "https://$REGISTRY_HOST$path"
    else
        send "${how[@]}" "$@" "https://$REGISTRY_HOST$path"
    fi
    if [[ $CALLER == bearer && $STATUS == 401 ]]; then
        echo "Authorization: Bearer $(token)" > "$have"
        send "${how[@]}" -H "@$have" "$@" "https://$REGISTRY_HOST$path"
    fi
}

want() {
    local status
    for status in "$@"; do
        [[ $STATUS == "$status" ]] && return
    done
    printf '%s: expected %s, got %s\n' "$LAST" "$*" "$STATUS" >&2
    cat headers >&2
    head -c 1000 body >&2
    return 1
}

header() {
    sed -n "s/^$1: \(.*\)\r$/\1/Ip" headers
}

error_code() {
    jq -r '.errors[0].code' body
}

resident() {
    awk '/^VmHWM/ {print $2}' "/proc/$REGISTRY_PID/status"
}

grew_less_than() {
    local now
    now=$(resident)
    echo "$2 KiB before, $now KiB after"
    grep -q libasan "/proc/$REGISTRY_PID/maps" || ((now - $2 < $1))
}

sum() {
    echo "$1:$("${1}sum" < "$2" | cut -d ' ' -f 1)"
}

size() {
    stat -c %s "$1"
}

OCTETS=(-H 'Content-Type: application/octet-stream')

# begin: a new session in REPO; its URL is in LOCATION
begin() {
    request POST "/v2/${1:-$REPO}/blobs/uploads/" -H 'Content-Length: 0'
    want 202
    LOCATION=$(header location)
    [[ $LOCATION == /v2/* ]]
}

upload() { # FILE [ALGORITHM [REPOSITORY]]
    local digest
    digest=$(sum "${2:-sha256}" "$1")
    begin "${3:-$REPO}"
    request PUT "$LOCATION?digest=$digest" "${OCTETS[@]}" --data-binary "@$1"
    want 201
    echo "$digest"
}

put_manifest() {
    request PUT "/v2/$REPO/manifests/$2" -H "Content-Type: ${3:-$MANIFEST}" "${@:4}" --data-binary "@$1"
}

# descriptor TYPE FILE [ALGORITHM [MORE]]: as JSON; MORE begins with a comma.
descriptor() {
    printf '{"mediaType":"%s","digest":"%s","size":%s%s}' "$1" "$(sum "${3:-sha256}" "$2")" \
        "$(size "$2")" "${4:-}"
}

# image_of CONFIG-DESCRIPTOR LAYERS [MORE]
image_of() {
    printf '{"schemaVersion":2,"mediaType":"%s","config":%s,"layers":[%s]%s}' "$MANIFEST" "$1" "$2" "${3:-}"
}

index_of() { # ENTRIES [MORE]
    printf '{"schemaVersion":2,"mediaType":"%s","manifests":[%s]%s}' "$INDEX" "$1" "${2:-}"
}

make_image() { # [ARCHITECTURE [ALGORITHM [MORE]]]
    local algorithm=${2:-sha256}
    printf '{"architecture":"%s","os":"linux","rootfs":{"type":"layers","diff_ids":[]},"x":"%s"}' \
        "${1:-amd64}" "$RANDOM$RANDOM" > config
    head -c 700 /dev/urandom > layer1
    head -c 900 /dev/urandom > layer2
    upload config "$algorithm" > /dev/null
    upload layer1 "$algorithm" > /dev/null
    upload layer2 "$algorithm" > /dev/null
    image_of "$(descriptor "$OCI.config.v1+json" config "$algorithm")" \
        "$(descriptor "$OCI.layer.v1.tar+gzip" layer1 "$algorithm"),$(descriptor "$OCI.layer.v1.tar+gzip" layer2 "$algorithm")" \
        "${3:-}" > manifest
}

# make_artifact TYPE [MORE]: an artifact without layers, {} as its config; leaves ./artifact
make_artifact() {
    printf '{}' > braces
    upload braces > /dev/null
    image_of "$(descriptor "$EMPTY" braces)" "$(descriptor "$EMPTY" braces)" \
        ",\"artifactType\":\"$1\"${2:-}" > artifact
}

# served FILE REFERENCE [TYPE [ALGORITHM]]: GET and HEAD give the very bytes, with type, length and digest.
served() {
    local method digest
    digest=$(sum "${4:-sha256}" "$1")
    for method in GET HEAD; do
        request "$method" "/v2/$REPO/manifests/$2" -H "Accept: $INDEX" -H "Accept: $MANIFEST"
        want 200
        [[ $(header content-type) == "${3:-$MANIFEST}" ]]
        [[ $(header content-length) == "$(size "$1")" ]]
        [[ $(header docker-content-digest) == "$digest" ]]
        [[ $method == HEAD ]] || cmp "$1" body
    done
}

# blob_served FILE [ALGORITHM [REPOSITORY]]
blob_served() {
    local method digest
    digest=$(sum "${2:-sha256}" "$1")
    for method in GET HEAD; do
        request "$method" "/v2/${3:-$REPO}/blobs/$digest"
        want 200
        [[ $(header content-length) == "$(size "$1")" ]]
        [[ $(header docker-content-digest) == "$digest" ]]
        [[ $method == HEAD ]] || cmp "$1" body
    done
}

# A sanitizer's or an assertion's report in the registry's log is a failure of the file's last test.
conformance_teardown_file() {
    registry_stop
    ! grep -E 'Sanitizer|runtime error|Assertion' "$REGISTRY_DIR/log"
}
