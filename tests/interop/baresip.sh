#!/bin/bash
# baresip without sound card or screen: one call, or one that it waits for. It plays a WAV file to the
# other side and writes what passed in either direction.
#
#   baresip.sh DIRECTORY PLAY.wav call sip:600@127.0.0.10:5060 [SECONDS]   place a call
#   baresip.sh DIRECTORY PLAY.wav answer [SECONDS]                         answer the first one
#
# Afterwards DIRECTORY holds sent.wav, heard.wav and log. It hangs up after SECONDS (10), by itself, or
# at the end of PLAY.wav if that comes first; it exits 0 when the call was established.
#
# BARESIP_IP (127.0.0.30), BARESIP_PORT (5060)         its SIP address
# BARESIP_RTP (30000-30999)                            its RTP ports
# BARESIP_USER, BARESIP_PASSWORD, BARESIP_REGISTRAR    register there first (ADDRESS:PORT)
# BARESIP_CODECS (PCMU,PCMA)                           PLAY.wav has the codec's rate, mono; of opus/48000/2, stereo
# BARESIP_SECURITY                                     sdes or dtls: no call without it
# BARESIP_CA                                           the authority whose certificates it takes: TLS, on the next port
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
directory=$1 play=$2 action=$3
shift 3
target=
if [ "$action" = call ]; then target=$1; shift; fi
seconds=${1:-10}
ip=${BARESIP_IP:-127.0.0.30}
case ${BARESIP_SECURITY:-} in
  sdes) security=';mediaenc=srtp-mand' ;;
  dtls) security=';mediaenc=dtls_srtp' ;;
  *) security= ;;
esac
port=${BARESIP_PORT:-5060}
"$here/peers.sh" fetch
root=$("$here/peers.sh" root)
mkdir -p "$directory"
directory=$(cd "$directory" && pwd)
rm -f "$directory"/dump-*.wav "$directory"/{sent,heard}.wav

cat > "$directory/config" <<C
poll_method epoll
sip_listen $ip:$port
net_interface $ip
call_local_timeout 60
audio_source aufile,$play
audio_player aufile,$directory/player.wav
audio_alert ausine,440
ausrc_format s16
auplay_format s16
auenc_format s16
audec_format s16
sip_cafile ${BARESIP_CA:-/dev/null}
sip_verify_server yes
rtp_ports ${BARESIP_RTP:-30000-30999}
rtcp_mux no
jitter_buffer_type fixed
jitter_buffer_delay 2-10
module_path $root/usr/lib/baresip/modules
module g711.so
module g722.so
module opus.so
module srtp.so
module dtls_srtp.so
module aufile.so
module ausine.so
module sndfile.so
snd_path $directory
module_tmp uuid.so
module_tmp account.so
module_app menu.so
C
user=${BARESIP_USER:-baresip}
if [ -n "${BARESIP_REGISTRAR:-}" ]; then
  account="<sip:$user@$BARESIP_REGISTRAR${BARESIP_CA:+;transport=tls}>;auth_user=$user;auth_pass=${BARESIP_PASSWORD:-};regint=120"
else
  account="<sip:$user@$ip:$port>;regint=0"
fi
if [ "$action" = answer ]; then account+=";answermode=auto"; fi
echo "$account$security;audio_codecs=${BARESIP_CODECS:-PCMU,PCMA}" > "$directory/accounts"
: > "$directory/contacts"

commands=()
if [ "$action" = call ]; then commands=(-e "/dial $target"); fi
# -t ends it, with BYE for a call that is still up; the second limit is for a baresip that hangs.
timeout "$((seconds + 15))" "$here/peers.sh" run /usr/bin/baresip -v -f "$directory" -t "$seconds" "${commands[@]}" \
  < /dev/null > "$directory/log" 2>&1 || true
for f in "$directory"/dump-*-enc.wav; do if [ -e "$f" ]; then mv "$f" "$directory/sent.wav"; fi; done
for f in "$directory"/dump-*-dec.wav; do if [ -e "$f" ]; then mv "$f" "$directory/heard.wav"; fi; done
grep -q 'Call established' "$directory/log"
