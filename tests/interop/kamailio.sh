#!/bin/bash
# Kamailio as an edge proxy (kamailio/kamailio.cfg says how) until it is ended by SIGTERM.
#
#   kamailio.sh DIRECTORY ADDRESS SERVER PHONE KEYS
#
# ADDRESS  its own, ports 5060 (UDP, TCP) and 5061 (TLS)      SERVER  the media server's, UDP port 5060
# PHONE    whom the server's calls go to, UDP port 5060      KEYS    what certificates.sh made: it shows good.crt
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
directory=$1 ip=$2 server=$3 phone=$4 keys=$5
"$here/peers.sh" fetch
modules=$(echo "$("$here/peers.sh" root /usr/sbin/kamailio)"/usr/lib/*-linux-gnu/kamailio/modules)
mkdir -p "$directory"
sed -e "s#@IP@#$ip#g" -e "s#@SERVER@#$server#g" -e "s#@PHONE@#$phone#g" -e "s#@MODULES@#$modules/#" -e "s#@CERTIFICATE@#$keys/good.crt#" \
  -e "s#@KEY@#$keys/good.key#" -e "s#@CA@#$keys/ca.crt#" "$here/kamailio/kamailio.cfg" > "$directory/kamailio.cfg"
exec "$here/peers.sh" run /usr/sbin/kamailio -DD -E -m 64 -M 8 -f "$directory/kamailio.cfg" -Y "$directory" -w "$directory"
