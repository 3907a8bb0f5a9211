#!/usr/bin/env python3
"""Runs every command that a README shows in a block marked `sh`, in order, in one shell each block.

Blocks in other languages are left alone: `rust` blocks are run by `cargo test --doc`, `console` blocks need a machine
that isn't at hand (real Xen) and are run by tests-xen. A README without `sh` blocks is an error.
"""
import re
import subprocess
import sys


def main() -> int:
    text = open(sys.argv[1], encoding="utf-8").read()
    blocks = re.findall(r"^```sh\n(.*?)^```$", text, flags=re.M | re.S)
    # The test command itself would never come to an end.
    blocks = [block for block in blocks if "make check\n" not in block]
    if not blocks:
        print(f"{sys.argv[1]} shows no commands")
        return 1
    for number, block in enumerate(blocks, 1):
        print(f"--- README command block {number} of {len(blocks)}:\n{block}", flush=True)
        run = subprocess.run(["bash", "-euo", "pipefail", "-c", block], stdin=subprocess.DEVNULL, timeout=900)
        if run.returncode != 0:
            print(f"README command block {number} ended with status {run.returncode}")
            return 1
    print(f"README: {len(blocks)} passed, 0 failed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
