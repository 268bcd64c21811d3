#!/bin/bash
# Certificates for tests: an authority, and what it signs or does not.
#
#   certificates.sh DIRECTORY ADDRESS...     the addresses go into the certificates that are right
#
#   ca.crt                      the authority
#   good.crt good.key           right: signed by it, for the addresses and for pbx.test
#   expired.crt expired.key     the same, but of a year that is over
#   other.crt other.key         for somebody-else.test
#   stranger.crt stranger.key   right, but signed by an authority that nobody knows
#   client.crt client.key       a client's
#   rsa.crt rsa.key             RSA and signed by itself, for media
# Each .crt has its .pem beside it, certificate and key in one file, as baresip wants them.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
directory=$1
shift
"$here/peers.sh" fetch
mkdir -p "$directory"
cd "$directory"
ssl() { OPENSSL_CONF=/dev/null "$here/peers.sh" run /usr/bin/openssl "$@" 2> openssl.log || { cat openssl.log >&2; return 1; }; }
key() { ssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.key"; }

# authority NAME
authority() {
  key "$1"
  printf 'basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n' > "$1.ext"
  ssl x509 -new -key "$1.key" -subj "/CN=Offhook tests $1" -days 30 -extfile "$1.ext" -out "$1.crt"
}

# certificate NAME AUTHORITY SUBJECT-ALTERNATIVE-NAMES VALIDITY...
certificate() {
  local name=$1 authority=$2 names=$3
  shift 3
  key "$name"
  printf 'basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\nextendedKeyUsage=serverAuth,clientAuth\nsubjectAltName=%s\nauthorityKeyIdentifier=keyid\n' \
    "$names" > "$name.ext"
  ssl x509 -new -force_pubkey "$name.key" -subj "/CN=$name" -CA "$authority.crt" -CAkey "$authority.key" \
    -extfile "$name.ext" "$@" -out "$name.crt"
  cat "$name.crt" "$name.key" > "$name.pem"
}

# linphonec compares addresses as text, with names.
ours=DNS:pbx.test
for address in "$@"; do ours+=",IP:$address,DNS:$address"; done
authority ca
authority unknown
certificate good ca "$ours" -days 30
certificate expired ca "$ours" -not_before 20230101000000Z -not_after 20240101000000Z
certificate other ca DNS:somebody-else.test -days 30
certificate stranger unknown "$ours" -days 30
certificate client ca DNS:client.test -days 30
ssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa.key
ssl x509 -new -key rsa.key -subj /CN=media -days 30 -out rsa.crt
cat rsa.crt rsa.key > rsa.pem
rm -f ./*.ext openssl.log
