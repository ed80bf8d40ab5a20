"""Claim: bulla-keyd registers more than 100,000 keys a second on two cores, the whole way: TLS with
client certificates, HTTP, checking, wrapping, and a commit on stable storage before each answer.
Metric:  keys a second by the clock, this client on the same cores; and the service's own processor
         time a key, which a busy machine blurs less.
Command: python3 bench/keyservice/service_bench.py [CONNECTIONS [BATCHES]]
         BULLA_KEYD names the program; else it is the release build's.
"""
import http.client
import os
import sys
import tempfile
import threading
import time

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
os.environ.setdefault("BULLA_KEYD",
                      os.path.join(SOURCE, "build/release/keyservice/server/bulla-keyd"))
sys.path.insert(0, os.path.join(SOURCE, "tests/keyservice/server"))
import keyd  # the tests' own way to start a service and to make records

KEYS = 512  # of a batch: as many as it may hold
PEOPLE = 20000


def batch_make(number):
    """512 records as engines send them: one recipient each, out of PEOPLE."""
    people = ((number * KEYS + i) * 7919 % PEOPLE for i in range(KEYS))
    return keyd.batch(*(keyd.record(to=(f"person{one:06}@example.org",),
                                    subject="The figures for the quarter") for one in people))


def processor_s(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def connect(service):
    connection = http.client.HTTPSConnection("localhost", service.engine,
                                             context=service.tls(service.path("engine")))
    connection.request("GET", "/v1/health")
    connection.getresponse().read()
    return connection


def send(connection, batches, failures):
    for body in batches:
        name = keyd.secrets.token_hex(16)
        connection.request("POST", "/v1/envelopes", body,
                           {"Content-Type": keyd.BATCH_TYPE, "X-Bulla-Batch": name})
        answer = keyd.Answer(connection.getresponse())
        if answer.status != 200 or answer.json != {"stored": KEYS, "batch": name}:
            failures.append(answer.body)
            return


def measure(service, connections_count, batches_count):
    failures = []
    connections = [connect(service) for _ in range(connections_count)]
    threads = [threading.Thread(target=send, args=(
        connection, [batch_make(n * connections_count + i) for n in range(batches_count)], failures))
        for i, connection in enumerate(connections)]
    spent_s, start_s = processor_s(service.process.pid), time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    clock_s = time.monotonic() - start_s
    spent_s = processor_s(service.process.pid) - spent_s
    for connection in connections:
        connection.close()
    if failures:
        raise SystemExit(f"service_bench: {failures[0]!r}")
    keys = connections_count * batches_count * KEYS
    print(f"{connections_count} connections of {batches_count} batches of {KEYS} keys, "
          f"{PEOPLE} people, {os.cpu_count()} cores with the client's\n{keys / clock_s:9.0f} keys/s"
          f"  {spent_s / keys * 1e6:7.2f} us of the service's processor a key")


def main():
    numbers = [int(word) for word in sys.argv[1:]] + [4, 60][len(sys.argv) - 1:]
    with tempfile.TemporaryDirectory() as folder:
        service = keyd.Service(folder)
        try:
            measure(service, *numbers)
        finally:
            service.stop()


if __name__ == "__main__":
    main()
