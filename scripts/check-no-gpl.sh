#!/bin/bash
# A build without the feature xenstore-rs must not contain that crate, and the default one does.
set -euo pipefail
cd "$(dirname "$0")/.."
tree() { cargo tree -p vchan-rs -e normal --prefix none "$@"; }
tree | grep -q '^xenstore-rs ' || { echo 'the default build has no xenstore-rs: is this check still right?'; exit 1; }
if tree --no-default-features | grep '^xenstore-rs '; then
    echo 'a build without the feature xenstore-rs contains it all the same'
    exit 1
fi
