"""How `bulla seal` ends for each word of an engine: seal_test.py ECHO_PROGRAM BULLA.

The echo engine answers by the profile's name, also what the real engine does not say yet.
"""
import subprocess
import sys
import unittest

ECHO, BULLA = sys.argv[1:3]
MAIL = b"From: a@sender.example\r\nTo: b@recipient.example\r\n\r\nsecret\r\n"


class Seal(unittest.TestCase):
    def seal(self, profile, *options):
        return subprocess.run([ECHO, BULLA, "seal", "--profile", profile, *options],
                              input=MAIL, capture_output=True, timeout=60, check=False)

    def assert_nothing_written(self, ended, status, words):
        self.assertEqual((status, b""), (ended.returncode, ended.stdout))
        self.assertEqual(1, ended.stderr.count(b"\n"), ended.stderr)
        self.assertIn(words, ended.stderr)

    def test_sealed_is_written(self):
        ended = self.seal("default")
        self.assertEqual((0, b""), (ended.returncode, ended.stderr))
        self.assertEqual(b"<<head>>\r\n" + MAIL + b"\r\n<<tail>>", ended.stdout)

    def test_what_may_pass_is_not_written_unasked(self):
        self.assert_nothing_written(self.seal("pass"), 77, b"--allow-pass")

    def test_what_may_pass_is_written_when_asked(self):
        ended = self.seal("pass", "--allow-pass")
        self.assertEqual((0, MAIL), (ended.returncode, ended.stdout))
        self.assertIn(b"not sealed", ended.stderr)

    def test_allow_pass_lets_nothing_else_out(self):
        for profile, status in (("refuse", 65), ("retry", 75), ("hold", 75)):
            for options in ((), ("--allow-pass",)):
                with self.subTest(profile=profile, options=options):
                    ended = self.seal(profile, "--timeout", "1", *options)
                    self.assert_nothing_written(ended, status, b"bulla")

    def test_a_kept_message_is_not_written(self):
        self.assert_nothing_written(self.seal("queue", "--queue"), 0, b"keeps")


unittest.main(argv=sys.argv[:1], verbosity=2)
