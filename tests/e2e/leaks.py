"""Nothing of a message, a key or a password is found in anything that a run leaves behind."""
import base64
import os
import pathlib
import tempfile

import drive

SUBJECT = "Canary-Subject-4f1d"
BODY = "canary body 8c2e that nobody may find"
ALLOWED = {"password", "password-file"}  # the demonstration's own, made for its reader


def files_of(folder):
    for path in sorted(pathlib.Path(folder).rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield path


class Leaks(drive.Case):
    @classmethod
    def setUpClass(cls):
        cls.mail = (f"From: a@sender.example\r\nTo: b@recipient.example\r\n"
                    f"Subject: {SUBJECT}\r\n\r\n{BODY}\r\n").encode() * 3
        cls.password = pathlib.Path(os.environ["BULLA_PASSWORD_FILE"]).read_text().strip()
        cls.scratch = tempfile.TemporaryDirectory()
        sealed = [drive.seal(cls.mail) for _ in range(3)]
        cls.sealed = [ended.out for ended in sealed if ended.status == 0]
        for text in cls.sealed:
            drive.unseal(text)
        # Refusals are where programs tend to say too much.
        wrong = pathlib.Path(cls.scratch.name) / "wrong"
        wrong.write_text("wrong-password-71ab\n")
        drive.unseal(cls.sealed[0], "--password-file", wrong)
        drive.unseal(cls.sealed[0][:-2000])
        drive.seal(cls.mail, "--profile", "nosuch")
        drive.seal(cls.mail * 400000, "--queue")

    @classmethod
    def tearDownClass(cls):
        cls.scratch.cleanup()

    def assert_nowhere(self, needles, but=()):
        looked = 0
        for path in files_of(drive.DEMO):
            if path.name in but:
                continue
            data = path.read_bytes()
            looked += 1
            for needle in needles:
                self.assertFalse(needle in data, f"{needle!r} stands in {path}")
        self.assertGreater(looked, 3, "there were logs and a database to look at")

    def needles(self, text):
        raw = text.encode()
        return [raw, base64.b64encode(raw)[:-4], raw.hex().encode()]

    def test_the_messages_were_sealed(self):
        self.assertEqual(3, len(self.sealed))

    def test_no_message_text_is_left_anywhere(self):
        self.assert_nowhere(self.needles(BODY))

    def test_no_subject_is_in_a_log(self):
        for path in files_of(drive.DEMO):
            if path.suffix == ".log":
                self.assertNotIn(SUBJECT.encode(), path.read_bytes(), path)

    def test_no_password_is_left_anywhere(self):
        self.assert_nowhere(self.needles(self.password) + self.needles("wrong-password-71ab"),
                            but=ALLOWED)

    def test_no_plaintext_shows_in_the_sealed_mail(self):
        for text in self.sealed:
            for needle in self.needles(BODY):
                self.assertNotIn(needle, text)

    def test_the_folder_is_the_owners_alone(self):
        self.assertEqual(0o700, drive.DEMO.stat().st_mode & 0o777)
        for path in files_of(drive.DEMO):
            if path.suffix == ".key" or path.name in ALLOWED:
                self.assertEqual(0, path.stat().st_mode & 0o077, path)

    def test_the_programs_leave_no_core(self):
        for name in ("BULLA_DEMO_KEYD_PID", "BULLA_DEMO_ENGINE_PID"):
            try:
                limits = pathlib.Path(f"/proc/{os.environ[name]}/limits").read_text()
            except PermissionError:
                continue  # a process that may not be dumped shows this to root alone
            line = next(x for x in limits.splitlines() if x.startswith("Max core file size"))
            self.assertEqual("0", line.split()[4], f"{name}: {line}")


if __name__ == "__main__":
    drive.main()
