"""The engine's key client, the real key service, and between them every fault a network has.

Every fault has a proxy, a client and records of its own; all of them run at the same time. Whatever
happens, a record that is told as stored is in the service's database, once; a record that cannot be
stored is told as away at its deadline; the service is probed once a second at most; and once the
fault is over everything that waits is stored.
"""
import concurrent.futures
import os
import pathlib
import sqlite3
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent / "server"))
import fault_proxy  # noqa: E402
import keyd  # noqa: E402

DRIVE = os.environ["BULLA_KEY_CLIENT_DRIVE"]
FAULT_S = 3.2
SHORT_MS = 1500
LONG_MS = 60000
COUNT = 40
TIMEOUT_MS, PAUSE_MS, PROBE_MS = 600, 2000, 1000
SLACK_S = 0.15  # a request is seen later than it was sent, on a busy machine

# Faults under which the service stores what the client hears nothing of.
UNHEARD = ("reset_header", "reset_body", "lost_ack", "slow_loris", "cut_json", "cut_body")
# Those under which nothing gets through to the service at all.
NOTHING = ("refuse", "black_hole", "deaf", "reset_hello", "reset_request", "500", "503",
           "foreign_400", "429", "garbage", "other_ack", "other_long", "expired", "stranger")
# Those that an honest answer survives.
HARMLESS = ("doubled_ack", "doubled_request", "flapping")


class Client:
    def __init__(self, proxy, service, first):
        self.results = {}
        self.twice = []
        self.first = first
        self.process = subprocess.Popen(
            [DRIVE, proxy.url, str(proxy.authority.ca), service.path("engine.crt"),
             service.path("engine.key"), str(TIMEOUT_MS), str(PAUSE_MS), str(PROBE_MS)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            number, status = line.split()
            if int(number) in self.results:
                self.twice.append(int(number))
            self.results[int(number)] = status

    def add(self, count, deadline_ms):
        """Returns the numbers of the new records."""
        numbers = range(self.first, self.first + count)
        self.first += count
        self.process.stdin.write(f"{numbers.start} {count} {deadline_ms}\n")
        self.process.stdin.flush()
        return numbers

    def told(self, numbers):
        return [self.results.get(number) for number in numbers]

    def wait(self, numbers, seconds):
        until = time.monotonic() + seconds
        while None in self.told(numbers) and time.monotonic() < until:
            time.sleep(0.02)

    def end(self):
        self.process.stdin.close()
        status = self.process.wait(keyd.WAIT_S)
        self.reader.join()
        self.process.stdout.close()
        return status


def identity(number):
    raw = bytearray(16)
    raw[:4] = number.to_bytes(4, "little")
    raw[6], raw[8] = 0x70, 0x80
    return bytes(raw)


class Faults(keyd.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.authority = fault_proxy.Authority(cls.temporary.name)
        # What other batches were answered: one in each form.
        other = keyd.record(), keyd.record()
        cls.other = {
            "other_long": cls.service.store(keyd.batch(other[0])).body,
            "other_ack": cls.service.store(keyd.batch(other[1]), name="0" * 32).body,
        }

    def stored(self, numbers):
        """Of these, the numbers that the service's database holds; no id can stand there twice."""
        database = sqlite3.connect(f"file:{self.service.path('keys.db')}?mode=ro", uri=True,
                                   timeout=keyd.WAIT_S)
        try:
            return {n for n in numbers if database.execute(
                "SELECT count(*) FROM envelope WHERE id = ?", (identity(n),)).fetchone()[0] == 1}
        finally:
            database.close()

    def proxy(self):
        proxy = fault_proxy.FaultProxy(self.authority, self.service.engine,
                                       self.service.path("ca.crt"), self.service.path("engine.crt"),
                                       self.service.path("engine.key"))
        proxy.other = self.other
        return proxy

    def run_fault(self, mode, first):
        with self.proxy() as proxy:
            client = Client(proxy, self.service, first)
            try:
                return self.watch_fault(mode, proxy, client)
            finally:
                self.assertEqual(0, client.end(), mode)
                self.assertEqual([], client.twice, f"{mode}: one result a record")

    def watch_fault(self, mode, proxy, client):
        before = client.add(3, LONG_MS)
        client.wait(before, keyd.WAIT_S)
        self.assertEqual(["stored"] * 3, client.told(before), mode)

        proxy.set(mode)
        began = time.monotonic()
        short, long = client.add(COUNT, SHORT_MS), client.add(COUNT, LONG_MS)
        client.wait(short, SHORT_MS / 1000 + 2)
        self.assertNotIn(None, client.told(short), f"{mode}: told at the deadline")
        time.sleep(max(0, began + FAULT_S - time.monotonic()))
        told = {n for n in (*short, *long) if client.results.get(n) == "stored"}
        here = self.stored((*short, *long))
        self.assertLessEqual(told, here, f"{mode}: what is told as stored is stored")
        if mode not in HARMLESS:
            self.assertEqual({"away"}, set(client.told(short)), mode)
            self.assertEqual({None}, set(client.told(long)), mode)
        if mode in NOTHING:
            self.assertEqual(set(), here, mode)
        if mode in UNHEARD:
            self.assertEqual(set(long), here & set(long), mode)
        self.assert_few_probes(mode, [t for t in proxy.seen if t > began])

        proxy.set("pass")
        client.wait(long, PAUSE_MS / 1000 + PROBE_MS / 1000 + 20)
        self.assertEqual({"stored"}, set(client.told(long)), mode)
        self.assertEqual(set(long), self.stored(long), mode)
        return len([t for t in proxy.seen if t > began])

    def assert_few_probes(self, mode, times):
        """The first failure may be met on up to two connections; the probe after it comes soon."""
        if mode in HARMLESS or mode == "refuse":
            return
        self.assertGreaterEqual(len(times), 2, f"{mode}: it was asked again")
        for one, two in zip(times[2:], times[3:]):
            self.assertGreater(two - one, PROBE_MS / 1000 - SLACK_S, f"{mode}: {times}")
        self.assertLessEqual(len(times), 3 + FAULT_S / (PROBE_MS / 1000), mode)

    def test_every_fault_ends_with_each_record_stored_once_or_away(self):
        modes = (*NOTHING, *UNHEARD, *HARMLESS)
        with concurrent.futures.ThreadPoolExecutor(max_workers=len(modes)) as pool:
            runs = {mode: pool.submit(self.run_fault, mode, 10000 * (at + 1))
                    for at, mode in enumerate(modes)}
        for mode, run in runs.items():
            with self.subTest(mode):
                print(f"{mode}: {run.result()} requests", flush=True)

    def test_a_record_registered_again_is_success_again(self):
        with self.proxy() as proxy:
            for _ in range(3):
                client = Client(proxy, self.service, 1000)
                numbers = client.add(COUNT, LONG_MS)
                self.assertEqual(0, client.end())
                self.assertEqual(["stored"] * COUNT, client.told(numbers))
        self.assertEqual(set(numbers), self.stored(numbers))

    def test_retry_after_is_honoured(self):
        with self.proxy() as proxy:
            proxy.retry_after_s = 3
            proxy.set("429")
            client = Client(proxy, self.service, 2000)
            numbers = client.add(1, LONG_MS)
            until = time.monotonic() + keyd.WAIT_S
            while not proxy.seen:
                self.assertLess(time.monotonic(), until)
                time.sleep(0.02)
            proxy.set("pass")  # for what is asked after three seconds of rest
            self.assertEqual(0, client.end())
            self.assertEqual(["stored"], client.told(numbers))
            self.assertGreater(proxy.seen[1] - proxy.seen[0], 3 - SLACK_S)


if __name__ == "__main__":
    keyd.main()
