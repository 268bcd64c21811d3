#!/bin/sh
# Fetches Asterisk's recorded English prompts and their transcripts: human speech at 8 kHz for the word error
# rate of the speech-to-text (benches/stt_wer.rs). Nothing is installed; CC-BY-SA-3.0, so nothing is committed.
#
#   tests/interop/fetch-prompts.sh        into $OFFHOOK_CACHE/prompts [target/cache/prompts]
#
# Leaves sounds/*.wav and transcripts.txt ("name: words" a line) there. Needs apt-get with a package list
# (apt-get update) and dpkg-deb. Does nothing when the prompts are there already.
set -eu

cache=${OFFHOOK_CACHE:-$(cd "$(dirname "$0")/../.." && pwd)/target/cache}
prompts=$cache/prompts
if [ -s "$prompts/transcripts.txt" ] && [ -d "$prompts/sounds" ]; then
    echo "prompts are in $prompts"
    exit 0
fi

work=$prompts.part.$$
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/debs" "$work/tree"
cd "$work/debs"
# `_apt` may not write here; the warning about it is harmless.
apt-get download asterisk-core-sounds-en asterisk-core-sounds-en-wav
for deb in *.deb; do
    dpkg-deb -x "$deb" ../tree
done

mkdir "$work/sounds"
find "$work/tree/usr/share/asterisk/sounds" -maxdepth 2 -name '*.wav' -exec mv {} "$work/sounds/" \;
gzip -dc "$work/tree/usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz" >"$work/transcripts.txt"
rm -rf "$work/debs" "$work/tree" "$prompts"
mv "$work" "$prompts"
echo "$(find "$prompts/sounds" -name '*.wav' | wc -l) prompts are in $prompts"
