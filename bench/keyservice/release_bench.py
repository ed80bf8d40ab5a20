#!/usr/bin/env python3
"""release_bench: claim: the service gives out more than 5,000 keys a second and core over keep-alive TLS.
Metric:  the service's processor time a release (both modes, of all its threads; the clients are other processes), and
         what a core gives out by it, the median of some turns: it hardly hangs on what else runs. The releases a
         second that were seen do, and on the clients on the same cores. Beside it, as limits: the same connections
         asking for a constant answer (GET /v1/health), which is what TLS and HTTP cost; the elliptic curve alone, one
         ECDH of P-256 by OpenSSL, of which a release has one and a key pair; and how often this disk syncs 4 KiB. Each
         release is of a signed-in reader, is noted as an opening, and stands in the chained audit log; both are synced.
Command: BULLA_KEYD=…/bulla-keyd release_bench.py [--count N] [--connections N] [--turns N]
         tools/private-postgresql …/release_bench.py … for the same on PostgreSQL
"""
import argparse
import multiprocessing
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests/keyservice/server"))
import keyd  # pylint: disable=wrong-import-position

PASSWORD = "correct horse battery"
WARM_COUNT = 50
TARGET = 5000
SYNCS_S = 0.5


def processor_s(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def ask(connection, request):
    connection.sendall(request)
    answer = connection.recv(65536)
    while b"\r\n\r\n" not in answer:
        answer += connection.recv(65536)
    head, body = answer.split(b"\r\n\r\n", 1)
    length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
    while len(body) < length:
        body += connection.recv(65536)
    if not head.startswith(b"HTTP/1.1 200"):
        raise SystemExit(f"release_bench: {head.splitlines()[0]} {body}")


def client(service_tls, port, request, count, ready, go):
    raw = socket.create_connection(("127.0.0.1", port))
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection = service_tls.wrap_socket(raw, server_hostname="localhost")
    for _ in range(WARM_COUNT):
        ask(connection, request)
    ready.release()
    go.wait()
    for _ in range(count):
        ask(connection, request)


def measure(service, requests, count):
    """Seconds by the clock, and of the service's processor."""
    context = multiprocessing.get_context("fork")
    ready, go = context.Semaphore(0), context.Event()
    clients = [context.Process(target=client, args=(service.tls(), service.public, request, count, ready, go))
               for request in requests]
    for one in clients:
        one.start()
    for _ in clients:
        ready.acquire()
    start, start_processor = time.monotonic(), processor_s(service.process.pid)
    go.set()
    for one in clients:
        one.join()
    if any(one.exitcode for one in clients):
        raise SystemExit(1)
    return time.monotonic() - start, processor_s(service.process.pid) - start_processor


def release_request(service, number):
    address = f"reader{number}@example.org"
    service.account(address, PASSWORD)
    browser = keyd.Browser(service)
    if browser.sign_in(address, PASSWORD).status != 200:
        raise SystemExit("release_bench: cannot sign in")
    identity = keyd.envelope_id()
    if service.store(keyd.batch(keyd.record(identity, to=(address,)))).status != 200:
        raise SystemExit("release_bench: cannot register")
    body = f'{{"m":"{identity.hex()}","pub":"{keyd.public_key()}"}}'
    cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    return (f"POST /v1/release HTTP/1.1\r\nHost: localhost:{service.public}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nCookie: {cookies}\r\nX-Bulla-CSRF: {browser.csrf}\r\n"
            f"Origin: https://localhost:{service.public}\r\nSec-Fetch-Site: same-origin\r\n\r\n{body}").encode()


def curve_limit():
    """ECDH of P-256 a second of processor."""
    speed = subprocess.run(["openssl", "speed", "-seconds", "1", "ecdhp256"], capture_output=True, text=True, check=True)
    return float(speed.stdout.split()[-1])


def sync_limit(folder):
    """Syncs a second of 4 KiB behind a file's end."""
    block = bytes(4096)
    count = 0
    with open(os.path.join(folder, "syncs"), "wb", buffering=0) as file:
        start = time.monotonic()
        while time.monotonic() - start < SYNCS_S:
            file.write(block)
            os.fdatasync(file.fileno())
            count += 1
    return count / SYNCS_S


def show(name, a_second, spent_us, seen=None):
    seen = "" if seen is None else f"{seen:8.0f} a second seen"
    print(f"{name:26} {a_second:8.0f} a second and core {spent_us:8.1f} us of processor each {seen}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    total = options.count * options.connections
    with tempfile.TemporaryDirectory() as folder:
        service = keyd.Service(folder)
        try:
            health = (f"GET /v1/health HTTP/1.1\r\nHost: localhost:{service.public}\r\n\r\n").encode()
            requests = [release_request(service, number) for number in range(options.connections)]
            print(f"{options.connections} connections, {total} requests a turn, load {os.getloadavg()[0]:.1f}")
            for name, what in (("limit: constant answer", [health] * options.connections), ("release", requests)):
                turns = [measure(service, what, options.count) for _ in range(options.turns)]
                spent_s = statistics.median(spent for _, spent in turns)
                show(name, total / spent_s, spent_s / total * 1e6, total / statistics.median(clock for clock, _ in turns))
                if what is requests:
                    print(f"{'target':26} {TARGET:8.0f} a second and core: {total / spent_s / TARGET:.2f} of it")
            curve = curve_limit()
            show("limit: elliptic curve", curve, 1e6 / curve)
            print(f"{'limit: the disk':26} {sync_limit(folder):8.0f} syncs a second")
        finally:
            service.stop()


if __name__ == "__main__":
    main()
