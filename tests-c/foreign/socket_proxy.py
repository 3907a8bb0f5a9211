#!/usr/bin/env python3
"""Debian's own vchan-socket-proxy on this library: preloaded, in server mode, between a Unix socket and a tool.

socket_proxy.py LIBRARY TOOL...: the proxy serves a vchan and forwards data to a Unix socket, where this script echoes
it. Each tool (a unixcat) sends a file through and must get the same file back. Without the proxy (package
xen-utils-4.17) the test is skipped with a message; VCHAN_REQUIRE_PROXY=1 makes that an error.
"""
import glob
import hashlib
import os
import socket
import subprocess
import sys
import tempfile
import threading

SIZE = int(os.environ.get("MIB", "16")) << 20
PATIENCE = 120


def send_back(listener: socket.socket, connected: threading.Event) -> None:
    connection, _ = listener.accept()
    connected.set()
    with connection:
        while data := connection.recv(1 << 16):
            connection.sendall(data)


def feed(pipe, data: bytes, connected: threading.Event) -> None:
    """Sends nothing before the proxy has consumed the event of its client's connection: it polls without checking the ring
    first, so with any library it would sleep although data has arrived, if both events coincide."""
    connected.wait(PATIENCE)
    try:
        pipe.write(data)
        pipe.flush()
    except BrokenPipeError:
        pass


def through(proxy: str, library: str, tool: str, work: str, number: int) -> bool:
    root = os.path.join(work, f"root{number}")
    os.mkdir(root, 0o700)
    path = "/local/domain/0/data/vchan/1/proxy"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(os.path.join(work, f"socket{number}"))
    listener.listen(1)
    connected = threading.Event()
    echo = threading.Thread(target=send_back, args=(listener, connected), daemon=True)
    echo.start()
    env = dict(os.environ, XEN_ROOT=root, VCHAN_TRANSPORT="unix")
    server = subprocess.Popen(
        [proxy, "--mode=server", "1", path, listener.getsockname()],
        env=dict(env, LD_PRELOAD=library),
        stdin=subprocess.DEVNULL,
    )
    data = os.urandom(SIZE)
    try:
        client = subprocess.Popen(
            [tool, "--quiet", f"--wait={PATIENCE}", "--path", path, "0"],
            env=dict(env, VCHAN_DOMID="1"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        # Standard input stays open until everything has been echoed.
        feeder = threading.Thread(target=feed, args=(client.stdin, data, connected), daemon=True)
        feeder.start()
        watchdog = threading.Timer(PATIENCE, client.kill)
        watchdog.start()
        received = bytearray()
        while len(received) < SIZE and (some := client.stdout.read1(1 << 16)):
            received += some
        feeder.join(PATIENCE)
        client.stdin.close()
        code = client.wait(PATIENCE)
        watchdog.cancel()
    finally:
        server.terminate()
        server.wait(PATIENCE)
        listener.close()
    same = hashlib.sha256(received).digest() == hashlib.sha256(data).digest()
    print(f"{os.path.basename(tool)} through vchan-socket-proxy: {len(received)} of {SIZE} bytes back, "
          f"{'identical' if same else 'DIFFERENT'}, exit code {code}", flush=True)
    return same and code == 0


def main() -> int:
    library, tools = os.path.abspath(sys.argv[1]), sys.argv[2:]
    found = sorted(glob.glob("/usr/lib/xen-*/bin/vchan-socket-proxy"))
    if not found:
        print("SKIPPED: no vchan-socket-proxy here (package xen-utils-4.17)")
        return 1 if os.environ.get("VCHAN_REQUIRE_PROXY") == "1" else 0
    with tempfile.TemporaryDirectory() as work:
        results = [through(found[-1], library, tool, work, number) for number, tool in enumerate(tools)]
    print(f"foreign programs: {results.count(True)} passed, {results.count(False)} failed")
    return 0 if results and all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
