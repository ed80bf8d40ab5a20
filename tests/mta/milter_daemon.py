"""Starts bulla-milter for a test: its configuration, its socket, its end."""
import os
import pathlib
import signal
import socket
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
import drive  # noqa: E402
import milter_client  # noqa: E402

PROFILES = """
profile "phrase" {
  key_service = "demo"
  seal_subject = {"[secure]"}
  seal_header = {"X-Confidential: yes"}
  seal_senders = {"ceo@sender.example"}
  seal_recipients = {"@sealed.example", "@.sealed.example"}
}
profile "small" {
  key_service = "demo"
  size_limit = 100kB
  size_warning = 50kB
  seal_senders = {"small@sender.example"}
}
profile "asked" {
  key_service = "demo"
  header_overrides = yes
  seal_senders = {"asks@sender.example"}
}
profile "unknown-to-the-engine" {
  key_service = "demo"
  seal_senders = {"unknown@sender.example"}
}
"""


def engine_text(text):
    """The engine knows all but the last of the profiles."""
    return text + PROFILES[:PROFILES.index('profile "unknown')]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Milter(drive.Service):
    """bulla-milter with the engine's socket, the profiles above, and this milter section."""

    def __init__(self, folder, engine_socket, section="", profiles=PROFILES, reinject="",
                 base=None):
        folder = pathlib.Path(folder)
        self.address = str(folder / "milter.sock")
        self.conf = folder / "milter.conf"
        self.section = f'socket = "unix:{self.address}"\n  reinject = "{reinject}"\n{section}'
        self.base = base if base is not None else drive.re.sub(
            r'(\bsocket\s*=\s*)"[^"]*"', rf'\1"{engine_socket}"',
            (drive.DEMO / "bulla.conf").read_text())
        self.configure(profiles)
        environment = {k: v for k, v in os.environ.items() if k != "JOURNAL_STREAM"}
        super().__init__(["bulla-milter", "--config", self.conf, "--pid-file", folder / "pid"],
                         folder / "milter.log", env=environment)
        drive.wait_until(lambda: "ready" in self.log_text(), "bulla-milter is ready", self.process)

    def configure(self, profiles):
        self.conf.write_text(self.base + profiles + "milter {\n  " + self.section + "\n}\n")

    def stop(self, with_signal=signal.SIGTERM):
        status = super().stop(with_signal)
        if "Sanitizer" in self.log_text():
            raise AssertionError(self.log_text())
        return status

    def reload(self, profiles):
        before = self.log_text().count(": reload result=")
        self.configure(profiles)
        self.process.send_signal(signal.SIGHUP)
        drive.wait_until(lambda: self.log_text().count(": reload result=") > before, "it reloads",
                         self.process)

    def log_text(self):
        return self.log.read_text() if self.log.exists() else ""

    def client(self, *arguments, **keywords):
        return milter_client.Client(self.address, *arguments, **keywords)


class Case(unittest.TestCase):
    """A milter of the class' own on the demonstration's key service, with an engine of its own."""

    maxDiff = 2000
    section = ""
    reinject = ""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="bulla-milter-")
        cls.engine = drive.engine(cls.folder.name, engine_text)
        cls.milter = Milter(cls.folder.name, cls.engine.socket, cls.section,
                            reinject=cls.reinject)

    @classmethod
    def tearDownClass(cls):
        status = cls.milter.stop()
        cls.engine.stop()
        log = cls.milter.log_text()
        cls.folder.cleanup()
        if status != 0:
            raise AssertionError(f"bulla-milter ended with {status}: {log[-2000:]}")

    def send(self, mail, client=None, **keywords):
        with self.milter.client(**(client or {})) as connection:
            return connection.message(mail, **keywords)

    def assert_sealed(self, result, mail):
        """What would be delivered opens to `mail`, and shows none of its fields but the outer ones."""
        self.assertIn(result.verdict, ("continue", "accept"), result.reply)
        opened = drive.unseal(result.delivered)
        self.assertEqual((0, ""), (opened.status, opened.err))
        self.assertEqual(mail, opened.out)
        return result.delivered

    def assert_untouched(self, result, mail):
        self.assertEqual(mail, result.delivered, result.reply)


def main():
    drive.main()
