"""bulla-milter against the real engine, with a mail server of our own at the other end."""
import json
import os
import pathlib
import random
import re
import signal
import tempfile
import threading
import time

import milter_daemon
import smtp_sink
from milter_client import CHGHDRS, Gone
from milter_daemon import drive

USER = drive.USER.encode()
HEADER = (b"Received: from laptop\r\n\tby mx.sender.example; Sat, 21 Nov 2026 10:00:00 +0000\r\n"
          b"Received: from inside\r\n"
          b"From: Sender <sender@sender.example>\r\nTo: " + USER + b"\r\n"
          b"Message-ID: <1@sender.example>\r\nDate: Sat, 21 Nov 2026 10:00:00 +0000\r\n"
          b"X-Odd:no blank\r\nX-Folded:  two\r\n   lines \r\nMIME-Version: 1.0\r\n")
BODY = b"hello\r\n.\r\n..dots\r\nlast line\r\n"
PLAIN = HEADER + b"Subject: offer\r\n\r\n" + BODY
SECRET = HEADER + b"Subject: [secure] offer\r\n\r\n" + BODY


def with_field(mail, field):
    return mail.replace(b"MIME-Version: 1.0\r\n", field + b"MIME-Version: 1.0\r\n", 1)


def large(byte_count):
    lines = random.Random(1).randbytes(byte_count * 57 // 78)
    import base64
    body = base64.encodebytes(lines).replace(b"\n", b"\r\n")
    return SECRET.split(b"\r\n\r\n", 1)[0] + b"\r\n\r\n" + body


class Selection(milter_daemon.Case):
    def test_milter_passes_what_nobody_selects_byte_for_byte(self):
        result = self.send(PLAIN, recipients=[USER])
        self.assertEqual("accept", result.verdict)
        self.assert_untouched(result, PLAIN)

    def test_milter_seals_a_subject_phrase(self):
        sealed = self.assert_sealed(self.send(SECRET, recipients=[USER]), SECRET)
        self.assertNotIn(b"last line", sealed)
        self.assertNotIn(b"Received:", sealed)
        self.assertNotIn(b"X-Odd", sealed)

    def test_milter_seals_an_encoded_subject_phrase(self):
        mail = HEADER + b"Subject: =?utf-8?B?W3NlY3VyZV0=?=\r\n\r\n" + BODY
        self.assert_sealed(self.send(mail, recipients=[USER]), mail)

    def test_milter_seals_by_header_sender_and_recipient(self):
        mail = with_field(PLAIN, b"X-Confidential: YES\r\n")
        self.assert_sealed(self.send(mail, recipients=[USER]), mail)
        self.assert_sealed(self.send(PLAIN, sender=b"CEO@Sender.Example", recipients=[USER]), PLAIN)
        self.assert_sealed(self.send(PLAIN, recipients=[USER, b"x@deep.sealed.example"]), PLAIN)

    def test_milter_seals_for_addresses_behind_a_route(self):
        for address in (b"who%sealed.example@relay.example", b"sealed.example!who",
                        b'"who@sealed.example"@relay.example'):
            self.assert_sealed(self.send(PLAIN, recipients=[USER, address]), PLAIN)

    def test_milter_takes_the_first_profile_in_file_order(self):
        self.send(SECRET, sender=b"small@sender.example", recipients=[USER], queue_id="FIRST1")
        line = [li for li in self.milter.log_text().splitlines() if "FIRST1" in li][0]
        self.assertIn("profile=phrase", line)

    def test_milter_logs_one_line_a_message_without_address_or_subject(self):
        self.send(SECRET, recipients=[USER], queue_id="LOGGED1")
        self.send(PLAIN, recipients=[USER], queue_id="LOGGED2")
        log = self.milter.log_text()
        self.assertEqual(1, log.count("LOGGED1"))
        self.assertEqual(1, log.count("LOGGED2"))
        for word in ("secure", "offer", "@", "hello"):
            self.assertNotIn(word, log)

    def test_milter_keeps_messages_of_one_connection_apart(self):
        with self.milter.client() as connection:
            for round_index in range(3):
                self.assert_sealed(connection.message(SECRET, recipients=[USER]), SECRET)
                self.assert_untouched(connection.message(PLAIN, recipients=[USER]), PLAIN)
                odd = HEADER + b"Subject: [secure] %d\r\n\r\n" % round_index + BODY
                self.assert_sealed(connection.message(odd, recipients=[USER]), odd)

    def test_milter_forgets_an_aborted_message(self):
        with self.milter.client() as connection:
            connection.ask(b"M", b"<ceo@sender.example>\0")
            connection.ask(b"R", b"<a@b.example>\0")
            connection.ask(b"L", b"Subject\0 [secure]\0")
            connection.send(b"A", b"")
            self.assert_untouched(connection.message(PLAIN, recipients=[USER]), PLAIN)

    def test_milter_seals_several_connections_at_once(self):
        faults = []

        def work(number):
            try:
                mail = HEADER + b"Subject: [secure] %d\r\n\r\n" % number + BODY * (number * 40 + 1)
                for _ in range(4):
                    result = self.send(mail, recipients=[USER])
                    self.assertEqual("continue", result.verdict, result.reply)
                self.assert_sealed(result, mail)
            except BaseException as fault:  # pylint: disable=broad-except
                faults.append(fault)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual([], faults)


class Kinds(milter_daemon.Case):
    """Each kind of mail that docs/milter.md decides about."""

    def test_milter_seals_once_for_all_recipients_of_a_message(self):
        result = self.send(SECRET, recipients=[USER, b"ann@example.org", b"bob@example.net"])
        self.assert_sealed(result, SECRET)

    def test_milter_takes_a_thousand_recipients_and_puts_the_next_off(self):
        many = [b"r%d@example.org" % n for n in range(1000)]
        with self.milter.client() as connection:
            connection.ask(b"M", b"<a@sender.example>\0")
            answers = [connection.ask(b"R", b"<" + r + b">\0") for r in many + [b"one@more.example"]]
        self.assertEqual({b"c"}, {a[0] for a in answers[:-1]})
        self.assertTrue(answers[-1][1].startswith(b"451 4.5.3"), answers[-1])
        self.assert_sealed(self.send(SECRET, recipients=[USER] + many[:999]), SECRET)

    def test_milter_leaves_blind_copies_out_of_the_envelope(self):
        mail = with_field(SECRET, b"Bcc: blind@example.org\r\nResent-Bcc: too@example.org\r\n"
                          b"bcc \t: third@example.org\r\n")
        self.assert_sealed(self.send(mail, recipients=[USER, b"blind@example.org"]), SECRET)

    def test_milter_seals_the_null_senders_mail_like_any_other(self):
        self.assert_sealed(self.send(SECRET, sender=b"", recipients=[USER]), SECRET)
        self.assert_untouched(self.send(PLAIN, sender=b"", recipients=[USER]), PLAIN)

    def test_milter_seals_list_mail_and_keeps_its_fields_inside(self):
        mail = with_field(SECRET, b"List-Id: <all.sender.example>\r\nPrecedence: list\r\n"
                                  b"List-Unsubscribe: <mailto:u@sender.example>\r\n")
        sealed = self.assert_sealed(self.send(mail, recipients=[USER]), mail)
        self.assertNotIn(b"List-", sealed)

    def test_milter_seals_8bit_and_smtputf8_mail_into_ascii(self):
        mail = (HEADER.replace(b"Sender <", "Jörg <".encode()) + "Subject: [secure] Grüße\r\n".encode()
                + "Content-Transfer-Encoding: 8bit\r\n\r\nGrüße, 世界\r\n".encode())
        result = self.send(mail, sender="jörg@sender.example".encode(), recipients=[USER],
                           arguments=((b"SMTPUTF8", b"BODY=8BITMIME"), ()))
        self.assertTrue(self.assert_sealed(result, mail).isascii())

    def test_milter_seals_25_mib(self):
        mail = large((25 << 20) - 4096)
        self.assert_sealed(self.send(mail, recipients=[USER]), mail)

    def test_milter_refuses_more_than_the_profile_allows(self):
        mail = PLAIN + b"x" * 60 + b"\r\n" * 100000
        result = self.send(mail, sender=b"small@sender.example", recipients=[USER])
        self.assertTrue(result.reply.startswith("552 5.3.4"), result.reply)
        self.assert_untouched(self.send(mail, recipients=[USER]), mail)

    def test_milter_refuses_a_header_beyond_its_bounds(self):
        mail = b"".join(b"X-%d: y\r\n" % n for n in range(2001)) + SECRET
        self.assertTrue(self.send(mail, recipients=[USER]).reply.startswith("552 5.3.4"))

    def test_milter_seals_a_header_of_many_equal_and_long_fields(self):
        mail = b"".join(b"X-Same: %d\r\n" % n for n in range(500)) + \
            b"X-Long: " + b"y" * 200000 + b"\r\n" + SECRET
        self.assert_sealed(self.send(mail, recipients=[USER]), mail)

    def test_milter_seals_what_says_that_it_is_encrypted_already(self):
        for kind in (b"application/pkcs7-mime; smime-type=enveloped-data",
                     b"multipart/encrypted; protocol=\"application/pgp-encrypted\"; boundary=x"):
            mail = with_field(SECRET, b"Content-Type: " + kind + b"\r\n")
            self.assert_sealed(self.send(mail, recipients=[USER]), mail)

    def test_milter_seals_an_envelope_that_comes_back_again(self):
        first = self.assert_sealed(self.send(SECRET, recipients=[USER]), SECRET)
        self.assert_sealed(self.send(first, recipients=[USER]), first)

    def test_milter_seals_an_empty_body(self):
        mail = HEADER + b"Subject: [secure]\r\n\r\n"
        self.assert_sealed(self.send(mail, recipients=[USER]), mail)

    def test_milter_serves_a_mail_server_that_keeps_the_blank_and_cannot_skip(self):
        result = self.send(SECRET.replace(b"X-Odd:no", b"X-Odd: no"), recipients=[USER],
                           client={"lead_blank": False, "skip": False})
        self.assert_sealed(result, SECRET.replace(b"X-Odd:no", b"X-Odd: no"))

    def test_milter_declines_a_mail_server_that_forbids_changes(self):
        with self.assertRaises((Gone, ConnectionError)):
            self.send(SECRET, client={"actions": 0x1FF & ~CHGHDRS})


class Own(milter_daemon.Case):
    """What was sealed here is known by its mark; nobody else can make one."""

    @classmethod
    def setUpClass(cls):
        with tempfile.NamedTemporaryFile(prefix="bulla-mark-", delete=False) as key:
            key.write(os.urandom(32))
        cls.addClassCleanup(os.unlink, key.name)
        cls.section = f'mark_key = "{key.name}"'
        super().setUpClass()

    def sealed(self, mail=SECRET, **keywords):
        sealed = self.assert_sealed(self.send(mail, recipients=[USER], **keywords), mail)
        self.assertIn(b"\r\nX-Bulla-Seal: 1 ", sealed)
        return sealed

    def assert_sealed_again(self, mail):
        result = self.send(mail, sender=b"ceo@sender.example", recipients=[USER])
        inside = b"\r\n".join(li for li in mail.split(b"\r\n")
                              if not li.lower().startswith(b"x-bulla-seal:"))
        self.assert_sealed(result, inside)

    def test_milter_passes_its_own_envelope_untouched(self):
        sealed = self.sealed()
        back = b"Received: from another\r\n" + sealed
        self.assert_untouched(self.send(back, sender=b"ceo@sender.example", recipients=[USER]),
                              back)

    def test_milter_passes_its_own_envelope_beyond_the_size_limit(self):
        mail = HEADER + b"Subject: x\r\n\r\n" + b"x" * 70 + b"\r\n" * 1000 + \
            os.urandom(44000).hex().encode() + b"\r\n"
        sealed = self.sealed(mail, sender=b"small@sender.example")
        self.assertGreater(len(sealed), 100 << 10)
        self.assert_untouched(self.send(sealed, sender=b"small@sender.example",
                                        recipients=[USER]), sealed)
        cut = sealed.replace(b"X-Bulla-Seal: 1 0", b"X-Bulla-Seal: 1 1", 1)
        result = self.send(cut, sender=b"small@sender.example", recipients=[USER])
        self.assertTrue(result.reply.startswith("552 5.3.4"), result.reply)

    def test_milter_seals_what_only_claims_to_be_its_own(self):
        sealed = self.sealed()
        mark = [li for li in sealed.split(b"\r\n") if li.startswith(b"X-Bulla-Seal")][0]
        other = [li for li in self.sealed().split(b"\r\n") if li.startswith(b"X-Bulla-Seal")][0]
        self.assert_sealed_again(mark + b"\r\n" + PLAIN)
        self.assert_sealed_again(sealed.replace(mark, other))
        self.assert_sealed_again(sealed.replace(b"multipart/alternative", b"multipart/alternativE"))
        self.assert_sealed_again(sealed + b"cleartext\r\n")
        self.assert_sealed_again(sealed.replace(mark, mark + b"\r\n" + mark))
        self.assert_sealed_again(sealed.replace(mark, mark[:-1] + b"%x" % (int(mark[-1:], 16) ^ 1)))
        self.assert_sealed_again(sealed.replace(mark, mark[:-2]))
        self.assert_sealed_again(sealed.replace(mark, b"X-Bulla-Seal: yes"))

    def test_milter_takes_the_mark_off_what_passes(self):
        mail = with_field(PLAIN, b"X-Bulla-Seal: 1 " + b"0" * 32 + b" " + b"0" * 64 + b"\r\n")
        self.assert_untouched(self.send(mail, recipients=[USER]), PLAIN)


class Control(milter_daemon.Case):
    FIELDS = b"X-PostX-Reply-Enabled: false\r\nx-bulla-anything: 1\r\n"

    def test_milter_strips_control_fields_of_mail_that_passes(self):
        result = self.send(with_field(PLAIN, self.FIELDS), recipients=[USER])
        self.assert_untouched(result, PLAIN)

    def test_milter_strips_control_fields_without_asking_for_the_body(self):
        mail = with_field(PLAIN, self.FIELDS) + b"x\r\n" * 2000000
        result = self.send(mail, recipients=[USER], client={"skip": False})
        self.assertEqual(PLAIN + b"x\r\n" * 2000000, result.delivered)

    def test_milter_strips_control_fields_inside_and_outside_the_envelope(self):
        sealed = self.assert_sealed(self.send(with_field(SECRET, self.FIELDS), recipients=[USER]),
                                    SECRET)
        self.assertNotIn(b"PostX", sealed)

    def test_milter_strips_control_fields_of_strangers_too(self):
        result = self.send(with_field(PLAIN, self.FIELDS), recipients=[USER],
                           client={"client": ("203.0.113.9", 4)})
        self.assert_untouched(result, PLAIN)


class Overrides(milter_daemon.Case):
    """What X-PostX-* fields ask for reaches the envelope: seen by its script, which is left out."""

    section = 'trust_networks = {"192.0.2.0/24"}'
    STRANGER = {"client": ("203.0.113.9", 4)}
    MAIL = with_field(PLAIN, b"X-PostX-Use-Script: false\r\n")

    def has_script(self, sender=b"asks@sender.example", **keywords):
        sealed = self.assert_sealed(self.send(self.MAIL, sender=sender, recipients=[USER],
                                              **keywords), PLAIN)
        self.assertNotIn(b"PostX", sealed)
        return b"<script" in drive.attachment(sealed)

    def test_milter_honours_overrides_of_a_trusted_network(self):
        self.assertFalse(self.has_script(client={"client": ("192.0.2.7", 4)}))

    def test_milter_honours_overrides_of_a_client_that_signed_in(self):
        self.assertFalse(self.has_script(client=self.STRANGER, authenticated="asks"))

    def test_milter_honours_no_overrides_of_strangers(self):
        self.assertTrue(self.has_script(client=self.STRANGER))

    def test_milter_honours_no_overrides_that_the_profile_does_not_allow(self):
        self.assertTrue(self.has_script(b"ceo@sender.example",
                                        client={"client": ("192.0.2.7", 4)}))

    def test_milter_refuses_a_trusted_override_that_cannot_be_read(self):
        mail = with_field(PLAIN, b"X-PostX-Use-Script: perhaps\r\n")
        result = self.send(mail, sender=b"asks@sender.example", recipients=[USER],
                           client={"client": ("192.0.2.7", 4)})
        self.assertTrue(result.refused, result.verdict)


class EveryOverride(milter_daemon.Case):
    """Each X-PostX-* field that is known, in one message: in the key record and in the envelope."""

    section = 'trust_networks = {"192.0.2.0/24"}'
    TRUSTED = {"client": ("192.0.2.7", 4)}
    STRANGER = {"client": ("203.0.113.9", 4)}
    RECEIPT, REPLY, REPLY_ALL, FORWARD, REMEMBER = (1 << n for n in range(5))
    OWN_FLAGS = REPLY | REPLY_ALL | FORWARD
    HOUR_MS, DAY_MS = 3600_000, 24 * 3600_000

    @staticmethod
    def asking(flags, use_script, suppress_applet, expires, read_by):
        """PLAIN with all nine, this way and that."""
        def word(value):
            return "true" if value else "false"
        kind = EveryOverride
        fields = (("Reply-Enabled", word(flags & kind.REPLY)),
                  ("Reply-All-Enabled", word(flags & kind.REPLY_ALL).upper()),
                  ("Forward-Enabled", word(flags & kind.FORWARD)),
                  ("Send-Return-Receipt", word(flags & kind.RECEIPT)),
                  ("Remember-Envelope-Key-Checkbox", word(flags & kind.REMEMBER)),
                  ("Use-Script", word(use_script)),
                  ("Suppress-Applet-For-Open", word(suppress_applet)),
                  ("ExpirationDate", expires),
                  ("ReadNotificationDate", "\r\n " + read_by))
        return with_field(PLAIN, "".join(f"X-PostX-{n}: {v}\r\n" for n, v in fields).encode())

    def sealed(self, mail, client, sender=b"asks@sender.example"):
        """None of them is left on the mail, in its envelope, or in what is inside."""
        sealed = self.assert_sealed(self.send(mail, sender=sender, recipients=[USER],
                                              client=client), PLAIN)
        for shown in (sealed, drive.attachment(sealed)):
            self.assertNotIn(b"postx", shown.lower())
        return sealed

    def assert_own(self, sealed):
        flags, _, expires, read_by = drive.key_record(sealed)
        self.assertEqual((self.OWN_FLAGS, 0, 0), (flags, expires, read_by))
        self.assertIn(b"<script", drive.attachment(sealed))

    def test_milter_takes_all_nine_overrides_to_the_key_record_and_the_envelope(self):
        one, other = self.RECEIPT | self.REPLY_ALL, self.REPLY | self.FORWARD | self.REMEMBER
        for flags, use_script, suppress, expires, read_by, times in (
                (one, False, False, "+26:30:00", "+3", (26.5 * self.HOUR_MS, 3 * self.DAY_MS)),
                (other, True, True, "+30", "+0012:00:00", (30 * self.DAY_MS, 12 * self.HOUR_MS)),
                (one | other, True, False, "+1", "+00:01:00", (self.DAY_MS, 60_000))):
            with self.subTest(flags=flags):
                sealed = self.sealed(self.asking(flags, use_script, suppress, expires, read_by),
                                     self.TRUSTED)
                shown, sent, ends, reminds = drive.key_record(sealed)
                self.assertEqual((flags, *times), (shown, ends - sent, reminds - sent))
                scripted = b"<script" in drive.attachment(sealed)
                self.assertEqual(use_script and not suppress, scripted)

    def test_milter_hears_none_of_the_nine_overrides_from_a_stranger(self):
        mail = self.asking(self.RECEIPT | self.REMEMBER, False, True, "+1", "+2")
        self.assert_own(self.sealed(mail, self.STRANGER))
        self.assert_untouched(self.send(mail, recipients=[USER], client=self.STRANGER), PLAIN)

    def test_milter_hears_none_of_the_nine_overrides_where_the_profile_does_not(self):
        mail = self.asking(self.RECEIPT | self.REMEMBER, False, True, "+1", "+2")
        self.assert_own(self.sealed(mail, self.TRUSTED, sender=b"ceo@sender.example"))


class Alone(drive.Case):
    """A milter for each test."""

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="bulla-milter-")
        self.addCleanup(self.folder.cleanup)

    def milter(self, engine_socket, section="", **keywords):
        milter = milter_daemon.Milter(self.folder.name, engine_socket, section, **keywords)
        self.addCleanup(milter.stop)
        return milter

    def assert_put_off(self, result):
        self.assertTrue(result.put_off, (result.verdict, result.reply))
        self.assertIsNone(result.delivered)


class Closed(Alone):
    """Nothing leaves in clear, whatever is missing."""

    def test_milter_fails_closed_without_engine(self):
        milter = self.milter(pathlib.Path(self.folder.name) / "nobody.sock")
        with milter.client() as connection:
            started = time.monotonic()
            result = connection.message(SECRET, recipients=[USER])
            self.assert_put_off(result)
            self.assertTrue(result.reply.startswith("451 4.3.0"), result.reply)
            self.assertLess(time.monotonic() - started, 30)
            # What nobody selects needs no engine.
            self.assertEqual(PLAIN, connection.message(PLAIN, recipients=[USER]).delivered)

    def test_milter_fails_closed_when_the_engine_dies_and_attaches_to_the_next(self):
        engine = drive.engine(self.folder.name, milter_daemon.engine_text)
        self.addCleanup(engine.stop)
        milter = self.milter(engine.socket)
        with milter.client() as connection:
            self.assertEqual("continue", connection.message(SECRET, recipients=[USER]).verdict)
            engine.stop(signal.SIGKILL)
            self.assert_put_off(connection.message(SECRET, recipients=[USER]))
            again = drive.engine(self.folder.name, milter_daemon.engine_text)
            self.addCleanup(again.stop)
            self.assertEqual("continue", connection.message(SECRET, recipients=[USER]).verdict)

    def test_milter_fails_closed_when_the_engine_dies_with_the_message(self):
        engine = drive.engine(self.folder.name, milter_daemon.engine_text)
        self.addCleanup(engine.stop)
        milter = self.milter(engine.socket)
        with milter.client() as connection:
            self.assertEqual("continue", connection.message(SECRET, recipients=[USER]).verdict)
            drive.halt(engine.process.pid)
            killer = threading.Timer(1, lambda: engine.process.send_signal(signal.SIGKILL))
            killer.start()
            result = connection.message(SECRET, recipients=[USER])
            killer.join()
        self.assert_put_off(result)
        drive.wait_until(lambda: "engine_gone messages=1" in milter.log_text(), "it is logged")

    def test_milter_waits_for_an_engine_that_restarts(self):
        engine = drive.engine(self.folder.name, milter_daemon.engine_text)
        milter = self.milter(engine.socket)
        engine.stop()
        engines = []
        starter = threading.Timer(0.2, lambda: engines.append(
            drive.engine(self.folder.name, milter_daemon.engine_text)))
        starter.start()
        try:
            with milter.client() as connection:
                result = connection.message(SECRET, recipients=[USER])
            # A machine that is too slow to start it in time puts the message off, no more.
            self.assertTrue(result.verdict == "continue" or result.put_off, result.reply)
        finally:
            starter.join()
            engines[0].stop()

    def test_milter_fails_closed_when_the_engine_does_not_answer(self):
        engine = drive.engine(self.folder.name, milter_daemon.engine_text)
        self.addCleanup(engine.stop)
        milter = self.milter(engine.socket, "timeout = 1s")
        drive.halt(engine.process.pid)
        with milter.client() as connection:
            self.assert_put_off(connection.message(SECRET, recipients=[USER]))
        engine.process.send_signal(signal.SIGCONT)
        with milter.client() as connection:
            drive.wait_until(lambda: connection.message(SECRET, recipients=[USER]).verdict ==
                             "continue", "the engine answers again")

    def test_milter_fails_closed_for_a_profile_that_the_engine_does_not_know(self):
        engine = drive.engine(self.folder.name, milter_daemon.engine_text)
        self.addCleanup(engine.stop)
        milter = self.milter(engine.socket)
        with milter.client() as connection:
            result = connection.message(PLAIN, sender=b"unknown@sender.example", recipients=[USER])
        self.assertTrue(result.refused or result.put_off, result.verdict)
        self.assertIsNone(result.delivered)

    def test_milter_fails_closed_when_the_key_service_is_away(self):
        def elsewhere(text):
            return milter_daemon.engine_text(drive.re.sub(
                r'(engine_url\s*=\s*)"[^"]*"',
                rf'\1"https://127.0.0.1:{milter_daemon.free_port()}"', text)).replace(
                    "engine {", "engine {\n  key_wait = 1s")
        engine = drive.engine(self.folder.name, elsewhere)
        self.addCleanup(engine.stop)
        milter = self.milter(engine.socket)
        with milter.client() as connection:
            self.assert_put_off(connection.message(SECRET, recipients=[USER]))

    def test_milter_fails_closed_when_its_memory_is_used_up(self):
        engine = drive.engine(self.folder.name, milter_daemon.engine_text)
        self.addCleanup(engine.stop)
        milter = self.milter(engine.socket, "memory = 16MB")
        with milter.client() as connection:
            result = connection.message(large(20 << 20), recipients=[USER])
            self.assert_put_off(result)
            self.assertTrue(result.reply.startswith("451 4.3.1"), result.reply)
            self.assertEqual("continue", connection.message(SECRET, recipients=[USER]).verdict)


class Spread(Alone):
    """Every worker of the engine has a share of one milter's mail."""

    def workers(self, engine):
        ended = drive.bulla("status", "--json", "--socket", engine.socket)
        self.assertEqual(0, ended.status, ended.err)
        return json.loads(ended.out)["workers"]

    def start(self, engine_section=""):
        def change(text):
            text = drive.re.sub(r"(?m)^\s*workers\s*=.*$", "", text)
            return milter_daemon.engine_text(
                text.replace("engine {", "engine {\n  workers = 2\n" + engine_section, 1))
        engine = drive.engine(self.folder.name, change)
        self.addCleanup(engine.stop)
        return engine, self.milter(engine.socket)

    def test_milter_attaches_to_each_worker_and_gives_both_the_same(self):
        engine, milter = self.start()
        drive.wait_until(lambda: "attachment=2 of=2" in milter.log_text(), "both are attached",
                         milter.process)
        with milter.client() as connection:
            for _ in range(4):
                self.assertEqual("continue", connection.message(SECRET, recipients=[USER]).verdict)
        drive.wait_until(lambda: [2, 2] == [w["sealed"] for w in self.workers(engine)],
                         "each has sealed two", engine.process)
        self.assertEqual([1, 1], [w["clients"] for w in self.workers(engine)])

    def test_milter_does_with_fewer_attachments_when_the_engine_has_no_more(self):
        _, milter = self.start("  sessions_per_user = 1\n")
        drive.wait_until(lambda: "attached_to_fewer attachments=1 of=2" in milter.log_text(),
                         "it is told", milter.process)
        with milter.client() as connection:
            for _ in range(2):
                self.assertEqual("continue", connection.message(SECRET, recipients=[USER]).verdict)


class Kept(Alone):
    """What the engine takes over while the key service is away reaches its recipients sealed."""

    def setUp(self):
        super().setUp()
        folder = pathlib.Path(self.folder.name)
        (folder / "spool").mkdir(mode=0o700)
        drive.subprocess.run(["bullad", "--make-spool-key", folder / "spool.key"], check=True)
        self.spool = (f'engine {{\n  key_wait = 1s\n  spool = "{folder}/spool"\n'
                      f'  spool_key = "{folder}/spool.key"\n  spool_size = 512MB\n')
        self.keyd = int(os.environ["BULLA_DEMO_KEYD_PID"])
        self.addCleanup(os.kill, self.keyd, signal.SIGCONT)
        self.sink = smtp_sink.Sink()
        self.addCleanup(self.sink.close)
        self.engine = self.start_engine()

    def start_engine(self):
        engine = drive.engine(self.folder.name, lambda text: milter_daemon.engine_text(
            text.replace("engine {", self.spool, 1)))
        self.addCleanup(engine.stop)
        return engine

    def taken_over(self, milter, count, first=0):
        """Sends until so many were taken over; their mails."""
        mails = []
        with milter.client() as connection:
            for number in range(first, first + count):
                mail = SECRET.replace(b"<1@", b"<%d@" % number)
                drive.wait_until(lambda m=mail: connection.message(
                    m, recipients=[USER]).verdict == "discard", "the engine takes a mail over")
                mails.append(mail)
        return mails

    def assert_arrived(self, mails):
        drive.wait_until(lambda: len(self.sink.mails) >= len(mails), "all arrive")
        opened = []
        for mail in self.sink.mails:
            self.assertEqual([USER], mail.recipients)
            self.assertNotIn(b"last line", mail.text)
            opened.append(drive.unseal(mail.text).out)
        self.assertEqual(sorted(mails), sorted(opened))

    def test_milter_loses_nothing_while_the_key_service_is_away(self):
        milter = self.milter(self.engine.socket, reinject=self.sink.address)
        drive.halt(self.keyd)
        mails = self.taken_over(milter, 2)
        self.assertEqual([], self.sink.mails, "nothing leaves before its key is stored")
        os.kill(self.keyd, signal.SIGCONT)
        self.assert_arrived(mails)
        taken, sent = (re.findall(f"{words} .*envelope=([0-9a-f]{{32}}) ", milter.log_text())
                       for words in ("message .*status=queued", "emission status=sent"))
        self.assertEqual(sorted(taken), sorted(sent), "one id from Postfix's queue id to the end")
        self.assertEqual(len(mails), len(set(taken)))

    def test_milter_loses_nothing_when_engine_and_milter_are_killed_meanwhile(self):
        milter = self.milter(self.engine.socket, reinject=self.sink.address)
        drive.halt(self.keyd)
        mails = self.taken_over(milter, 2)
        self.engine.stop(signal.SIGKILL)
        self.start_engine()
        mails += self.taken_over(milter, 1, first=10)
        milter.stop(signal.SIGKILL)
        os.kill(self.keyd, signal.SIGCONT)
        self.milter(self.engine.socket, reinject=self.sink.address)
        self.assert_arrived(mails)


class Daemon(Alone):
    def test_milter_reloads_what_profiles_select(self):
        engine = drive.engine(self.folder.name, milter_daemon.engine_text)
        self.addCleanup(engine.stop)
        milter = self.milter(engine.socket)
        everything = milter_daemon.PROFILES.replace("seal_subject", "seal = all\n  seal_subject", 1)
        with milter.client() as connection:
            self.assertEqual("accept", connection.message(PLAIN, recipients=[USER]).verdict)
            for _ in range(5):
                milter.reload(everything)
            self.assertEqual("continue", connection.message(PLAIN, recipients=[USER]).verdict)
            milter.reload('profile "broken" {\n}\n')
            self.assertIn("result=failed", milter.log_text())
            self.assertEqual("continue", connection.message(PLAIN, recipients=[USER]).verdict)

    def test_milter_ends_what_is_under_way_before_it_stops(self):
        engine = drive.engine(self.folder.name, milter_daemon.engine_text)
        self.addCleanup(engine.stop)
        milter = self.milter(engine.socket)
        pid = pathlib.Path(self.folder.name) / "pid"
        self.assertEqual(str(milter.process.pid), pid.read_text().strip())

        def stop():
            milter.process.send_signal(signal.SIGTERM)
            time.sleep(0.3)

        with milter.client() as connection:
            result = connection.message(SECRET, recipients=[USER], after_header=stop)
        self.assertEqual("continue", result.verdict, result.reply)
        self.assertEqual(0, milter.process.wait(drive.WAIT_S))
        self.assertFalse(os.path.exists(milter.address))
        self.assertFalse(pid.exists())

    def test_milter_checks_its_configuration_without_the_engines_keys(self):
        conf = pathlib.Path(self.folder.name) / "check.conf"
        conf.write_text('key_service "k" {\n url = "https://k.example"\n engine_url = '
                        '"https://k.example:1"\n certificate = "gone"\n private_key = "gone"\n}\n'
                        'profile "default" {\n key_service = k\n seal = all\n}\n')
        check = ["bulla-milter", "--check", "--config", conf]
        done = drive.subprocess.run(check, capture_output=True, check=False)
        self.assertEqual((0, b""), (done.returncode, done.stderr))
        conf.write_text(conf.read_text().replace("seal = all", "seal = most"))
        done = drive.subprocess.run(check, capture_output=True, check=False)
        self.assertEqual(drive.CONFIG, done.returncode)
        self.assertIn(b"all or selected", done.stderr)


if __name__ == "__main__":
    milter_daemon.main()
