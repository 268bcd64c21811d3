#!/bin/bash
# Installs the vendors' own SDKs, which check the fakes of tests/fakes, into target/sdk-venv. Each stage lists its own
# in tests/sdk/STAGE.txt. Does nothing twice.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
place=$here/../../target/sdk-venv
wanted=$(cat "$here"/*.txt | sort -u)

[ "$(cat "$place/installed" 2> /dev/null)" != "$wanted" ] || exit 0
echo "sdk: installing" $wanted >&2
[ -x "$place/bin/pip" ] || python3 -m venv "$place" || {
  echo 'sdk: python3 has no venv: apt-get install python3-venv' >&2
  exit 1
}
"$place/bin/pip" install --quiet --disable-pip-version-check $wanted
echo "$wanted" > "$place/installed"
