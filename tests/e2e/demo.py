"""tools/demo itself, as a newcomer and as a script use it. Runs inside one demo, so two at once."""
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import unittest
import urllib.parse

import drive
import postfix

DEMO = drive.SOURCE / "tools" / "demo"


def demo(*arguments, folder, stdin=b""):
    environment = dict(os.environ, TMPDIR=str(folder))
    return subprocess.run([str(DEMO), *map(str, arguments)], input=stdin, capture_output=True,
                          env=environment, timeout=drive.WAIT_S, check=False)


def alive(folder):
    """Processes that were started in this folder."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if os.fsencode(str(folder)) in path.read_bytes():
                found.append(path.read_text())
        except OSError:
            pass
    return found


class Demo(drive.Case):
    def setUp(self):
        self.scratch = tempfile.TemporaryDirectory()
        self.folder = pathlib.Path(self.scratch.name)

    def tearDown(self):
        self.assertEqual([], alive(self.folder), "everything that was started was stopped")
        self.scratch.cleanup()

    def test_exec_gives_the_contract_and_the_status_and_leaves_nothing(self):
        script = ("test -S $BULLA_SOCKET && test -r $BULLA_CA && test -r $BULLA_PASSWORD_FILE && "
                  "bulla seal --to $BULLA_USER | bulla open --key-service $BULLA_KEYD_URL; exit 42")
        done = demo("--exec", "sh", "-c", script, folder=self.folder, stdin=b"hello\n")
        self.assertEqual((42, b"hello\n"), (done.returncode, done.stdout), done.stderr)
        self.assertEqual([], list(self.folder.iterdir()))

    def test_exec_hands_arguments_on_untouched(self):
        done = demo("--exec", "printf", "%s|", "a b", "", "*", "--once", folder=self.folder)
        self.assertEqual((0, b"a b||*|--once|"), (done.returncode, done.stdout), done.stderr)

    def test_exec_of_what_is_not_there_is_127(self):
        self.assertEqual(127, demo("--exec", "/nonexistent", folder=self.folder).returncode)
        self.assertEqual([], list(self.folder.iterdir()))

    def test_once_seals_the_samples_and_says_where(self):
        done = demo("--once", folder=self.folder)
        self.assertEqual(0, done.returncode, done.stderr)
        urls = re.findall(r"file://(\S+)", done.stdout.decode())
        self.assertEqual(len(list((drive.SOURCE / "tools" / "demo-mail").glob("*.eml"))), len(urls))
        for url in urls:
            html = pathlib.Path(urllib.parse.unquote(url)).read_bytes()
            self.assertTrue(html[:15].lower().startswith(b"<!doctype html>"), html[:80])
            # Whole: its last field, then the end of the shell.
            self.assertRegex(html, rb'name="e" value="1">\s*</form>\s*\Z')
        left = [p.name for demo_folder in self.folder.iterdir() for p in demo_folder.iterdir()]
        self.assertEqual(["mail"], left, "of the services nothing is left")

    @unittest.skipIf(postfix.missing() or not shutil.which("swaks"), "no Postfix, swaks or root")
    def test_once_by_postfix_finds_in_the_maildir_what_swaks_sent(self):
        """The demonstration itself compares what opens with what was sent."""
        done = demo("--postfix", "--once", folder=self.folder)
        self.assertEqual(0, done.returncode, done.stderr)
        sealed = re.findall(r"sealed\s+(\S+)", done.stdout.decode())
        self.assertEqual(len(list((drive.SOURCE / "tools" / "demo-mail").glob("*.eml"))), len(sealed))
        for path in sealed:
            self.assertIn(b"Delivered-To: reader@recipient.example", pathlib.Path(path).read_bytes())

    def test_a_file_of_ones_own_is_sealed_whatever_its_name(self):
        path = self.folder / "a b & ü.eml"
        path.write_bytes(b"From: a@sender.example\n\nhello\n")
        done = demo("--once", path, folder=self.folder)
        self.assertEqual(0, done.returncode, done.stderr)
        url = re.search(r"file://(\S+)", done.stdout.decode()).group(1)
        self.assertTrue(pathlib.Path(urllib.parse.unquote(url)).is_file())

    def test_a_file_that_is_not_there_is_named(self):
        done = demo("--once", "/nonexistent.eml", folder=self.folder)
        self.assertEqual(66, done.returncode)
        self.assertIn(b"/nonexistent.eml", done.stderr)

    def test_ctrl_c_stops_everything_and_removes_the_folder(self):
        environment = dict(os.environ, TMPDIR=str(self.folder))
        with subprocess.Popen([str(DEMO)], env=environment, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE) as process:
            text = b""
            while b"Ctrl-C" not in text:
                line = process.stdout.readline()
                self.assertTrue(line, process.stderr)
                text += line
            for word in (b"address", b"account", b"password", b"file://"):
                self.assertIn(word, text)
            process.send_signal(signal.SIGINT)
            process.wait(drive.WAIT_S)
        self.assertEqual(130, process.returncode)
        self.assertEqual([], list(self.folder.iterdir()))


if __name__ == "__main__":
    drive.main()
