# A registry for other people's clients: `load ../support/clients`.
#   clients_setup_file   in setup_file: a registry, user dev who may do all in acme/*, anonymous who may pull from
#                        acme/public/*; CERTS, a folder with the CA alone; REGISTRY_AUTH_FILE with dev's password
#   clients_setup        in setup: W, a folder of its own; HERE, a repository of its own; DEST, the same with the host
#   contained PROGRAM …  podman or buildah, with all that they keep in $W; root only
#   umoci_image LAYOUT:TAG TEXT [ARCHITECTURE]    an image with two layers, made by umoci
#   made_config LAYOUT:TAG                    its configuration, as JSON
#   same_manifest REFERENCE FILE              the registry's manifest is the file, byte for byte
bats_require_minimum_version 1.5.0
. "$BATS_TEST_DIRNAME/../support/registry.bash"

clients_setup_file() {
    registry_start "$BATS_FILE_TMPDIR/r"
    registry_user dev
    registry_grant dev 'acme/*' pull,push,delete
    registry_grant anonymous 'acme/public/*' pull
    # skopeo takes a key beside the CA for a client certificate's.
    export CERTS=$BATS_FILE_TMPDIR/certs REGISTRY_AUTH_FILE=$BATS_FILE_TMPDIR/auth.json
    mkdir "$CERTS"
    cp "$REGISTRY_CA" "$CERTS/ca.crt"
    skopeo login --cert-dir "$CERTS" -u dev --password-stdin "$REGISTRY_HOST" <<< dev-password
}

clients_setup() {
    W=$BATS_TEST_TMPDIR
    HERE=acme/t$BATS_TEST_NUMBER
    DEST=$REGISTRY_HOST/$HERE
    cd "$W" || return
}

need_root() {
    ((EUID == 0)) || skip "needs root"
}

contained() {
    local program=$1 folder
    shift
    if [[ ! -e $W/containers.conf ]]; then
        printf '[engine]\nevents_logger = "none"\nlock_type = "file"\n' > "$W/containers.conf"
        for folder in static_dir tmp_dir volume_path image_copy_tmp_dir; do
            printf '%s = "%s"\n' "$folder" "$W/$folder" >> "$W/containers.conf"
            mkdir "$W/$folder"
        done
    fi
    CONTAINERS_CONF=$W/containers.conf TMPDIR=$W command "$program" --root "$W/storage" --runroot "$W/run" --storage-driver vfs "$@"
}

umoci_image() {
    local layout=${1%:*} root=$W/root.$RANDOM$RANDOM
    [[ -e $layout ]] || umoci init --layout "$layout"
    mkdir -p "$root/1/bin" "$root/2"
    cp "$(command -v busybox)" "$root/1/bin/busybox"
    ln -s busybox "$root/1/bin/cat"
    echo "$2" > "$root/2/text"
    umoci new --image "$1"
    umoci insert --rootless --image "$1" "$root/1" /
    umoci insert --rootless --image "$1" "$root/2" /data
    umoci config --image "$1" --architecture "${3:-amd64}" --os linux --config.cmd /bin/cat --config.cmd /data/text
    rm -r "$root"
}

made_config() {
    skopeo inspect --config "oci:$1"
}

same_manifest() {
    cmp <(registry_curl -H 'Accept: */*' "/v2/$HERE/manifests/$1") "$2"
}

# In and out of the registry with skopeo, everything as it is.
copy_in() {
    skopeo copy -q --preserve-digests --dest-cert-dir "$CERTS" "$@"
}

copy_out() {
    skopeo copy -q --preserve-digests --src-cert-dir "$CERTS" "$@"
}

inspect() {
    skopeo inspect --cert-dir "$CERTS" "$@"
}

# What podman and buildah compress anew has other digests, and the same content.
same_content() { # IMAGE IMAGE, as skopeo names them
    [[ $(inspect --config "$1" | jq -cS .rootfs) == \
        "$(skopeo inspect --config "$2" | jq -cS .rootfs)" ]]
}
