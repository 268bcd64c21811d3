#!/bin/bash
# linphonec without sound card or screen: one call. It plays a WAV file to the other side and writes what it hears.
#
#   linphonec.sh DIRECTORY PLAY.wav call sip:600@127.0.0.10:5060 [SECONDS]
#
# Afterwards DIRECTORY holds heard.wav and log. It hangs up after SECONDS (10); it exits 0 when the call was
# established.
#
# LINPHONEC_IP (127.0.0.30)                                 its address; SIP on port 5060, TLS on 5061
# LINPHONEC_RTP (32000)                                     its RTP port
# LINPHONEC_USER, LINPHONEC_PASSWORD, LINPHONEC_REGISTRAR   register there first (ADDRESS:PORT)
# LINPHONEC_CODEC (PCMU, else PCMA)                         the only codec that it offers: PCMU, PCMA, G722 or opus
# LINPHONEC_SECURITY                                        sdes or dtls: no call without it
# LINPHONEC_CA                                              the authority whose certificates it takes: TLS
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
directory=$1 target=$4 seconds=${5:-10}
play=$(realpath "$2")
ip=${LINPHONEC_IP:-127.0.0.30}
user=${LINPHONEC_USER:-linphone}
codecs=" ${LINPHONEC_CODEC:-PCMU PCMA} "
case ${LINPHONEC_SECURITY:-} in
  sdes) encryption=srtp mandatory=1 ;;
  dtls) encryption=dtls mandatory=1 ;;
  *) encryption=none mandatory=0 ;;
esac
"$here/peers.sh" fetch
mkdir -p "$directory/.local/share/linphone"
directory=$(cd "$directory" && pwd)
rm -f "$directory"/{heard.wav,log}

{
  cat << C
[sip]
bind_address=$ip
sip_port=5060
sip_tcp_port=5060
sip_tls_port=5061
guess_hostname=0
contact=sip:$user@$ip
use_ipv6=0
verify_server_certs=1
verify_server_cn=1
root_ca=${LINPHONEC_CA:-/dev/null}
media_encryption=$encryption
media_encryption_mandatory=$mandatory
keepalive_period=0
register_only_when_network_is_up=0
auto_net_state_mon=0
[net]
mtu=1300
nat_policy_ref=
[rtp]
bind_address=$ip
audio_rtp_port=${LINPHONEC_RTP:-32000}
[sound]
echocancellation=0
[video]
enabled=0
[misc]
config-uri=
C
  number=0
  for codec in PCMU:8000 PCMA:8000 opus:48000 speex:16000 speex:8000 G722:8000 GSM:8000 iLBC:8000; do
    IFS=: read -r mime rate <<< "$codec"
    enabled=0
    if [[ $codecs = *" $mime "* ]]; then enabled=1; fi
    printf '[audio_codec_%d]\nmime=%s\nrate=%d\nenabled=%d\n' "$number" "$mime" "$rate" "$enabled"
    number=$((number + 1))
  done
} > "$directory/linphonerc"

# It looks for its grammars in share/ of where it is started.
cd "$("$here/peers.sh" root /usr/bin/linphonec)/usr"
{
  sleep 1
  echo "soundcard use files"
  if [ -n "${LINPHONEC_REGISTRAR:-}" ]; then
    echo "register sip:$user@$LINPHONEC_REGISTRAR sip:$LINPHONEC_REGISTRAR${LINPHONEC_CA:+;transport=tls} ${LINPHONEC_PASSWORD:-}"
    sleep 2
  fi
  echo "record $directory/heard.wav"
  echo "play $play"
  echo "call $target"
  sleep "$seconds"
  echo terminate
  sleep 0.5
  echo quit
} | HOME=$directory timeout "$((seconds + 20))" "$here/peers.sh" run /usr/bin/linphonec -c "$directory/linphonerc" \
  -d 6 -l "$directory/log" > "$directory/out" 2>&1 || true
grep -q 'LinphoneCallStreamsRunning' "$directory/log"
