# Shared by the scripts of this folder; sourced, not run. What it offers:
#
#   need_swift            a Swift 6.3 toolchain in PATH, or one line that says how to get it
#   need_packages NAME…   Debian packages, installed from apt when missing (and only then)
#   build_release NAME…   the program as it is shipped; sets $healthd. And other products, into .build-release/release/
#   build_tests           every test, optimised
#   say TEXT              a line about what the script is doing

# Without it trait flags reach the compiler in random order, and some dependencies are rebuilt for nothing.
export SWIFT_DETERMINISTIC_HASHING=1

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
name=$(basename "$0")

# What swift.org's toolchain for Debian 12 itself needs; the first of them, or `swift --version` does not even start.
toolchain_packages=(libncurses6 binutils gcc git libc6-dev libcurl4-openssl-dev libedit-dev libicu-dev libncurses-dev libpython3-dev
    libsqlite3-dev libstdc++-12-dev libxml2-dev pkg-config tzdata uuid-dev zlib1g-dev)
build_packages=(git ca-certificates libpq-dev libhiredis-dev libsystemd-dev libsqlite3-dev zlib1g-dev libstdc++-12-dev pkg-config)
server_packages=(postgresql-15 redis-server util-linux procps curl)
test_packages=(pgbouncer openssl prometheus systemd dbus python3)
prove_packages=(python3 openssl debootstrap)
bench_packages=(prometheus-postgres-exporter python3)

say() { echo "$name: $*"; }

# One line, because whoever reads it should have to do one thing.
give_up() {
    echo "$name: $*" >&2
    exit 1
}

need_swift() {
    if ! command -v swift >/dev/null && [ -x /opt/swift/usr/bin/swift ]; then
        PATH=$PATH:/opt/swift/usr/bin
    fi
    command -v swift >/dev/null ||
        give_up "no Swift toolchain: install Swift 6.3 for Debian 12 (swift.org/install/linux) and put its usr/bin into PATH"
    swift --version >/dev/null 2>&1 || need_packages "${toolchain_packages[@]}"
    local complaint
    complaint=$(swift --version 2>&1) || give_up "the Swift toolchain does not start: $(tail -n 1 <<<"$complaint")"
}

is_installed() { dpkg-query -W -f '${db:Status-Abbrev}' "$1" 2>/dev/null | grep -q '^ii'; }

need_packages() {
    local package missing=()
    for package in "$@"; do
        is_installed "$package" || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    [ "$(id -u)" = 0 ] || give_up "missing Debian packages; run as root: apt-get install --no-install-recommends ${missing[*]}"
    command -v apt-get >/dev/null || give_up "no apt-get here; on Debian 12 these packages are needed: ${missing[*]}"
    say "installing ${missing[*]}"
    without_starting_services install_packages "${missing[@]}" || give_up "apt-get could not install ${missing[*]}; its messages are above"
}

install_packages() {
    local apt=(apt-get -y -q -o DPkg::Lock::Timeout=300)
    export DEBIAN_FRONTEND=noninteractive
    # The lists of a machine that installed something lately are good enough; on a fresh one there are none.
    "${apt[@]}" install --no-install-recommends "$@" >/dev/null 2>&1 && return 0
    "${apt[@]}" update >/dev/null && "${apt[@]}" install --no-install-recommends "$@" >/dev/null
}

# Packages of servers start them when they are installed, and postgresql-15 makes a cluster. healthd runs servers of its own,
# so both are switched off while apt works, in the two places where Debian lets an administrator say so, and only if the
# administrator has said nothing there. Afterwards the machine's configuration is as it was.
without_starting_services() {
    local policy=/usr/sbin/policy-rc.d cluster=/etc/postgresql-common/createcluster.d/healthd-install.conf made=() status=0
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
        made+=("$policy")
    fi
    if [ ! -e "$cluster" ]; then
        mkdir -p "${cluster%/*}"
        echo 'create_main_cluster = false' >"$cluster"
        made+=("$cluster")
    fi
    # In a subshell, so that its trap is no business of the caller's. An interrupted installation cleans up as well.
    (
        trap 'rm -f "${made[@]}"; rmdir "${cluster%/*}" 2>/dev/null' EXIT
        trap 'exit 130' INT TERM
        "$@"
    ) || status=$?
    return "$status"
}

# The program as it is shipped, and the parts as they are tested: both optimised. The toolchain has no static library for tests, and static
# and dynamic builds would overwrite each other's intermediate files, so each has a folder of its own.
release_flags=(--configuration release --static-swift-stdlib --scratch-path "$root/.build-release")
test_flags=(--configuration release --scratch-path "$root/.build-tests")

# Built once, and found again. HEALTHD_BINARY names one that was built elsewhere.
build_release() {
    local product products=("$@")
    healthd=${HEALTHD_BINARY:-$root/.build-release/release/healthd}
    [ -n "${HEALTHD_BINARY:-}" ] || products=(healthd "$@")
    # One after the other: of several --product options swift build takes the last.
    for product in "${products[@]}"; do
        say "building $product (the first time takes about ten minutes on two cores)"
        (cd "$root" && swift build "${release_flags[@]}" --product "$product") ||
            give_up "the build of $product failed; the compiler's messages are above"
    done
}

# Warnings are errors in our own targets: Package.swift says so. HEALTHD_TESTABLE is explained there, too.
build_tests() {
    (cd "$root" && HEALTHD_TESTABLE=1 swift build "${test_flags[@]}" --build-tests) || give_up "the build of the tests failed; the compiler's messages are above"
}

# minutes FROM TO: between two values of $SECONDS.
minutes() { awk -v seconds=$(($2 - $1)) 'BEGIN { printf "%.1f", seconds / 60 }'; }

sha256() { sha256sum <"$1" | cut -d' ' -f1; }
