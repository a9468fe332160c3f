# OCI distribution-spec 1.1.1, category "Content Discovery", as each kind of caller, over TLS.

setup_file() {
    load ../support/conformance
    conformance_setup_file
}

teardown_file() {
    load ../support/conformance
    conformance_teardown_file
}

setup() {
    load ../support/conformance
    conformance_setup
    CALLERS='bearer anonymous'
}

# tag NAME…: all of them on one small manifest
tag() {
    index_of '' > tagged
    local query=("$@")
    request PUT "/v2/$REPO/manifests/$(sum sha256 tagged)?$(printf 'tag=%s&' "${query[@]}")" \
        -H "Content-Type: $INDEX" --data-binary @tagged
    want 201
}

# tags [QUERY]: the answer's list, as one line
tags() {
    request GET "/v2/$REPO/tags/list${1:-}"
    want 200
    [[ $(header content-type) == application/json && $(jq -r .name body) == "$REPO" ]]
    jq -r '.tags | join(" ")' body
}

next() {
    sed -n 's/^link: <\(.*\)>; rel="next"\r$/\1/Ip' headers
}

no_tags() {
    request GET "/v2/$REPO/tags/list"
    want 404
    [[ $(error_code) == NAME_UNKNOWN ]]
    echo x > x
    upload x
    # It exists now, and has none.
    [[ $(tags) == '' ]]
    [[ $(jq -c .tags body) == '[]' ]]
}
@test "tags of what does not exist, and of what has none (end-8a)" { each_caller no_tags; }

sorted() {
    tag v10 v9 b B _x 1 a Z latest v1.0 v1-0
    [[ $(tags) == "$(printf '%s\n' v10 v9 b B _x 1 a Z latest v1.0 v1-0 | LC_ALL=C sort | paste -sd' ')" ]]
    [[ -z $(next) ]]
}
@test "tags come in the order of their bytes" { each_caller sorted; }

pages() {
    tag a b c d e
    [[ $(tags '?n=2') == 'a b' ]]
    [[ $(next) == "/v2/$REPO/tags/list?n=2&last=b" ]]
    request GET "$(next)"
    [[ $(jq -c .tags body) == '["c","d"]' ]]
    request GET "$(next)"
    [[ $(jq -c .tags body) == '["e"]' && -z $(next) ]]
    [[ $(tags '?n=5') == 'a b c d e' && -z $(next) ]]
    [[ $(tags '?n=99') == 'a b c d e' && -z $(next) ]]
    [[ $(tags '?n=4') == 'a b c d' && -n $(next) ]]
    # n=0 is a list without names, and without a next page.
    [[ $(tags '?n=0') == '' && -z $(next) ]]
    [[ $(tags '?n=0&last=a') == '' && -z $(next) ]]
    # last alone, a name that is not there, the last of all, behind all.
    [[ $(tags '?last=b') == 'c d e' ]]
    [[ $(tags '?last=bb') == 'c d e' ]]
    [[ $(tags '?last=e') == '' && -z $(next) ]]
    [[ $(tags '?n=1&last=zzz') == '' && -z $(next) ]]
    [[ $(tags '?last=') == 'a b c d e' ]]
    [[ $(tags '?n=2&last=%62') == 'c d' ]]
    # A deleted name still says where to go on.
    request DELETE "/v2/$REPO/manifests/b"
    want 202
    [[ $(tags '?n=2&last=b') == 'c d' ]]
    # What is no number of names.
    local n
    for n in -1 abc 1.5 1e3 0x10 %201 %2B1 99999999999999999999999 "$(printf '%0500d' 1)" '1&n=2' '1%00'; do
        request GET "/v2/$REPO/tags/list?n=$n"
        want 400
    done
    [[ $(tags '?n=9999999999') == 'a c d e' ]]
    [[ $(tags '?n=18446744073709551615') == 'a c d e' ]]
}
@test "n, last and Link (end-8b)" { each_caller pages; }

many_tags() {
    local i n=0 pages=0 url
    for ((i = 0; i < 1216; i += 64)); do
        # shellcheck disable=SC2046
        tag $(seq -f 't%05g' "$i" $((i + 63)))
    done
    url="/v2/$REPO/tags/list?n=99999999"
    while [[ -n $url ]]; do
        request GET "$url"
        want 200
        n=$((n + $(jq '.tags | length' body)))
        pages=$((pages + 1))
        [[ $(size body) -lt 100000 ]]
        url=$(next)
    done
    [[ $n == 1216 && $pages == 2 ]]
}
@test "a page has its limit, whatever n says, and Link leads to the rest" { each_caller many_tags; }

# referrers DIGEST [QUERY]
referrers() {
    request GET "/v2/$REPO/referrers/$1${2:-}"
    want 200
    [[ $(header content-type) == "$INDEX" ]]
    jq -e --arg type "$INDEX" '.schemaVersion == 2 and .mediaType == $type and (.manifests | type == "array")' body > /dev/null
}

no_referrers() {
    referrers "$MISSING"
    [[ $(jq -c .manifests body) == '[]' && -z $(next) ]]
    referrers "sha512:$(printf '%0128d' 1)"
    [[ $(jq -c .manifests body) == '[]' ]]
    echo x > x
    upload x
    referrers "$MISSING"
    referrers "$(sum sha256 x)"
    [[ $(jq -c .manifests body) == '[]' ]]
    referrers "$MISSING" '?artifactType=a/b'
    [[ $(header oci-filters-applied) == artifactType && $(jq -c .manifests body) == '[]' ]]
    request GET "/v2/$REPO/referrers/sha256:bad"
    want 400
    request GET "/v2/$REPO/referrers/latest"
    want 400
}
@test "nothing refers: an empty index, never 404 (end-12a)" { each_caller no_referrers; }

# attach FILE TYPE: pushed by digest; ./wanted gets the descriptor that the list must show.
attach() {
    put_manifest "$1" "$(sum sha256 "$1")" "$2"
    want 201
    [[ $(header oci-subject) == "$(jq -r .subject.digest "$1")" ]]
    jq -c --arg digest "$(sum sha256 "$1")" --arg type "$2" --argjson size "$(size "$1")" \
        '{mediaType: $type, digest: $digest, size: $size} +
         (if .artifactType then {artifactType} elif .config then {artifactType: .config.mediaType} else {} end) +
         (if .annotations then {annotations} else {} end)' "$1" >> wanted
}

refers() {
    local subject digest about
    make_image
    put_manifest manifest v1
    want 201
    digest=$(sum sha256 manifest)
    subject=",\"subject\":$(descriptor "$MANIFEST" manifest)"
    about=',"annotations":{"org.example":"h\u00e9llo \"quoted\"","a":""}'
    # An image, two artifacts, an index with and without a type.
    image_of "$(descriptor "$OCI.config.v1+json" config)" "$(descriptor "$OCI.layer.v1.tar" layer1)" "$subject" > r
    attach r "$MANIFEST"
    make_artifact application/vnd.one "$subject$about"
    attach artifact "$MANIFEST"
    make_artifact application/vnd.two+json "$subject"
    attach artifact "$MANIFEST"
    index_of '' "$subject$about" > r
    attach r "$INDEX"
    index_of '' "$subject,\"artifactType\":\"application/vnd.one\"" > r
    attach r "$INDEX"
    # Others, which do not refer to it.
    make_artifact application/vnd.one ",\"subject\":{\"mediaType\":\"$MANIFEST\",\"digest\":\"$MISSING\",\"size\":5}"
    put_manifest artifact else
    index_of "$(descriptor "$MANIFEST" manifest)" > r
    put_manifest r index "$INDEX"
    referrers "$digest"
    [[ -z $(header oci-filters-applied) ]]
    diff <(jq -cS '.manifests | sort_by(.digest)[]' body) <(jq -csS 'sort_by(.digest)[]' wanted)
    referrers "$digest" '?artifactType=application/vnd.one'
    [[ $(header oci-filters-applied) == artifactType ]]
    diff <(jq -cS '.manifests | sort_by(.digest)[]' body) \
        <(jq -csS 'map(select(.artifactType == "application/vnd.one")) | sort_by(.digest)[]' wanted)
    # Escaped or not, a plus is a plus.
    for type in application/vnd.two+json application%2Fvnd.two%2Bjson; do
        referrers "$digest" "?artifactType=$type"
        [[ $(jq -r '.manifests[].artifactType' body) == application/vnd.two+json ]]
    done
    # By the type of the configuration, where there is no other.
    referrers "$digest" "?artifactType=$OCI.config.v1%2Bjson"
    [[ $(jq '.manifests | length' body) == 1 ]]
    referrers "$digest" '?artifactType=application/none'
    [[ $(jq -c .manifests body) == '[]' && $(header oci-filters-applied) == artifactType ]]
    # Another repository knows nothing of it.
    REPO=$OTHER referrers "$digest"
    [[ $(jq -c .manifests body) == '[]' ]]
    # The second push of the same changes nothing; a deleted one is gone at once.
    put_manifest r again "$INDEX"
    put_manifest artifact again
    referrers "$digest"
    [[ $(jq '.manifests | length' body) == 5 ]]
    request DELETE "/v2/$REPO/manifests/$(head -n 1 wanted | jq -r .digest)"
    want 202
    referrers "$digest"
    [[ $(jq '.manifests | length' body) == 4 ]]
    # They stay when what they refer to goes.
    request DELETE "/v2/$REPO/manifests/$digest"
    want 202
    referrers "$digest"
    [[ $(jq '.manifests | length' body) == 4 ]]
}
@test "what refers to a manifest, with types and annotations; filters (end-12b)" { each_caller refers; }

early_referrers() {
    make_image
    local digest
    digest=$(sum sha512 manifest)
    make_artifact application/x ",\"subject\":$(descriptor "$MANIFEST" manifest sha512)"
    attach artifact "$MANIFEST"
    referrers "$digest"
    [[ $(jq -r '.manifests[].digest' body) == "$(sum sha256 artifact)" ]]
    put_manifest manifest "$digest"
    want 201
    # A referrer that is itself named by its sha512.
    make_artifact application/y ",\"subject\":$(descriptor "$MANIFEST" manifest sha512)"
    put_manifest artifact "$(sum sha512 artifact)"
    want 201
    referrers "$digest"
    [[ $(jq -r '.manifests[].digest' body | cut -d : -f 1 | sort | paste -sd' ') == 'sha256 sha512' ]]
}
@test "referrers that were here first, and sha512" { each_caller early_referrers; }

# What clients of registries without this API leave behind: an index under a tag of the digest's name.
fallback_tags() {
    make_image
    put_manifest manifest v1
    local digest tag
    digest=$(sum sha256 manifest)
    tag=${digest/:/-}
    make_artifact application/x ",\"subject\":$(descriptor "$MANIFEST" manifest)"
    put_manifest artifact "$(sum sha256 artifact)"
    want 201
    index_of "$(descriptor "$MANIFEST" artifact sha256 ',"artifactType":"application/x"')" > list
    put_manifest list "$tag" "$INDEX"
    want 201
    served list "$tag" "$INDEX"
    # Once, not twice; and the list itself refers to nothing.
    referrers "$digest"
    [[ $(jq -r '.manifests[].digest' body) == "$(sum sha256 artifact)" ]]
    # The list loses its tag when the client cleans up; the referrer stays one.
    request DELETE "/v2/$REPO/manifests/$tag"
    want 202
    referrers "$digest"
    [[ $(jq '.manifests | length' body) == 1 ]]
    # Signatures under a tag, as cosign names them.
    make_artifact application/sig
    put_manifest artifact "$tag.sig"
    want 201
    served artifact "$tag.sig"
    # sha512: cut to what a tag can hold.
    digest=$(sum sha512 manifest)
    index_of '' > list
    put_manifest list "$(head -c 71 <<< "${digest/:/-}")" "$INDEX"
    want 201
}
@test "referrers' tags of older clients feed the list" { each_caller fallback_tags; }

@test "twenty thousand referrers come in pages, and cost little memory" {
    CALLER=basic REPO=basic/crowd
    make_artifact application/x ",\"subject\":{\"mediaType\":\"$MANIFEST\",\"digest\":\"$MISSING\",\"size\":5}"
    put_manifest artifact v1
    want 201
    sqlite3 "$REGISTRY_DIR/data/index.db" ".timeout 5000" "
        INSERT INTO manifest(repository, digest, media_type, size, subject, artifact_type, annotations, pushed_s)
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
        SELECT m.repository, printf('sha256:%064x', i), m.media_type, 7, m.subject, printf('application/t%d', i % 2),
            json_object('n', printf('%0200d', i)), m.pushed_s
        FROM n, manifest m WHERE m.subject = '$MISSING'"
    before=$(resident)
    for query in '' '?artifactType=application/t1' '?artifactType=application/none'; do
        url="/v2/$REPO/referrers/$MISSING$query"
        : > digests
        while [[ -n $url ]]; do
            request GET "$url"
            want 200
            [[ $(size body) -lt 2000000 ]]
            [[ -z $query || $(header oci-filters-applied) == artifactType ]]
            jq -r '.manifests[].digest' body >> digests
            url=$(next)
        done
        sort -u digests | cmp - <(sort digests)
        case $query in
            '') [[ $(wc -l < digests) == 20001 ]] ;;
            *t1) [[ $(wc -l < digests) == 10000 ]] ;;
            *) [[ ! -s digests ]] ;;
        esac
    done
    grew_less_than 16384 "$before"
}

catalogue() {
    REPO=$CALLER/list-a tag x
    REPO=$CALLER/list-b tag x
    request GET '/v2/_catalog?n=1'
    want 200
    [[ $(jq -r '.repositories | length' body) == 1 && $(next) == "/v2/_catalog?n=1&last=$(jq -r '.repositories[0]' body)" ]]
    request GET "/v2/_catalog?last=$CALLER/list-"
    jq -e --arg a "$CALLER/list-a" --arg b "$CALLER/list-b" '.repositories | index($a) >= 0 and index($b) >= 0' body
    # Only what this caller may see.
    jq -e --arg caller "$CALLER/" '.repositories | all(startswith($caller))' body
    local n
    for n in -1 abc 99999999999999999999999 '1&n=1'; do
        request GET "/v2/_catalog?n=$n"
        want 400
    done
    request GET '/v2/_catalog?n=18446744073709551615'
    want 200
}
@test "the catalogue, in pages" { each_caller catalogue; }
