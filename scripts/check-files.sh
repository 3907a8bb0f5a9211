#!/bin/bash
# No source file over 500 lines (except the generated headers), no open markers, no disabled test.
set -euo pipefail
cd "$(dirname "$0")/.."
# The files under git, or without git everything except build results.
files() {
    if git rev-parse --git-dir >/dev/null 2>&1; then
        git ls-files -z -- '*.rs' '*.c' '*.h' '*.sh' '*.py' ':!include/'
    else
        find . \( -name target -o -name build -o -path ./include \) -prune -o \
            \( -name '*.rs' -o -name '*.c' -o -name '*.h' -o -name '*.sh' -o -name '*.py' \) -print0
    fi
}
if [ "$(files | tr -cd '\0' | wc -c)" -lt 100 ]; then
    echo 'check-files: fewer than 100 source files found'
    exit 1
fi
bad=0
while read -r lines file; do
    if [ "$file" != total ] && [ "$lines" -gt 500 ]; then
        echo "$file has $lines lines; split it by subject"
        bad=1
    fi
done < <(files | xargs -0 wc -l)
open='\b(TO''DO|FIX''ME|XX''X)\b|todo!\(|unimplemented!\(|#\[ignore'
if files | xargs -0 grep -nE "$open" Makefile mk/*.mk; then
    echo 'open markers or disabled tests, see above'
    bad=1
fi
exit $bad
