#!/bin/bash
# Unpacks Docker 26 and compose v2 of Debian trixie in a directory, and installs nothing. Its `usr` is to be mounted above
# that of this machine, in a mount namespace. The packages come through apt with lists of its own, so that those of the
# machine stay as they are. A directory that is there is complete.
#
#   docker-26.sh DIRECTORY
set -euo pipefail

tree=$1
if [ -d "$tree" ]; then exit; fi
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
for needed in apt-get dpkg "$keyring"; do
    command -v "$needed" >/dev/null || [ -e "$needed" ] || { echo "no $needed: not a Debian machine" >&2; exit 1; }
done

mkdir -p "$(dirname "$tree")"
work=$(mktemp -d "$tree.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/{lists/partial,cache/archives/partial,packages,tree}
echo "deb [signed-by=$keyring] http://deb.debian.org/debian trixie main" >"$work/sources.list"
cat >"$work/apt.conf" <<END
Dir::Etc::sourcelist "$work/sources.list";
Dir::Etc::sourceparts "-";
Dir::State::lists "$work/lists";
Dir::Cache "$work/cache";
Acquire::http::Timeout "20";
APT::Sandbox::User "root";
END
export APT_CONFIG=$work/apt.conf
apt-get update -qq --error-on=any
# With the C library that they are linked to, which is newer than that of older releases.
(cd "$work/packages" && apt-get download -qq docker.io docker-cli docker-compose containerd runc libc6)
for package in "$work"/packages/*.deb; do dpkg -x "$package" "$work/tree"; done
chmod 755 "$work/tree"
# Another run may have been faster.
mv -T "$work/tree" "$tree" || [ -d "$tree" ]
