#!/usr/bin/env python3
"""Runs the commands shown in a README, as a new user would paste them.

Blocks marked `sh` run in order, each in a separate shell; two in a row that begin with `# first terminal` and
`# second terminal` run at the same time. A `rust` block becomes the program of a new package with the dependencies of the `toml`
block before it, where `/path/to/vchan-rs` stands for this directory. `console` blocks need a Xen machine, and are
tested by tests-xen. A README without any of these is an error.
"""
import os
import re
import subprocess
import sys
import tempfile

SECONDS = 900


def shell(block):
    return subprocess.Popen(["bash", "-euo", "pipefail", "-c", block], stdin=subprocess.DEVNULL)


def run_shells(*blocks):
    """Returns whether all succeed."""
    running = [shell(block) for block in blocks]
    try:
        return all([run.wait(timeout=SECONDS) == 0 for run in running])
    finally:
        for run in running:
            run.kill()


def run_rust(dependencies, program):
    """Returns whether a package of these compiles and runs."""
    dependencies = dependencies.replace("/path/to/vchan-rs", os.getcwd())
    with tempfile.TemporaryDirectory() as package:
        os.mkdir(f"{package}/src")
        with open(f"{package}/Cargo.toml", "w", encoding="utf-8") as file:
            file.write('[package]\nname = "pasted"\nversion = "0.1.0"\nedition = "2021"\n\n' + dependencies)
        with open(f"{package}/src/main.rs", "w", encoding="utf-8") as file:
            file.write(program)
        # The crates fetched by the tests suffice.
        with open("Cargo.lock", "rb") as ours, open(f"{package}/Cargo.lock", "wb") as theirs:
            theirs.write(ours.read())
        target = os.path.abspath(os.environ.get("CARGO_TARGET_DIR", "target")) + "/readme"
        command = [os.environ.get("CARGO", "cargo"), "run", "--quiet", "--target-dir", target]
        return subprocess.run(command, cwd=package, stdin=subprocess.DEVNULL, timeout=SECONDS).returncode == 0


def main() -> int:
    text = open(sys.argv[1], encoding="utf-8").read()
    blocks = re.findall(r"^```(sh|rust|toml)\n(.*?)^```$", text, flags=re.M | re.S)
    # The test command itself would recurse.
    blocks = [(kind, block) for kind, block in blocks if block != "make check\n"]
    missing = {"sh", "rust", "toml"} - {kind for kind, _ in blocks}
    if missing:
        print(f"{sys.argv[1]} shows nothing in {', '.join(sorted(missing))}")
        return 1
    dependencies, first, number = "", None, 0
    for kind, block in blocks:
        if kind == "toml":
            dependencies = block
        elif block.startswith("# first terminal"):
            first = block
        else:
            number += 1
            shown = first + "---\n" + block if first else block
            print(f"--- README block {number}:\n{shown}", flush=True)
            well = run_rust(dependencies, block) if kind == "rust" else run_shells(*filter(None, [first, block]))
            first = None
            if not well:
                print(f"README block {number} failed")
                return 1
    print(f"README: {number} passed, 0 failed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
