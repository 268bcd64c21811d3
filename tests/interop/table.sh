#!/bin/bash
# Writes the table of peers, features and results into README.md, from what the tests left in target/interop.
#
#   table.sh          after: cargo nextest run --test interop
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
results=$here/../../target/interop
[ -n "$(ls "$results" 2> /dev/null)" ] || { echo "table.sh: no results in $results: run the tests first" >&2; exit 1; }

# rows PEER VERSION COLUMNS HEADING: the peer's features that were tried in one of the columns.
rows() {
  cat "$results"/* | awk -F '\t' -v peer="$1" -v version="$2" -v columns="$3" -v heading="$4" '
    BEGIN { width = split(columns, column, " ") }
    $1 == peer && (" " columns " ") ~ (" " $3 " ") { features[$2] = 1; cell[$2, $3] = $4 }
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
      printf "\n| %s %s | %s |\n|---|---|---|---|\n", peer, version, heading
      for (i = 1; i <= count; i++) {
        printf "| %s |", names[i]
        for (t = 1; t <= width; t++) printf " %s |", ((names[i], column[t]) in cell) ? cell[names[i], column[t]] : "–"
        printf "\n"
      }
    }'
}

table() {
  local peer version
  "$here/peers.sh" versions | while read -r peer version; do
    rows "$peer" "$version" "UDP TCP TLS" "UDP | TCP | TLS"
    rows "$peer" "$version, audio" "RTP SDES DTLS" "RTP | SDES over TLS | DTLS"
  done
}

text=$(table)
awk -v text="$text" '
  /<!-- table -->/ { print; print text; print ""; skip = 1; next }
  /<!-- end of table -->/ { skip = 0 }
  !skip' "$here/README.md" > "$here/README.md.part"
mv "$here/README.md.part" "$here/README.md"
