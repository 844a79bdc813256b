#!/usr/bin/env python3
"""Mirrors of Debian, rustup and the registry of crates for an engine whose namespace has no way out.

Usage: mirrors.py PID PORT RUSTUP DEBIAN
It listens in the network namespace of the process PID and asks from its own. RUSTUP is a folder as rustup's server has
it, DEBIAN the address of Debian's mirror. Cargo has the crates here already; of its registry only the index is asked.
"""

import ctypes
import http.server
import json
import os
import pathlib
import shutil
import socket
import sys
import urllib.error
import urllib.request

CLONE_NEWNET = 0x40000000
CRATES = pathlib.Path(os.environ.get("CARGO_HOME", pathlib.Path.home() / ".cargo")) / "registry/cache"
# Cargo names the folder by the registry's host and a hash.
INDEX = next(CRATES.iterdir()).name.rpartition("-")[0]


def listener(pid, port):
    """A socket belongs to the namespace that it was made in, whoever accepts from it."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/self/ns/net") as own, open(f"/proc/{pid}/ns/net") as other:
        for namespace in (other, own):
            if libc.setns(namespace.fileno(), CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
            if namespace is other:
                made = socket.create_server(("0.0.0.0", port), backlog=128)
    return made


class Mirrors(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        first, _, rest = self.path.lstrip("/").partition("/")
        if ".." in rest:
            self.send_error(400)
        elif first == "rustup":
            self.file(pathlib.Path(RUSTUP) / rest)
        elif first in ("debian", "debian-security"):
            self.forward(f"{DEBIAN.removesuffix('/debian')}/{first}/{rest}")
        elif first == "crates" and rest == "config.json":
            self.answer(json.dumps({"dl": f"http://{self.headers['Host']}/crate/{{crate}}/{{version}}"}).encode())
        elif first == "crates":
            self.forward(f"https://{INDEX}/{rest}")
        elif first == "crate":
            name, _, version = rest.partition("/")
            self.file(next(CRATES.glob(f"*/{name}-{version}.crate"), pathlib.Path("/nowhere")))
        else:
            self.send_error(404)

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def file(self, path):
        if not path.is_file():
            return self.send_error(404)
        self.send_response(200)
        self.send_header("Content-Length", str(path.stat().st_size))
        self.end_headers()
        with path.open("rb") as file:
            shutil.copyfileobj(file, self.wfile)

    def forward(self, url):
        try:
            with urllib.request.urlopen(url, timeout=60) as response:
                self.answer(response.read())
        except urllib.error.HTTPError as error:
            self.send_error(error.code)
        except OSError as error:
            print(f"{url}: {error}", file=sys.stderr)
            self.send_error(502)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    PID, PORT, RUSTUP, DEBIAN = sys.argv[1:]
    server = http.server.ThreadingHTTPServer(("", 0), Mirrors, bind_and_activate=False)
    server.socket.close()
    server.socket = listener(int(PID), int(PORT))
    print("ready", flush=True)
    server.serve_forever()
