#!/bin/bash
# Installs Pipecat, for tests/bridge_pipecat.rs, into a virtual environment of its own in the cache. Does nothing twice.
set -euo pipefail

cache=${OFFHOOK_CACHE:-$(cd "$(dirname "$0")/../../.." && pwd)/target/cache}
place=$cache/pipecat
version=1.14.0
wanted="pipecat-ai[websocket]==$version"

[ "$(cat "$place/installed" 2> /dev/null)" != "$wanted" ] || exit 0
echo "pipecat: installing $wanted" >&2
rm -rf "$place"
python3 -m venv "$place" || {
  echo 'pipecat: python3 has no venv: apt-get install python3-venv' >&2
  exit 1
}
"$place/bin/pip" install --quiet --disable-pip-version-check "$wanted" uvicorn
echo "$wanted" > "$place/installed"
