#!/bin/sh
# Builds Mosaic from this clone and installs it. `./install.sh --help` says more.
set -eu
umask 022

EXTENSION=mosaic_backlog_ext
RUST_MINIMUM=1.95
MAJORS='18 17 16 15'

say() { printf '%s\n' "$*"; }
warn() { printf 'install.sh: %s\n' "$*" >&2; }
err() {
    warn "$@"
    exit 1
}

usage() {
    cat <<'HELP'
Builds Mosaic from this clone and installs it. Running it again updates in place; cards, settings
and a running embedded server are left alone. `mosaic update` does it for you, from this clone.

Usage: ./install.sh [--prefix DIR] [--pg-config PATH] [--demo]
       ./install.sh --uninstall [--purge] [--prefix DIR] [--pg-config PATH]

  --prefix DIR      where to install (default: ~/.local, for root /usr/local):
                    DIR/bin/mosaic, DIR/lib/mosaic with a PostgreSQL of its own, and below
                    DIR/share the manual pages and the completions of bash, zsh and fish
  --pg-config PATH  build for the PostgreSQL of this pg_config, and install the extension
                    into that server too, for use through DATABASE_URL
  --demo            then show the backlog at work on the embedded server
  --uninstall       remove what was installed, and our hooks of Claude Code; keeps the data. With
                    --pg-config, remove the extension's files from that server too
  --purge           with --uninstall: remove the embedded server's data and the settings as well
  --help            this text

What was installed, from where and with which flags, is in DIR/lib/mosaic/receipt.json. A copy of
this script beside it uninstalls, also when the clone is gone.

Needs Rust 1.95 or newer, and PostgreSQL (15 to 18) with its server headers, clang and a C
compiler. As root on Debian it installs the missing packages; else it names them.
HELP
}

is_root() { [ "$(id -u)" -eq 0 ]; }
have() { command -v "$1" >/dev/null 2>&1; }

# --- what was asked for ---------------------------------------------------------------------------

# expanded PATH: with the home folder for a ~ at its beginning, which the shell leaves after a "=".
# shellcheck disable=SC2088 # the literal ~ is meant
expanded() {
    case $1 in
        '~') say "${HOME:?has to be set, as a path begins with ~}" ;;
        '~/'*) say "${HOME:?has to be set, as a path begins with ~}/${1#'~/'}" ;;
        *) say "$1" ;;
    esac
}

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
prefix=
pg_config=
demo=no
uninstall=no
purge=no

while [ $# -gt 0 ]; do
    case $1 in
        --prefix | --pg-config)
            [ -n "${2:-}" ] || err "$1 needs a value"
            case $1 in
                --prefix) prefix=$2 ;;
                --pg-config) pg_config=$2 ;;
            esac
            shift
            ;;
        --prefix=?*) prefix=${1#*=} ;;
        --pg-config=?*) pg_config=${1#*=} ;;
        --demo) demo=yes ;;
        --uninstall) uninstall=yes ;;
        --purge) purge=yes ;;
        --help | -h)
            usage
            exit 0
            ;;
        *) err "unknown argument '$1'; --help shows what there is" ;;
    esac
    shift
done
[ "$purge" = no ] || [ "$uninstall" = yes ] || err "--purge goes with --uninstall"
[ "$demo" = no ] || [ "$uninstall" = no ] || err "--demo does not go with --uninstall"

prefix=$(expanded "$prefix")
pg_config=$(expanded "$pg_config")
if [ -n "${MOSAIC_HOME:-}" ]; then
    MOSAIC_HOME=$(expanded "$MOSAIC_HOME")
    case $MOSAIC_HOME in
        /*) ;;
        *) err "MOSAIC_HOME is not a whole path: '$MOSAIC_HOME'; write it from the / on, or from your home folder with ~/" ;;
    esac
fi

if [ -z "$prefix" ]; then
    if is_root; then
        prefix=/usr/local
    else
        prefix=${HOME:?has to be set, or --prefix given}/.local
    fi
fi
case $prefix in
    /*) ;;
    *) prefix=$(pwd)/$prefix ;;
esac
mosaic=$prefix/bin/mosaic
private=$prefix/lib/mosaic
# The files below $prefix/share that are ours, one a line.
shared=$private/shared-files
receipt=$private/receipt.json
[ "$uninstall" = yes ] || [ -f "$here/Cargo.toml" ] ||
    err "$here holds no sources: this copy uninstalls; the one of a clone installs"

if [ -n "$pg_config" ]; then
    chosen=$(command -v "$pg_config") || err "--pg-config: there is no program $pg_config"
    pg_config=$(CDPATH='' cd -- "$(dirname -- "$chosen")" && pwd)/$(basename -- "$chosen")
fi

# --- files ----------------------------------------------------------------------------------------

# put SOURCE TARGET MODE: written beside and renamed over, as the old file may be in use.
put() {
    mkdir -p "$(dirname -- "$2")"
    cp -- "$1" "$2.new.$$"
    chmod "$3" "$2.new.$$"
    mv -f -- "$2.new.$$" "$2"
}

# is_at_work PID: a process that is there, and not only its number.
is_at_work() {
    kill -0 "$1" 2>/dev/null && ! grep -q '^State:.*Z' "/proc/$1/status" 2>/dev/null
}

# sweep: removes what a killed installation wrote beside its files. One that is at work is left alone.
sweep() {
    {
        find "$private" -name '*.new.*' 2>/dev/null || :
        find "$prefix/bin" -maxdepth 1 -name 'mosaic.new.*' 2>/dev/null || :
        ours_in_share | while IFS= read -r file; do
            for unfinished in "$prefix/share/$file.new."*; do
                [ ! -e "$unfinished" ] || say "$unfinished"
            done
        done
    } | while IFS= read -r unfinished; do
        case ${unfinished##*.new.} in
            *[!0-9]*) ;;
            *) is_at_work "${unfinished##*.}" || rm -rf -- "$unfinished" ;;
        esac
    done
}

# put_tree SOURCE TARGET: the same for a whole folder, without what only developers need.
put_tree() {
    staged=$2.new.$$
    rm -rf -- "$staged"
    mkdir -p "$2" "$staged"
    cp -R -- "$1/." "$staged"
    (
        cd -- "$staged"
        rm -rf include man share/doc share/man bitcode lib/bitcode lib/postgresql/bitcode \
            pgxs lib/pgxs lib/postgresql/pgxs
        find . -name '*.a' -exec rm -f {} +
    )
    chmod -R u+rwX,go+rX "$staged"
    (cd -- "$staged" && find . -type d) | while IFS= read -r folder; do
        mkdir -p "$2/$folder"
        find "$staged/$folder" -maxdepth 1 ! -type d -exec mv -f -t "$2/$folder" -- {} +
    done
    rm -rf -- "$staged"
}

# put_extension LIBRARIES SCRIPTS: the control file last, as it announces the version.
put_extension() {
    put "$library" "$1/$EXTENSION.so" 755
    for script in "$here/sql/$EXTENSION"--*.sql; do
        put "$script" "$2/$(basename -- "$script")" 644
    done
    put "$control" "$2/$EXTENSION.control" 644
}

# put_shared: the manual pages and what the shells complete by, for the program that is installed.
put_shared() {
    staged=$private/shared.new.$$
    rm -rf -- "$staged"
    mkdir -p "$staged/bash-completion/completions" "$staged/zsh/site-functions" \
        "$staged/fish/vendor_completions.d" "$staged/man"
    "$mosaic" completions bash >"$staged/bash-completion/completions/mosaic"
    "$mosaic" completions zsh >"$staged/zsh/site-functions/_mosaic"
    "$mosaic" completions fish >"$staged/fish/vendor_completions.d/mosaic.fish"
    # For root the program writes to no folder of another user, as PREFIX may be one.
    pages=$(mktemp -d /tmp/mosaic-pages.XXXXXX)
    "$mosaic" man --quiet --output "$pages/man1"
    mv -- "$pages/man1" "$staged/man/man1"
    rmdir -- "$pages"
    (cd -- "$staged" && find . -type f) >"$shared.new"
    # What an older version brought and this one does not.
    remove_shared "$shared.new"
    while IFS= read -r file; do
        put "$staged/$file" "$prefix/share/$file" 644
    done <"$shared.new"
    mv -f -- "$shared.new" "$shared"
    rm -rf -- "$staged"
}

# ours_in_share: also those that an installation was about to put there when it was killed.
ours_in_share() { cat "$shared" "$shared.new" 2>/dev/null || :; }

# remove_shared KEPT: removes our files below share, but for those that are listed in KEPT.
remove_shared() {
    while IFS= read -r file; do
        [ -z "$file" ] || grep -Fqx -- "$file" "$1" || take "$prefix/share/$file"
    done <<FILES
$(ours_in_share)
FILES
}

# take PATH…: removes, and remembers what stays.
left=
take() {
    rm -rf -- "$@" 2>/dev/null || :
    for path; do
        if [ -e "$path" ] || [ -L "$path" ]; then left="$left $path"; fi
    done
}

# json TEXT: a JSON string.
json() {
    printf '"%s"' "$(printf '%s' "$1" | sed 's/[\\"]/\\&/g; s/\t/\\t/g')"
}

# put_receipt: the last thing, as it says that all the rest is there.
put_receipt() {
    commit=null
    dirty=false
    root=$(git -C "$here" rev-parse --show-toplevel 2>/dev/null || :)
    if [ -n "$root" ] && [ "$root" = "$(cd -- "$here" && pwd -P)" ]; then
        head=$(git -C "$here" rev-parse HEAD 2>/dev/null || :)
        [ -z "$head" ] || commit=$(json "$head")
        [ -z "$(git -C "$here" status --porcelain 2>/dev/null || :)" ] || dirty=true
    fi
    flags=
    [ "$into_server" = no ] || flags="\"--pg-config\", $(json "$pg_config")"
    say "{\"version\": $(json "$version"), \"commit\": $commit, \"dirty\": $dirty," \
        "\"clone\": $(json "$here"), \"prefix\": $(json "$prefix")," \
        "\"flags\": [$flags], \"pg_major\": $major}" >"$private/receipt.new"
    put "$private/receipt.new" "$receipt" 644
    rm -f -- "$private/receipt.new"
}

# --- removing -------------------------------------------------------------------------------------

mosaic_home() {
    if [ -n "${MOSAIC_HOME:-}" ]; then
        say "$MOSAIC_HOME"
    elif is_root; then
        say /var/lib/mosaic
    else
        say "${HOME:?}/.config/mosaic"
    fi
}

# Before anything is removed.
check_purge() {
    if [ -e "$fleet/backlog" ] && [ ! -f "$fleet/backlog/PG_VERSION" ]; then
        err "$fleet/backlog is no data folder of PostgreSQL; nothing was removed"
    fi
    server=$(sed -n 1p "$fleet/backlog/postmaster.pid" 2>/dev/null || :)
    if [ -n "$server" ] && kill -0 "$server" 2>/dev/null; then
        err "a server (process $server) still runs on $fleet/backlog; nothing was removed"
    fi
    # It may run in another container, where its number means something else. One of before holds the
    # second file alone.
    for lock in "$fleet/backlog/PG_VERSION" "$fleet/backlog/mosaic.lock"; do
        if [ -e "$lock" ] && have flock && ! flock -n "$lock" true; then
            err "a server still runs on $fleet/backlog, perhaps in another container; nothing was removed"
        fi
    done
}

remove() {
    home=$(mosaic_home)
    fleet=$home/fleet
    if [ -x "$mosaic" ] && [ -e "$fleet/backlog/PG_VERSION" ]; then
        "$mosaic" db stop >/dev/null || err "the embedded server does not stop; nothing was removed"
    fi
    [ "$purge" = no ] || check_purge
    if [ -x "$mosaic" ]; then
        status=0
        said=$("$mosaic" uninstall --keep-files 2>&1) || status=$?
        # 2: it is older than that command, and than what would have to be taken out.
        case $status in
            0 | 2) ;;
            *)
                warn "$said"
                left="$left (in files of other programs, as said above)"
                ;;
        esac
    fi
    remove_shared /dev/null
    sweep
    take "$mosaic" "$private"
    if [ -n "$pg_config" ]; then
        take "$("$pg_config" --pkglibdir)/$EXTENSION.so" \
            "$("$pg_config" --sharedir)/extension/$EXTENSION.control" \
            "$("$pg_config" --sharedir)/extension/$EXTENSION"--*.sql
    fi
    say "removed $mosaic and $private"
    take "$home/sessions" "$fleet/postgresql" "$home/gateway/state.json"
    if [ "$purge" = yes ]; then
        take "$fleet/backlog" "$fleet/backlog.lock" "$fleet"/.backlog-setup-* \
            "$home/gateway/gateway.toml" "$home/gateway/secrets.toml" "$home/gateway/backups"
        rmdir -- "$fleet" "$home/gateway" "$home" 2>/dev/null || :
        say "removed the cards in $fleet/backlog"
    elif [ -e "$fleet/backlog" ]; then
        say "kept the cards in $fleet/backlog (--purge removes them)"
    fi
    [ -z "$left" ] || err "could not remove:$left"
}

if [ "$uninstall" = yes ]; then
    remove
    exit 0
fi

# --- what the build needs -------------------------------------------------------------------------

find_rust() {
    have cargo || PATH=$PATH:${CARGO_HOME:-${HOME:-/nonexistent}/.cargo}/bin
    get="get it from https://rustup.rs (\`rustup toolchain install stable\`, \`rustup update\`)"
    if ! have cargo || ! have rustc; then
        err "Rust $RUST_MINIMUM or newer is needed: $get"
    fi
    # shellcheck disable=SC2046 # two words are wanted
    set -- $(rustc --version | sed -n 's/^rustc \([0-9]*\)\.\([0-9]*\).*/\1 \2/p')
    [ $# -eq 2 ] || err "rustc does not run: \`rustc --version\` says why"
    if [ "$1" -lt "${RUST_MINIMUM%.*}" ] ||
        { [ "$1" -eq "${RUST_MINIMUM%.*}" ] && [ "$2" -lt "${RUST_MINIMUM#*.}" ]; }; then
        err "Rust $RUST_MINIMUM or newer is needed, this is $1.$2: $get"
    fi
}

major_of() { "$1" --version | sed -n 's/^PostgreSQL \([0-9]*\).*/\1/p'; }
has_headers() { [ -f "$("$1" --includedir-server)/postgres.h" ]; }
has_server() { [ -x "$("$1" --bindir)/initdb" ] && [ -x "$("$1" --bindir)/postgres" ]; }

# The PostgreSQL to build for: of the major that made the data, so that it stays readable; else one
# that is installed here already; else the newest that is complete.
find_postgres() {
    wanted=$(cat "$(mosaic_home)/fleet/backlog/PG_VERSION" 2>/dev/null || :)
    for major in $MAJORS; do
        [ ! -d "$private/postgresql/lib/postgresql/$major" ] || wanted="$wanted $major"
    done
    for major in $wanted $MAJORS; do
        for candidate in "/usr/lib/postgresql/$major/bin/pg_config" "$(command -v pg_config || :)"; do
            [ -x "$candidate" ] || continue
            [ "$(major_of "$candidate")" = "$major" ] || continue
            if has_headers "$candidate" && has_server "$candidate"; then
                pg_config=$candidate
                return 0
            fi
        done
    done
    return 1
}

has_libclang() {
    [ -n "${LIBCLANG_PATH:-}" ] && return 0
    for found in /usr/lib/llvm-*/lib/libclang*.so* /usr/lib/*/libclang*.so* /usr/lib*/libclang*.so*; do
        [ ! -e "$found" ] || return 0
    done
    return 1
}

# The Debian packages that are missing, one a line.
missing_packages() {
    have cc || printf '%s\n' gcc libc6-dev
    have clang || say clang
    has_libclang || say libclang-dev
    [ -n "$pg_config" ] && return
    find_postgres && return
    for major in $wanted $MAJORS; do
        if have apt-cache && apt-cache show "postgresql-server-dev-$major" >/dev/null 2>&1; then
            printf '%s\n' "postgresql-$major" "postgresql-server-dev-$major"
            return
        fi
    done
    printf '%s\n' postgresql-15 postgresql-server-dev-15
}

# Debian's server package makes a cluster and starts it. Nobody asked for one here.
CLUSTERS=/etc/postgresql-common/createcluster.conf

install_packages() {
    say "installing the packages $*"
    DEBIAN_FRONTEND=noninteractive
    export DEBIAN_FRONTEND
    case " $* " in
        *" postgresql-1"[5-8]" "*)
            if [ ! -e "$CLUSTERS" ]; then
                apt-get install -y --no-install-recommends postgresql-common >/dev/null
            fi
            if [ -e "$CLUSTERS" ] && ! grep -Eq '^ *create_main_cluster *=' "$CLUSTERS"; then
                cp -p "$CLUSTERS" "$CLUSTERS.mosaic"
                say 'create_main_cluster = false' >>"$CLUSTERS"
                trap 'mv -f "$CLUSTERS.mosaic" "$CLUSTERS"' EXIT
                trap 'exit 130' INT TERM
            fi
            ;;
    esac
    apt-get install -y --no-install-recommends "$@" >/dev/null ||
        err "apt-get could not install them"
    if [ -e "$CLUSTERS.mosaic" ]; then
        mv -f "$CLUSTERS.mosaic" "$CLUSTERS"
        trap - EXIT INT TERM
    fi
}

need_packages() {
    packages=$(missing_packages | tr '\n' ' ')
    packages=${packages% }
    [ -n "$packages" ] || return 0
    have apt-get || err "these are missing, under their Debian names: $packages"
    if ! is_root; then
        err "packages are missing; an administrator installs them with: apt-get install $packages"
    fi
    if ! apt-cache show postgresql-common >/dev/null 2>&1; then
        apt-get update >/dev/null || err "apt-get update failed; these packages are missing: $packages"
        packages=$(missing_packages | tr '\n' ' ')
        packages=${packages% }
    fi
    # shellcheck disable=SC2086 # one word a package
    install_packages $packages
}

# --- the work -------------------------------------------------------------------------------------

check_postgres() {
    [ -n "$pg_config" ] || find_postgres || err "no PostgreSQL with server headers was found"
    major=$(major_of "$pg_config")
    case " $MAJORS " in
        *" $major "*) ;;
        *) err "$pg_config is of $("$pg_config" --version); supported are PostgreSQL 15 to 18" ;;
    esac
    has_headers "$pg_config" ||
        err "the server headers of PostgreSQL $major are missing (Debian: postgresql-server-dev-$major)"
    libraries=$("$pg_config" --pkglibdir)
    share=$("$pg_config" --sharedir)
}

check_places() {
    mkdir -p "$prefix/bin" "$prefix/share" "$private" 2>/dev/null || :
    for folder in "$prefix/bin" "$prefix/share" "$private"; do
        [ -w "$folder" ] || err "cannot write to $folder; --prefix names another place"
    done
    [ "$into_server" = yes ] || return 0
    for folder in "$libraries" "$share/extension"; do
        [ -w "$folder" ] || err "cannot write to $folder; run as the owner of that PostgreSQL, or as root"
    done
}

build() {
    say "building for PostgreSQL $major (the first time takes some minutes)"
    target=${CARGO_TARGET_DIR:-$here/target}
    (
        cd -- "$here"
        PGRX_PG_CONFIG_PATH=$pg_config cargo build --profile installed --locked --target-dir "$target" \
            -p mosaic-cli -p "$EXTENSION" --no-default-features --features "$EXTENSION/pg$major"
    ) || err "the build failed"
    library=$target/installed/lib$EXTENSION.so
    version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' "$here/Cargo.toml")
    [ -f "$here/sql/$EXTENSION--$version.sql" ] || err "sql/$EXTENSION--$version.sql is missing"
    control=$target/installed/$EXTENSION.control
    # Another installation out of this clone may be reading it.
    sed "s/@CARGO_VERSION@/$version/" "$here/$EXTENSION/$EXTENSION.control" >"$control.new.$$"
    mv -f -- "$control.new.$$" "$control"
}

# A PostgreSQL of our own, which can hold the extension without touching the machine's.
# The folders lie to one another as they did where they came from: the programs find them so.
copy_postgres() {
    bin=$("$pg_config" --bindir)
    root=$(dirname -- "$bin")
    own=$private/postgresql/lib/postgresql/$major
    case $libraries/ in
        "$root"/*) own_libraries=$own${libraries#"$root"} ;;
        *) own_libraries= ;;
    esac
    case $share/ in
        "$root"/*) own_share=$own${share#"$root"} ;;
        */share/postgresql/"$major"/) own_share=$private/postgresql/share/postgresql/$major ;;
        *) own_share= ;;
    esac
    if ! has_server "$pg_config" || [ -z "$own_libraries" ] || [ -z "$own_share" ]; then
        warn "no PostgreSQL to copy at $root; the embedded server will fetch one when it is first used"
        return 0
    fi
    made_from="$("$bin/postgres" --version) $bin $(cksum <"$bin/postgres")"
    if [ "$(cat "$own/made-from" 2>/dev/null || :)" != "$made_from" ]; then
        say "copying $("$pg_config" --version) to $private/postgresql"
        put_tree "$root" "$own"
        case $share/ in
            "$root"/*) ;;
            *) put_tree "$share" "$own_share" ;;
        esac
        say "$made_from" >"$own/made-from"
    fi
    put_extension "$own_libraries" "$own_share/extension"
    for program in postgres initdb pg_ctl psql; do
        "$own/bin/$program" --version >/dev/null ||
            err "$program does not run from $own: that PostgreSQL cannot be copied to another place"
    done
}

service_user() {
    if is_root && ! id postgres >/dev/null 2>&1; then
        useradd --system --user-group --shell /usr/sbin/nologin postgres ||
            err "root's embedded server needs a user named postgres, which could not be made"
        say "made the user postgres, which root's embedded server runs as"
    fi
}

find_rust
into_server=no
[ -z "$pg_config" ] || into_server=yes
need_packages
check_postgres
check_places
sweep
build
put_extension "$private/extension/$major/lib" "$private/extension/$major/share"
copy_postgres
if [ "$into_server" = yes ]; then
    put_extension "$libraries" "$share/extension"
    say "installed the extension into PostgreSQL $major ($libraries)"
fi
service_user
put "$target/installed/mosaic" "$mosaic" 755
put_shared
put "$here/install.sh" "$private/install.sh" 755
put_receipt
say "installed $("$mosaic" --version) as $mosaic"
case ":$PATH:" in
    *":$prefix/bin:"*) ;;
    *) say "$prefix/bin is not on your PATH: add it to call \`mosaic\` by its name" ;;
esac

if [ "$demo" = yes ]; then
    "$here/docs/demo.sh" "$mosaic"
fi
