#!/usr/bin/env python3
"""check-circles.py [SRC]: fails if the modules of a Rust crate import each other in a circle.

An arrow runs from a module to the module whose item it names by a path that begins with `crate`, `super` or `self`, or
with a child. A re-export stands for the module behind it. Tests do not count."""

import re
import sys
from pathlib import Path

src = Path(sys.argv[1] if len(sys.argv) > 1 else "src")


def module_of(file):
    parts = file.relative_to(src).with_suffix("").parts
    return tuple(part for part in parts if part not in ("mod", "lib"))


def code_of(file):
    text = file.read_text()
    text = re.split(r"#\[cfg\((?:all\()?test[^\n]*\)\]\s*(?:pub )?mod \w+ \{", text)[0]
    return re.sub(r"//[^\n]*", "", text)


def flatten(tree, prefix=()):
    """The paths of a `use` tree, each with the name that it gets."""
    tree = tree.strip()
    brace = tree.find("{")
    if brace < 0:
        path, _, alias = tree.partition(" as ")
        path = prefix + tuple(part.strip() for part in path.split("::") if part.strip())
        if path and path[-1] == "self":
            path = path[:-1]
        yield path, (alias.strip() or (path[-1] if path else ""))
        return
    head = tuple(part.strip() for part in tree[:brace].split("::") if part.strip())
    depth, part = 0, ""
    for char in tree[brace + 1 : tree.rindex("}")] + ",":
        depth += (char == "{") - (char == "}")
        if char == "," and depth == 0:
            if part.strip():
                yield from flatten(part, prefix + head)
            part = ""
        else:
            part += char


skip = {src / "channel" / "model", src / "ring" / "tests"}
files = [
    file
    for file in sorted(src.rglob("*.rs"))
    if not any(folder in file.parents for folder in skip) and not re.search(r"(_model|tests|hostile)\.rs$", file.name)
]
modules = {module_of(file): code_of(file) for file in files}


def absolute(module, path):
    """The path from the crate's root, or nothing for another crate's."""
    base = list(module)
    rest = list(path)
    if rest and rest[0] == "crate":
        return tuple(rest[1:])
    if rest and rest[0] in ("super", "self"):
        while rest and rest[0] in ("super", "self"):
            if rest.pop(0) == "super":
                base = base[:-1]
        return tuple(base + rest)
    return tuple(base + rest) if rest and tuple(base + rest[:1]) in modules else None


USE = re.compile(r"(pub(?:\([^)]*\))?\s+)?\buse\s+([^;]+);")
exports, imports = {}, {}
for module, code in modules.items():
    for public, tree in USE.findall(code):
        for path, name in flatten(tree):
            target = absolute(module, path)
            if target is None:
                continue
            if public:
                exports[module + (name,)] = target
            else:
                imports.setdefault(module, set()).add(target)
    for path in re.findall(r"\b(?:crate|super|self)(?:::\w+)+", USE.sub("", code)):
        target = absolute(module, tuple(path.split("::")))
        if target is not None:
            imports.setdefault(module, set()).add(target)


def resolve(path):
    for _ in range(8):
        for end in range(len(path), 0, -1):
            if path[:end] in exports:
                path = exports[path[:end]] + path[end:]
                break
        else:
            break
    for end in range(len(path), -1, -1):
        if path[:end] in modules:
            return path[:end]
    return ()


graph = {module: set() for module in modules}
for module, targets in imports.items():
    graph[module] |= {resolve(target) for target in targets} - {module}

# Tarjan's strongly connected components.
index, low, stack, circles = {}, {}, [], []


def visit(node):
    index[node] = low[node] = len(index)
    stack.append(node)
    for target in graph[node]:
        if target not in index:
            visit(target)
            low[node] = min(low[node], low[target])
        elif target in stack:
            low[node] = min(low[node], index[target])
    if low[node] == index[node]:
        circle = []
        while True:
            circle.append(stack.pop())
            if circle[-1] == node:
                break
        if len(circle) > 1:
            circles.append(circle)


sys.setrecursionlimit(10000)
for node in graph:
    if node not in index:
        visit(node)

for circle in circles:
    print("check-circles: these modules import each other:")
    for module in sorted(circle):
        targets = sorted("::".join(target) or "lib" for target in graph[module] & set(circle))
        print(f"  {'::'.join(module) or 'lib'} -> {', '.join(targets)}")
if circles:
    sys.exit(1)
print(f"check-circles: {len(modules)} modules, {sum(map(len, graph.values()))} arrows, no circle")
