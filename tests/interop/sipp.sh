#!/bin/bash
# sipp 3.8 (TLS, RTP streams with a port of their own for each call) from peers.sh:
#   sipp.sh -sf sipp/caller.xml ... ADDRESS:PORT
# SPEECH_ULAW  raw µ-law file that the scenarios play (default: ten seconds of noise bursts made here)
#
# sipp keeps its files (statistics, errors) in the current directory, and looks for the played file there.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
"$here/peers.sh" fetch
exec "$here/peers.sh" run /usr/bin/sipp "$@"
