#!/bin/bash
# Spelling, and the words and phrases that this project does not use (words.txt and below): comments, documents and texts
# are plain technical English, with things as subjects.
set -euo pipefail
cd "$(dirname "$0")/.."
bad=0
files=$(git ls-files 2>/dev/null || find . -type f -not -path './target/*')
if command -v codespell >/dev/null; then
    # shellcheck disable=SC2046,SC2086
    codespell -D - -D words.txt $(echo "$files" | grep -vE "\.(lock|svg)$|^words\.txt$|^docs/public-api|^LICENSE") || bad=1
else
    echo 'check-words: no codespell; only phrases are checked'
fi
phrases='\b(nobody (else|is|has|reads|can|may|who|polls|takes|asks|writes|waits|wants|uses|elides|knows|comes|in)|so (many|much) (as|that|bytes|times|pages)|is told (of|to)|heard of|in vain|means harm|gives? .{0,20} away|those who|who(ever)? (wants|asks|polls|waits|writes|reads|sleeps|closes|leaves|comes|looks|takes))\b'
# shellcheck disable=SC2046,SC2086
if grep -nEi "$phrases" $(echo "$files" | grep -vE '\.(lock|svg)$|^LICENSE|^scripts/check-words\.sh$|^docs/public-api'); then
    echo 'check-words: reword the phrases above; CONTRIBUTING.md has the rules'
    bad=1
fi
exit $bad
