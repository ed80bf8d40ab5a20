"""OpenDKIM's milter after ours: what it signs is the sealed mail, at both doors."""
import pathlib
import shutil
import signal
import socket
import subprocess
import sys

import drive
import postfix
from postfix_mail import mail

VERIFY = """
import sys, dkim
record = sys.argv[1].encode()
sys.exit(0 if dkim.verify(sys.stdin.buffer.read(), dnsfunc=lambda *a, **k: record) else 1)
"""


def python_with_dkim():
    for python in (sys.executable, "/usr/bin/python3"):
        if subprocess.run([python, "-c", "import dkim"], capture_output=True).returncode == 0:
            return python
    return None


class Signer:
    """OpenDKIM for sender.example, with a key made here."""

    def __init__(self, folder, port):
        folder = pathlib.Path(folder)
        key = folder / "dkim.key"
        subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
        key.chmod(0o600)
        public = subprocess.run(["openssl", "rsa", "-in", key, "-pubout"], check=True,
                                capture_output=True).stdout.decode().splitlines()
        self.record = "v=DKIM1; k=rsa; p=" + "".join(public[1:-1])
        conf = folder / "opendkim.conf"
        conf.write_text(f"Domain sender.example\nSelector s1\nKeyFile {key}\nMode s\n"
                        f"Socket inet:{port}@127.0.0.1\nCanonicalization relaxed/simple\n"
                        "OversignHeaders From\nBackground no\nRequireSafeKeys no\nSyslog no\n")
        self.service = drive.Service(["opendkim", "-f", "-x", conf], folder / "opendkim.log")
        drive.wait_until(lambda: self.takes(port), "opendkim", self.service.process)

    @staticmethod
    def takes(port):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            return False
        return True

    def verifies(self, data):
        done = subprocess.run([python_with_dkim(), "-c", VERIFY, self.record], input=data,
                              capture_output=True, check=False)
        return done.returncode == 0


class Dkim(postfix.Case):
    keywords = {"dkim": True, "main": "milter_connect_timeout = 3s\n"}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.signer = Signer(cls.host.folder, cls.host.dkim)

    @classmethod
    def tearDownClass(cls):
        cls.signer.service.stop(signal.SIGKILL)  # libmilter takes five seconds to hear SIGTERM
        super().tearDownClass()

    def assert_signed(self, got):
        self.assertEqual(1, got.data.count(b"DKIM-Signature:"), got.data[:1500])
        self.assertTrue(self.signer.verifies(got.data), got.data[:3000])
        self.assertFalse(self.signer.verifies(got.data.replace(b"[secure]", b"[Secure]")))

    def test_the_sealed_mail_is_what_is_signed(self):
        self.assert_sent(mail())
        got, = self.arrived()
        self.assert_signed(got)
        self.assert_opens(got, mail())

    def test_a_signature_of_the_original_goes_into_the_envelope(self):
        more = b"DKIM-Signature: v=1; a=rsa-sha256; d=old.example; s=x; h=from; bh=x; b=y\r\n"
        self.assert_sent(mail(more=more))
        got, = self.arrived()
        self.assert_signed(got)
        self.assertNotIn(b"old.example", got.data)
        self.assert_opens(got, mail(more=more))

    def test_what_passes_is_signed_as_it_is(self):
        self.assert_sent(mail(subject=b"Subject: plain [secure\r\n"))
        got, = self.arrived()
        self.assertTrue(self.signer.verifies(got.data), got.data[:3000])

    def test_what_comes_by_the_other_door_is_signed_too(self):
        self.assert_sent(mail(), port=self.host.reinject)
        self.assert_signed(self.arrived()[0])


def main():
    if shutil.which("opendkim", path="/usr/sbin:/usr/bin:/sbin") is None or not python_with_dkim():
        print("not here: opendkim, or python3-dkim")
        sys.exit(77)
    postfix.main()


if __name__ == "__main__":
    main()
