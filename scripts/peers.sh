# Sourced by scripts/bench, after lib.sh: whom our pool is compared with, installed and compiled into .build-bench/.
#
#   wants_pool NAME…   is the entry `pool` among those that will run
#   pool_has WHO       does WHO take part in it; BENCH_POOL_ONLY=WHO,WHO… restricts that
#   need_peers         all that take part; one line for each that is not to be had, and on without it: the entry counts it as failed

built=$root/.build-bench
sources=$root/Benchmarks/peers

# Pinned, so that figures of different days compare; the others are what Debian 12 has.
psycopg_pins=('psycopg[binary,pool]==3.3.9' 'psycopg-pool==3.3.3')

# Plain JavaScript, and what it needs of Debian's other packages. They are unpacked, not installed: Debian's packages insist on
# Debian's nodejs, and any nodejs will do.
node_packages=(node-pg node-split2 node-readable-stream node-xtend node-inherits node-core-util-is node-string-decoder
    node-util-deprecate node-events)

wants_pool() { [ $# = 0 ] || [[ " $* " == *" pool "* ]]; }

pool_has() { [ -z "${BENCH_POOL_ONLY:-}" ] || [[ ",${BENCH_POOL_ONLY// /,}," == *",$1,"* ]]; }

need_peers() {
    local who log
    mkdir -p "$built"
    say "preparing the peers of the pool"
    for who in raw fifo hikari node-pg psycopg; do
        [ "$who" = raw ] || pool_has "$who" || continue
        log=$built/$who.log
        # In a subshell: what gives up there ends that peer alone.
        ("need_${who//-/_}") >"$log" 2>&1 || say "without $who: $(tail -n 1 "$log") (more in .build-bench/$who.log)"
    done
}

compile_c() {
    rm -f "$2"
    need_packages gcc libc6-dev libpq-dev pkg-config &&
        # The flags are several words.
        # shellcheck disable=SC2046
        gcc -std=gnu11 -O2 -Wall -Wextra -Werror -o "$2" "$1" -pthread $(pkg-config --cflags --libs libpq)
}

need_raw() { compile_c "$sources/raw.c" "$built/raw"; }

need_fifo() { compile_c "$sources/fifo_pool.c" "$built/fifo_pool"; }

need_hikari() {
    local java=/usr/share/java compiler=()
    rm -rf "$built/classes"
    command -v javac >/dev/null || compiler=(default-jdk-headless)
    need_packages libhikaricp-java libpostgresql-jdbc-java libslf4j-java libscram-java "${compiler[@]}" &&
        javac -d "$built/classes" -cp "$java/HikariCP.jar:$java/postgresql.jar" "$sources/HikariPool.java"
}

need_node_pg() {
    command -v node >/dev/null || need_packages nodejs || return
    export NODE_PATH=$built/nodejs/usr/share/nodejs
    node -e 'require("pg")' 2>/dev/null || unpack "$built/nodejs" "${node_packages[@]}"
    node -e 'require("pg")'
}

# unpack FOLDER PACKAGE…: the files of Debian packages, below a folder of ours.
unpack() {
    local folder=$1 downloads package
    shift
    downloads=$(mktemp -d) && (
        trap 'rm -rf "$downloads"' EXIT
        cd "$downloads" && download_packages "$@" && mkdir -p "$folder" || exit
        for package in *.deb; do
            dpkg-deb -x "$package" "$folder" || exit
        done
    )
}

# The lists of a machine may be missing or too old.
download_packages() { apt-get download -q "$@" || { apt-get -o DPkg::Lock::Timeout=300 -q update && apt-get download -q "$@"; }; }

need_psycopg() {
    local venv=$built/venv
    need_packages python3-venv || return
    [ -x "$venv/bin/pip" ] || /usr/bin/python3 -m venv "$venv" || return
    # Asks nobody when they are there already, and does not insist when nobody answers.
    "$venv/bin/pip" install -q --disable-pip-version-check --timeout 20 --retries 1 "${psycopg_pins[@]}"
}
