#!/usr/bin/env python3
"""Creates the files that the lab boots.

image.py system FETCHED OUT         Xen, both kernels, and the archives dom0.cpio and guest.cpio
image.py tests OUT TO FILE...       TO, an archive with FILEs in /test, for dom0: with the guests' initrd
                                    (guest.cpio and the same FILEs) and the libraries the FILEs need
"""

import gzip
import io
import os
import stat
import subprocess
import sys

import kernel

LAB = os.path.dirname(os.path.abspath(__file__))
LIBS = ("lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu")
XEN_BIN = "usr/lib/xen-4.17/bin"
MODULES = ("xen-privcmd", "xenfs/xenfs", "xen-evtchn", "xen-gntdev", "xen-gntalloc")
DOM0_PROGRAMS = ("xl", "xenstored", "xenconsoled", "xen-init-dom0", "libxl-save-helper",
                 "vchan-socket-proxy", "lsevtchn")
GUEST_PROGRAMS = ("vchan-socket-proxy",)
XENSTORE_TOOLS = ("xenstore", "xenstore-ls", "xenstore-read", "xenstore-write", "xenstore-rm",
                  "xenstore-exists", "xenstore-chmod", "xenstore-list", "xenstore-watch")
# Loaded by name or by test programs, so that no lab program leads to them.
EXTRA_LIBRARIES = ("libgcc_s.so.1", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1",
                   "libxenvchan.so.4.17", "libxenctrl.so.4.17")


class Archive:
    """A cpio archive in the 'newc' format, everything owned by root."""

    def __init__(self):
        self.out = io.BytesIO()
        self.seen = set()
        self.inode = 0

    def _entry(self, name, mode, data=b""):
        self.inode += 1
        raw = name.encode() + b"\0"
        fields = [self.inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(raw), 0]
        self.out.write(b"070701" + b"".join(b"%08X" % field for field in fields) + raw)
        self.out.write(b"\0" * (-self.out.tell() % 4))
        self.out.write(data)
        self.out.write(b"\0" * (-self.out.tell() % 4))

    def directory(self, name):
        name = name.strip("/")
        if not name or name in self.seen:
            return
        self.directory(os.path.dirname(name))
        self.seen.add(name)
        self._entry(name, stat.S_IFDIR | 0o755)

    def data(self, name, data, mode=0o644):
        name = name.strip("/")
        if name in self.seen:
            return
        self.directory(os.path.dirname(name))
        self.seen.add(name)
        self._entry(name, stat.S_IFREG | mode, data)

    def link(self, name, target):
        self.directory(os.path.dirname(name))
        self._entry(name.strip("/"), stat.S_IFLNK | 0o777, target.encode())

    def file(self, name, path):
        with open(path, "rb") as source:
            self.data(name, source.read(), 0o755 if os.access(path, os.X_OK) else 0o644)

    def bytes(self):
        self._entry("TRAILER!!!", 0)
        return self.out.getvalue()


def libraries(path, search):
    """The paths of the shared libraries that the program or library at path needs."""
    with open(path, "rb") as program:
        if program.read(4) != b"\x7fELF":
            return []
    env = dict(os.environ, LD_LIBRARY_PATH=":".join(search))
    found = subprocess.run(["ldd", path], env=env, capture_output=True, text=True, check=False)
    if "not a dynamic executable" in found.stderr or "statically linked" in found.stdout:
        return []
    if found.returncode:
        sys.exit(f"image.py: ldd {path}: {found.stdout}{found.stderr}")
    result = []
    for line in found.stdout.splitlines():
        if "not found" in line:
            sys.exit(f"image.py: {path} needs {line.strip()}")
        if "=>" in line:
            result.append(line.split("=>")[1].split()[0])
    return result


def system_root(system, version, flavour, programs, init):
    root = Archive()
    search = [os.path.join(system, place) for place in LIBS]

    def library(name):
        for place in search:
            path = os.path.join(place, name)
            if os.path.exists(path):
                return path
        sys.exit(f"image.py: {name} is not in the fetched packages")

    for name in ("proc", "sys", "dev", "run", "tmp", "root", "etc", "var/log", "var/lib", "mnt"):
        root.directory(name)
    root.link("var/run", "/run")
    root.link("bin/sh", "busybox")
    root.file("bin/busybox", os.path.join(system, "bin/busybox"))
    root.file("lib64/ld-linux-x86-64.so.2", library("ld-linux-x86-64.so.2"))
    root.data("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n")
    root.data("etc/group", b"root:x:0:\n")
    with open(os.path.join(LAB, init), "rb") as source:
        root.data("init", source.read(), 0o755)
    modules = os.path.join(system, f"lib/modules/{version}-{flavour}/kernel/drivers/xen")
    for module in MODULES:
        root.file(f"modules/{os.path.basename(module)}.ko", os.path.join(modules, module + ".ko"))
    needed = {library(name) for name in EXTRA_LIBRARIES}
    for name in programs:
        path = os.path.join(system, name)
        root.file(name, path)
        needed.update(libraries(path, search))
    for path in sorted(needed):
        needed = needed.union(libraries(path, search))
    for path in sorted(needed):
        if not path.startswith(system):
            sys.exit(f"image.py: {path} would come from this machine; add its package to fetch.sh")
        root.file("usr/lib/x86_64-linux-gnu/" + os.path.basename(path), path)
    return root


def make_system(fetched, out):
    system = os.path.join(fetched, "system")
    with open(os.path.join(fetched, "kernel-version"), encoding="ascii") as version_file:
        version = version_file.read().strip()
    os.makedirs(out, exist_ok=True)

    def write(name, data):
        with open(os.path.join(out, name), "wb") as target:
            target.write(data)

    with gzip.open(os.path.join(system, "boot/xen-4.17-amd64.gz")) as xen:
        write("xen", xen.read())
    for flavour, name in (("amd64", "vmlinux-dom0"), ("cloud-amd64", "vmlinux-guest")):
        write(name, kernel.unpack(os.path.join(system, f"boot/vmlinuz-{version}-{flavour}")))

    tools = [f"usr/bin/{name}" for name in XENSTORE_TOOLS]
    guest = tools + [f"{XEN_BIN}/{name}" for name in GUEST_PROGRAMS]
    write("guest.cpio", system_root(system, version, "cloud-amd64", guest, "init-guest").bytes())

    dom0 = tools + [f"{XEN_BIN}/{name}" for name in DOM0_PROGRAMS]
    root = system_root(system, version, "amd64", dom0, "init-dom0")
    for name in sorted(os.listdir(os.path.join(system, "etc/xen"))):
        path = os.path.join(system, "etc/xen", name)
        if os.path.isfile(path):
            root.file("etc/xen/" + name, path)
    root.file("guest/vmlinux", os.path.join(out, "vmlinux-guest"))
    write("dom0.cpio", root.bytes())


def present(cpio):
    """The names of the libraries in an archive of ours."""
    with open(cpio, "rb") as archive:
        data = archive.read()
    names = set()
    at = 0
    while True:
        size, length = int(data[at + 54:at + 62], 16), int(data[at + 94:at + 102], 16)
        name = data[at + 110:at + 110 + length - 1].decode()
        if name == "TRAILER!!!":
            return names
        names.add(os.path.basename(name))
        at += (110 + length + 3) // 4 * 4
        at += (size + 3) // 4 * 4


def make_tests(out, to, files):
    have = present(os.path.join(out, "guest.cpio")) | {os.path.basename(path) for path in files}
    extra = {}
    for path in files:
        for needed in libraries(path, []):
            if os.path.basename(needed) not in have:
                extra[os.path.basename(needed)] = needed

    def overlay():
        archive = Archive()
        archive.directory("test")
        for path in files:
            archive.file("test/" + os.path.basename(path), path)
        for name, path in sorted(extra.items()):
            archive.file("usr/lib/x86_64-linux-gnu/" + name, path)
        return archive

    with open(os.path.join(out, "guest.cpio"), "rb") as guest:
        initrd = guest.read() + overlay().bytes()
    dom0 = overlay()
    dom0.data("guest/initrd", initrd)
    with open(to, "wb") as target, open(os.path.join(out, "dom0.cpio"), "rb") as base:
        target.write(base.read())
        target.write(dom0.bytes())


def main():
    if len(sys.argv) == 4 and sys.argv[1] == "system":
        make_system(sys.argv[2], sys.argv[3])
    elif len(sys.argv) > 4 and sys.argv[1] == "tests":
        make_tests(sys.argv[2], sys.argv[3], sys.argv[4:])
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
