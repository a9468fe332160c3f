#!/usr/bin/env bash
# Installs the Debian packages that building, the demonstration or the tests need; only those missing, so it
# works without a network where everything is there already. Becomes root through sudo where it is not.
# Usage: install-deps.sh [build|demo|test|bench]   each includes the one before it; default: build
set -euo pipefail

build=(build-essential ca-certificates cmake ninja-build openssl pkg-config
    libarchive-dev libcap-dev libcmocka-dev libcurl4-openssl-dev libcyaml-dev libgnutls28-dev libisal-dev
    libjansson-dev libmicrohttpd-dev libp11-kit-dev libpkcs11-helper1-dev libseccomp-dev libsodium-dev
    libsqlite3-dev libssl-dev libyaml-dev libzstd-dev)
demo=(busybox-static curl debian-archive-keyring faketime iproute2 jq mmdebstrap opensc passt skopeo softhsm2
    sqlite3 uidmap xz-utils zstd)
test=(buildah bats binutils ccache clang clang-format clang-tidy cppcheck docker-registry git libclang-rt-14-dev nginx-light
    podman procps python3 python3-prometheus-client shellcheck strace umoci universal-ctags valgrind)

bench=(bubblewrap notary runc wrk)

case ${1:-build} in
    build) wanted=("${build[@]}") ;;
    demo) wanted=("${build[@]}" "${demo[@]}") ;;
    test) wanted=("${build[@]}" "${demo[@]}" "${test[@]}") ;;
    bench) wanted=("${build[@]}" "${demo[@]}" "${test[@]}" "${bench[@]}") ;;
    *)
        echo "usage: install-deps.sh [build|demo|test|bench]" >&2
        exit 2
        ;;
esac
# Debian's nodejs would replace or break one that came from elsewhere.
if [[ ${1:-build} == test || ${1:-build} == bench ]] && ! command -v node > /dev/null; then
    wanted+=(nodejs npm)
fi

if ! command -v dpkg-query > /dev/null || ! command -v apt-get > /dev/null; then
    echo "install-deps: this is no Debian; install the equivalents of: ${wanted[*]}" >&2
    exit 3
fi

installed=$(dpkg-query --show --showformat='${Package} ${db:Status-Status}\n' | sed -n 's/ installed$//p')
missing=()
for package in "${wanted[@]}"; do
    # nginx-light stands for any nginx.
    [[ $package == nginx-light ]] && command -v nginx > /dev/null && continue
    grep -q -x -F "$package" <<< "$installed" || missing+=("$package")
done
((${#missing[@]})) || exit 0

become_root=()
if ((EUID != 0)); then
    command -v sudo > /dev/null || {
        echo "install-deps: missing packages (${missing[*]}); run it as root, or install sudo" >&2
        exit 3
    }
    become_root=(sudo)
fi
export DEBIAN_FRONTEND=noninteractive
echo "install-deps: installing ${missing[*]}"
"${become_root[@]}" apt-get -q update < /dev/null ||
    echo "install-deps: the package lists could not be refreshed; trying with the old ones" >&2
"${become_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get -q -y --no-install-recommends install "${missing[@]}" < /dev/null || {
    echo "install-deps: apt-get could not install: ${missing[*]}" >&2
    exit 3
}
