"""The service's own mail through a relay that takes it, is away, refuses, hangs, and encrypts."""
import base64
import email
import email.policy
import os
import re
import socket
import ssl
import tempfile
import threading
import time
import unittest

import keyd

PASSWORD = "correct horse battery"
USER = "new.person@example.org"


class Relay:
    """Takes mail by SMTP (RFC 5321). `script` names what each connection meets; then "fine"."""

    def __init__(self, script=(), offer_tls=None, listening=True):
        self.script = list(script)
        self.offer_tls = offer_tls  # a context, or None
        self.sessions = []  # one list of commands for each connection
        self.mails = []  # (sender, recipients, raw bytes with CRLF, encrypted)
        self.lock = threading.Lock()
        self.held = []
        self.server = socket.socket()
        self.server.bind(("127.0.0.1", 0))  # without listen() connections are refused
        self.port = self.server.getsockname()[1]
        self.thread = None
        if listening:
            self.start()

    def start(self):
        self.server.listen(16)
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self):
        while True:
            connection, _ = self.server.accept()
            connection.settimeout(keyd.WAIT_S)
            with self.lock:
                mode = self.script.pop(0) if self.script else "fine"
            if mode == "end":
                connection.close()
                return
            if mode == "hang":
                self.sessions.append([])
                self.held.append(connection)
                continue
            try:
                self.talk(connection, mode)
            except (OSError, ssl.SSLError):
                pass
            connection.close()

    def stop(self):
        if self.thread is not None:
            with self.lock:
                self.script.insert(0, "end")
            socket.create_connection(("127.0.0.1", self.port)).close()
            self.thread.join()
        for connection in self.held:
            connection.close()
        self.server.close()

    def data(self, lines):
        raw = b""
        while True:
            line = lines.readline()
            if line == b".\r\n" or not line:
                return raw
            raw += line

    def talk(self, connection, mode):
        commands = []
        self.sessions.append(commands)
        if mode == "closed":
            connection.sendall(b"554 5.3.2 not open\r\n")
            return
        connection.sendall(b"220 relay.test ESMTP\r\n")
        self.talk_on(connection, mode, commands, False)

    def talk_on(self, connection, mode, commands, encrypted):
        sender, to = None, []
        lines = connection.makefile("rb")
        while True:
            line = lines.readline()
            commands.append(line)
            verb = line[:4].upper()
            answer = b"250 fine\r\n"
            if not line:
                return
            if verb == b"EHLO" and self.offer_tls is not None and not encrypted:
                answer = b"250-relay.test\r\n250 STARTTLS\r\n"
            elif verb == b"STAR":
                connection.sendall(b"220 go ahead\r\n")
                with self.offer_tls.wrap_socket(connection, server_side=True) as inner:
                    self.talk_on(inner, mode, commands, True)
                return
            elif verb == b"MAIL":
                sender = line
                answer = b"550 5.7.1 no sender of mine\r\n" if mode == "sender" else answer
            elif verb == b"RCPT":
                to.append(line)
                answer = {"later": b"451 4.3.0 not now\r\n", "never": b"550 5.1.1 no such user " +
                          USER.encode() + b"\r\n"}.get(mode, answer)
            elif verb == b"DATA":
                connection.sendall(b"354 go ahead\r\n")
                raw = self.data(lines)
                if mode == "full":
                    answer = b"452 4.3.1 disk full\r\n"
                elif mode == "spam":
                    answer = b"554 5.7.1 not here\r\n"
                else:
                    self.mails.append((sender, to, raw, encrypted))
            elif verb == b"QUIT":
                connection.sendall(b"221 bye\r\n")
                return
            connection.sendall(answer)


class Case(unittest.TestCase):
    def start(self, relay, settings="", host="localhost"):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.addCleanup(relay.stop)
        service = keyd.Service(folder.name, settings +
                               f'smtp_relay = "smtp://{host}:{relay.port}"\n'
                               'mail_from = "keys@company.example"\n')
        self.addCleanup(service.stop)
        self.service = service

    def register(self):
        self.browser = keyd.Browser(self.service)
        answer = self.browser.call("POST", "/v1/accounts", {"user": USER, "password": PASSWORD})
        self.assertEqual((answer.status, answer.json), (200, {"status": "mailed"}))

    def wait(self, what, why):
        until = time.monotonic() + keyd.WAIT_S
        while not what():
            if time.monotonic() > until:
                self.fail(why + "\n" + self.service.log_text())
            time.sleep(0.02)

    def wait_log(self, word, count=1):
        self.wait(lambda: self.service.log_text().count(word) >= count, "never logged: " + word)

    def delivered(self, relay):
        self.wait(lambda: relay.mails, "nothing arrived")
        self.wait_log("mail_sent")
        self.assertEqual(len(relay.mails), 1)
        return relay.mails[0]

    def assert_code_works(self, raw):
        mail = email.message_from_bytes(raw, policy=email.policy.default)
        code = re.search(r"^ +(\d{4} \d{4})\s*$", mail.get_content(), re.M)[1]
        answer = self.browser.call("POST", "/v1/accounts/verify", {"user": USER, "code": code})
        self.assertEqual(answer.status, 200, answer.body)
        return code


class Delivery(Case):
    def test_a_code_arrives_whole_and_nothing_secret_is_logged(self):
        relay = Relay()
        self.start(relay)
        self.register()
        sender, to, raw, _ = self.delivered(relay)
        self.assertTrue(sender.upper().startswith(b"MAIL FROM:<KEYS@COMPANY.EXAMPLE>"), sender)
        self.assertEqual(to, [b"RCPT TO:<" + USER.encode() + b">\r\n"])
        self.assertNotRegex(raw.replace(b"\r\n", b""), rb"[\r\n\0\x80-\xff]")
        self.assertNotRegex(raw, rb"(?m)^\.")
        self.assertTrue(raw.endswith(b"\r\n"))
        self.assertLessEqual(max(map(len, raw.split(b"\r\n"))), 78)
        mail = email.message_from_bytes(raw, policy=email.policy.default)
        self.assertEqual(mail.defects, [])
        self.assertEqual(mail["To"].addresses[0].addr_spec, USER)
        self.assertEqual(mail["From"].addresses[0].addr_spec, "keys@company.example")
        self.assertRegex(mail["Message-ID"], r"^<[0-9a-f]{32}@company\.example>$")
        self.assertEqual(mail["Auto-Submitted"], "auto-generated")
        self.assertEqual(mail["MIME-Version"], "1.0")
        self.assertEqual(mail["Content-Transfer-Encoding"], "base64")
        self.assertEqual(mail["Subject"], "Your code for sealed mail")
        self.assertLess(abs(mail["Date"].datetime.timestamp() - time.time()), 600)
        code = self.assert_code_works(raw)
        self.assertEqual(os.listdir(self.service.path("mail")), [])
        log = self.service.log_text()
        for secret in (code, code.replace(" ", ""), PASSWORD, USER,
                       base64.b64encode(code.encode()).decode()):
            self.assertNotIn(secret, log)

    def test_a_relay_that_was_down_gets_the_mail_when_it_is_back(self):
        relay = Relay(listening=False)
        self.start(relay)
        self.register()
        self.wait_log("mail_relay_failed")
        relay.start()
        self.assert_code_works(self.delivered(relay)[2])
        self.assertNotIn("mail_dropped", self.service.log_text())

    def test_a_relay_that_says_later_is_asked_again(self):
        for word in ("later", "full", "sender", "closed"):
            with self.subTest(word):
                relay = Relay([word])
                self.start(relay)
                self.register()
                self.assert_code_works(self.delivered(relay)[2])
                self.assertEqual(len(relay.sessions), 2)
                self.assertEqual(self.service.log_text().count("mail_relay_failed"), 1)

    def test_a_relay_that_says_never_is_not_asked_again(self):
        for word in ("never", "spam"):
            with self.subTest(word):
                relay = Relay([word])
                self.start(relay)
                self.register()
                self.wait_log("mail_dropped")
                self.assertEqual(self.service.stop(), 0)
                self.assertEqual((len(relay.sessions), relay.mails), (1, []))
                # The relay's sentence names the person; the log does not repeat it.
                self.assertNotIn(USER, self.service.log_text())

    def test_a_relay_that_hangs_holds_up_neither_requests_nor_the_end(self):
        relay = Relay(["hang"] * 4)
        self.start(relay)
        self.register()
        self.wait(lambda: relay.sessions, "never connected")
        self.register()
        self.assertEqual(self.service.stop(), 0)
        self.assertEqual(relay.mails, [])
        self.assertEqual(self.service.log_text().count("mail_dropped"), 2)


class Receipts(Case):
    def test_one_that_cannot_be_delivered_is_told_to_nobody(self):
        relay = Relay(["never"])
        self.start(relay)
        self.service.account(USER, PASSWORD)
        browser = keyd.Browser(self.service)
        self.assertEqual(browser.sign_in(USER, PASSWORD).status, 200)
        # The service's own address gets nothing, were it a sender.
        for sender in ("KEYS@company.example", "gone@company.example"):
            identity = keyd.envelope_id()
            record = keyd.record(identity, sender=sender, flags=1, to=(USER,))
            self.assertEqual(self.service.store(keyd.batch(record)).status, 200)
            answer = browser.call("POST", "/v1/release",
                                  {"m": identity.hex(), "pub": keyd.public_key()})
            self.assertEqual(answer.status, 200, answer.body)
        self.wait_log("outbox_dropped")
        self.wait(lambda: self.service.rows_count("notice") == 0, "a notice waits")
        self.assertEqual(self.service.rows_count("outbox_to"), 0)
        self.assertEqual(len(relay.sessions), 1)
        envelope = [line.split(b":")[1].split(b">")[0] for line in relay.sessions[0]
                    if line[:4].upper() in (b"MAIL", b"RCPT")]
        self.assertEqual(envelope, [b"<", b"<gone@company.example"], "the null sender")


class Encryption(Case):
    """STARTTLS. The service's own authority serves as the relay's."""

    def context(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.service.path("server.crt"), self.service.path("server.key"))
        return context

    def begin(self, settings, offered, **where):
        relay = Relay(listening=False)
        self.start(relay, settings, **where)
        if offered:
            relay.offer_tls = self.context()
        relay.start()
        self.register()
        return relay

    def test_it_is_used_where_it_is_offered(self):
        relay = self.begin("", True)
        self.assertTrue(self.delivered(relay)[3])

    def test_it_is_not_used_where_the_settings_say_so(self):
        relay = self.begin('smtp_tls = "none"\n', True)
        self.assertFalse(self.delivered(relay)[3])

    def test_where_it_is_required_the_authority_is_checked(self):
        relay = self.begin('smtp_tls = "require"\nsmtp_ca_file = "ca.crt"\n', True)
        self.assertTrue(self.delivered(relay)[3])

    def assert_nothing_told(self, relay):
        self.wait_log("mail_relay_failed")
        self.assertEqual(relay.mails, [])
        for commands in relay.sessions:
            self.assertFalse([line for line in commands if line[:4].upper() in (b"MAIL", b"RCPT")])

    def test_a_relay_elsewhere_has_to_prove_itself_without_any_setting(self):
        # This address leads here, but is none of loopback's.
        self.assert_nothing_told(self.begin("", False, host="0.0.0.0"))
        self.assert_nothing_told(self.begin("", True, host="0.0.0.0"))

    def test_who_says_so_has_a_relay_elsewhere_unchecked_and_is_warned(self):
        relay = self.begin('smtp_tls = "try"\n', False, host="0.0.0.0")
        self.assertFalse(self.delivered(relay)[3])
        self.assertIn("relay_unchecked", self.service.log_text())

    def test_where_it_is_required_a_relay_without_it_learns_nothing(self):
        self.assert_nothing_told(self.begin('smtp_tls = "require"\n', False))

    def test_where_it_is_required_a_strangers_certificate_is_refused(self):
        self.assert_nothing_told(self.begin('smtp_tls = "require"\n', True))


if __name__ == "__main__":
    keyd.main()
