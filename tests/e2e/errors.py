"""Bad input and bad days: each ends with the exit status that bulla(1) names and one clear line."""
import os
import pathlib
import re
import socket
import tempfile
import threading

import drive

MAIL = b"From: a@sender.example\r\nTo: b@recipient.example\r\n\r\nhello\r\n"


def file_with(folder, name, text):
    path = pathlib.Path(folder) / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


class CheckConfig(drive.Case):
    def check(self, text):
        with tempfile.TemporaryDirectory() as folder:
            path = file_with(folder, "bulla.conf", text)
            return path, drive.bulla("check-config", path)

    def test_the_demonstration_configuration_is_sound(self):
        ended = drive.bulla("check-config", drive.DEMO / "bulla.conf")
        self.assertEqual((0, ""), (ended.status, ended.err))

    def test_a_missing_file_is_named(self):
        ended = drive.bulla("check-config", "/nonexistent/bulla.conf")
        self.assert_ends(ended, drive.CONFIG, "/nonexistent/bulla.conf")

    def test_a_folder_is_no_configuration(self):
        self.assert_ends(drive.bulla("check-config", drive.DEMO), drive.CONFIG, str(drive.DEMO))

    def test_a_fault_is_named_with_file_line_and_mend(self):
        path, ended = self.check('engine {\n  workers = 1\n  hugepages = "perhaps"\n}\n')
        self.assert_ends(ended, drive.CONFIG, f"{path}:3:", "auto, on or off")

    def test_an_unknown_option_is_named(self):
        path, ended = self.check("engine {\n  wrokers = 1\n}\n")
        self.assert_ends(ended, drive.CONFIG, f"{path}:2:", "wrokers")

    def test_rc4_is_refused_with_the_reason(self):
        text = (drive.DEMO / "bulla.conf").read_text()
        path, ended = self.check(text + 'profile "old" {\n key_service = "demo"\n'
                                        ' algorithm = "rc4"\n}\n')
        self.assert_ends(ended, drive.CONFIG, str(path), "rc4")

    def test_what_only_shows_when_rendered_is_refused(self):
        demo = (drive.DEMO / "bulla.conf").read_text()
        with tempfile.TemporaryDirectory() as folder:
            template = file_with(folder, "failure.txt", "Subject: no\n\n{{recipients}}\n{{subject}}\n")
            for line, fault in ((f'failure_template = "{template}"', "failure template, line 4: unknown "
                                 "variable {{subject}}"),
                                ('locale = "xx"', 'locale "xx": choose one of'),
                                ('payload_transport_url = "https://a.example/in"',
                                 "payload_transport_url is not")):
                text = f'{demo}profile "other" {{\n key_service = "demo"\n {line}\n}}\n'
                path, ended = self.check(text)
                self.assert_ends(ended, drive.CONFIG, str(path), 'profile "other"', fault)

    def test_binary_noise_is_refused(self):
        self.assert_ends(self.check(bytes(range(1, 256)))[1], drive.CONFIG, "bulla.conf:")

    def test_bullad_refuses_the_same(self):
        with tempfile.TemporaryDirectory() as folder:
            path = file_with(folder, "bulla.conf", "engine {\n  workers = -1\n}\n")
            with drive.Service(["bullad", "--config", path], f"{folder}/log") as service:
                self.assertEqual(drive.CONFIG, service.process.wait(drive.WAIT_S))
                self.assertIn("bulla.conf:2", service.log.read_text())


class Seal(drive.Case):
    def test_no_engine(self):
        ended = drive.seal(MAIL, "--socket", drive.DEMO / "nobody.sock")
        self.assert_ends(ended, drive.TEMPFAIL, "no engine", "nobody.sock", "--socket")

    def test_no_engine_behind_a_dead_socket(self):
        path = drive.DEMO / "dead.sock"
        dead = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        dead.bind(str(path))
        dead.close()
        self.assert_ends(drive.seal(MAIL, "--socket", path), drive.TEMPFAIL, "no engine")

    def test_something_else_on_the_socket(self):
        path = drive.DEMO / "other.sock"
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listener.bind(str(path))
        listener.listen()

        def answer():
            peer, _ = listener.accept()
            peer.recv(4096)
            peer.send(b"220 mail.example ESMTP\r\n")
            peer.close()

        thread = threading.Thread(target=answer)
        thread.start()
        ended = drive.seal(MAIL, "--socket", path)
        thread.join(drive.WAIT_S)
        listener.close()
        self.assertIn(ended.status, (drive.UNAVAILABLE, drive.TEMPFAIL), ended.err)
        self.assertEqual(b"", ended.out)

    def test_the_socket_comes_from_the_environment(self):
        ended = drive.seal(MAIL, env={"BULLA_SOCKET": drive.DEMO / "env.sock"})
        self.assert_ends(ended, drive.TEMPFAIL, "env.sock")

    def test_an_unknown_profile(self):
        for name in ("nosuch", "../default", "a b", "x" * 200, "pro\nfile"):
            with self.subTest(name=name):
                ended = drive.seal(MAIL, "--profile", name)
                self.assert_ends(ended, drive.CONFIG, "profile")

    def test_a_message_over_the_profile_limit(self):
        with tempfile.TemporaryDirectory(dir=drive.DEMO) as folder:
            def small(text):
                return re.sub(r'(profile "default" \{)', r'\1\n  size_limit = 4KB', text)
            with drive.engine(folder, small) as service:
                fits = drive.seal(MAIL + b"x" * 3000, "--socket", service.socket)
                self.assert_sealed(fits)
                ended = drive.seal(MAIL + b"x" * 5000, "--socket", service.socket)
                self.assert_ends(ended, drive.DATA, "5.3.4")

    def test_a_message_over_the_default_limit(self):
        ended = drive.seal(MAIL + b"x" * (26 * 1024 * 1024))
        self.assert_ends(ended, drive.DATA, "5.3.4")

    def test_a_message_that_nothing_can_seal(self):
        with tempfile.TemporaryDirectory() as folder:
            path = file_with(folder, "huge.eml", MAIL)
            os.truncate(path, 256 * 1024 * 1024 + 1)
            ended = drive.bulla("seal", "--to", drive.USER, path)
            self.assert_ends(ended, drive.DATA, "huge.eml", "256 MiB")

    def test_not_a_mail_message(self):
        for name, text in {"empty": b"", "noise": bytes(range(256)), "text": b"Dear reader,\n"}.items():
            with self.subTest(name=name):
                self.assert_ends(drive.bulla("seal", stdin=text), drive.DATA,
                                 "not a mail message")

    def test_nobody_to_read_it(self):
        ended = drive.bulla("seal", stdin=b"From: a@sender.example\r\n\r\nhi\r\n")
        self.assert_ends(ended, drive.DATA, "--to")

    def test_an_unreadable_file(self):
        self.assert_ends(drive.bulla("seal", "/nonexistent.eml"), drive.NOINPUT, "/nonexistent.eml")
        self.assert_ends(drive.bulla("seal", drive.DEMO), drive.NOINPUT, str(drive.DEMO))

    def test_addresses_that_are_none(self):
        for address in ("nobody", "a@b\r\nBcc: c@d", "a b@c", "@", "", "x" * 400 + "@c.example"):
            with self.subTest(address=address):
                ended = drive.bulla("seal", "--to", address, stdin=MAIL)
                self.assert_ends(ended, drive.USAGE, "mail address")
        self.assert_ends(drive.bulla("seal", "--from", "x y", stdin=MAIL), drive.USAGE)

    def test_a_queue_that_is_not_needed_seals_as_ever(self):
        """--queue lets the engine keep the message when it must; the key service is there."""
        self.assert_sealed(drive.seal(MAIL, "--queue"))

    def test_command_lines_that_are_none(self):
        for arguments in (["--bogus"], ["--to"], ["--timeout", "0"], ["--timeout", "1h"],
                          ["a", "b"]):
            with self.subTest(arguments=arguments):
                ended = drive.bulla("seal", *arguments, stdin=MAIL)
                self.assert_ends(ended, drive.USAGE)


class Open(drive.Case):
    @classmethod
    def setUpClass(cls):
        cls.sealed = drive.seal(MAIL * 2000).out
        cls.html = drive.attachment(cls.sealed)
        cls.folder = tempfile.TemporaryDirectory(dir=drive.DEMO)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def password_file(self, text):
        return file_with(self.folder.name, "password", text)

    def test_a_wrong_password(self):
        ended = drive.unseal(self.sealed, "--password-file", self.password_file("not this one\n"))
        self.assert_ends(ended, drive.NOPERM, "password", "wrong")

    def test_an_unknown_account_answers_alike(self):
        wrong = drive.unseal(self.sealed, "--password-file", self.password_file("not this one\n"))
        unknown = drive.unseal(self.sealed, "--user", "nobody@recipient.example",
                               "--password-file", self.password_file("not this one\n"))
        self.assert_ends(unknown, drive.NOPERM)
        self.assertEqual(wrong.line.replace(drive.USER, ""),
                         unknown.line.replace("nobody@recipient.example", ""))

    def test_not_a_recipient(self):
        sealed = drive.bulla("seal", "--from", drive.SENDER, "--to", "other@recipient.example",
                             stdin=MAIL)
        self.assert_ends(drive.unseal(sealed.out), drive.NOPERM, "recipient")

    def test_no_password_file(self):
        self.assert_ends(drive.unseal(self.sealed, "--password-file", "/nonexistent"),
                         drive.CONFIG, "/nonexistent")
        self.assert_ends(drive.unseal(self.sealed, "--password-file", self.password_file("\n")),
                         drive.CONFIG, "empty")

    def test_no_terminal_to_ask(self):
        environment = {"BULLA_PASSWORD_FILE": None}
        done = drive.subprocess.run(["setsid", "--wait", "bulla", "open"], input=self.sealed,
                                    capture_output=True, timeout=drive.WAIT_S, check=False,
                                    env={k: v for k, v in os.environ.items()
                                         if k not in environment})
        self.assert_ends(drive.Ended(done), drive.USAGE, "--password-file")

    def test_no_key_service(self):
        closed = socket.socket()
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        closed.close()
        ended = drive.unseal(self.sealed, "--key-service", f"https://127.0.0.1:{port}")
        self.assert_ends(ended, drive.TEMPFAIL, "away", str(port))

    def test_a_key_service_that_never_answers(self):
        silent = socket.socket()
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        ended = drive.unseal(self.sealed, "--key-service", url, "--timeout", "1")
        silent.close()
        self.assert_ends(ended, drive.TEMPFAIL, "away")

    def test_a_key_service_that_speaks_no_tls(self):
        plain = socket.socket()
        plain.bind(("127.0.0.1", 0))
        plain.listen()

        def answer():
            peer, _ = plain.accept()
            peer.recv(4096)
            peer.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            peer.close()

        thread = threading.Thread(target=answer)
        thread.start()
        url = f"https://127.0.0.1:{plain.getsockname()[1]}"
        ended = drive.unseal(self.sealed, "--key-service", url)
        thread.join(drive.WAIT_S)
        plain.close()
        self.assert_ends(ended, drive.UNAVAILABLE, "TLS")

    def test_a_key_service_of_another_authority(self):
        ended = drive.unseal(self.sealed, env={"BULLA_CA": None})
        self.assert_ends(ended, drive.UNAVAILABLE, "--ca")

    def test_an_authority_that_is_no_certificate(self):
        for path in ("/nonexistent.pem", self.password_file("no certificate\n")):
            self.assert_ends(drive.unseal(self.sealed, "--ca", path), drive.CONFIG, "--ca")

    def test_addresses_of_services_that_are_none(self):
        for url in ("http://127.0.0.1:1", "ftp://x", "https://", "https://a/b", "keys",
                    "https://user:pass@h"):
            with self.subTest(url=url):
                self.assert_ends(drive.unseal(self.sealed, "--key-service", url), drive.USAGE,
                                 "https://host")

    def test_nobody_named(self):
        self.assert_ends(drive.unseal(self.sealed, env={"BULLA_USER": None}), drive.USAGE, "--user")
        self.assert_ends(drive.unseal(self.sealed, env={"BULLA_KEYD_URL": None}), drive.USAGE,
                         "--key-service")

    def test_not_an_envelope(self):
        for name, text in {"empty": b"", "a mail": MAIL, "a page": b"<html></html>",
                           "noise": bytes(range(256)) * 10}.items():
            with self.subTest(name=name):
                self.assert_ends(drive.unseal(text), drive.DATA, "no bulla envelope")
        self.assert_ends(drive.bulla("open", "/nonexistent.html"), drive.NOINPUT)

    def test_a_cut_file(self):
        start = self.html.index(b'name="c"')
        for keep in (start + 100, (start + len(self.html)) // 2, self.html.rindex(b'name="e"')):
            with self.subTest(keep=keep):
                self.assert_ends(drive.unseal(self.html[:keep]), drive.DATA, "cut short")

    def test_a_cut_mail(self):
        keep = (self.sealed.index(b'name="c"') + len(self.sealed)) // 2
        self.assert_ends(drive.unseal(self.sealed[:keep]), drive.DATA, "cut short")

    def test_a_tampered_byte_anywhere_in_what_is_sealed(self):
        """One character of each sealed field: id, suite, salt, commitment, ciphertext."""
        rng = drive.generator("tamper")
        html = self.html
        spans = [m.span(1) for m in re.finditer(rb'name="[mskc]" value="([^"]+)"', html)]
        self.assertGreaterEqual(len(spans), 4)
        letters = b"0123456789abcdef"
        for begin, end in spans:
            for _ in range(4):
                at = rng.randrange(begin, end)
                while html[at] in b"\r\n=":
                    at = rng.randrange(begin, end)
                letter = rng.choice([x for x in letters if x != html[at]])
                changed = html[:at] + bytes([letter]) + html[at + 1:]
                with self.subTest(at=at, field=html[begin - 20:begin]):
                    ended = drive.unseal(changed)
                    self.assertIn(ended.status, (drive.DATA, drive.NOPERM), ended.err)
                    self.assert_ends(ended, ended.status)

    def test_chunks_in_another_order(self):
        ended = drive.unseal(self.html.replace(b'name="k" value="', b'name="k" value="AAAA', 1))
        self.assert_ends(ended, drive.DATA)

    def test_another_envelopes_id(self):
        """A forger cannot pass off one message as another of the same reader."""
        other = drive.attachment(drive.seal(b"other").out)
        field = re.compile(rb'name="m" value="([0-9a-f]{32})"')
        changed = self.html.replace(field.search(self.html).group(1), field.search(other).group(1))
        self.assert_ends(drive.unseal(changed), drive.DATA)


class Command(drive.Case):
    def test_help_goes_to_stdout_and_is_no_error(self):
        for command in ("seal", "open", "status", "top", "check-config", "provision"):
            ended = drive.bulla(command, "--help")
            self.assertEqual((0, ""), (ended.status, ended.err), command)
            self.assertIn(b"usage: bulla " + command.encode(), ended.out)

    def test_no_command_and_no_such_command(self):
        self.assertEqual(drive.USAGE, drive.bulla().status)
        self.assertEqual(drive.USAGE, drive.bulla("sael").status)

    def test_status_speaks_json_and_text(self):
        import json
        ended = drive.bulla("status", "--json")
        self.assertEqual((0, ""), (ended.status, ended.err))
        self.assertIsInstance(json.loads(ended.out), dict)
        self.assertEqual(0, drive.bulla("status").status)

    def test_status_without_an_engine(self):
        ended = drive.bulla("status", "--socket", drive.DEMO / "nobody.sock")
        self.assert_ends(ended, drive.TEMPFAIL, "no engine")

    def test_top_needs_a_terminal(self):
        self.assert_ends(drive.bulla("top"), drive.USAGE, "terminal")

    def test_a_wrong_code_enrols_nobody(self):
        with tempfile.TemporaryDirectory() as folder:
            ended = drive.bulla("provision", "--code", "nosuchcode", "--out", folder)
            self.assert_ends(ended, drive.NOPERM, "code")
            self.assertEqual([], os.listdir(folder))


if __name__ == "__main__":
    drive.main()
