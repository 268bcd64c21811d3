#!/bin/bash
# Writes the table of peers, features and results into README.md, from what the tests left in target/interop.
#
#   table.sh          after: cargo nextest run --test 'interop_*'
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
results=$here/../../target/interop
[ -n "$(ls "$results" 2> /dev/null)" ] || { echo "table.sh: no results in $results: run the tests first" >&2; exit 1; }

table() {
  local peer version
  "$here/peers.sh" versions | while read -r peer version; do
    cat "$results"/* | awk -F '\t' -v peer="$peer" -v version="$version" '
      $1 == peer { features[$2] = 1; cell[$2, $3] = $4 }
      END {
        count = 0
        for (feature in features) names[++count] = feature
        if (count == 0) exit
        # Sorted by insertion: the awk of small systems has no asort.
        for (i = 2; i <= count; i++) {
          name = names[i]
          for (j = i - 1; j > 0 && tolower(names[j]) > tolower(name); j--) names[j + 1] = names[j]
          names[j + 1] = name
        }
        printf "\n| %s %s | UDP | TCP | TLS |\n|---|---|---|---|\n", peer, version
        for (i = 1; i <= count; i++) {
          printf "| %s |", names[i]
          split("UDP TCP TLS", transports, " ")
          for (t = 1; t <= 3; t++) printf " %s |", ((names[i], transports[t]) in cell) ? cell[names[i], transports[t]] : "–"
          printf "\n"
        }
      }'
  done
}

text=$(table)
awk -v text="$text" '
  /<!-- table -->/ { print; print text; print ""; skip = 1; next }
  /<!-- end of table -->/ { skip = 0 }
  !skip' "$here/README.md" > "$here/README.md.part"
mv "$here/README.md.part" "$here/README.md"
