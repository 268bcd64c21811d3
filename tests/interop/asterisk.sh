#!/bin/bash
# A real Asterisk 22 with PJSIP on loopback, configured like a FreePBX (asterisk/*.conf).
#
#   asterisk.sh fetch            unpack it (peers.sh); no network when it is there
#   asterisk.sh up               start it and wait until it is fully booted
#   asterisk.sh down             stop it, by its pid file
#   asterisk.sh restart          down and up; registrations are forgotten, as after a power cut
#   asterisk.sh kill             end it at once, as a power cut would
#   asterisk.sh pid              print its process id
#   asterisk.sh cli COMMAND      run a command of its console
#
# Two at once do not clash when these differ:
# ASTERISK_RUN    its directory: configuration, log/full, rec/, play/in.wav (default: $OFFHOOK_CACHE/asterisk);
#                 at most 80 characters, since a Unix socket lives in it
# ASTERISK_IP     its address (127.0.0.10)            ASTERISK_PORT  its SIP port (5060)
# ASTERISK_RTP_START, ASTERISK_RTP_END                its RTP ports (20000, 23999)
# TRUNK_IP, TRUNK_PORT                                where its trunk leads (127.0.0.20, 5060)
# BOT_IP           where the bot of extensions 631 and 632 takes WebSockets, port 9090 (127.0.0.40)
# ASTERISK_EXPIRY  longest registration it grants, in seconds (3600)
#
# It speaks SIP by UDP and TCP, and by TLS on port 5061; on 5062 its certificate is over, on 5063 it is somebody
# else's. keys/ in its directory has the authority and more certificates (certificates.sh says which).
# Extensions 1001, 1002 and 1003 have the password secretNNNN. Their dial plan: asterisk/extensions.conf.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${OFFHOOK_CACHE:-$here/../../target/cache}
mkdir -p "$cache"
run=${ASTERISK_RUN:-$(cd "$cache" && pwd)/asterisk}
ip=${ASTERISK_IP:-127.0.0.10}
port=${ASTERISK_PORT:-5060}
root=$("$here/peers.sh" root)

if [ "${#run}" -gt 80 ]; then
  echo "asterisk.sh: ASTERISK_RUN is too long for the Unix socket in it: $run" >&2
  exit 1
fi

asterisk() { "$here/peers.sh" run /usr/sbin/asterisk -C "$run/etc/asterisk.conf" "$@"; }
cli() { asterisk -rx "$1"; }
pid() { cat "$run/asterisk.pid" 2> /dev/null; }
alive() {
  local p
  p=$(pid) && [ -n "$p" ] && kill -0 "$p" 2> /dev/null
}

configure() {
  local triplet file
  triplet=$(basename "$(dirname "$(find "$root/usr/lib" -maxdepth 2 -type d -name asterisk -path '*-linux-gnu/*')")")
  mkdir -p "$run"/{etc,lib,log,spool,rec,play,hold}
  for file in "$here"/asterisk/*.conf; do
    sed -e "s#@RUN@#$run#g" -e "s#@ROOT@#$root#g" -e "s#@TRIPLET@#$triplet#g" -e "s#@IP@#$ip#g" -e "s#@PORT@#$port#g" \
      -e "s#@RTP_START@#${ASTERISK_RTP_START:-20000}#g" -e "s#@RTP_END@#${ASTERISK_RTP_END:-23999}#g" \
      -e "s#@TRUNK_IP@#${TRUNK_IP:-127.0.0.20}#g" -e "s#@TRUNK_PORT@#${TRUNK_PORT:-5060}#g" \
      -e "s#@EXPIRY@#${ASTERISK_EXPIRY:-3600}#g" -e "s#@BOT_IP@#${BOT_IP:-127.0.0.40}#g" "$file" > "$run/etc/$(basename "$file")"
  done
  # Its data directory is read from the packages; its database is ours.
  for file in "$root"/usr/share/asterisk/*; do ln -sfn "$file" "$run/lib/$(basename "$file")"; done
  # Something to play while on hold, unless hold/ has music already.
  if [ -z "$(ls "$run/hold")" ]; then ln -s "$root/usr/share/asterisk/sounds/en/tt-weasels.gsm" "$run/hold/hold.gsm"; fi
  [ -s "$run/keys/good.crt" ] || "$here/certificates.sh" "$run/keys" "$ip" "${TRUNK_IP:-127.0.0.20}"
}

up() {
  "$here/peers.sh" fetch
  if alive; then return 0; fi
  configure
  rm -f "$run"/asterisk.pid "$run"/asterisk.ctl
  # A session of its own: it outlives the shell step that started it.
  setsid "$here/peers.sh" run /usr/sbin/asterisk -f -C "$run/etc/asterisk.conf" < /dev/null > "$run/log/stdout" 2>&1 &
  for _ in $(seq 150); do
    if cli 'core waitfullybooted' 2> /dev/null | grep -q 'fully booted'; then return 0; fi
    sleep 0.1
  done
  echo "asterisk.sh: it did not come up:" >&2
  tail -n 20 "$run/log/stdout" "$run/log/full" >&2
  return 1
}

down() {
  local p
  if ! alive; then return 0; fi
  p=$(pid)
  cli 'core stop now' > /dev/null 2>&1 || kill "$p" 2> /dev/null || true
  for _ in $(seq 50); do
    kill -0 "$p" 2> /dev/null || return 0
    sleep 0.1
  done
  kill -9 "$p" 2> /dev/null || true
}

case ${1:-} in
  fetch) "$here/peers.sh" fetch ;;
  up) up ;;
  down) down ;;
  restart) down; rm -f "$run"/lib/astdb.sqlite3; up ;;
  kill) if alive; then kill -9 "$(pid)"; fi ;;
  pid) pid ;;
  cli) cli "$2" ;;
  *) sed -n '4,10s/^# \{0,3\}//p' "$0" >&2; exit 2 ;;
esac
