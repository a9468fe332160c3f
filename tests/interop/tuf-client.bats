#!/usr/bin/env bats
# The command line that TUF conformance suites drive, against a plain HTTP/1.0 server of files: exit statuses,
# exact requests, exact files.
bats_require_minimum_version 1.5.0

setup() {
    W=$BATS_TEST_TMPDIR
    LOG=$W/log
    META=$W/client/metadata
    TARGETS=$W/client/targets
    SERVED=$W/served
    BEFORE=() # a command that the client is started through
    mkdir -p "$W/client"
    : > "$LOG"
}

teardown() {
    [[ -z ${SERVER_PID:-} ]] || kill "$SERVER_PID" 2> /dev/null || true
}

# repository STEP…: its states below $SERVED, served; one state's URL is $URL/STATE/.
repository() {
    toy-repo "$SERVED" "$@"
    : > "$W/out" # what an earlier server said; the new one may be late
    # bats waits for everything that holds its descriptor 3.
    static-http "$SERVED" "$LOG" > "$W/out" 3>&- &
    SERVER_PID=$!
    local i
    for ((i = 0; i < 200; i++)); do
        grep -q listening "$W/out" && break
        sleep 0.05
    done
    URL=http://$(sed -n 's/^listening on //p' "$W/out")
}

# Every command of the front ends with 0 or 1, nothing else.
client() {
    local status=0
    "${BEFORE[@]}" bulla-tuf-client "$@" 2> "$W/stderr" || status=$?
    if ((status > 1)); then
        printf 'bulla-tuf-client ended with %s: %s\n' "$status" "$(cat "$W/stderr")" >&2
        exit 1
    fi
    return "$status"
}

init() { # STATE
    client --metadata-dir "$META" init "$SERVED/$1/metadata/1.root.json"
}

refresh() { # STATE
    : > "$LOG"
    client --metadata-url "$URL/$1/metadata/" --metadata-dir "$META" refresh
}

download() { # STATE TARGET…
    local state=$1 names=() name
    shift
    for name in "$@"; do names+=(--target-name "$name"); done
    : > "$LOG"
    client --metadata-url "$URL/$state/metadata/" --metadata-dir "$META" "${names[@]}" \
        --target-dir "$TARGETS" --target-base-url "$URL/$state/targets/" download
}

refused() { # PATTERN COMMAND…: ends with 1 and says why
    local pattern=$1 status=0
    shift
    "$@" || status=$?
    if ((status != 1)) || ! grep -Eq -- "$pattern" "$W/stderr"; then
        printf 'expected 1 and /%s/, got %s and: %s\n' "$pattern" "$status" "$(cat "$W/stderr")" >&2
        return 1
    fi
}

requests() { # PATH…: what was asked for, in this order, and nothing else
    diff "$LOG" <(for path in "$@"; do echo "/$path"; done) >&2
}

holds() { # FILE=SERVED-FILE…: the trusted metadata, byte for byte, and nothing else that ends in .json
    local pair
    for pair in "$@"; do
        cmp "$META/${pair%%=*}" "$SERVED/${pair#*=}" || return
    done
    diff <(find "$META" -maxdepth 1 -name '*.json' -printf '%f\n' | sort) \
        <(printf '%s\n' "${@%%=*}" | sort) >&2
}

digest() {
    printf %s "$1" | sha256sum | cut -d ' ' -f 1
}

@test "init and two refreshes: what is asked for, what is kept" {
    repository state 1
    init 1
    requests
    holds root.json=1/metadata/1.root.json
    refresh 1
    requests 1/metadata/{2.root.json,timestamp.json,1.snapshot.json,1.targets.json}
    local all=(root.json=1/metadata/1.root.json timestamp.json=1/metadata/timestamp.json
        snapshot.json=1/metadata/1.snapshot.json targets.json=1/metadata/1.targets.json)
    holds "${all[@]}"
    refresh 1
    requests 1/metadata/{2.root.json,timestamp.json}
    holds "${all[@]}"
}

@test "a metadata URL without a closing slash, and with encoded characters, is used as it is" {
    repository state 1
    mv "$SERVED/1" "$SERVED/test%5Ba%20b%5D"
    client --metadata-dir "$META" init "$SERVED/test%5Ba%20b%5D/metadata/1.root.json"
    client --metadata-dir "$META" --metadata-url "$URL/test%5Ba%20b%5D/metadata" refresh
    requests test%5Ba%20b%5D/metadata/{2.root.json,timestamp.json,1.snapshot.json,1.targets.json}
}

@test "only what is new is asked for; every new root in turn" {
    repository state 1 bump targets state 2 bump root state 3 rotate targets state 4
    init 1
    refresh 1
    refresh 2
    requests 2/metadata/{2.root.json,timestamp.json,2.snapshot.json,2.targets.json}
    holds root.json=1/metadata/1.root.json timestamp.json=2/metadata/timestamp.json \
        snapshot.json=2/metadata/2.snapshot.json targets.json=2/metadata/2.targets.json
    refresh 4
    requests 4/metadata/{2.root.json,3.root.json,4.root.json,timestamp.json,4.snapshot.json,2.targets.json}
    holds root.json=4/metadata/3.root.json timestamp.json=4/metadata/timestamp.json \
        snapshot.json=4/metadata/4.snapshot.json targets.json=4/metadata/2.targets.json
}

@test "a root that is none: init or refresh fails, and nothing is asked for" {
    repository state 1
    local bad
    printf '{"signed":{},"signatures":[]}' > "$W/empty.json"
    printf 'not JSON' > "$W/text.json"
    jq -c '.signatures = []' "$SERVED/1/metadata/1.root.json" > "$W/unsigned.json"
    jq -c '.signed.version = 7' "$SERVED/1/metadata/1.root.json" > "$W/changed.json"
    for bad in empty text unsigned changed; do
        refused . client --metadata-dir "$META" init "$W/$bad.json"
        refused . refresh 1
        requests
        [[ -z $(find "$META" -name '*.json') ]]
    done
    refused . client --metadata-dir "$META" init "$W/missing.json"
    # Damaged after init.
    init 1
    cp "$W/unsigned.json" "$META/root.json"
    refused . refresh 1
    requests
}

@test "wrong usage ends with 1 and asks for nothing" {
    repository state 1
    init 1
    refused usage client
    refused usage client frobnicate
    refused usage client --metadata-dir "$META" frobnicate
    refused usage client --metadata-dir "$META" init
    refused usage client --metadata-dir "$META" refresh
    refused usage client --metadata-dir "$META" --metadata-url
    refused usage client --metadata-dir "$META" --no-such-option x refresh
    refused usage client --metadata-dir "$META" --metadata-url "$URL/1/metadata/" download
    refused usage client --metadata-dir "$META" --metadata-url "$URL/1/metadata/" refresh one two
    requests
}

@test "options may come in any order, and after the command" {
    repository target targets a one state 1
    client init "$SERVED/1/metadata/1.root.json" --metadata-dir "$META"
    client download --target-base-url "$URL/1/targets" --target-name a --target-dir "$TARGETS" \
        --metadata-url "$URL/1/metadata" --metadata-dir "$META"
    [[ $(cat "$TARGETS/a") == one ]]
}

@test "download: by digest, and a present target is neither asked for nor touched" {
    repository target targets dir/a one state 1
    init 1
    download 1 dir/a
    requests 1/metadata/{2.root.json,timestamp.json,1.snapshot.json,1.targets.json} \
        "1/targets/dir/$(digest one).a"
    [[ $(find "$TARGETS" -type f | wc -l) == 1 && $(cat "$TARGETS"/*) == one ]]
    touch -d 2001-02-03 "$TARGETS"/*
    download 1 dir/a
    requests 1/metadata/{2.root.json,timestamp.json}
    [[ $(find "$TARGETS" -type f -printf '%TY\n') == 2001 ]]
    # Not as it should be: fetched again, under the same name.
    printf two > "$(find "$TARGETS" -type f)"
    download 1 dir/a
    requests 1/metadata/{2.root.json,timestamp.json} "1/targets/dir/$(digest one).a"
    [[ $(find "$TARGETS" -type f | wc -l) == 1 && $(cat "$TARGETS"/*) == one ]]
}

@test "several targets in order, until the first that fails" {
    repository target targets a one target targets b two target targets c three state 1
    init 1
    download 1 c a
    requests 1/metadata/{2.root.json,timestamp.json,1.snapshot.json,1.targets.json} \
        "1/targets/$(digest three).c" "1/targets/$(digest one).a"
    [[ $(find "$TARGETS" -type f | wc -l) == 2 ]]
    rm -r "$TARGETS"
    refused "missing" download 1 b missing a
    requests 1/metadata/{2.root.json,timestamp.json} "1/targets/$(digest two).b"
    [[ $(find "$TARGETS" -type f -printf '%f\n') == b ]]
    # Listed, but not there: an HTML page is not taken for it.
    rm "$SERVED/1/targets/$(digest one).a"
    refused . download 1 a c
    requests 1/metadata/{2.root.json,timestamp.json} "1/targets/$(digest one).a"
    [[ $(find "$TARGETS" -type f -printf '%f\n') == b ]]
}

@test "target bytes that are changed, cut or longer are refused and not kept" {
    repository target targets a one state 1
    local content
    init 1
    for content in two on onee ''; do
        printf %s "$content" > "$SERVED/1/targets/$(digest one).a"
        refused . download 1 a
        [[ -z $(find "$TARGETS" -type f) ]]
    done
}

@test "delegated roles: asked for when needed, kept, names percent-encoded" {
    repository delegate targets 'odd/ro?le #1' 'odd/*' delegate targets '../up' 'up/*' \
        target 'odd/ro?le #1' odd/x one target '../up' up/y two state 1
    init 1
    download 1 odd/x
    requests 1/metadata/{2.root.json,timestamp.json,1.snapshot.json,1.targets.json} \
        1/metadata/1.odd%2Fro%3Fle%20%231.json "1/targets/odd/$(digest one).x"
    download 1 odd/x up/y
    requests 1/metadata/{2.root.json,timestamp.json} 1/metadata/1...%2Fup.json "1/targets/up/$(digest two).y"
    # Four and two delegated ones, all inside the folder.
    [[ $(find "$META" -maxdepth 1 -name '*.json' | wc -l) == 6 ]]
    [[ -z $(find "$W/client" -name '*up*.json' -not -path "$META/*") ]]
    cmp "$(find "$META" -maxdepth 1 -name '*up*.json')" "$SERVED/1/metadata/1...%2Fup.json"
}

@test "a repository without consistent snapshots has plain names" {
    repository plain delegate targets 'a/b' 'd/*' target targets dir/x one target 'a/b' d/y two state 1 \
        bump targets state 2
    init 1
    download 1 dir/x d/y
    requests 1/metadata/{2.root.json,timestamp.json,snapshot.json,targets.json} 1/targets/dir/x \
        1/metadata/a%2Fb.json 1/targets/d/y
    refresh 2
    requests 2/metadata/{2.root.json,timestamp.json,snapshot.json,targets.json}
    local file
    for file in timestamp snapshot targets; do cmp "$META/$file.json" "$SERVED/2/metadata/$file.json"; done
    refresh 2
    requests 2/metadata/{2.root.json,timestamp.json}
}

@test "an older timestamp is refused and changes nothing" {
    repository state 1 bump targets state 2
    init 1
    refresh 2
    refused "rolled back" refresh 1
    requests 1/metadata/{2.root.json,timestamp.json}
    holds root.json=1/metadata/1.root.json timestamp.json=2/metadata/timestamp.json \
        snapshot.json=2/metadata/2.snapshot.json targets.json=2/metadata/2.targets.json
    refresh 2
}

@test "an older snapshot in the place of the new one is refused and not kept" {
    repository state 1 state 2
    init 1
    refresh 2
    cp "$SERVED/1/metadata/1.snapshot.json" "$SERVED/2/metadata/2.snapshot.json"
    rm "$META/snapshot.json"
    refused snapshot refresh 2
    [[ ! -e $META/snapshot.json ]]
}

@test "changed metadata is refused, not kept, and good metadata is taken afterwards" {
    repository state 1 bump targets state 2
    local file
    init 1
    refresh 1
    for file in timestamp.json 2.snapshot.json 2.targets.json; do
        cp "$SERVED/2/metadata/$file" "$W/good"
        sed -i 's/"expires":"20/"expires":"21/' "$SERVED/2/metadata/$file"
        refused "${file/[0-9]./}|${file%.json}|snapshot|targets|timestamp" refresh 2
        cmp "$META/targets.json" "$SERVED/1/metadata/1.targets.json"
        cp "$W/good" "$SERVED/2/metadata/$file"
    done
    refresh 2
    cmp "$META/targets.json" "$SERVED/2/metadata/2.targets.json"
}

@test "a changed root is refused, and the trusted one stays" {
    repository state 1 bump root state 2
    init 1
    sed -i 's/"expires":"20/"expires":"21/' "$SERVED/2/metadata/2.root.json"
    refused root refresh 2
    requests 2/metadata/2.root.json
    holds root.json=1/metadata/1.root.json
}

@test "expired metadata is refused, whichever role it is" {
    local role
    for role in root timestamp snapshot targets; do
        SERVED=$W/$role META=$W/client/$role
        repository state 1 expire "$role" bump "$role" state 2
        init 1
        refresh 1
        refused expired refresh 2
        kill "$SERVER_PID"
    done
}

@test "a clock moved forward: what was good has expired" {
    local program
    program=$(type -P bulla-tuf-client)
    if grep -q __asan_init "$program"; then
        ldd "$program" | grep -q libasan || skip "a static address sanitizer bears no preloaded clock"
        export ASAN_OPTIONS=$ASAN_OPTIONS:verify_asan_link_order=0
    fi
    repository state 1
    init 1
    type -P faketime > /dev/null || skip "faketime is not installed"
    BEFORE=(faketime -f +12h)
    refresh 1
    requests 1/metadata/{2.root.json,timestamp.json,1.snapshot.json,1.targets.json}
    BEFORE=(faketime -f +36h)
    refused expired refresh 1
    requests 1/metadata/2.root.json
    # Back, by more than clocks drift: what a client sees then would never expire.
    BEFORE=()
    refused clock refresh 1
}

@test "a rotated timestamp key: the old key's metadata is forgotten, the new key's taken" {
    repository state 1 rotate timestamp state 2
    init 1
    refresh 1
    # The new root, but still the old key's timestamp.
    cp "$SERVED/2/metadata/timestamp.json" "$W/good"
    cp "$SERVED/1/metadata/timestamp.json" "$SERVED/2/metadata/timestamp.json"
    refused timestamp refresh 2
    holds root.json=2/metadata/2.root.json targets.json=1/metadata/1.targets.json
    cp "$W/good" "$SERVED/2/metadata/timestamp.json"
    refresh 2
    requests 2/metadata/{3.root.json,timestamp.json,2.snapshot.json}
}

@test "a server that is gone or answers nothing of use: 1, and the stored metadata stays" {
    repository state 1
    init 1
    refresh 1
    refused . refresh nowhere
    requests nowhere/metadata/{2.root.json,timestamp.json}
    kill "$SERVER_PID"
    wait "$SERVER_PID" || true
    refused . refresh 1
    holds root.json=1/metadata/1.root.json timestamp.json=1/metadata/timestamp.json \
        snapshot.json=1/metadata/1.snapshot.json targets.json=1/metadata/1.targets.json
}

@test "the search: pre-order, in order of appearance, patterns of each delegation on the way" {
    repository delegate targets first 'x/*' delegate targets second 'x/*' delegate first deep 'x/a*' \
        delegate second narrow 'y/*' target deep x/a deep target second x/a second target second x/b second \
        target first x/c first target narrow x/d narrow target targets x/e top state 1
    init 1
    download 1 x/a x/b x/c x/e
    requests 1/metadata/{2.root.json,timestamp.json,1.snapshot.json,1.targets.json,1.first.json,1.deep.json} \
        "1/targets/x/$(digest deep).a" 1/metadata/1.second.json "1/targets/x/$(digest second).b" \
        "1/targets/x/$(digest first).c" "1/targets/x/$(digest top).e"
    # Listed by a role whose delegator may only vouch for y/*.
    refused "x/d" download 1 x/d
}

@test "twelve roles for one name: the first one's word counts, whatever they are called" {
    local steps=() name
    for name in m b z 9 a x 10 k c 1 y j; do
        steps+=(delegate targets "r$name" 'x/*' target "r$name" x/a "of r$name")
    done
    repository "${steps[@]}" state 1
    init 1
    download 1 x/a
    [[ $(cat "$TARGETS"/*) == "of rm" ]]
    run ! grep -q 1.rb.json "$LOG"
}

@test "a terminating delegation ends the search, below it the search goes on" {
    repository terminate targets shut 'x/*' delegate targets later 'x/*' delegate shut below 'x/b*' \
        target later x/a later target below x/b below state 1
    init 1
    download 1 x/b
    refused "x/a" download 1 x/a
    run ! grep -q later "$LOG"
    [[ $(find "$TARGETS" -type f | wc -l) == 1 ]]
}

@test "a role that two delegate is verified for each of them" {
    # Cached through the first one, whose keys it has; the second one names another key.
    repository delegate targets one 'x/*' delegate targets two 'y/*' delegate one shared '*/*' \
        mistrust two shared '*/*' target shared x/a good target shared y/a bad state 1
    init 1
    download 1 x/a
    refused "shared" download 1 y/a
    refused "shared" download 1 x/a y/a
    [[ $(find "$TARGETS" -type f | wc -l) == 1 ]]
}

@test "a delegated role that cannot be had or verified ends the search" {
    repository delegate targets one 'x/*' delegate targets two 'x/*' target two x/a two state 1
    init 1
    mv "$SERVED/1/metadata/1.one.json" "$W/one.json"
    refused "one" download 1 x/a
    sed 's/"expires":"20/"expires":"21/' "$W/one.json" > "$SERVED/1/metadata/1.one.json"
    refused "one" download 1 x/a
    run ! grep -q 1.two.json "$LOG"
    cp "$W/one.json" "$SERVED/1/metadata/1.one.json"
    download 1 x/a
}

@test "delegated roles expire, too, and what has expired is not kept" {
    repository delegate targets one 'x/*' target one x/a first state 1 bump one target one x/a second state 2 \
        bump one expire one state 3
    init 1
    download 2 x/a
    [[ $(cat "$TARGETS"/*) == second ]]
    refused expired download 3 x/a
    cmp "$META/one.json" "$SERVED/2/metadata/2.one.json"
}

@test "hashed bins: one of them is asked for, by its exact name" {
    repository bins targets bin 3 bin-target bin 3 a/one one bin-target bin 3 a/two two state 1
    init 1
    download 1 a/one a/two
    [[ $(grep -c 'metadata/1\.bin-[0-7]\.json' "$LOG") -le 2 ]]
    [[ $(find "$TARGETS" -type f | wc -l) == 2 ]]
    refused "missing" download 1 a/missing
}

@test "a target with hashes of unknown algorithms only is refused, and not asked for" {
    repository target targets a one unhash targets a target targets b two state 1
    init 1
    download 1 b
    refused "hash" download 1 a
    requests 1/metadata/{2.root.json,timestamp.json}
    [[ $(find "$TARGETS" -type f -printf '%f\n') == b ]]
}

@test "what is stored here has expired, what is served has not" {
    repository lasts root 1 lasts timestamp 1 lasts snapshot 30 lasts targets 30 state 1 \
        bump root lasts root 30 lasts timestamp 30 state 2 bump root expire root state 3
    local program
    program=$(type -P bulla-tuf-client)
    if grep -q __asan_init "$program"; then
        ldd "$program" | grep -q libasan || skip "a static address sanitizer bears no preloaded clock"
        export ASAN_OPTIONS=$ASAN_OPTIONS:verify_asan_link_order=0
    fi
    type -P faketime > /dev/null || skip "faketime is not installed"
    init 1
    refresh 1
    BEFORE=(faketime -f +48h)
    refused expired refresh 1
    refresh 2
    requests 2/metadata/{2.root.json,3.root.json,timestamp.json,2.snapshot.json}
    # A root that has expired on the way to another one is no hindrance; as the last one it is.
    refused expired refresh 3
    cmp "$META/root.json" "$SERVED/3/metadata/3.root.json"
}

@test "numbers of a million digits and deep nesting: refused at once, and good metadata afterwards" {
    repository state 1 bump targets state 2
    local number
    init 1
    refresh 1
    cp "$SERVED/2/metadata/timestamp.json" "$W/good"
    # Small enough for the limit on a timestamp, and far beyond it.
    for number in 15000 1000000; do
        {
            printf '{"signatures":[],"signed":{"_type":"timestamp","version":'
            head -c "$number" < /dev/zero | tr '\0' 7
            printf '}}'
        } > "$SERVED/2/metadata/timestamp.json"
        SECONDS=0
        refused "timestamp|16384" refresh 2
        ((SECONDS < 5))
    done
    head -c 15000 < /dev/zero | tr '\0' '[' > "$SERVED/2/metadata/timestamp.json"
    refused timestamp refresh 2
    cmp "$META/timestamp.json" "$SERVED/1/metadata/timestamp.json"
    cp "$W/good" "$SERVED/2/metadata/timestamp.json"
    refresh 2
}

@test "keys of each kind that is made here, for every role" {
    repository rekey root ecdsa-p256 rekey timestamp ecdsa-p256 rekey snapshot ed25519 rekey targets ecdsa-p256 \
        delegate targets one '*' target one a one state 1
    client --metadata-dir "$META" init "$SERVED/1/metadata/"*.root.json
    download 1 a
}

@test "a chain of delegations longer than is followed, and as many new roots as there may be" {
    local steps=() i
    for ((i = 1; i <= 70; i++)); do
        steps+=(delegate "$( ((i > 1)) && echo "r$((i - 1))" || echo targets)" "r$i" '*')
    done
    repository "${steps[@]}" target r70 deep deep target r40 near near state 1
    init 1
    download 1 near
    refused "deep" download 1 deep
    run ! grep -q 1.r66.json "$LOG"
}

@test "nothing but 0 and 1: a folder that cannot be written, a target folder that is a file" {
    repository target targets a one state 1
    init 1
    : > "$W/file"
    refused . client --metadata-dir "$W/file" init "$SERVED/1/metadata/1.root.json"
    TARGETS=$W/file
    refused . download 1 a
    [[ ! -s $W/file ]]
}

undecided() { # status of what could not be asked, or was not understood
    ((status == 2 || status == 3)) || { printf 'status %s: %s\n' "$status" "$output" >&2; return 1; }
}

@test "bulla itself speaks no plain HTTP: it asks nothing of such a server, whatever it is told" {
    repository state 1
    : > "$LOG"
    local host=${URL#http://} way
    export BULLA_HOME=$W/home BULLA_POLICY=$W/policy.json
    # A root that is bound to no collection is none for it, wherever it comes from.
    printf '{"version":1,"scopes":{"%s":{"root":{"file":"%s"}}}}' "$host" "$SERVED/1/metadata/1.root.json" > "$W/policy.json"
    run bulla verify "$host/1:v1"
    [[ $status == 1 && $output == *"does not say which collection it is for"* ]]
    printf '{"version":1,"scopes":{"%s":{"root":{"keys":["%064d"]}}}}' "$host" 7 > "$W/policy.json"
    for way in "$host/1:v1" "http://$host/1:v1"; do
        run bulla verify "$way"
        undecided
        run bulla trust pin "$way"
        undecided
        run bulla pull "$way"
        undecided
    done
    run bulla login "http://$host" --username a --password-stdin <<< b
    ((status != 0))
    # Options of others that would allow it are not known here.
    run bulla verify --plain-http "$host/1:v1"
    ((status == 2))
    run bulla verify --insecure "$host/1:v1"
    ((status == 2))
    requests
    [[ -z $(find "$W/home" -name root.json) ]]
}
