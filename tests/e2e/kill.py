"""kill -9 of engine, milter, key service and Postfix at random moments, under load: none is lost.

Every message has a number. What Postfix took (250) arrives at the sink, sealed. What comes twice came
twice in a window that is documented, and is the same byte for byte: Postfix was killed between the
sink's 250 and its own note of it (then both have one queue id), or a hand-over of the engine's was cut
off (RFC 1047). What a sender was told to try again may come all the same.

BULLA_E2E_KILL_S is how long it kills: 20 seconds, and hours in tools/soak.
"""
import collections
import os
import pathlib
import re
import signal
import smtplib
import subprocess
import sys
import threading
import time

import drive
import postfix
from postfix_mail import RECEIVED, mail, without_trace

KILL_S = float(os.environ.get("BULLA_E2E_KILL_S", "20"))
SENDERS = 4
OPENED = 25
MARK = b"clay that nobody but the reader may see"


class KeyService:
    """One that may be killed, on ports that stay."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.port, self.engine_port = postfix.free_port(), postfix.free_port()
        self.url = f"https://localhost:{self.port}"
        self.run("init", "--public-url", self.url, "--listen", f"127.0.0.1:{self.port}",
                 "--engine-listen", f"127.0.0.1:{self.engine_port}", self.folder / "keyd")
        self.ca, self.certificate, self.key = (self.folder / "keyd" / name for name in (
            "ca.crt", "engine.crt", "engine.key"))
        self.conf = self.folder / "keyd" / "keyd.conf"
        self.service = None
        self.start()
        self.run("account", "add", "--config", self.conf, "--password-file",
                 os.environ["BULLA_PASSWORD_FILE"], drive.USER)

    @staticmethod
    def run(*words):
        subprocess.run(["bulla-keyd", *words], check=True, capture_output=True,
                       timeout=drive.WAIT_S)

    def start(self):
        ports = self.folder / "ports"
        ports.unlink(missing_ok=True)
        self.service = drive.Service(["bulla-keyd", "serve", "--config", self.conf, "--ports-file",
                                      ports], self.folder / "keyd.log")
        postfix.await_part(ports.exists, "bulla-keyd", self.service.process, self.service.log)

    def stop(self, with_signal=signal.SIGTERM):
        self.service.stop(with_signal)

    def open(self, sealed):
        return drive.unseal(sealed, env={"BULLA_KEYD_URL": self.url, "BULLA_CA": self.ca})


class Load:
    """Senders that write down what became of each number."""

    def __init__(self, host, random):
        self.host, self.random = host, random
        self.accepted, self.put_off = set(), set()
        self.stop = threading.Event()
        self.lock = threading.Lock()
        self.next = 0
        self.threads = [threading.Thread(target=self.run) for _ in range(SENDERS)]
        for thread in self.threads:
            thread.start()

    @staticmethod
    def original(number):
        return mail(subject=b"Subject: [secure] number %d\r\n" % number,
                    body=(MARK + b" %d\r\n" % number) * (1 + number * 37 % 700))

    def run(self):
        while not self.stop.is_set():
            with self.lock:
                number, self.next = self.next, self.next + 1
            try:
                code, _ = self.host.send(self.original(number))
            except (OSError, smtplib.SMTPException):
                code = 0
            with self.lock:
                (self.accepted if code == 250 else self.put_off).add(number)
            if code != 250:
                time.sleep(0.1)

    def end(self):
        self.stop.set()
        for thread in self.threads:
            thread.join()


class Kill(drive.Case):
    def kill_engine(self):
        self.host.stop_engine(signal.SIGKILL)
        self.pause()
        self.host.start_engine()

    def kill_milter(self):
        self.host.stop_milter(signal.SIGKILL)
        self.pause()
        self.host.start_milter()

    def kill_key_service(self):
        self.keys.stop(signal.SIGKILL)
        self.pause(3)
        self.keys.start()

    def kill_postfix(self):
        """All of its processes at once: they are one session."""
        os.killpg(self.host.postfix.process.pid, signal.SIGKILL)
        self.host.postfix.stop()
        self.pause()
        self.host.postfix.start(self.host.submission)

    def cut_network(self):
        self.host.proxy.set(self.random.choice(("refuse", "black_hole", "lost_ack", "reset_body")))
        self.pause(4)
        self.host.proxy.set("pass")

    def pause(self, most_s=0.5):
        time.sleep(self.random.random() * most_s)

    def setUp(self):
        self.random = drive.generator("kill")
        self.scratch = postfix.scratch()
        self.keys = KeyService(self.scratch.name)
        self.host = postfix.Mailhost(
            engine='  key_wait = 1s\n', profile='  seal_subject = {"[secure]"}\n  wait = 1d\n',
            key_service=self.keys)

    def tearDown(self):
        self.host.close()
        self.keys.stop()
        self.scratch.cleanup()

    def kill_for_a_while(self):
        kinds = (self.kill_engine, self.kill_engine, self.kill_milter, self.kill_key_service,
                 self.kill_postfix, self.cut_network)
        killed = collections.Counter()
        until = time.monotonic() + KILL_S
        while time.monotonic() < until:
            self.pause(1.5)
            kind = self.random.choice(kinds)
            killed[kind.__name__] += 1
            kind()
        return killed

    def drained(self, accepted):
        return (self.numbers() >= accepted and self.host.postfix.queue_ids() == []
                and self.host.bulla("queue list", "--json").out == b"")

    @staticmethod
    def number(one):
        return int(re.search(rb"^Subject:.*number (\d+)", one.data, re.M)[1])

    def numbers(self):
        return {self.number(one) for one in list(self.host.sink.mails)}

    def test_what_was_taken_arrives_sealed_whatever_is_killed(self):
        load = Load(self.host, self.random)
        try:
            killed = self.kill_for_a_while()
        finally:
            load.end()
        self.host.bulla("queue flush")
        self.host.postfix.command("postqueue", "-f")
        try:
            drive.wait_until(lambda: self.drained(load.accepted), "all has arrived")
        except AssertionError:
            lost = sorted(load.accepted - self.numbers())
            raise AssertionError(f"lost: {lost[:20]} of {len(load.accepted)}\n"
                                 f"{self.host.logs()}") from None
        time.sleep(0.5)
        self.reconcile(load, killed)

    def reconcile(self, load, killed):
        came = collections.defaultdict(list)
        for one in self.host.sink.mails:
            self.assertNotIn(MARK, one.data)
            self.assertIn(b"securedoc_", one.data, "sealed")
            came[self.number(one)].append(one)
        self.assertEqual(set(), set(came) - load.accepted - load.put_off, "nobody sent these")
        ours = theirs = 0
        for number, mails in came.items():
            self.assertEqual(1, len({without_trace(one.data) for one in mails}),
                             f"{number} came as {len(mails)} different mails")
            ids = {re.search(rb"\bid (\S+)", RECEIVED.match(one.data)[0])[1] for one in mails}
            ours += len(ids) - 1
            theirs += len(mails) - len(ids)
        self.assertLessEqual(theirs + ours, 20 * sum(killed.values()), "only what was under way")
        self.assertGreater(len(load.accepted), 20, "there was a load")
        for number in self.random.sample(sorted(came), min(OPENED, len(came))):
            opened = self.keys.open(came[number][0].data)
            self.assertEqual((0, ""), (opened.status, opened.err))
            self.assertTrue(opened.out == load.original(number))
        kinds = ", ".join(f"{kind} {count}" for kind, count in killed.items())
        print(f"kill: {sum(killed.values()) - killed[self.cut_network.__name__]} kills ({kinds}); "
              f"{len(load.accepted)} taken, {len(load.accepted & set(came))} arrived, "
              f"{len(load.accepted - set(came))} lost; "
              f"{len(load.put_off)} put off, of which {len(set(came) & load.put_off)} came; "
              f"twice and identical: {ours} by us, {theirs} by Postfix", flush=True)


if __name__ == "__main__":
    absent = postfix.missing()
    if absent:
        print(absent)
        sys.exit(77)
    drive.main()
