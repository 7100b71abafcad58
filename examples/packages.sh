# Sourced by quickstart.sh and tests/run.sh: installs what is missing with apt, or says the command to type.
#   need_packages NAME...      each NAME is a Debian or Ubuntu package

package_is_there() {
    dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q 'install ok installed'
}

need_packages() {
    missing=
    for package in "$@"; do package_is_there "$package" || missing="$missing $package"; done
    [ -z "$missing" ] && return 0
    if ! command -v apt-get >/dev/null 2>&1; then
        echo "These packages are needed (names as in Debian):$missing" >&2
        return 1
    fi
    if [ "$(id -u)" = 0 ]; then as_root=; elif sudo -n true 2>/dev/null; then as_root=sudo; else
        echo "Some packages are missing. Please type this, then start again:" >&2
        echo "    sudo apt-get update && sudo apt-get install -y$missing" >&2
        return 1
    fi
    echo "Installing$missing ..." >&2
    $as_root apt-get update -qq >/dev/null 2>&1
    DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq --no-install-recommends $missing >/dev/null || {
        echo "Installing failed. Try: apt-get install$missing" >&2
        return 1
    }
}

library_packages="zlib1g-dev libjansson-dev libutf8proc-dev libpcre2-dev"
build_packages="gcc libc6-dev meson ninja-build pkg-config $library_packages libmicrohttpd-dev libarchive-dev"
