"""Drives the real programs, for the end-to-end tests.

Every test here runs inside `tools/demo --exec`, which has started a key service and an engine and
says where they are; nothing is imitated. See tests/e2e/CMakeLists.txt.
"""
import os
import pathlib
import random
import re
import signal
import sqlite3
import struct
import subprocess
import sys
import time
import unittest

WAIT_S = float(os.environ.get("BULLA_E2E_WAIT_S", "120"))  # a bound, never a measurement
SOURCE = pathlib.Path(__file__).resolve().parents[2]
DEMO = pathlib.Path(os.environ.get("BULLA_DEMO_DIR", "/nonexistent"))
USER = os.environ.get("BULLA_USER", "")
SENDER = "sender@sender.example"

TEMPFAIL, DATA, NOINPUT, UNAVAILABLE, NOPERM, CONFIG, USAGE = 75, 65, 66, 69, 77, 78, 64


class Ended:
    """How one command ended."""

    def __init__(self, done):
        self.status = done.returncode
        self.out = done.stdout
        self.err = done.stderr.decode("utf-8", "replace")

    @property
    def line(self):
        return self.err.strip()


def bulla(*arguments, stdin=b"", env=None, wait_s=None):
    """Runs `bulla` with these arguments. A None in env takes a variable away."""
    environment = dict(os.environ)
    for name, value in (env or {}).items():
        if value is None:
            environment.pop(name, None)
        else:
            environment[name] = str(value)
    done = subprocess.run(["bulla", *map(str, arguments)], input=stdin, capture_output=True,
                          env=environment, timeout=wait_s or WAIT_S, check=False)
    return Ended(done)


def seal(mail, *arguments, **keywords):
    return bulla("seal", "--from", SENDER, "--to", USER, *arguments, stdin=mail, **keywords)


def unseal(sealed, *arguments, **keywords):
    return bulla("open", *arguments, stdin=sealed, **keywords)


def attachment(sealed):
    """The bare HTML inside a sealed mail, found as any mail reader would."""
    import email
    import email.policy
    message = email.message_from_bytes(sealed, policy=email.policy.SMTP)
    for part in message.walk():
        if part.get_content_disposition() == "attachment":
            return part.get_payload(decode=True)
    raise AssertionError("the sealed mail has no attachment")


def key_record(sealed):
    """Flags, time of sealing, expiry, read-by, as the key service's database has them."""
    envelope = bytes.fromhex(
        re.search(rb'name="m" value="([0-9a-f]{32})"', sealed).group(1).decode())
    database = next(DEMO.rglob("*.db"))
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        (row,) = connection.execute("SELECT record FROM envelope WHERE id = ?",
                                    (envelope,)).fetchone()
    _, _, flags, sent, expires, read_by = struct.unpack_from("<BBHQQQ", row)
    return flags, sent, expires, read_by


def corpus():
    """Paths of the corpus; empty when there is none."""
    folder = pathlib.Path(os.environ.get("BULLA_CORPUS") or SOURCE / ".." / "shared" / "corpus")
    return sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "README.md")


def with_eol(mail, eol):
    return mail.replace(b"\r\n", b"\n").replace(b"\n", eol)


class Service:
    """A process that a test starts itself; stopped by its id when the block ends."""

    def __init__(self, arguments, log, env=None):
        self.log = pathlib.Path(log)
        with open(self.log, "ab") as sink:
            self.process = subprocess.Popen([str(a) for a in arguments], stdin=subprocess.DEVNULL,
                                            stdout=sink, stderr=sink, env=env)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self, with_signal=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(with_signal)
            try:
                self.process.wait(WAIT_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(WAIT_S)
        return self.process.returncode


def wait_until(question, what, process=None):
    """Asks until the answer is yes; fails after WAIT_S, or when the process has ended."""
    until = time.monotonic() + WAIT_S
    while not question():
        if process is not None and process.poll() is not None:
            raise AssertionError(f"{what}: the process ended with {process.returncode}")
        if time.monotonic() > until:
            raise AssertionError(f"{what}: not within {WAIT_S:.0f} s")
        time.sleep(0.05)


def halt(pid):
    """Stops a process, and waits for it: until the thread that the signal chose has run, the others go on."""
    os.kill(pid, signal.SIGSTOP)
    tasks = pathlib.Path(f"/proc/{pid}/task")
    wait_until(lambda: all(b") T " in (task / "stat").read_bytes() for task in tasks.iterdir()),
               "every thread stands still")


def engine(folder, change=lambda text: text):
    """Another engine beside the demonstration's, with its configuration changed."""
    folder = pathlib.Path(folder)
    text = (DEMO / "bulla.conf").read_text()
    socket = folder / "engine.sock"
    text = re.sub(r'(\bsocket\s*=\s*)"[^"]*"', rf'\1"{socket}"', text)
    conf = folder / "bulla.conf"
    conf.write_text(change(text))
    service = Service(["bullad", "--config", conf], folder / "bullad.log")
    service.socket = socket
    service.conf = conf
    try:
        wait_until(lambda: bulla("status", "--socket", socket).status == 0,
                   f"bullad in {folder} answers", service.process)
    except AssertionError as error:
        service.stop()
        raise AssertionError(f"{error}\n{service.log.read_text()}") from None
    return service


def generator(name):
    """A random source whose seed is printed, so that a failure can be had again."""
    seed = int(os.environ.get("BULLA_E2E_SEED") or random.SystemRandom().randrange(2**32))
    print(f"{name}: BULLA_E2E_SEED={seed}", flush=True)
    return random.Random(seed)


class Case(unittest.TestCase):
    """One clear line on stderr, nothing on stdout, this exit status."""

    maxDiff = 2000

    def assert_ends(self, ended, status, *words):
        self.assertEqual(status, ended.status, ended.err)
        self.assertEqual(b"", ended.out, "nothing is written when a command fails")
        self.assertEqual(1, len(ended.err.splitlines()), f"one line, not: {ended.err!r}")
        self.assertTrue(ended.err.startswith("bulla "), ended.err)
        for word in words:
            self.assertIn(word, ended.line)

    def assert_sealed(self, ended):
        self.assertEqual((0, ""), (ended.status, ended.err))
        self.assertTrue(ended.out, "a sealed mail was written")
        return ended.out

    def assert_round_trip(self, mail, *arguments, name=""):
        sealed = self.assert_sealed(seal(mail, *arguments))
        opened = unseal(sealed)
        self.assertEqual((0, ""), (opened.status, opened.err), name)
        self.assertTrue(opened.out == mail, f"{name}: byte for byte ({len(mail)} bytes)")
        return sealed


def main():
    if not DEMO.is_dir():
        sys.exit("run this by tools/demo --exec python3 " + sys.argv[0])
    unittest.main(verbosity=2)
