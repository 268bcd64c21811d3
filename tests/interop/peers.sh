#!/bin/bash
# The peers that the interop tests talk to: Asterisk, sipp and baresip out of Debian's own packages,
# unpacked into a directory. Nothing is installed into the machine, nothing needs root and there is no
# chroot: each program is started by the dynamic linker that came with it.
#
#   peers.sh fetch                unpack whatever is missing (no network when all is there)
#   peers.sh run PROGRAM ARG...   start one of them: peers.sh run /usr/bin/sipp -v
#   peers.sh root                 print the directory
#
# OFFHOOK_CACHE        where it is kept (default: target/cache of this checkout), about 150 MB
# OFFHOOK_PEER_SUITES  Debian suites to try, in this order (default: forky sid)
#
# Debian stable carries no Asterisk, so a later suite is read through a private apt root. The mirror is
# the one that this machine's apt already uses, and signatures are checked against Debian's keyring.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${OFFHOOK_CACHE:-$here/../../target/cache}
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)
root=$cache/peers
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
wanted="asterisk asterisk-core-sounds-en-gsm sip-tester baresip-core"

# Packages of the closure that only maintainer scripts, or modules that we do not load, would use.
unneeded='^(adduser|asterisk-config|base-passwd|debconf|dirmngr|dpkg|freetds-common|gcc-.*-base|gnupg.*|gpg.*|login.*|media-types|passwd|pci\.ids|perl.*|libperl.*|pinentry.*|python3.*|libpython3.*|readline-common|tzdata|libc-gconv-modules-extra|libcodec2.*|libicu.*|libsnmp.*|libsensors.*|libpci3|libpq5|libsybdb.*|libodbc.*|libjack.*|libportaudio.*|libpam.*|libvpx.*|libneon.*|libgmime.*|libgpgme.*|libradcli.*|libical.*|liblua.*|libiksemel.*)$'

case $(dpkg --print-architecture) in
  amd64) triplet=x86_64-linux-gnu loader=ld-linux-x86-64.so.2 ;;
  arm64) triplet=aarch64-linux-gnu loader=ld-linux-aarch64.so.1 ;;
  *) echo "peers.sh: unknown architecture $(dpkg --print-architecture)" >&2; exit 1 ;;
esac
libraries=$root/usr/lib/$triplet

loader() {
  local f
  for f in "$libraries/$loader" "$root/usr/lib64/$loader" "$root/usr/lib/$loader"; do
    if [ -e "$f" ]; then echo "$f"; return; fi
  done
  echo "peers.sh: the peers are not unpacked: run $0 fetch" >&2
  exit 1
}

start() {
  local program=$1
  shift
  exec "$(loader)" --library-path "$libraries:$libraries/asterisk:$libraries/baresip" "$root$program" "$@"
}

# fetch_suite SUITE APT NEW: unpack $wanted of SUITE into NEW, with APT as the private apt root.
fetch_suite() {
  local suite=$1 apt=$2 new=$3 mirror deb dir
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 2>/dev/null | grep -E '/debian/?$' | head -n 1)
  if [ -z "$mirror" ]; then echo "peers.sh: apt on this machine names no Debian mirror" >&2; return 1; fi
  mkdir -p "$apt"/etc/apt/{apt.conf.d,preferences.d,trusted.gpg.d,sources.list.d} "$apt"/var/lib/apt/lists/partial \
    "$apt"/var/lib/dpkg "$apt"/var/cache/apt/archives/partial "$apt"/var/log/apt "$apt"/debs
  : > "$apt/var/lib/dpkg/status"
  echo "deb [signed-by=$keyring] $mirror $suite main" > "$apt/etc/apt/sources.list"
  # A mirror snapshot may be past its Valid-Until; the signature is still checked.
  local options=(-qq -o "Dir=$apt" -o "Dir::State::status=$apt/var/lib/dpkg/status" -o Acquire::Check-Valid-Until=false
    -o Acquire::Languages=none -o "APT::Sandbox::User=$(id -un)" -o Debug::NoLocking=1 -o Acquire::Retries=3)
  apt-get "${options[@]}" update || return 1
  # shellcheck disable=SC2086 # a list of package names
  apt-get "${options[@]}" -s --no-install-recommends install $wanted > "$apt/plan" || return 1
  awk '/^Inst /{print $2}' "$apt/plan" | sed 's/:.*//' | grep -Ev "$unneeded" > "$apt/list"
  echo "peers.sh: fetching $(wc -l < "$apt/list") packages of Debian $suite" >&2
  # shellcheck disable=SC2046
  (cd "$apt/debs" && apt-get "${options[@]}" download $(cat "$apt/list")) || return 1

  for dir in bin sbin lib lib64; do mkdir -p "$new/usr/$dir"; ln -s "usr/$dir" "$new/$dir"; done
  for deb in "$apt"/debs/*.deb; do
    dpkg-deb --fsys-tarfile "$deb" | tar -C "$new" -x --keep-directory-symlink --no-same-owner \
      --exclude=./usr/share/doc --exclude=./usr/share/man --exclude=./usr/share/locale
  done
  # What the packages' postinst scripts would do with update-alternatives.
  [ -e "$new/usr/share/asterisk/sounds/en" ] || ln -s en_US_f_Allison "$new/usr/share/asterisk/sounds/en"
  (cd "$apt/debs" && sha256sum -- *.deb) > "$new/packages.sha256"
  echo "$suite" > "$new/suite"
}

fetch() {
  local suite scratch
  if [ -s "$root/suite" ]; then return 0; fi
  # Two runs at once: the second waits and finds the work done.
  exec 9> "$cache/peers.lock"
  flock 9
  if [ -s "$root/suite" ]; then return 0; fi
  for tool in apt-get dpkg-deb tar; do
    command -v "$tool" > /dev/null || { echo "peers.sh: $tool is missing" >&2; return 1; }
  done
  [ -s "$keyring" ] || { echo "peers.sh: install debian-archive-keyring" >&2; return 1; }
  for suite in ${OFFHOOK_PEER_SUITES:-forky sid}; do
    scratch=$(mktemp -d "$cache/peers.XXXXXX")
    if fetch_suite "$suite" "$scratch/apt" "$scratch/root"; then
      rm -rf "$root"
      mv "$scratch/root" "$root"
      rm -rf "$scratch"
      echo "peers.sh: unpacked into $root ($(du -sm "$root" | cut -f1) MB)" >&2
      return 0
    fi
    rm -rf "$scratch"
    echo "peers.sh: Debian $suite did not give all of: $wanted" >&2
  done
  return 1
}

case ${1:-} in
  fetch) fetch ;;
  root) echo "$root" ;;
  run) shift; start "$@" ;;
  *) echo "usage: $0 fetch | run PROGRAM ARG... | root" >&2; exit 2 ;;
esac
