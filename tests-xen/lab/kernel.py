"""Unpacks a Linux bzImage to the ELF file inside, to save the time under emulation."""

import lzma
import struct
import subprocess
import sys
import zlib

SETUP_SECTORS = 0x1F1
PAYLOAD_OFFSET = 0x248


def unpack(path):
    with open(path, "rb") as image:
        data = image.read()
    start = ((data[SETUP_SECTORS] or 4) + 1) * 512
    offset, length = struct.unpack_from("<II", data, PAYLOAD_OFFSET)
    payload = data[start + offset:start + offset + length]
    # The compressed kernel is followed by four bytes with its size, which must not be passed to the decompressor.
    if payload[:6] == b"\xfd7zXZ\0":
        kernel = lzma.LZMADecompressor().decompress(payload)
    elif payload[:2] == b"\x1f\x8b":
        kernel = zlib.decompressobj(31).decompress(payload)
    elif payload[:4] == b"\x28\xb5\x2f\xfd":
        kernel = _filter(["zstd", "-dc"], payload[:-4])
    elif payload[:4] == b"\x02\x21\x4c\x18":
        kernel = _filter(["lz4", "-dc"], payload[:-4])
    else:
        sys.exit(f"kernel.py: {path} has an unknown compression format: {payload[:8].hex()}")
    if kernel[:4] != b"\x7fELF":
        sys.exit(f"kernel.py: {path} did not unpack to an ELF file")
    return kernel


def _filter(command, data):
    return subprocess.run(command, input=data, stdout=subprocess.PIPE, check=True).stdout
