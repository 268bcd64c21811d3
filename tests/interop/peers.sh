#!/bin/bash
# The peers that the interop tests talk to. Nothing is installed into the machine, nothing needs root and
# there is no chroot: everything is unpacked into directories of its own.
#
#   Asterisk, sipp, baresip, Kamailio   Debian's packages, started by the dynamic linker that came with them
#   linphonec                           the same, from the last suite that carries it
#   pjsua                               built from the PJSIP source inside Debian's Asterisk source package
#                                       (no package carries it): 60 s of one core, once
#
#   peers.sh fetch                unpack or build whatever is missing (no network when all is there)
#   peers.sh run PROGRAM ARG...   start one of them: peers.sh run /usr/bin/sipp -v
#   peers.sh root [PROGRAM]       print the directory that a program is in (/usr/sbin/asterisk)
#   peers.sh versions             print what the peers are, one "name version" a line
#
# OFFHOOK_CACHE        where it is kept (default: target/cache of this checkout), about 400 MB
# OFFHOOK_PEER_SUITES  Debian suites to try for Asterisk, in this order (default: forky sid)
#
# Debian stable carries no Asterisk, so a later suite is read through a private apt root. The mirror is
# the one that this machine's apt already uses, and signatures are checked against Debian's keyring.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${OFFHOOK_CACHE:-$here/../../target/cache}
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)
root=$cache/peers linphone=$cache/linphone pjsua=$cache/pjsua
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
suites=${OFFHOOK_PEER_SUITES:-forky sid}
wanted="asterisk asterisk-core-sounds-en-gsm sip-tester baresip-core kamailio kamailio-tls-modules openssl"
# What pjsua is built on, from this machine's own suite, linked in whole so that the program runs anywhere.
pjsua_on="libssl-dev libopus-dev"

# Packages of the closures that only maintainer scripts, windows, or modules that we do not load, would use.
unneeded='^(adduser|asterisk-config|base-passwd|debconf|dirmngr|dpkg|freetds-common|gcc-.*-base|gnupg.*|gpg.*|login.*|media-types|passwd|pci\.ids|perl.*|libperl.*|pinentry.*|python3.*|libpython3.*|readline-common|tzdata|libc-gconv-modules-extra|libcodec2-[^1].*|libsnmp.*|libsensors.*|libpci3|libpq5|libsybdb.*|libodbc.*|libjack.*|libportaudio.*|libpam.*|libneon.*|libgmime.*|libgpgme.*|libradcli.*|libical.*|liblua.*|libiksemel.*)$'
unneeded_by_asterisk='^(libcodec2.*|libicu.*|libvpx.*)$'
unneeded_by_linphonec='^(libllvm.*|libgl1.*|libglx.*|libgbm.*|libegl.*|libqt5.*|qttranslations.*|libdrm.*|libz3.*|x11-common|xkb-data|shared-mime-info|tar|fontconfig.*|fonts.*|ucf|libgtk.*|coreutils|systemd.*|libwacom.*|bind9-host|sensible-utils|lsb-base|sysvinit-utils)$'

case $(dpkg --print-architecture) in
  amd64) triplet=x86_64-linux-gnu loader=ld-linux-x86-64.so.2 ;;
  arm64) triplet=aarch64-linux-gnu loader=ld-linux-aarch64.so.1 ;;
  *) echo "peers.sh: unknown architecture $(dpkg --print-architecture)" >&2; exit 1 ;;
esac

start() {
  local program=$1 tree file libraries
  shift
  if [ -x "$pjsua$program" ]; then exec "$pjsua$program" "$@"; fi
  for tree in "$root" "$linphone"; do
    libraries=$tree/usr/lib/$triplet
    for file in "$libraries/$loader" "$tree/usr/lib64/$loader" "$tree/usr/lib/$loader"; do
      if [ -x "$tree$program" ] && [ -e "$file" ]; then
        exec "$file" --library-path "$libraries:$libraries/asterisk:$libraries/baresip:$libraries/kamailio:$libraries/pulseaudio" \
          "$tree$program" "$@"
      fi
    done
  done
  echo "peers.sh: $program is not unpacked: run $0 fetch" >&2
  exit 1
}

# open_apt SUITE DIRECTORY [deb-src]: a private apt root; sets $apt to the options that lead there.
open_apt() {
  local suite=$1 dir=$2 kind mirror
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 2>/dev/null | grep -E '/debian/?$' | head -n 1)
  if [ -z "$mirror" ]; then echo "peers.sh: apt on this machine names no Debian mirror" >&2; return 1; fi
  mkdir -p "$dir"/etc/apt/{apt.conf.d,preferences.d,trusted.gpg.d,sources.list.d} "$dir"/var/lib/apt/lists/partial \
    "$dir"/var/lib/dpkg "$dir"/var/cache/apt/archives/partial "$dir"/var/log/apt "$dir"/debs
  : > "$dir/var/lib/dpkg/status"
  for kind in deb "${@:3}"; do echo "$kind [signed-by=$keyring] $mirror $suite main"; done > "$dir/etc/apt/sources.list"
  # A mirror snapshot may be past its Valid-Until; the signature is still checked.
  apt=(-qq -o "Dir=$dir" -o "Dir::State::status=$dir/var/lib/dpkg/status" -o Acquire::Check-Valid-Until=false
    -o Acquire::Languages=none -o "APT::Sandbox::User=$(id -un)" -o Debug::NoLocking=1 -o Acquire::Retries=3)
  apt-get "${apt[@]}" update
}

# unpack SUITE SCRATCH UNNEEDED PACKAGE...: the packages and what they need, into SCRATCH/root.
unpack() {
  local suite=$1 scratch=$2 more=$3 deb dir
  shift 3
  open_apt "$suite" "$scratch/apt" || return 1
  apt-get "${apt[@]}" -s --no-install-recommends install "$@" > "$scratch/plan" || return 1
  awk '/^Inst /{print $2}' "$scratch/plan" | sed 's/:.*//' | grep -Ev "$unneeded" | grep -Ev "$more" > "$scratch/list"
  echo "peers.sh: fetching $(wc -l < "$scratch/list") packages of Debian $suite" >&2
  # shellcheck disable=SC2046
  (cd "$scratch/apt/debs" && apt-get "${apt[@]}" download $(cat "$scratch/list")) || return 1
  for dir in bin sbin lib lib64; do mkdir -p "$scratch/root/usr/$dir"; ln -s "usr/$dir" "$scratch/root/$dir"; done
  for deb in "$scratch"/apt/debs/*.deb; do
    dpkg-deb --fsys-tarfile "$deb" | tar -C "$scratch/root" -x --keep-directory-symlink --no-same-owner \
      --exclude=./usr/share/doc --exclude=./usr/share/man --exclude=./usr/share/locale || return 1
  done
  (cd "$scratch/apt/debs" && sha256sum -- *.deb) > "$scratch/root/packages.sha256"
  echo "$suite" > "$scratch/root/suite"
}

fetch_asterisk() {
  unpack "$1" "$2" "$unneeded_by_asterisk" $wanted || return 1
  # What the packages' postinst scripts would do with update-alternatives.
  [ -e "$2/root/usr/share/asterisk/sounds/en" ] || ln -s en_US_f_Allison "$2/root/usr/share/asterisk/sounds/en"
  echo "$wanted" > "$2/root/wanted"
}

fetch_linphone() { unpack "$1" "$2" "$unneeded_by_linphonec" linphone-cli; }

# source_of PACKAGE PART FILE DIRECTORY: unpack one archive of a source package into DIRECTORY.
source_of() {
  local line uri
  line=$(apt-get "${apt[@]}" --print-uris source "$1" | grep -F "$2" | grep -v '\.asc' | head -n 1) || return 1
  uri=$(cut -d "'" -f 2 <<< "$line")
  /usr/lib/apt/apt-helper "${apt[@]}" download-file "$uri" "$3" "${line##* }" || return 1
  mkdir -p "$4"
  tar -C "$4" --strip-components=1 -xf "$3"
}

# TLS, SRTP keyed by SDES and DTLS, G.711, G.722 and Opus; no sound, no video. It resamples nothing: its clock rate is
# the codec's.
build_pjsua() {
  local suite=$1 scratch=$2 source with deb
  open_apt "$suite" "$scratch/apt" deb-src || return 1
  source=$scratch/source with=$scratch/with
  mkdir -p "$with"
  source_of asterisk orig-Xpjproject.tar "$scratch/pjproject.tar" "$source" || return 1
  # This machine's own suite: its libraries fit this machine's compiler.
  # shellcheck disable=SC1091
  open_apt "$(. /etc/os-release && echo "$VERSION_CODENAME")" "$scratch/own" deb-src || return 1
  source_of libsrtp2 orig.tar "$scratch/srtp.tar" "$scratch/srtp" || return 1
  # shellcheck disable=SC2086 # a list of packages
  (cd "$scratch/own/debs" && apt-get "${apt[@]}" download $pjsua_on) || return 1
  for deb in "$scratch"/own/debs/*.deb; do dpkg-deb -x "$deb" "$with" || return 1; done
  echo "peers.sh: building pjsua" >&2
  # In the makefile, but not in Debian's archive.
  touch "$source/pjmedia/src/pjmedia-audiodev/bdimad_dev.c"
  echo '#define PJMEDIA_SRTP_HAS_DTLS 1' > "$source/pjlib/include/pj/config_site.h"
  if ! (
    cd "$source"
    export CFLAGS="-O1 -I$with/usr/include -I$with/usr/include/$triplet" CXXFLAGS=-O1 LDFLAGS="-L$with/usr/lib/$triplet"
    # Debian's own libsrtp stands on NSS, which cannot be linked in.
    (cd "$scratch/srtp" && ./configure --enable-openssl --with-openssl-dir="$with/usr" && make libsrtp2.a) || exit 1
    cp "$scratch/srtp/libsrtp2.a" "$with/usr/lib/$triplet/"
    mkdir -p "$with/usr/include/srtp2"
    cp "$scratch"/srtp/include/*.h "$scratch"/srtp/crypto/include/*.h "$with/usr/include/srtp2/"
    # What the static libraries need of each other comes last.
    export LIBS="-lsrtp2 -lssl -lcrypto -lm -lpthread -ldl"
    off=(pjsua2 libuuid upnp resample sound video speex-aec speex-codec gsm-codec g7221-codec ilbc-codec sdl ffmpeg v4l2
      openh264 vpx opencore-amr silk bcg729 lyra libyuv libwebrtc)
    ./aconfigure --with-external-srtp "${off[@]/#/--disable-}" && make dep && make -j"$(nproc)" lib && make -C pjsip-apps/build pjsua
  ) > "$scratch/build.log" 2>&1; then
    tail -n 20 "$scratch/build.log" >&2
    return 1
  fi
  mkdir -p "$scratch/root/usr/bin"
  strip -o "$scratch/root/usr/bin/pjsua" "$source"/pjsip-apps/bin/pjsua-*
  awk '/^export PJ_VERSION_(MAJOR|MINOR|REV) /{printf "%s%s", sep, $4; sep="."} END {print ""}' "$source/version.mak" \
    | sed 's/\.$//' > "$scratch/root/version"
  echo "$suite" > "$scratch/root/suite"
  echo "$pjsua_on" > "$scratch/root/built-on"
}

# complete DIRECTORY FUNCTION SUITE...: fill DIRECTORY by FUNCTION, from the first suite that has everything.
complete() {
  local target=$1 function=$2 suite scratch
  shift 2
  for suite in "$@"; do
    scratch=$(mktemp -d "$cache/fetch.XXXXXX")
    if "$function" "$suite" "$scratch"; then
      rm -rf "$target"
      mv "$scratch/root" "$target"
      rm -rf "$scratch"
      echo "peers.sh: $target is complete ($(du -sm "$target" | cut -f1) MB)" >&2
      return 0
    fi
    rm -rf "$scratch"
    echo "peers.sh: $function had no success with Debian $suite" >&2
  done
  return 1
}

all_there() { [ "$(cat "$root/wanted" 2> /dev/null)" = "$wanted" ] && [ -s "$linphone/suite" ] && pjsua_there; }
pjsua_there() { [ "$(cat "$pjsua/built-on" 2> /dev/null)" = "$pjsua_on" ]; }

fetch() {
  local tool
  if all_there; then return 0; fi
  # Two runs at once: the second waits and finds the work done.
  exec 9> "$cache/peers.lock"
  flock 9
  for tool in apt-get dpkg-deb tar make cc; do
    command -v "$tool" > /dev/null || { echo "peers.sh: $tool is missing" >&2; return 1; }
  done
  [ -s "$keyring" ] || { echo "peers.sh: install debian-archive-keyring" >&2; return 1; }
  # shellcheck disable=SC2086 # lists of suites
  {
    [ "$(cat "$root/wanted" 2> /dev/null)" = "$wanted" ] || complete "$root" fetch_asterisk $suites || return 1
    [ -s "$linphone/suite" ] || complete "$linphone" fetch_linphone bookworm || return 1
    pjsua_there || complete "$pjsua" build_pjsua $suites || return 1
  }
}

versions() {
  local name
  for name in asterisk sip-tester baresip-core kamailio; do
    sed -n "s/^.* ${name}_\(.*\)_[a-z0-9]*\.deb\$/$name \1/p" "$root/packages.sha256"
  done | sed 's/ [0-9]*%3a/ /; s/+dfsg.*//; s/-[0-9.]*$//; s/^sip-tester/sipp/; s/^baresip-core/baresip/'
  sed -n 's/^.* linphone-cli_\(.*\)-.*\.deb$/linphonec \1/p' "$linphone/packages.sha256"
  echo "pjsua $(cat "$pjsua/version")"
}

case ${1:-} in
  fetch) fetch ;;
  root)
    for tree in "$root" "$linphone" "$pjsua"; do
      if [ -x "$tree${2:-/usr/sbin/asterisk}" ]; then echo "$tree"; break; fi
    done ;;
  run) shift; start "$@" ;;
  versions) versions ;;
  *) echo "usage: $0 fetch | run PROGRAM ARG... | root [PROGRAM] | versions" >&2; exit 2 ;;
esac
