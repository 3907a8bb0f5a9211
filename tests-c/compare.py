#!/usr/bin/env python3
"""Compares two results of the behaviour suite, field by field.

usage: compare.py ORIGINAL OURS DIFFERENCES

Fails on a difference that DIFFERENCES does not explain, on an unused explanation, on
a failed check in either result, and on an incomplete result.
"""

import fnmatch
import re
import sys

RESULT = re.compile(r"(\S+): (?:at=(\S+) )?(.*)")
SUMMARY = re.compile(r"\d+ passed, \d+ failed \(\d+ timed out\)$")


def stop(text):
    sys.exit(f"compare.py: {text}")


def read_lines(path):
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().splitlines()
    except OSError as error:
        stop(f"reading {path}: {error.strerror}: run the suite first")


def read_results(path):
    """(test, at) -> the rest of the line; and the failed checks."""
    lines = read_lines(path)
    if not lines or not SUMMARY.match(lines[-1]):
        stop(f"{path} has no closing line: the suite did not run to its end")
    results, failures = {}, []
    for line in lines[:-1]:
        found = RESULT.fullmatch(line)
        if not found:
            stop(f"{path}: not a result line: {line}")
        test, at, rest = found.group(1), found.group(2) or "-", found.group(3)
        if rest.startswith("FAIL"):
            failures.append(line)
        elif (test, at) in results:
            stop(f"{path}: two results for {test} at {at}")
        else:
            results[test, at] = rest
    return results, failures


def fields(rest):
    """key=value words; a line of another form is one field, "result"."""
    words = rest.split()
    if all("=" in word for word in words):
        return dict(word.split("=", 1) for word in words)
    return {"result": rest}


def differences(original, ours):
    """(test, at, field, original's value, ours); a line missing on one side is the field "line"."""
    for key in dict.fromkeys([*original, *ours]):
        if key not in original or key not in ours:
            yield (*key, "line", original.get(key, "-"), ours.get(key, "-"))
            continue
        theirs, mine = fields(original[key]), fields(ours[key])
        for name in dict.fromkeys([*theirs, *mine]):
            if theirs.get(name) != mine.get(name):
                yield (*key, name, theirs.get(name, "-"), mine.get(name, "-"))


class Explanation:
    """One line of the list: test | at | field | original | ours | reason."""

    def __init__(self, path, number, line):
        parts = [part.strip() for part in line.split("|")]
        if len(parts) != 6 or not all(parts):
            stop(f"{path}:{number}: expected six parts: test | at | field | original | ours | reason")
        self.where = f"{path}:{number}: {line}"
        self.test, self.at, *self.rest, self.reason = parts
        self.used = 0

    def explains(self, difference):
        test, at, *rest = difference
        return fnmatch.fnmatchcase(test, self.test) and fnmatch.fnmatchcase(at, self.at) and rest == self.rest


def read_explanations(path):
    return [
        Explanation(path, number, line)
        for number, line in enumerate(read_lines(path), 1)
        if line.strip() and not line.startswith("#")
    ]


def main(arguments):
    if len(arguments) != 3:
        stop("usage: compare.py ORIGINAL OURS DIFFERENCES")
    original, failures = read_results(arguments[0])
    ours, more_failures = read_results(arguments[1])
    explanations = read_explanations(arguments[2])
    unexplained, explained = [], 0
    for difference in differences(original, ours):
        matching = [e for e in explanations if e.explains(difference)]
        for explanation in matching:
            explanation.used += 1
        if matching:
            explained += 1
        else:
            unexplained.append(" | ".join(difference))
    stale = [e.where for e in explanations if not e.used]
    for title, lines in (
        ("failed check", failures + more_failures),
        ("unexplained", unexplained),
        ("does not occur", stale),
    ):
        for line in lines:
            print(f"{title}: {line}")
    print(
        f"{len(original)} results of the original, {len(ours)} of ours: {explained} explained differences, "
        f"{len(unexplained)} unexplained, {len(stale)} explanations that do not occur"
    )
    return 1 if failures or more_failures or unexplained or stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
