#!/usr/bin/env bats
# Every way to fail at every place of the workflow: root N+1, timestamp, snapshot, targets, a delegated role, the
# manifest. A failure is never a missing signature: "could not determine", or a refusal where the registry itself
# gave a bad answer.
load ../support/bulla
load ../support/forge

setup_file() { forge_setup_file; }
teardown_file() { forge_teardown_file; }
setup() {
    forge_setup
    sign_role releases 1
    release 2 ".targets = {} | $(delegate releases 'v*')"
    # What was verified before the failure may be there.
    ACCEPTED='root.json 1.json timestamp.json snapshot.json targets.json releases.json last-success'
}
teardown() { forge_teardown; }

# The places, in the order of the workflow. There is no root 2: a failure there is one all the same.
# shellcheck disable=SC2153 # forge.bash sets DIGEST
places() {
    printf '%s\n' "$TUF/2.root.json" "$TUF/timestamp.json" "$TUF/2.snapshot.json" "$TUF/2.targets.json" \
        "$TUF/1.releases.json" "$WWW/v2/$REPO/manifests/$DIGEST"
}

# no_answer STATUS PATTERN PLACE COMMAND…: for who knows nothing yet; names the place when it fails.
no_answer() {
    rm -rf "$BULLA_HOME"
    refused "$1" "$2" "${@:4}" || { echo "at ${3##*/}" >&2; return 1; }
    [[ ! -d $BULLA_HOME/images ]] || [[ -z $(command bulla images --json | jq -r '.images[]') ]]
}

still_good() {
    rm -rf "$BULLA_HOME"
    run bulla pull "$REF"
    expect 0 '^pulled'
}

@test "every place: status 404, 500, 403, 401" { # what is tried again first, 429 and 503, is in mirror.bats
    while read -r place; do
        for answer in 404:3 500:3 403:1 401:1; do
            # No further root is no failure.
            [[ $answer != 404:3 || $place != */2.root.json ]] || continue
            echo "${answer%:*}" > "$place.status"
            no_answer "${answer#*:}" "status ${answer%:*}|no trust metadata|denies access|bulla login" "$place" \
                bulla pull "$REF"
            rm "$place.status"
        done
    done < <(places)
    still_good
}

@test "every place: a redirect, to another host or to this one, is not followed" {
    while read -r place; do
        cp "$TUF/1.root.json" "$WWW/v2/elsewhere" # whatever: nobody asks for it
        for host in "localhost:${REGISTRY_HOST##*:}" "$REGISTRY_HOST"; do
            echo 307 > "$place.status"
            echo "https://$host/v2/elsewhere" > "$place.location"
            no_answer 3 'redirect' "$place" bulla pull "$REF"
            rm "$place.status" "$place.location"
        done
    done < <(places)
    run ! grep -q elsewhere "$WWW/requests"
    still_good
}

@test "every place: a certificate of somebody else" {
    while read -r place; do
        touch "$place.badtls"
        no_answer 3 'certificate' "$place" bulla pull "$REF"
        rm "$place.badtls"
        kill -USR1 "$FILE_SERVER_PID"
    done < <(places)
    still_good
}

@test "every place: endless data" {
    while read -r place; do
        [[ -e $place ]] || cp "$TUF/1.root.json" "$place"
        touch "$place.endless"
        no_answer 1 'larger|more than|longer|limit' "$place" timeout 30 "$(type -P bulla)" --cacert "$REGISTRY_CA" pull "$REF"
        rm "$place.endless"
        rm -f "$TUF/2.root.json"
    done < <(places)
    still_good
}

@test "every place: what is no metadata at all" {
    while read -r place; do
        [[ ! -e $place ]] || cp "$place" "$BATS_TEST_TMPDIR/good"
        for text in '<html>maintenance</html>' '' '{"signed":{},"signatures":[]}'; do
            printf '%s' "$text" > "$place"
            no_answer 1 '' "$place" bulla pull "$REF"
        done
        rm "$place"
        [[ $place == */2.root.json ]] || cp "$BATS_TEST_TMPDIR/good" "$place"
    done < <(places)
    still_good
}

@test "every place: an answer that stalls" {
    # All at once; their clocks run forty times as fast: 30 seconds of patience are less than one.
    local n=0 place name
    while read -r place; do
        n=$((n + 1)) name=$REPO-$n
        cp -r "$WWW/v2/$REPO" "$WWW/v2/$name"
        place=$WWW/v2/$name/${place#"$WWW/v2/$REPO/"}
        [[ -e $place ]] || cp "$TUF/1.root.json" "$place"
        touch "$place.stall"
        jq --arg scope "$REGISTRY_HOST/$name" '.scopes |= with_entries(.key = $scope)' "$BULLA_POLICY" \
            > "$BATS_TEST_TMPDIR/$n.policy"
        (
            status=0
            BULLA_HOME=$BATS_TEST_TMPDIR/$n.home BULLA_POLICY=$BATS_TEST_TMPDIR/$n.policy timeout 60 \
                faketime -f '+0 x40' bulla --cacert "$REGISTRY_CA" pull "$REGISTRY_HOST/$name:v1" \
                > "$BATS_TEST_TMPDIR/$n.out" 2>&1 || status=$?
            echo "status $status" >> "$BATS_TEST_TMPDIR/$n.out"
        ) 3>&- &
    done < <(places)
    wait
    for ((; n > 0; n--)); do
        run cat "$BATS_TEST_TMPDIR/$n.out"
        expect 0 '^status 3$'
        expect 0 'slow|too little|time'
        [[ $output != *"not signed"* ]]
        rm -rf "$WWW/v2/$REPO-$n"
    done
}

@test "every place, with something stored: silence leaves what is known, a bad answer refuses" {
    bulla pull "$REF"
    # Root and timestamp: nobody answers, or somebody who is not the registry.
    for place in "$TUF/2.root.json" "$TUF/timestamp.json"; do
        echo 500 > "$place.status"
        run bulla verify "$REF"
        expect 0 'status 500'
        expect 0 'cached'
        rm "$place.status"
        touch "$place.badtls"
        run bulla verify "$REF"
        expect 0 'cached'
        rm "$place.badtls"
        kill -USR1 "$FILE_SERVER_PID"
        printf x > "$BATS_TEST_TMPDIR/x"
        [[ ! -e $place ]] || cp "$place" "$BATS_TEST_TMPDIR/x.good"
        cp "$BATS_TEST_TMPDIR/x" "$place"
        refused 1 '' bulla verify "$REF"
        rm "$place"
        [[ ! -e $BATS_TEST_TMPDIR/x.good ]] || cp "$BATS_TEST_TMPDIR/x.good" "$place"
    done
    # Snapshot, targets, the delegated role: something newer is announced and not to be had.
    sign_role releases 3
    release 3 ".targets = {} | $(delegate releases 'v*')"
    for place in "$TUF/3.snapshot.json" "$TUF/3.targets.json" "$TUF/3.releases.json"; do
        for answer in 404:3 500:3 403:1 307:3; do
            echo "${answer%:*}" > "$place.status"
            refused "${answer#*:}" "status ${answer%:*}|denies access|redirect" bulla verify "$REF"
            refused 125 "status ${answer%:*}|denies access|redirect" bulla run "$REF"
            rm "$place.status"
        done
        touch "$place.badtls"
        refused 3 'certificate' bulla verify "$REF"
        rm "$place.badtls"
        kill -USR1 "$FILE_SERVER_PID"
    done
    run bulla verify "$REF"
    expect 0 '^valid'
}
