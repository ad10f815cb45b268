#!/bin/bash
# The two images the end-to-end tests run, made from this machine's own binaries: no registry is asked.
#
#   ubuntu                    GNU tar, bzip2, bash, coreutils: what the documented commands call
#   voltar-test-postgres:15   PostgreSQL that makes its cluster and runs as 70:70, as the Alpine image does
#
# Idempotent: an image that an unchanged script made before is kept. An `ubuntu` image that came from elsewhere is
# never replaced; it does if the documented command works in it.
#
#   images.sh            make what is missing
#   images.sh --remove   remove what this script made
set -euo pipefail

postgres_home=${VOLTAR_TEST_POSTGRES:-/usr/lib/postgresql/15}
postgres_image=voltar-test-postgres:15
label=voltar.test.recipe
# A change of this script or of the tools it copies makes new images.
recipe=$( (cat "$0"; tar --version; bzip2 --version 2>&1 </dev/null; "$postgres_home/bin/postgres" --version) 2>/dev/null |
    sha256sum | cut -c1-16)

made_with() { docker image inspect --format "{{index .Config.Labels \"$label\"}}" "$1" 2>/dev/null || true; }

if [ "${1-}" = --remove ]; then
    for image in ubuntu "$postgres_image"; do
        if [ -n "$(made_with "$image")" ]; then docker image rm "$image" >/dev/null; fi
    done
    exit
fi

for tool in tar bzip2 "$postgres_home/bin/postgres"; do
    command -v "$tool" >/dev/null || { echo "images.sh: no $tool here" >&2; exit 1; }
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Copies a file to the same place below $root, with the libraries it needs. `/bin` and `/lib` are links into
# `/usr`, as on any current system, so everything lands where its real path says.
put() {
    local file real
    for file in "$@"; do
        [ -e "$root$file" ] && continue
        real=$(realpath "$(dirname "$file")")/$(basename "$file")
        mkdir -p "$root$(dirname "$real")"
        [ -e "$root$real" ] || cp -L --preserve=mode,timestamps "$file" "$root$real"
        # shellcheck disable=SC2046 # a library's path holds no blanks
        put $(ldd "$file" 2>/dev/null | grep -o '/[^ ]*' || true)
    done
}

commands() { local name; for name in "$@"; do put "$(type -P "$name")"; done; }

base() {
    root=$work/$1
    mkdir -p "$root"/usr/{bin,sbin,lib,lib64} "$root"/{etc,proc,sys,dev,root,home} "$root/var/lib"
    mkdir -m 1777 "$root/tmp"
    ln -s usr/bin usr/sbin usr/lib usr/lib64 "$root/"
    commands bash tar bzip2 gzip cat chmod chown cp date dd du echo env find grep head id install kill ln ls mkdir mkfifo \
        mknod mv nproc printf readlink rm rmdir sed sha256sum sleep sort stat sync tail test touch truncate true wc
    ln -s bash "$root/usr/bin/sh"
}

import() { # NAME, then --change options
    local name=$1 old; shift
    old=$(docker image inspect --format '{{.Id}}' "$name" 2>/dev/null || true)
    tar -C "$root" --owner=0 --group=0 --numeric-owner -c . |
        docker import --change "LABEL $label=$recipe" "$@" - "$name" >/dev/null
    # The one it replaces would stay as an image without a name.
    if [ -n "$old" ]; then docker image rm "$old" >/dev/null 2>&1 || true; fi
    echo "images.sh: made $name"
}

case $(made_with ubuntu) in
"$recipe") ;;
'')
    if docker image inspect ubuntu >/dev/null 2>&1; then
        docker run --rm ubuntu tar -cjf /dev/null /etc/passwd >/dev/null 2>&1 || {
            echo "images.sh: the image 'ubuntu' on this machine cannot run tar -cj; the tests need one that can" >&2
            exit 1
        }
    else
        make_ubuntu=yes
    fi
    ;;
*) make_ubuntu=yes ;;
esac

if [ -n "${make_ubuntu-}" ]; then
    base ubuntu
    # The names of a current Ubuntu: the documented archives carry `ubuntu` for 1000, and nothing for 70.
    cat >"$root/etc/passwd" <<END
root:x:0:0:root:/root:/bin/bash
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
ubuntu:x:1000:1000:Ubuntu:/home/ubuntu:/bin/bash
END
    cut -d: -f1,2,4 "$root/etc/passwd" | sed 's/$/:/' >"$root/etc/group"
    import ubuntu --change 'CMD ["/bin/bash"]'
fi

if [ "$(made_with "$postgres_image")" != "$recipe" ]; then
    base postgres
    commands setpriv
    put "$postgres_home"/bin/{initdb,postgres,pg_ctl,pg_dump,pg_isready,psql,pg_controldata}
    mkdir -p "$root$postgres_home/lib" "$root/usr/share/postgresql" "$root/usr/lib/locale" "$root/run/postgresql"
    # Only what a plain cluster loads: the language PL/pgSQL, and the conversions and dictionaries initdb installs.
    put "$postgres_home"/lib/{plpgsql,dict_snowball,*_and_*}.so
    cp -rL "/usr/share/postgresql/$(basename "$postgres_home")" "$root/usr/share/postgresql/"
    cp -r /usr/lib/locale/C.utf8 "$root/usr/lib/locale/"
    mkdir -p "$root/usr/share/zoneinfo/Etc"
    cp -L /usr/share/zoneinfo/UTC "$root/usr/share/zoneinfo/" && cp -L /usr/share/zoneinfo/UTC "$root/usr/share/zoneinfo/Etc/"
    ln -s ../run "$root/var/run"
    cat >"$root/etc/passwd" <<END
root:x:0:0:root:/root:/bin/bash
postgres:x:70:70:PostgreSQL:/var/lib/postgresql:/bin/bash
django:x:1000:1000:CVAT:/home/django:/bin/bash
END
    printf 'root:x:0:\npostgres:x:70:\ndjango:x:1000:\n' >"$root/etc/group"
    # In short what the official image's entry point does.
    cat >"$root/usr/bin/docker-entrypoint" <<'END'
#!/bin/bash
set -e
if [ "$(id -u)" = 0 ]; then
    mkdir -p "$PGDATA" && chmod 700 "$PGDATA" && chown 70:70 "$PGDATA" /run/postgresql
    exec setpriv --reuid=70 --regid=70 --clear-groups "$0" "$@"
fi
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    initdb --username="$POSTGRES_USER" --auth=trust --encoding=UTF8 --locale=C.UTF-8 --no-sync
    # Alone, on a socket of its own, so that no client meets a server that has no database yet.
    pg_ctl -w -o "-c listen_addresses='' -c unix_socket_directories=/tmp" start
    psql -h /tmp -U "$POSTGRES_USER" -d postgres -c "CREATE DATABASE \"$POSTGRES_DB\""
    pg_ctl -w -m fast stop
fi
exec postgres "$@"
END
    chmod 755 "$root/usr/bin/docker-entrypoint"
    import "$postgres_image" \
        --change "ENV PATH=$postgres_home/bin:/usr/bin PGDATA=/var/lib/postgresql/data LANG=C.UTF-8 PG_MAJOR=15" \
        --change 'ENTRYPOINT ["docker-entrypoint"]' --change 'CMD []'
fi
