#!/usr/bin/env bats
# Attacks on a real registry: by users with few rights, and by whoever owns its index but not its signing service.
load ../support/bulla

setup_file() { bulla_setup_file; }
teardown_file() { bulla_teardown_file; }
setup() {
    bulla_setup
    TRUST=/v2/acme/app/_trust/tuf
}

# What the index was like once; nothing else (blobs, the signing service's memory) goes back.
index_save() { sqlite3 -cmd '.timeout 10000' "$REGISTRY_DIR/data/index.db" ".backup '$BATS_TEST_TMPDIR/index'"; }
index_restore() {
    bulla_registry_stop
    rm -f "$REGISTRY_DIR"/data/index.db*
    cp "$BATS_TEST_TMPDIR/index" "$REGISTRY_DIR/data/index.db"
    bulla_registry_start
}

# current ROLE [REPOSITORY]: the file in force.
current() {
    local file
    file=$(mktemp "$BATS_TEST_TMPDIR/current.XXXXXX")
    sql "select writefile('$file', data) from trust_file join repository on repository.id = trust_file.repository
        where role = '$1' and current = 1 and name = '${2:-acme/app}'" > /dev/null
    cat "$file"
}

# post [CURL OPTION…] ROLE FILE: publishes it; prints status and answer.
post() {
    registry_curl -w '\n%{http_code}\n' "${@:1:$#-2}" -F "files=@${*: -1};filename=${*: -2:1}" "${TRUST}/"
}

# change ROLE FILTER KEY…: the current file, changed and signed, in $BATS_TEST_TMPDIR/new.
change() {
    current "$1" | jq -c ".signed | .version += 1 | $2" | forge sign "${@:3}" > "$BATS_TEST_TMPDIR/new"
    echo "$BATS_TEST_TMPDIR/new"
}

versions() {
    sql "select role, version from trust_file where current = 1 order by repository, role"
}

# rejected CODE PATTERN COMMAND…: the registry says no and publishes nothing.
rejected() {
    local before
    before=$(versions)
    run "${@:3}"
    expect 0 "$2"
    [[ ${lines[-1]} == "$1" ]] || { echo "status ${lines[-1]}: $output" >&2; return 1; }
    [[ $(versions) == "$before" ]]
}

still_good() {
    run bulla verify "$REF"
    expect 0 '^valid'
    make_image app:again "again $RANDOM" > /dev/null
    bulla push store:app:again "$REGISTRY_HOST/acme/app:again" > /dev/null
    run bulla sign "$REGISTRY_HOST/acme/app:again" --key targets
    expect 0 '^signed'
}

@test "first root of a repository squatted" {
    registry_user squatter
    registry_grant squatter 'team/*' pull,push,sign
    as_squatter() { REGISTRY_USER=squatter REGISTRY_PASSWORD=squatter-password "$@"; }
    export REGISTRY_AUTH_FILE=$BATS_TEST_TMPDIR/squatter.json
    bulla login "$REGISTRY_HOST" --username squatter --password-stdin <<< squatter-password
    bulla push store:app:v1 "$REGISTRY_HOST/team/app:v1"
    run bulla trust init "$REGISTRY_HOST/team/app" --root-key root --targets-key targets
    expect 1 "needs the right 'admin'"
    [[ $(sql "select count(*) from trust_file join repository on repository.id = repository where name = 'team/app'") == 0 ]]
    # No trace keeps the owner out.
    export REGISTRY_AUTH_FILE=$BATS_FILE_TMPDIR/auth.json
    run bulla trust init "$REGISTRY_HOST/team/app" --root-key root --targets-key targets
    expect 0
    # Nor may the squatter, who may sign, replace root or targets with keys of his own.
    TRUST=/v2/team/app/_trust/tuf
    current root team/app | jq -c '.signed | .version += 1' | forge sign seed:squatter > "$BATS_TEST_TMPDIR/root"
    REGISTRY_USER=squatter REGISTRY_PASSWORD=squatter-password rejected 400 'bad-signature|BAD-SIGNATURE|signatures' \
        post root "$BATS_TEST_TMPDIR/root"
}

@test "no right to sign, no credentials" {
    registry_user reader
    registry_grant reader 'acme/*' pull,push
    new=$(change targets . targets)
    REGISTRY_USER=reader REGISTRY_PASSWORD=reader-password rejected 403 denied post targets "$new"
    REGISTRY_PASSWORD=wrong rejected 401 unauthorized post targets "$new"
    still_good
}

@test "publication by an unlisted key, below threshold, signed twice by one key" {
    rejected 400 'signatures are valid' post targets "$(change targets . seed:thief)"
    rejected 400 'signatures are valid' post targets "$(change targets . root)"
    rejected 400 'signatures are valid' post root "$(change root . targets)"
    # A root that wants two targets keys comes with targets that have two.
    second=$(forge id seed:second)
    change root ".keys[\"$second\"] = $(forge key seed:second) | .roles.targets.keyids += [\"$second\"] |
        .roles.targets.threshold = 2" root > /dev/null
    mv "$BATS_TEST_TMPDIR/new" "$BATS_TEST_TMPDIR/root2"
    change targets . targets > /dev/null
    rejected 400 'signatures are valid' post -F "files=@$BATS_TEST_TMPDIR/root2;filename=root" targets "$BATS_TEST_TMPDIR/new"
    change targets . targets targets > /dev/null
    rejected 400 'two signatures by key' post -F "files=@$BATS_TEST_TMPDIR/root2;filename=root" targets "$BATS_TEST_TMPDIR/new"
    still_good
}

@test "publication with a hundred thousand signatures, or a role's weight of them" {
    for n in 100000 50000; do
        change targets . targets > /dev/null
        jq -c --argjson n "$n" '.signatures = [.signatures[0] as $s | range($n) | {sig: "", keyid: ("\(100000 + .)" + "0" * 58)}]' \
            "$BATS_TEST_TMPDIR/new" > "$BATS_TEST_TMPDIR/many"
        run post targets "$BATS_TEST_TMPDIR/many"
        [[ ${lines[-1]} == 4?? && $output == *"at most"* ]] || { echo "$output"; false; }
    done
    still_good
}

@test "fewer than threshold root keys stolen: nothing is published by them" {
    second=$(forge id seed:second)
    both=".keys[\"$second\"] = $(forge key seed:second) | .roles.root.keyids += [\"$second\"] | .roles.root.threshold = 2"
    change root "$both" root seed:second > /dev/null
    run post root "$BATS_TEST_TMPDIR/new"
    [[ ${lines[-1]} == 200 ]] || { echo "$output"; false; }
    mine=".keys[\"$(forge id seed:thief)\"] = $(forge key seed:thief) | .roles.targets.keyids = [\"$(forge id seed:thief)\"]"
    old="current root's keys: 1 of 2 needed signatures"
    rejected 400 "$old" post root "$(change root . root)"
    rejected 400 "$old" post root "$(change root '.roles.root.threshold = 1' root)"
    rejected 400 "$old" post root "$(change root "$mine" seed:second seed:thief targets)"
    rejected 400 'two signatures by key' post root "$(change root . root root)"
    # With targets of the thief's own.
    change root "$mine | .roles.root.threshold = 1" root > /dev/null
    mv "$BATS_TEST_TMPDIR/new" "$BATS_TEST_TMPDIR/root2"
    change targets . seed:thief > /dev/null
    rejected 400 "$old" post -F "files=@$BATS_TEST_TMPDIR/root2;filename=root" targets "$BATS_TEST_TMPDIR/new"
    change root '.roles.root.keyids = [.roles.root.keyids[0]] | .roles.root.threshold = 1' root seed:second > /dev/null
    run post root "$BATS_TEST_TMPDIR/new"
    [[ ${lines[-1]} == 200 ]] || { echo "$output"; false; }
    still_good
}

@test "publication of old, skipped, expired, foreign or misnamed metadata" {
    current targets > "$BATS_TEST_TMPDIR/old"
    still_good
    rejected 409 'version' post targets "$BATS_TEST_TMPDIR/old"
    rejected 409 'version' post targets "$(change targets '.version += 1' targets)"
    rejected 409 'version' post targets "$(change targets '.version = 9007199254740991' targets)"
    rejected 400 'expired' post targets "$(change targets '.expires = "2020-01-01T00:00:00Z"' targets)"
    rejected 400 'collection' post targets "$(change targets '."x-bulla-collection" = "acme/other"' targets)"
    rejected 400 'collection' post targets "$(change targets 'del(."x-bulla-collection")' targets)"
    rejected 400 'role' post targets "$(change targets '."x-bulla-role" = "releases"' targets)"
    rejected 400 'not a manifest of this repository' post targets \
        "$(change targets '.targets.v1.hashes.sha256 = "'"$(printf %064d 3)"'"' targets)"
    rejected 400 'bytes' post targets "$(change targets '.targets.v9 = (.targets.v1 | .length += 1)' targets)"
    # Snapshot and timestamp belong to the service alone.
    for role in snapshot timestamp; do
        current "$role" > "$BATS_TEST_TMPDIR/$role"
        rejected 400 "signed by the registry's own service" post "$role" "$BATS_TEST_TMPDIR/$role"
    done
    # All or nothing.
    good=$(change targets . targets)
    change root . seed:thief > /dev/null
    mv "$BATS_TEST_TMPDIR/new" "$BATS_TEST_TMPDIR/bad"
    change targets . targets > /dev/null
    rejected 400 'signatures' post -F "files=@$BATS_TEST_TMPDIR/bad;filename=root" targets "$good"
    still_good
}

@test "two collections with one key: targets of one are not the other's" {
    bulla push store:app:v1 "$REGISTRY_HOST/acme/twin:v1"
    bulla trust init "$REGISTRY_HOST/acme/twin" --root-key root --targets-key targets
    run bulla sign "$REGISTRY_HOST/acme/twin:v1" --key targets
    expect 0 '^signed'
    current targets acme/twin | jq -c ".signed | .version = $(current targets | jq .signed.version) + 1" |
        forge sign targets > "$BATS_TEST_TMPDIR/twin"
    rejected 400 "collection" post targets "$BATS_TEST_TMPDIR/twin"
    # The registry's owner swaps the files in the index: clients see it.
    index_save
    sql "update trust_file set data = (select data from trust_file join repository on id = repository
        where name = 'acme/twin' and role = 'timestamp' and current = 1) where role = 'timestamp' and current = 1
        and repository = (select id from repository where name = 'acme/app')"
    run bulla verify "$REF"
    expect 1 'timestamp'
    index_restore
    still_good
}

@test "DELETE of a signed digest" {
    digest=$(bulla verify "$REF" --json 2> /dev/null | jq -r .digest)
    [[ $(registry_status -X DELETE "/v2/acme/app/manifests/$digest") == 40[39] ]]
    run registry_curl -X DELETE "/v2/acme/app/manifests/$digest"
    expect 0 'revoke'
    layer=$(registry_curl "/v2/acme/app/manifests/$digest" | jq -r '.layers[0].digest')
    [[ $(registry_status -X DELETE "/v2/acme/app/blobs/$layer") != 202 ]]
    [[ $(registry_status -X DELETE /v2/acme/app/manifests/v1) == 403 ]]
    # What nobody signed can go.
    make_image app:loose loose > /dev/null
    loose=$(bulla push store:app:loose "$REGISTRY_HOST/acme/app:loose" --json | jq -r .digest)
    [[ $(registry_status -X DELETE "/v2/acme/app/manifests/$loose") == 202 ]]
    BULLA_HOME=$BATS_TEST_TMPDIR/other run bulla pull "$REF"
    expect 0 '^pulled'
    still_good
}

@test "GC and retention of a signed digest" {
    digest=$(bulla verify "$REF" --json 2> /dev/null | jq -r .digest)
    layer=$(registry_curl "/v2/acme/app/manifests/$digest" | jq -r '.layers[0].digest')
    # No tag names it any more, a rule says that such manifests go, and nothing is kept for a pusher.
    make_image app:moved moved > /dev/null
    bulla push store:app:moved "$REF" > /dev/null
    make_image app:loose "loose $RANDOM" > /dev/null
    loose=$(bulla push store:app:loose "$REGISTRY_HOST/acme/app:loose" --json | jq -r .digest)
    registry_curl -X DELETE /v2/acme/app/manifests/loose > /dev/null
    strict=$REGISTRY_DIR/strict.yaml
    cp "$REGISTRY_DIR/registry.yaml" "$strict"
    sed -i 's/^  lease: .*/  lease: 1s/' "$strict"
    printf 'retention:\n  - repository: "*"\n    deleteUntagged: 0s\n' >> "$strict"
    sleep 2
    for _ in 1 2; do
        run bulla-registry retention run --config "$strict"
        expect 0
        [[ $output != *"$digest"* ]]
        run bulla-registry gc --config "$strict"
        expect 0
    done
    [[ -e $(blob_file "$digest") && -e $(blob_file "$layer") ]]
    [[ $(registry_status "/v2/acme/app/manifests/$loose") == 404 && ! -e $(blob_file "$loose") ]]
    BULLA_HOME=$BATS_TEST_TMPDIR/other run bulla pull "$REF"
    expect 0 '^pulled'
    BULLA_HOME=$BATS_TEST_TMPDIR/home
    bulla push store:app:v1 "$REF" > /dev/null
    still_good
}

@test "registry tag moved" {
    digest=$(bulla verify "$REF" --json 2> /dev/null | jq -r .digest)
    make_image app:evil evil > /dev/null
    # Whoever may push may move a tag: that is all.
    bulla push store:app:evil "$REF" > /dev/null
    run bulla verify "$REF"
    expect 0 'points elsewhere'
    grep -q "^digest     $digest" <<< "$output"
    if ((EUID == 0)); then
        BULLA_HOME=$BATS_TEST_TMPDIR/other run bulla run "$REF"
        expect 0 '^one$'
    fi
    bulla push store:app:v1 "$REF" > /dev/null
}

@test "rollback by whoever owns the index: known versions protect" {
    digest=$(bulla verify "$REF" --json 2> /dev/null | jq -r .digest)
    old=$(sql "select quote(data) from trust_file where role = 'timestamp' and current = 1 and repository =
        (select id from repository where name = 'acme/app')")
    still_good
    new=$(sql "select quote(data) from trust_file where role = 'timestamp' and current = 1 and repository =
        (select id from repository where name = 'acme/app')")
    put() {
        sql "update trust_file set data = $1 where role = 'timestamp' and current = 1 and repository =
            (select id from repository where name = 'acme/app')"
    }
    put "$old"
    run bulla verify "$REF"
    expect 1 'timestamp was rolled back'
    run bulla sign "$REGISTRY_HOST/acme/app:v2@$digest" --key targets
    expect 1 'timestamp was rolled back'
    put "$new"
    still_good
}

@test "a taken-over registry cannot make the signing service sign what role holders did not" {
    index_save
    bulla_registry_stop
    # Root and targets of a thief in the index; the service remembers what it signed.
    for role in root targets; do
        current "$role" | jq -c ".signed | .keys = {\"$(forge id seed:thief)\": $(forge key seed:thief)} |
            if ._type == \"root\" then .roles[].keyids = [\"$(forge id seed:thief)\"] else del(.keys) end" |
            forge sign seed:thief > "$BATS_TEST_TMPDIR/$role"
        sql "update trust_file set data = readfile('$BATS_TEST_TMPDIR/$role') where role = '$role' and current = 1
            and repository = (select id from repository where name = 'acme/app')"
    done
    bulla_registry_start
    rejected 400 'signatures are valid' post targets "$(change targets . seed:thief)"
    # Who knows the collection, and who only has its root, see that the files are not what was signed.
    BULLA_HOME=$BATS_TEST_TMPDIR/other run bulla verify "$REF"
    expect 1 "role 'targets': .*(sha256|length|bytes)|root: 0 of [0-9]+ needed"
    index_restore
    still_good
}

@test "a restored registry resynchronises from the signing service" {
    index_save
    still_good
    version=$(current targets | jq .signed.version)
    index_restore
    # It has before it answers: nobody sees a rollback.
    run bulla verify "$REF"
    expect 0 '^valid'
    (($(current targets | jq .signed.version) == version))
    # A machine that knows nothing signs on top of that.
    rm -rf "$BULLA_HOME/trust/state"
    make_image app:fresh "fresh $RANDOM" > /dev/null
    bulla push store:app:fresh "$REGISTRY_HOST/acme/app:fresh" > /dev/null
    run bulla sign "$REGISTRY_HOST/acme/app:fresh" --key targets
    expect 0 '^signed'
    (($(current targets | jq .signed.version) == version + 1))
    # Two files of one version never are: those who knew version N still follow.
    BULLA_HOME=$BATS_FILE_TMPDIR/home run bulla verify "$REF"
    expect 0 '^valid'
}

# refuses_to_sign: and publishes nothing, while what is published stays good.
refuses_to_sign() {
    local known
    known=$(versions)
    make_image "app:fork" "fork $RANDOM" > /dev/null
    bulla push store:app:fork "$REGISTRY_HOST/acme/app:fork" > /dev/null
    run bulla sign "$REGISTRY_HOST/acme/app:fork" --key targets
    expect 3 'signing service was restored'
    diff <(echo "$known") <(versions)
    run bulla verify "$REF"
    expect 0 '^valid'
}

signer() { bulla-signer "$@" --config "$REGISTRY_DIR/registry.yaml"; }
shown() { signer state --json | jq ".collections[] | select(.collection == \"acme/app\").shown.$1"; }

@test "a restored signing service does not sign a version twice" {
    bulla_registry_stop
    cp -a "$REGISTRY_DIR/signer" "$BATS_TEST_TMPDIR/signer"
    bulla_registry_start
    still_good
    bulla_registry_stop
    # All of its folder, as a copy of the disk would have it: the registry proves that it is old.
    rm -rf "$REGISTRY_DIR/signer"
    cp -a "$BATS_TEST_TMPDIR/signer" "$REGISTRY_DIR/signer"
    bulla_registry_start
    refuses_to_sign
    run signer state
    expect 0 'in doubt: the registry holds snapshot'
    run signer resume acme/app --snapshot-version 1 --timestamp-version 1
    expect 3 'cannot be lower'
    # More than the registry has: it is older than what was published, too.
    run signer resume acme/app --snapshot-version "$(($(shown snapshot) + 1))" --timestamp-version 999
    expect 0 'waits for the registry'
    run bulla sign "$REGISTRY_HOST/acme/app:fork" --key targets
    expect 3 'were stated, the registry holds'
    run signer resume acme/app --snapshot-version "$(shown snapshot)" --timestamp-version "$(shown timestamp)"
    expect 0 'waits for the registry'
    still_good
    run signer resume acme/app --snapshot-version 999 --timestamp-version 999
    expect 3 'in no doubt'
}

# The lines of the section in docs/operations.md, with this test's names; N: the one to run.
documented() {
    sed -n '/^## The signing service/,/^## Limits/s/^    \(bulla-signer .*\)/\1/p' \
        "$BATS_TEST_DIRNAME/../../docs/operations.md" | sed -n "$1p" |
        sed "s|/srv/bulla/|$REGISTRY_DIR/|; s|/srv/|$BATS_TEST_TMPDIR/|
            s|-version 12 |-version $(shown snapshot) |; s|-version 40 |-version $(shown timestamp) |"
}

@test "a backup of the signing service, put into place, signs nothing before its admin has spoken" {
    run eval "$(documented 1)"
    expect 0 'copied to'
    run eval "$(documented 1)"
    expect 3 'exists'
    still_good
    run eval "$(documented 2)"
    expect 3 'stop it first'
    bulla_registry_stop
    run eval "$(documented 2)"
    expect 3 'move it away'
    rm -f "$REGISTRY_DIR"/signer/signer.db* "$REGISTRY_DIR/signer/last-signed"
    run eval "$(documented 2)"
    expect 0 'signs nothing until'
    bulla_registry_start
    [[ $(registry_curl /readyz) == *'"signer":"restored"'* ]]
    refuses_to_sign
    run eval "$(documented 3)"
    expect 0 'in doubt: the database is a copy'
    run eval "$(documented 4)"
    expect 0 'waits for the registry'
    still_good
    run eval "$(documented 5)"
    expect 0 'signer: [0-9]+ records, 1 to [0-9]+ unbroken; head [0-9a-f]{64}$'
    run eval "$(documented 6)"
    for event in key.make sign memory.doubt refuse memory.state memory.adopt memory.settle; do
        expect 0 "\"event\":\"$event\",\"result\":"
    done
    run signer resume --all # the other collections: nothing newer of them is known
    expect 0 'are signed for again, 0 wait'
    run eval "$(documented 7)"
    expect 0 '^bulla_signer_doubted 0$'
    expect 0 '^bulla_signer_refused_total.reason="stale". [1-9]'
    [[ -z $(documented 8) ]]
    registry_curl /metrics > "$BATS_TEST_TMPDIR/metrics"
    grep -q '^bulla_signer_signatures_total{role="snapshot"} [1-9]' "$BATS_TEST_TMPDIR/metrics"
    for word in '--all --snapshot-version 1' 'acme/app' 'acme/app --snapshot-version 0 --timestamp-version 1' ''; do
        # shellcheck disable=SC2086 # words
        run signer resume $word
        expect 2 ''
    done
}

@test "a ban is lifted by root keys only" {
    change targets ".\"x-bulla-banned\" = [\"sha256:$(printf %064d 4)\"]" targets > /dev/null
    run post targets "$BATS_TEST_TMPDIR/new"
    [[ ${lines[-1]} == 200 ]]
    rejected 400 'lifts the ban on' post targets "$(change targets 'del(."x-bulla-banned")' targets)"
    rejected 400 'lifts the ban on' post targets \
        "$(change targets ".\"x-bulla-banned\" = [\"sha256:$(printf %064d 5)\"]" targets)"
    change targets 'del(."x-bulla-banned")' targets root > /dev/null
    run post targets "$BATS_TEST_TMPDIR/new"
    [[ ${lines[-1]} == 200 ]]
    still_good
}
