#!/usr/bin/env python3
"""release_bench: claim: the service gives out more than 5,000 keys a second and core over keep-alive TLS.
Metric:  the service's processor time a release (both modes, of all its threads), and what a core gives out by it;
         beside it the same connections asking for a constant answer (GET /v1/health), which is what TLS and HTTP
         cost; and the releases a second that were seen, which the clients on the same cores hold down. Each release
         is of a signed-in reader, is written to the chained audit log and synced, noted as an opening and parked.
Command: BULLA_KEYD=…/bulla-keyd release_bench.py [--count N] [--connections N]
         tools/private-postgresql …/release_bench.py … for the same on PostgreSQL
"""
import argparse
import multiprocessing
import os
import pathlib
import socket
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests/keyservice/server"))
import keyd  # pylint: disable=wrong-import-position

PASSWORD = "correct horse battery"
WARM_COUNT = 50


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


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--connections", type=int, default=8)
    options = parser.parse_args()
    total = options.count * options.connections
    with tempfile.TemporaryDirectory() as folder:
        service = keyd.Service(folder)
        try:
            health = (f"GET /v1/health HTTP/1.1\r\nHost: localhost:{service.public}\r\n\r\n").encode()
            requests = [release_request(service, number) for number in range(options.connections)]
            for name, what in (("constant answer", [health] * options.connections), ("release", requests)):
                clock_s, spent_s = measure(service, what, options.count)
                print(f"{name:16} {total / clock_s:8.0f} a second seen  {spent_s / total * 1e6:7.1f} us of processor each"
                      f"  {total / spent_s:8.0f} a second and core")
        finally:
            service.stop()


if __name__ == "__main__":
    main()
