# Quotas per prefix: counted as things come and go, checked before, while and after bytes come in.

setup_file() {
    load ../support/registry
    registry_init "$BATS_FILE_TMPDIR/r"
    cat >> "$BATS_FILE_TMPDIR/r/registry.yaml" << 'EOF'
quotas:
  - prefix: small
    bytes: 10k
  - prefix: few
    repositories: 2
  - prefix: both/in
    bytes: 1m
EOF
    sed -i 's/^  lease: .*/  lease: 1s/' "$BATS_FILE_TMPDIR/r/registry.yaml"
    registry_start "$BATS_FILE_TMPDIR/r"
    export REGISTRY_HOST
}

teardown_file() {
    load ../support/registry
    registry_stop
}

setup() {
    load ../support/registry
    cd "$BATS_TEST_TMPDIR" || return
}

used() { # PREFIX
    sqlite3 -cmd '.timeout 10000' "$REGISTRY_DIR/data/index.db" "SELECT bytes || ' ' || repositories FROM usage WHERE prefix = '$1'"
}

# What the counters must say: summed from everything that is there.
summed() { # PREFIX
    sqlite3 -cmd '.timeout 10000' "$REGISTRY_DIR/data/index.db" "WITH r AS (SELECT id FROM repository WHERE '$1' = '' OR name = '$1' OR name LIKE '$1/%')
        SELECT (coalesce((SELECT sum(b.size) FROM link l JOIN blob b USING(digest) WHERE l.repository IN r), 0)
        + coalesce((SELECT sum(size) FROM manifest WHERE repository IN r), 0)) || ' ' || (SELECT count(*) FROM r)"
}

post() { # REPOSITORY FILE
    registry_curl -X POST --data-binary "@$2" "/v2/$1/blobs/uploads/?digest=$(digest_of "$2")"
}

@test "a blob over the quota is refused before it is received, and says how much is used" {
    head -c 6000 /dev/urandom > a
    head -c 6000 /dev/urandom > b
    push_blob small/one a
    run post small/one b
    [[ $output == *'"DENIED"'* && $output == *"the quota of 'small' is 10240 bytes, 6000 are used"* ]]
    [[ $output == *'"used":6000'* && $output == *'"limit":10240'* ]]
    [[ $(registry_status -X POST --data-binary @b "/v2/small/two/blobs/uploads/?digest=$(digest_of b)") == 403 ]]
    [[ -z $(ls "$REGISTRY_DIR/data/uploads") ]]
    # What is there already takes nothing; another prefix is not this one.
    push_blob small/one a
    push_blob smaller/one b
    [[ $(used small) == "6000 1" && $(used small) == "$(summed small)" ]]
}

@test "without a length it ends where the room ends, and a session is refused when there is none" {
    head -c 30000 /dev/urandom > big
    run registry_curl -w '%{http_code}' -X POST -H 'Transfer-Encoding: chunked' --data-binary @big \
        "/v2/small/three/blobs/uploads/?digest=$(digest_of big)"
    [[ $output == *DENIED*403 ]]
    url=$(registry_curl -o /dev/null -D - -X POST /v2/small/three/blobs/uploads/ | sed -n 's/^location: \(.*\)\r$/\1/Ip')
    [[ $(registry_status -X PATCH --data-binary @big "$url") == 403 ]]
    head -c 4200 /dev/urandom > rest
    push_blob small/three rest
    [[ $(used small) == "10200 2" ]]
    printf 'x%.0s' $(seq 41) > over
    [[ $(registry_status -X POST --data-binary @over "/v2/small/three/blobs/uploads/?digest=$(digest_of over)") == 403 ]]
    printf 'x%.0s' $(seq 40) > fits
    push_blob small/three fits
    [[ $(registry_status -X POST /v2/small/three/blobs/uploads/) == 403 ]]
    [[ $(used small) == "$(summed small)" ]]
}

@test "mounts and manifests count, deleting gives room back" {
    head -c 1040000 /dev/urandom > layer
    digest=$(push_blob elsewhere/app layer)
    printf '{}' > config
    push_blob both/in/app config
    [[ $(registry_status -X POST "/v2/both/in/app/blobs/uploads/?mount=$digest&from=elsewhere/app") == 201 ]]
    run registry_curl -X POST "/v2/both/in/other/blobs/uploads/?mount=$digest&from=elsewhere/app"
    [[ $output == *"the quota of 'both/in'"* ]]
    # 8,574 bytes are left; the manifest needs more.
    image_manifest "$(digest_of config)" 2 "$digest" 1040000 > manifest
    printf '%*s' 9000 '' >> manifest
    run registry_curl -w '%{http_code}' -X PUT -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' \
        --data-binary @manifest /v2/both/in/app/manifests/v1
    [[ $output == *DENIED*403 ]]
    [[ $(used both) == "1040002 1" && $(used both/in) == "$(summed both/in)" && $(used '') == "$(summed '')" ]]
    [[ $(registry_status -X DELETE "/v2/both/in/app/blobs/$digest") == 202 ]]
    [[ $(used both/in) == "2 1" ]]
    [[ $(registry_status -X POST "/v2/both/in/other/blobs/uploads/?mount=$digest&from=elsewhere/app") == 201 ]]
    # A refused manifest leaves nothing behind for long.
    sleep 2.1
    bulla-registry gc --config "$REGISTRY_DIR/registry.yaml" > /dev/null
    hex=$(sha256sum < manifest)
    [[ ! -e $REGISTRY_DIR/data/blobs/sha256/${hex:0:2}/${hex%% *} ]]
}

@test "only so many repositories are made" {
    printf x > x
    push_blob few/one x
    push_blob few/two/deep x
    run post few/three x
    [[ $output == *"the quota of 'few' is 2 repositories, 2 are used"* ]]
    printf y > y
    push_blob few/one y
    [[ $(used few) == "4 2" || $(used few) == "3 2" ]]
    [[ $(used few) == "$(summed few)" ]]
}

@test "many at once never get over it" {
    for i in $(seq 8); do head -c 200000 /dev/urandom > "f$i"; done
    for i in $(seq 8); do
        registry_status -X POST --data-binary "@f$i" "/v2/both/in/race$i/blobs/uploads/?digest=$(digest_of "f$i")" > "code$i" &
    done
    wait
    read -r bytes _ <<< "$(used both/in)"
    ((bytes <= 1048576))
    [[ $(used both/in) == "$(summed both/in)" ]]
    [[ $(cat code* | sort -u | tr '\n' ' ') == *201* ]]
}
