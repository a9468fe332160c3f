#!/usr/bin/env bats
# The mirror endpoint over HTTP: proofs signed in one repository (or registry), taken by another.
load ../support/bulla

setup_file() {
    bulla_setup_file
    export BASE=$BATS_FILE_TMPDIR
    bulla pull "$REGISTRY_HOST/acme/app:v1" > /dev/null
    registry_curl /v2/acme/app/_trust/tuf/1.root.json > "$BASE/registry/acme.root.json"
    printf '%s\n' 'mirrors:' '  - repository: "copies/*"' '    collection: "acme/*"' '    root: acme.root.json' \
        >> "$BASE/registry/registry.yaml"
    bulla-registry config check --config "$BASE/registry/registry.yaml"
    bulla_registry_restart
}
teardown_file() { bulla_teardown_file; }
setup() {
    bulla_setup
    cd "$BATS_TEST_TMPDIR" || return
    HERE=/v2/copies/app/_trust
}

# fetch FOLDER [REPOSITORY]: all metadata in force, by the names it is served under.
fetch() {
    local tuf=/v2/${2:-acme/app}/_trust/tuf role n
    mkdir -p "$1"
    for ((n = 1; ; n++)); do
        registry_curl -f "$tuf/$n.root.json" > "$1/$n.root.json" 2> /dev/null || break
    done
    rm "$1/$n.root.json"
    registry_curl -f "$tuf/timestamp.json" > "$1/timestamp.json"
    n=$(jq '.signed.meta["snapshot.json"].version' "$1/timestamp.json")
    registry_curl -f "$tuf/$n.snapshot.json" > "$1/$n.snapshot.json"
    while read -r role n; do
        registry_curl -f "$tuf/$n.$role.json" > "$1/$n.$role.json"
    done < <(jq -r '.signed.meta | to_entries[] | "\(.key[:-5]) \(.value.version)"' "$1/$n.snapshot.json")
}

# post FOLDER [CURL-OPTION…]: status and body.
post() {
    local parts=() file
    for file in "$1"/*; do parts+=(-F "files=@$file;filename=${file##*/}"); done
    registry_curl -w '\n%{http_code}\n' "${parts[@]}" "${@:2}" "$HERE/mirror"
}

policy_for_copies() {
    jq -n --arg scope "$REGISTRY_HOST/copies" --arg root "$BASE/registry/acme.root.json" '
        {version: 1, scopes: {($scope): {collection: "acme/", root: {file: $root}}}}' > "$BULLA_POLICY"
}

@test "a complete set is taken, served byte for byte, and verified under its own name" {
    export BULLA_POLICY=$BATS_TEST_TMPDIR/policy.json
    policy_for_copies
    [[ $(registry_curl "$HERE/mirror" | jq -c .) == '{"collection":"acme/app","mirrored":false}' ]]
    run bulla verify "$REGISTRY_HOST/copies/app:v1"
    expect 3
    fetch set
    run post set
    [[ $output == *'"changed":true'*'"missing":1'*200 ]]
    for file in set/*; do registry_curl "$HERE/tuf/${file##*/}" | cmp - "$file"; done
    run post set
    [[ $output == *'"changed":false'*200 ]]
    [[ $(registry_curl "$HERE/mirror" | jq -c .) == '{"collection":"acme/app","mirrored":true}' ]]
    run bulla verify "$REGISTRY_HOST/copies/app:v1"
    expect 0 '^collection acme/app'
}

@test "a mirror is signed nowhere else: publishing, keys, renewing" {
    fetch set
    post set
    run registry_curl -w '\n%{http_code}\n' -F "files=@set/1.root.json;filename=root" "$HERE/tuf/"
    [[ $output == *"mirror of collection 'acme/app'"*409 ]]
    [[ $(registry_status "$HERE/tuf/snapshot.key") == 409 ]]
    [[ $(registry_status -X POST "$HERE/tuf/snapshot.key") == 409 ]]
    run bulla trust init "$REGISTRY_HOST/copies/app" --root-key root --targets-key targets
    expect 3 'trust metadata already'
    [[ $(sql "SELECT count(*) FROM trust_timestamp t JOIN repository r ON r.id = t.repository
        WHERE r.name = 'copies/app'") == 0 ]]
}

@test "what is signed here cannot become a mirror, what is not configured neither" {
    fetch set
    printf '%s\n' '  - repository: acme/app' '    root: acme.root.json' >> "$REGISTRY_DIR/registry.yaml"
    bulla_registry_restart
    HERE=/v2/acme/app/_trust
    run post set
    [[ $output == *'a collection of its own'*409 ]]
    HERE=/v2/else/app/_trust
    run post set
    [[ $output == *"'mirrors' in registry.yaml"*404 ]]
    [[ $(registry_curl "$HERE/mirror" | jq -c .) == '{"mirrored":false}' ]]
}

@test "only who administers the repository may mirror into it" {
    fetch set
    registry_user clerk
    registry_grant clerk copies/app pull,push,sign
    run post set -u clerk:clerk-password
    [[ $output == *403 ]]
    [[ $(registry_status -u clerk:clerk-password "$HERE/mirror") == 403 ]]
    registry_grant clerk copies/app admin
    run post set -u clerk:clerk-password
    [[ $output == *200 ]]
}

@test "malformed forms, and sets with something missing or too much, change nothing" {
    fetch set
    post set
    before=$(registry_curl "$HERE/tuf/timestamp.json" | sha256sum)
    bulla trust renew "$REGISTRY_HOST/acme/app" targets --key targets
    fetch new
    for change in 'rm timestamp.json' 'rm *.targets.json' 'rm *.snapshot.json' 'cp 1.root.json 9.releases.json' \
        'mv 1.root.json root.json' 'echo x >> timestamp.json' 'sed -i s/acme/evil/ *.targets.json' \
        'echo x > 2.root.json'; do
        rm -rf broken
        cp -r new broken
        (cd broken && eval "$change")
        run post broken
        [[ $output =~ (400|409)$ ]]
        [[ $(registry_curl "$HERE/tuf/timestamp.json" | sha256sum) == "$before" ]]
    done
    run post new -F 'files=@new/1.root.json;filename=../1.root.json'
    [[ $output == *400 ]]
    run post new
    [[ $output == *'"changed":true'*200 ]]
    run post set
    [[ $output == *rollback*409 ]]
    head -c 31457281 /dev/zero > large
    [[ $(registry_status -F 'files=@large;filename=1.root.json' "$HERE/mirror") == 413 ]]
    [[ $(registry_status -X POST "$HERE/mirror") == 400 ]]
}

@test "a signed digest of a mirror is neither deleted nor collected" {
    fetch set
    digest=$(registry_curl /v2/acme/app/manifests/v1 | sha256sum | cut -d ' ' -f 1)
    bulla push "store:$REGISTRY_HOST/acme/app:v1" "$REGISTRY_HOST/copies/app:v1"
    run post set
    [[ $output == *'"missing":0'* ]]
    [[ $(registry_status -X DELETE "/v2/copies/app/manifests/sha256:$digest") == 403 ]]
    [[ $(registry_status -X DELETE /v2/copies/app/manifests/v1) == 403 ]]
}
