"""What goes in comes out, byte for byte: own fixtures, generated mail, the edges."""
import base64
import email
import email.policy
import subprocess

import drive

MIB = 1024 * 1024


def base64_lines(data, width, eol):
    text = base64.b64encode(data)
    return b"".join(text[i:i + width] + eol for i in range(0, len(text), width))


def generated_mail(rng, eol):
    """A mail of random parts: headers, text, base64 of any width, almost-base64, binary."""
    lines = [b"From: a <a@sender.example>", b"To: b@recipient.example",
             b"Subject: =?utf-8?q?n=C3=BCmber_%d?=" % rng.randrange(10**6)]
    if rng.random() < 0.5:
        lines += [b"X-Folded: one", b" two", b"\tthree"]
    mail = eol.join(lines) + eol + eol
    for _ in range(rng.randrange(1, 12)):
        kind = rng.randrange(6)
        size = rng.choice([0, 1, 2, 3, 56, 57, 58, 114, 1000, 16383, 16384, 16385, 70000])
        data = rng.randbytes(size)
        if kind == 0:
            mail += base64_lines(data, rng.choice([4, 60, 64, 72, 76]), eol)
        elif kind == 1:
            mail += base64_lines(data, 76, eol).replace(b"A", b"*", 1)
        elif kind == 2:
            mail += base64_lines(data, 76, rng.choice([b"\n", b"\r\n"]))[:-1]
        elif kind == 3:
            mail += data
        elif kind == 4:
            mail += (b"plain text of a letter" + eol) * rng.randrange(1, 200)
        else:
            mail += base64_lines(data, 75, eol) + b"=" * rng.randrange(5) + eol
    return mail


class RoundTrip(drive.Case):
    def test_own_fixtures_come_back_in_both_line_endings(self):
        folders = [drive.SOURCE / "tools" / "demo-mail", drive.SOURCE / "tests" / "e2e" / "data"]
        paths = [p for folder in folders for p in sorted(folder.glob("*.eml"))]
        self.assertGreaterEqual(len(paths), 3)
        for path in paths:
            for eol in (b"\r\n", b"\n"):
                with self.subTest(path=path.name, eol=eol):
                    self.assert_round_trip(drive.with_eol(path.read_bytes(), eol), name=path.name)

    def test_generated_mail_comes_back(self):
        rng = drive.generator("roundtrip")
        for n in range(40):
            eol = rng.choice([b"\r\n", b"\n"])
            with self.subTest(n=n):
                self.assert_round_trip(generated_mail(rng, eol), name=f"mail {n}")

    def test_mail_comes_back_from_a_profile_that_compresses(self):
        rng = drive.generator("compact")
        text = b"Subject: figures\r\n\r\n" + b"".join(
            b"On day %d the board met and agreed to %d of the points.\r\n" % (n, n * n % 97)
            for n in range(5000))
        mails = [b"", b"x", text, *(generated_mail(rng, rng.choice([b"\r\n", b"\n"])) for _ in range(20))]
        for n, mail in enumerate(mails):
            with self.subTest(n=n):
                self.assert_round_trip(mail, "--profile", "compact", name=f"mail {n}")
        short = self.assert_round_trip(text, "--profile", "compact")
        self.assertLess(len(short), len(text) * 3 // 4)
        self.assertGreater(len(self.assert_round_trip(text)), len(text) * 4 // 3)

    def test_edges_come_back(self):
        edges = {
            "empty": b"",
            "one byte": b"\n",
            "a NUL": b"\0",
            "header only": b"From: a@sender.example\r\nTo: b@recipient.example\r\n",
            "header without an end": b"From: a@sender.example",
            "no header": b"\r\nonly a body",
            "every byte": bytes(range(256)) * 3,
            "one long line": b"Subject: " + b"x" * 100000,
            "carriage returns alone": b"From: a@sender.example\rTo: b@c.example\r\rbody\r",
            "only padding": b"====\r\n====\r\n",
            "a chunk exactly": b"q" * (16384 - 11),
            "a chunk and one byte": b"q" * 16384,
        }
        for name, mail in edges.items():
            with self.subTest(name=name):
                self.assert_round_trip(mail, name=name)

    def test_the_largest_mail_that_the_default_profile_takes_comes_back(self):
        rng = drive.generator("25 MiB")
        head = b"From: a@sender.example\r\nTo: b@recipient.example\r\n\r\n"
        body = base64_lines(rng.randbytes(18 * MIB), 76, b"\r\n")
        mail = (head + body)[:25 * MIB]
        mail += b"." * (25 * MIB - len(mail))
        sealed = self.assert_round_trip(mail, name="25 MiB")
        self.assertLess(len(sealed), len(mail) * 1.05 + 200000, "an attachment is paid for once")

    def test_the_bare_attachment_opens_too(self):
        mail = b"From: a@sender.example\r\n\r\nbare\r\n"
        html = drive.attachment(self.assert_sealed(drive.seal(mail)))
        opened = drive.unseal(html)
        self.assertEqual((0, "", mail), (opened.status, opened.err, opened.out))

    def test_a_gateway_may_rewrap_the_attachment_as_base64(self):
        mail = b"From: a@sender.example\r\n\r\nrewrapped\r\n" * 50
        message = email.message_from_bytes(self.assert_sealed(drive.seal(mail)),
                                           policy=email.policy.SMTP)
        for part in message.walk():
            if part.get_content_disposition() == "attachment":
                html = part.get_payload(decode=True)
                del part["Content-Transfer-Encoding"]
                part["Content-Transfer-Encoding"] = "base64"
                part.set_payload(base64.encodebytes(html).decode())
        opened = drive.unseal(message.as_bytes())
        self.assertEqual((0, "", mail), (opened.status, opened.err, opened.out))

    def test_files_and_pipes_are_the_same(self):
        path = drive.SOURCE / "tools" / "demo-mail" / "1-text.eml"
        sealed = drive.bulla("seal", "--to", drive.USER, path)
        self.assertEqual(0, sealed.status, sealed.err)
        folder = drive.DEMO / "roundtrip"
        folder.mkdir(exist_ok=True)
        (folder / "sealed.eml").write_bytes(sealed.out)
        opened = drive.bulla("open", folder / "sealed.eml")
        self.assertEqual((0, path.read_bytes()), (opened.status, opened.out))

    def test_addresses_come_from_the_header(self):
        mail = (b"From: =?utf-8?q?S=C3=A9nder?= <sender@sender.example>\r\n"
                b"To: \"Last, First\" <someone@else.example>,\r\n other@else.example\r\n"
                b"Bcc: " + drive.USER.encode() + b"\r\nSubject: s\r\n\r\nhi\r\n")
        sealed = drive.bulla("seal", stdin=mail)
        self.assertEqual((0, ""), (sealed.status, sealed.err))
        opened = drive.unseal(sealed.out)
        self.assertEqual((0, "", mail), (opened.status, opened.err, opened.out))
        self.assertNotIn(drive.USER.encode(), sealed.out, "Bcc never shows outside")

    def test_two_seals_of_one_message_share_nothing(self):
        mail = b"From: a@sender.example\r\n\r\nthe same\r\n"
        one, two = (drive.attachment(self.assert_sealed(drive.seal(mail))) for _ in range(2))
        fields = [set(line for line in html.split(b"\r\n") if b'name="m"' in line or
                      b'name="k"' in line) for html in (one, two)]
        self.assertEqual(2, len(fields[0]), "id, salt and commitment stand in the attachment")
        self.assertFalse(fields[0] & fields[1])

    def test_the_sealed_mail_is_one_that_transport_carries(self):
        mail = (drive.SOURCE / "tools" / "demo-mail" / "3-german.eml").read_bytes()
        sealed = self.assert_sealed(drive.seal(mail))
        self.assertTrue(sealed.isascii(), "7bit")
        self.assertNotIn(b"\0", sealed)
        lines = sealed.split(b"\r\n")
        self.assertFalse([x for x in lines if b"\n" in x or b"\r" in x], "CRLF and nothing else")
        self.assertLessEqual(max(map(len, lines)), 998)
        self.assertNotIn(b"Tontafeln. Die", sealed)

    def test_a_closed_pipe_is_an_output_error(self):
        mail = b"From: a@sender.example\r\n\r\n" + b"x" * MIB
        sealed = drive.DEMO / "roundtrip-pipe.eml"
        sealed.write_bytes(self.assert_sealed(drive.seal(mail)))
        done = subprocess.run(["bash", "-c", 'bulla open "$0" > /dev/full', str(sealed)],
                              capture_output=True, timeout=drive.WAIT_S, check=False)
        self.assertEqual(74, done.returncode, done.stderr)


if __name__ == "__main__":
    drive.main()
