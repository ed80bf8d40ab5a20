"""docs/postfix.md, as an administrator follows it: every block of it, in a Postfix that runs."""
import pathlib
import re
import subprocess
import tempfile

import drive
import postfix


class Guide(postfix.Case):
    def test_postfix_takes_every_line_without_a_word(self):
        said = self.host.postfix.command("postconf", "-n") + self.host.postfix.told()
        self.assertNotRegex(said, "warning|fatal|panic|unused")
        self.assertEqual("", self.host.postfix.command("postfix", "check"))

    def test_every_option_is_where_the_guide_puts_it(self):
        for line in postfix.blocks("main.cf").splitlines():
            if not line.startswith("#"):
                name, value = (word.strip() for word in line.split("=", 1))
                said = self.host.postfix.command("postconf", "-x", name).strip()
                self.assertEqual(f"{name} = {value}".strip(), said)
        services = self.host.postfix.command("postconf", "-P")
        for option in re.findall(r"-o (\S+?)=", postfix.blocks("master.cf")):
            self.assertIn(option, services)

    def test_bulla_takes_the_configuration(self):
        ended = drive.bulla("check-config", self.host.conf)
        self.assertEqual(0, ended.status, ended.err)

    def test_the_folder_and_the_key_are_made_as_the_guide_says(self):
        """But for the owners, who need not exist here."""
        lines = re.findall(r"^    (?:sudo install|openssl).*$", postfix.GUIDE.read_text(), re.M)
        self.assertEqual(2, len(lines))
        with tempfile.TemporaryDirectory() as folder:
            for line in lines:
                line = re.sub(r"sudo |-[og] bulla ", "", line.strip())
                line = re.sub(r"/(var/spool|etc/bulla)/", folder + "/", line)
                subprocess.run(line, shell=True, check=True)
            key = pathlib.Path(folder) / "spool.key"
            self.assertEqual((32, 0o100600), (len(key.read_bytes()), key.stat().st_mode))
            self.assertEqual(0o40700, (pathlib.Path(folder) / "bulla").stat().st_mode)

    def test_the_commands_that_look_after_it_exist(self):
        words = re.findall(r"`bulla queue (\w+)", postfix.GUIDE.read_text())
        self.assertGreaterEqual(len(words), 4)
        for word in words:
            ended = drive.bulla("queue", word, "--help")
            self.assertEqual(0, ended.status, f"bulla queue {word}: {ended.err}")

    def test_a_bare_line_feed_is_a_line_end_to_everybody(self):
        whole = (b"From: alice@sender.example\r\nTo: reader@recipient.example\r\n"
                 b"Subject: [secure] smuggled\r\nDate: Sun, 22 Nov 2026 04:00:00 +0000\r\n"
                 b"Message-ID: <2@sender.example>\r\n\r\nbefore\r\nX: y\r\nafter\r\n")
        self.assert_sent(whole.replace(b"\r\nX: y\r\n", b"\nX: y\n"))
        mail, = self.arrived()
        self.assert_opens(mail, whole)


if __name__ == "__main__":
    postfix.main()
