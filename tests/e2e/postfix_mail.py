"""Mail of every kind through Postfix and bulla-milter: sealed and whole, or untouched."""
import email
import email.policy
import os
import re
import smtplib

import drive
import postfix

SUBJECT = b"Subject: [secure] tablets\r\n"
RECEIVED = re.compile(rb"\AReceived:.*\r\n(?:[ \t].*\r\n)*")


def mail(subject=SUBJECT, more=b"", body=b"twelve tablets\r\n", to=None):
    to = drive.USER.encode() if to is None else to
    return (b"From: Alice <alice@sender.example>\r\nTo: " + to + b"\r\n" + subject
            + b"Date: Sun, 22 Nov 2026 04:00:00 +0000\r\nMessage-ID: <1@sender.example>\r\n"
            + more + b"\r\n" + body)


def without_trace(data):
    """As it was handed in: without what Postfix puts on top."""
    while RECEIVED.match(data):
        data = RECEIVED.sub(b"", data, count=1)
    return data


class Selected(postfix.Case):
    def assert_sealed_round(self, original, **keywords):
        self.assert_sent(original, **keywords)
        got, = self.arrived()
        self.assert_opens(got, original)
        return got

    def test_it_arrives_sealed_and_opens_byte_for_byte(self):
        got = self.assert_sealed_round(mail())
        self.assertEqual((postfix.SENDER, [drive.USER]), (got.sender, got.recipients))
        self.assertNotIn(b"twelve tablets", got.data)
        outer = email.message_from_bytes(got.data, policy=email.policy.SMTP)
        self.assertEqual("[secure] tablets", outer["Subject"])
        self.assertEqual("multipart/mixed", outer.get_content_type())

    def test_odd_headers_come_back_byte_for_byte(self):
        more = (b"X-Folded: one\r\n\ttwo\r\n   three\r\nX-Tight:none\r\nX-Empty:\r\n"
                b"X-Wide:     five blanks\r\nX-8bit: caf\xc3\xa9\r\nx-LOWER: y\r\n")
        self.assert_sealed_round(mail(more=more))

    def test_bodies_of_every_kind_come_back_byte_for_byte(self):
        for body in (b"", b"\r\n", b".\r\n..\r\n.dot\r\n", b"no end of line", b"x" * 998 + b"\r\n",
                     bytes(range(1, 10)) + bytes(range(14, 256)) + b"\r\n"):
            with self.subTest(body[:20]):
                self.setUp()
                original = mail(body=body)
                whole = original if original.endswith(b"\r\n") else original + b"\r\n"
                self.assert_sent(original, options=["BODY=8BITMIME"])
                got, = self.arrived()
                self.assert_opens(got, whole)

    def test_several_recipients_get_one_sealed_mail(self):
        others = [drive.USER, "bob@elsewhere.example", "carol@elsewhere.example"]
        got = self.assert_sealed_round(mail(), recipients=others)
        self.assertEqual(sorted(others), sorted(got.recipients))

    def test_one_named_recipient_of_several_seals_for_all(self):
        original = mail(subject=b"Subject: plain\r\n")
        got = self.assert_sealed_round(original, recipients=[drive.USER, "x@partner.example"])
        self.assertEqual(2, len(got.recipients))

    def test_however_an_address_is_written_its_mail_is_sealed(self):
        for path in (b"partner.example!x", b"x%partner.example", b"@relay.example:x@partner.example",
                     b"x@partner.example (a place)", b"x @ partner . example",
                     b'"x@partner.example"@mail.sender.example', b"X@PARTNER.example."):
            with self.subTest(path), \
                    smtplib.SMTP("127.0.0.1", self.host.submission, timeout=drive.WAIT_S) as client:
                self.setUp()
                client.ehlo()
                client.mail(postfix.SENDER)
                self.assertEqual(250, client.docmd("RCPT", f"TO:<{path.decode()}>")[0])
                self.assertEqual(250, client.data(mail(subject=b"Subject: plain\r\n"))[0])
                got, = self.arrived()
                self.assertNotIn(b"twelve tablets", got.data)
                self.assertIn(b"securedoc_", got.data)

    def test_bcc_is_named_nowhere(self):
        self.assert_sent(mail(more=b"Bcc: secret@elsewhere.example\r\n"),
                         recipients=[drive.USER, "secret@elsewhere.example"])
        got, = self.arrived()
        self.assertNotIn(b"secret@", got.data.lower())
        self.assert_opens(got, mail())

    def test_the_null_sender_is_kept(self):
        got = self.assert_sealed_round(mail(), sender="")
        self.assertEqual("", got.sender)

    def test_a_mailing_lists_fields_stay_readable(self):
        more = (b"List-Id: <scribes.sender.example>\r\n"
                b"List-Unsubscribe: <mailto:leave@sender.example>\r\nPrecedence: list\r\n")
        self.assert_sealed_round(mail(more=more))

    def test_smtputf8(self):
        original = mail(subject="Subject: [secure] Tontäfelchen\r\n".encode(),
                        more="X-Name: Jürgen\r\n".encode())
        got = self.assert_sealed_round(original, sender="jürgen@sender.example",
                                       options=["SMTPUTF8", "BODY=8BITMIME"])
        self.assertEqual("jürgen@sender.example", got.sender)

    def test_our_own_envelope_coming_back(self):
        first = self.assert_sealed_round(mail())
        again = without_trace(first.data)
        self.setUp()
        self.assert_sent(again)
        got, = self.arrived()
        opened = drive.unseal(got.data)
        self.assertEqual(0, opened.status, opened.err)
        # Whether passed on or sealed once more: what was meant is inside.
        inner = opened.out if opened.out == mail() else drive.unseal(opened.out).out
        self.assertTrue(inner == mail(), inner[:500])

    def test_25_mib(self):
        attachment = os.urandom(18 << 20)
        import base64
        text = base64.encodebytes(attachment).replace(b"\n", b"\r\n")
        original = mail(body=text)
        self.assertGreater(len(original), 24 << 20)
        self.assert_sealed_round(original)

    def test_over_the_limit_is_refused_for_good(self):
        code, text = self.host.send(mail(body=(b"x" * 76 + b"\r\n") * 350000))
        self.assertEqual(5, code // 100, text)
        self.assertEqual([], self.host.sink.mails)


class Unselected(postfix.Case):
    def test_it_passes_untouched(self):
        original = mail(subject=b"Subject: plain\r\n", body=b".dots\r\n\r\n",
                        more=b"X-Folded: one\r\n\ttwo\r\nX-Tight:none\r\n")
        self.assert_sent(original)
        got, = self.arrived()
        self.assertTrue(without_trace(got.data) == original, got.data)

    def test_control_fields_are_taken_out_of_it(self):
        more = b"X-PostX-Reply-Enabled: false\r\nX-Bulla-Anything: 1\r\n"
        self.assert_sent(mail(subject=b"Subject: plain\r\n", more=more))
        got, = self.arrived()
        self.assertTrue(without_trace(got.data) == mail(subject=b"Subject: plain\r\n"), got.data)

    def test_it_passes_while_the_key_service_is_away(self):
        self.host.proxy.set("refuse")
        try:
            original = mail(subject=b"Subject: plain\r\n")
            self.assert_sent(original)
            got, = self.arrived()
            self.assertTrue(without_trace(got.data) == original, got.data)
        finally:
            self.host.proxy.set("pass")


if __name__ == "__main__":
    postfix.main()
