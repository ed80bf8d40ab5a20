"""bulla-milter against an engine that does as it is told: every verdict, and what is emitted.

    echo_program python3 milter_collect_test.py

The profile is the verdict (tests/mta/echo_engine.h); what is queued is emitted as it came.
"""
import os
import pathlib
import socket
import struct
import subprocess
import tempfile
import threading
import time
import unittest

import milter_daemon
import smtp_sink
from milter_daemon import drive

KEYS = ('key_service "k" {\n url = "https://k.example"\n engine_url = "https://k.example:1"\n'
        ' certificate = "unread.pem"\n private_key = "unread.key"\n}\n'
        f'engine {{\n socket = "{os.environ.get("BULLA_SOCKET", "")}"\n}}\n')
PROFILES = "".join(f'profile "{name}" {{\n  key_service = "k"\n  seal_senders = {{"{name}@s.example"}}'
                   "\n  header_overrides = yes\n}\n"
                   for name in ("default", "queue", "may-queue", "pass", "refuse", "retry",
                                "hold"))
MAIL = (b"From: a@s.example\r\nTo: b@r.example\r\nSubject: x\r\n\r\n"
        b"first\r\n.\r\n..two\r\n.three\r\nlast\r\n")


class Case(unittest.TestCase):
    section = ""
    base = KEYS

    def start(self, reinject, section=""):
        folder = tempfile.TemporaryDirectory(prefix="bulla-milter-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.milter = milter_daemon.Milter(self.folder, os.environ["BULLA_SOCKET"], section,
                                           profiles=PROFILES, reinject=reinject, base=self.base)
        self.addCleanup(self.milter.stop)
        return self.milter

    def sink(self, **keywords):
        sink = smtp_sink.Sink(**keywords)
        self.addCleanup(sink.close)
        return sink

    def send(self, kind, mail=MAIL, **keywords):
        with self.milter.client() as connection:
            keywords.setdefault("recipients", [b"b@r.example"])
            return connection.message(mail, sender=kind.encode() + b"@s.example", **keywords)

    def logged(self, words, count=1):
        drive.wait_until(lambda: self.milter.log_text().count(words) >= count, f"{words} is logged",
                         self.milter.process)


class Verdicts(Case):
    def test_milter_says_what_the_engine_says(self):
        self.start("")
        result = self.send("default")
        self.assertEqual("reply", result.verdict, "an answer that is no mail is never delivered")
        self.assertTrue(result.put_off)
        self.assertEqual(MAIL, self.send("pass").delivered)
        refused = self.send("refuse")
        self.assertTrue(refused.refused)
        self.assertIn("the test says no", refused.reply)
        later = self.send("retry")
        self.assertTrue(later.put_off)
        self.assertTrue(later.reply.startswith("451 4."), later.reply)

    def test_milter_strips_control_fields_where_the_engine_lets_pass(self):
        self.start("")
        self.assertEqual(MAIL, self.send("pass", b"X-PostX-Anything: 1\r\n" + MAIL).delivered)

    def test_milter_refuses_overrides_that_cannot_be_read_from_the_trusted_only(self):
        milter = self.start("", 'trust_networks = {"192.0.2.0/24"}')
        mail = b"X-PostX-Reply-Enabled: perhaps\r\n" + MAIL
        keywords = {"sender": b"pass@s.example", "recipients": [b"b@r.example"]}
        with milter.client() as connection:
            self.assertEqual(MAIL, connection.message(mail, **keywords).delivered)
            self.assertTrue(connection.message(mail, authenticated="bob", **keywords).refused)
            good = b"X-PostX-Reply-Enabled: false\r\n" + MAIL
            self.assertEqual(MAIL, connection.message(good, authenticated="bob",
                                                      **keywords).delivered)
        with milter.client(("192.0.2.9", 4)) as connection:
            self.assertTrue(connection.message(mail, **keywords).refused)
        with milter.client(("::ffff:192.0.2.9", 6)) as connection:
            self.assertTrue(connection.message(mail, **keywords).refused)
        with milter.client(("2001:db8::1", 6)) as connection:
            self.assertEqual(MAIL, connection.message(mail, **keywords).delivered)

    def test_milter_lets_nothing_be_kept_when_nothing_could_be_sent(self):
        self.start("")
        self.assertTrue(self.send("may-queue").put_off)

    def test_milter_gives_up_in_time_and_says_so(self):
        self.start("", "timeout = 1s")
        started = time.monotonic()
        self.assertTrue(self.send("hold").put_off)
        self.assertLess(time.monotonic() - started, 30)

    def test_milter_leaves_dsn_wishes_to_the_mail_server(self):
        self.start(self.sink().address)
        for arguments in (((), (b"NOTIFY=NEVER",)), ((), (b"NOTIFY=SUCCESS,FAILURE",)),
                          ((b"RET=HDRS",), ()), ((b"ENVID=1",), ())):
            self.assertNotEqual("discard", self.send("may-queue", arguments=arguments).verdict)
        for arguments in (((), (b"NOTIFY=FAILURE",)), ((), (b"ORCPT=rfc822;b@r.example",)),
                          ((b"SIZE=100", b"BODY=8BITMIME"), ())):
            self.assertEqual("discard", self.send("may-queue", arguments=arguments).verdict)


class Starts(Case):
    """What an administrator may have wrong is said in words that name the mend."""

    def ended(self, section):
        folder = tempfile.TemporaryDirectory(prefix="bulla-milter-")
        self.addCleanup(folder.cleanup)
        conf = pathlib.Path(folder.name) / "milter.conf"
        conf.write_text(KEYS + PROFILES + "milter {\n" + section + "\n}\n")
        done = subprocess.run(["bulla-milter", "--config", str(conf)], capture_output=True, text=True,
                              timeout=drive.WAIT_S, check=False)
        return done.returncode, done.stderr

    def test_milter_says_what_is_wrong_with_its_socket(self):
        address = self.start("").address
        for section, words in (
                ('socket = "unix:/nonexistent/milter.sock"', "its folder is not there: make it"),
                (f'socket = "unix:{address}"', "another program serves it: end that one first"),
                (f'socket = "unix:{address}-2"\n socket_group = "no-such-group"', "name the mail server's own"),
                ('socket = "inet:1@192.0.2.1"', "write unix:/path, or inet:port@host"),
                ('socket = "pipe:x"', "write unix:/path, or inet:port@host")):
            status, said = self.ended(section)
            self.assertEqual(69, status, said)
            self.assertIn(words, said)
        self.assertEqual(MAIL, self.send("pass").delivered, "the one that serves it still does")

    def test_milter_names_the_mend_of_what_it_reads(self):
        for section, words in (('reinject = "127.0.0.1"', "write host:port, such as 127.0.0.1:10026"),
                               ('conections = 4', "bulla.conf(5) lists what may stand here")):
            status, said = self.ended(section)
            self.assertEqual(78, status, said)
            self.assertIn(words, said)

    def test_milter_says_what_to_do_when_no_engine_answers(self):
        self.base = KEYS.replace(os.environ["BULLA_SOCKET"], "/nonexistent/engine.sock")
        self.start("127.0.0.1:9")
        self.logged("nothing answers there: start bullad, or name its socket", 2)


class Versions(Case):
    def test_milter_names_the_mend_when_the_engine_is_of_another_version(self):
        """docs/format/shared-memory.md, "Welcome": what an engine says that does not know our version."""
        folder = tempfile.TemporaryDirectory(prefix="bulla-milter-")
        self.addCleanup(folder.cleanup)
        path = str(pathlib.Path(folder.name) / "engine.sock")
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.addCleanup(listener.close)
        listener.bind(path)
        listener.listen(8)

        def decline():
            while True:
                try:
                    session = listener.accept()[0]
                except OSError:
                    return
                with session:
                    session.recv(64)
                    session.send(struct.pack("<8sII48x", b"bulla/E1", 1, 71))
        threading.Thread(target=decline, daemon=True).start()
        self.milter = milter_daemon.Milter(folder.name, path, profiles=PROFILES, reinject="127.0.0.1:9",
                                           base=KEYS.replace(os.environ["BULLA_SOCKET"], path))
        self.addCleanup(self.milter.stop)
        self.logged("no_engine")
        self.logged("not_collecting")
        self.logged("another version: install bullad and bulla-milter of the same one", 2)


class Emissions(Case):
    def test_milter_discards_what_was_queued_and_sends_what_is_emitted(self):
        sink = self.sink()
        self.start(sink.address)
        result = self.send("queue", recipients=[b"b@r.example", b"c@r.example"])
        self.assertEqual("discard", result.verdict)
        self.logged("emission status=sent kind=mail")
        self.assertEqual(1, len(sink.mails))
        self.assertEqual(b"queue@s.example", sink.mails[0].sender)
        self.assertEqual([b"b@r.example", b"c@r.example"], sink.mails[0].recipients)
        self.assertEqual(MAIL, sink.mails[0].text)
        self.assertIn(b"SIZE=", sink.mails[0].arguments)

    def test_milter_marks_what_it_sends_and_knows_it_again(self):
        key = tempfile.NamedTemporaryFile(prefix="bulla-mark-")
        self.addCleanup(key.close)
        key.write(os.urandom(32))
        key.flush()
        sink = self.sink()
        self.start(sink.address, f'mark_key = "{key.name}"')
        self.send("queue")
        self.logged("emission status=sent kind=mail")
        self.assertTrue(sink.mails[0].text.startswith(b"X-Bulla-Seal: 1 "))
        self.assertTrue(sink.mails[0].text.endswith(MAIL))
        back = self.send("refuse", sink.mails[0].text)
        self.assertEqual(sink.mails[0].text, back.delivered, back.reply)

    def test_milter_keeps_its_connections(self):
        sink = self.sink()
        self.start(sink.address, "connections = 2")
        for _ in range(20):
            self.assertEqual("discard", self.send("queue").verdict)
        self.logged("emission status=sent", 20)
        self.assertEqual(20, len(sink.mails))
        self.assertLessEqual(sink.connections, 2)

    def test_milter_sends_large_mail_and_utf8_addresses(self):
        sink = self.sink()
        self.start(sink.address)
        mail = MAIL + (b"." * 70 + b"\r\n") * 40000
        self.assertEqual("discard", self.send("queue", mail,
                                              recipients=["jörg@r.example".encode()]).verdict)
        self.logged("emission status=sent")
        self.assertEqual(mail, sink.mails[0].text)
        self.assertIn(b"SMTPUTF8", sink.mails[0].arguments)

    def test_milter_comes_back_while_the_mail_server_is_away(self):
        port = milter_daemon.free_port()
        self.start(f"127.0.0.1:{port}")
        self.assertEqual("discard", self.send("queue").verdict)
        self.logged("emission status=later")
        sink = self.sink(port=port)
        self.logged("emission status=sent")
        self.assertEqual([MAIL], [m.text for m in sink.mails])
        self.assertLess(self.milter.log_text().count("emission status=later"), 40, "it pauses")

    def test_milter_says_later_on_4xx_wherever_it_comes(self):
        for verb in ("GREETING", "MAIL", "RCPT", "DATA", "DOT"):
            with self.subTest(verb):
                left = [2]

                def answer(said, _, verb=verb, left=left):
                    if said != verb or left[0] == 0:
                        return None
                    left[0] -= 1
                    return b"451 4.3.0 not now"
                sink = self.sink(answer=answer)
                self.start(sink.address, "connections = 1")
                self.assertEqual("discard", self.send("queue").verdict)
                self.logged("emission status=sent")
                self.assertEqual(1, len(sink.mails))
                self.assertEqual(2, self.milter.log_text().count("emission status=later"))
                self.milter.stop()

    def test_milter_says_later_when_the_mail_server_hangs_up(self):
        for verb in ("GREETING", "EHLO", "MAIL", "RCPT", "DATA", "DOT"):
            with self.subTest(verb):
                left = [1]

                def answer(said, _, verb=verb, left=left):
                    if said != verb or left[0] == 0:
                        return None
                    left[0] -= 1
                    return b""
                sink = self.sink(answer=answer)
                self.start(sink.address, "connections = 1")
                self.assertEqual("discard", self.send("queue").verdict)
                self.logged("emission status=sent")
                self.assertEqual(1, len(sink.mails))
                self.assertEqual(verb in ("GREETING", "EHLO"), ": mail_server " in self.milter.log_text(),
                                 "only where nobody has answered yet")
                self.assertRegex(self.milter.log_text(), 'status=later .* reply=0 enhanced= why="[A-Z]')
                self.milter.stop()

    def test_milter_notifies_the_sender_of_a_refusal(self):
        for verb in ("MAIL", "RCPT", "DATA", "DOT"):
            with self.subTest(verb):
                sink = self.sink(answer=lambda said, argument, verb=verb: b"550 5.7.1 never"
                                 if said == verb and self.about_the_mail(verb, argument) else None)
                self.said = 0
                self.start(sink.address, "connections = 1")
                self.assertEqual("discard", self.send("queue").verdict)
                self.logged("emission status=refused kind=mail")
                self.logged("emission status=sent kind=notification")
                self.assertIn('reply=550 enhanced=5.7.1 why=""', self.milter.log_text())
                self.assertEqual([(b"", [b"queue@s.example"])],
                                 [(m.sender, m.recipients) for m in sink.mails])
                self.milter.stop()

    def about_the_mail(self, verb, argument):
        if verb == "MAIL":
            return argument == b"<queue@s.example>"
        if verb == "RCPT":
            return argument == b"<b@r.example>"
        self.said += 1
        return self.said == 1

    def notification(self, sink):
        """What the echo engine was told of each recipient that was refused."""
        self.logged("emission status=refused kind=mail")
        self.logged("emission status=sent kind=notification")
        self.assertEqual((b"", [b"queue@s.example"]),
                         (sink.mails[-1].sender, sink.mails[-1].recipients))
        return sink.mails[-1].text.splitlines()[1:]

    def test_milter_sends_to_those_that_are_taken_and_notifies_of_the_others(self):
        replies = {b"<gone@r.example>": b"550 5.1.1 <gone@r.example>: no such user",
                   b"<full@r.example>": b"552-5.2.2 a mailbox\r\n552 5.2.2 that is full",
                   b"<odd@r.example>": b"554 never"}
        sink = self.sink(answer=lambda verb, argument: replies.get(argument)
                         if verb == "RCPT" else None)
        self.start(sink.address)
        self.send("queue", recipients=[b"b@r.example", b"gone@r.example", b"c@r.example",
                                       b"full@r.example", b"odd@r.example"])
        self.assertEqual([b"gone@r.example 5.1.1 5.1.1 <gone@r.example>: no such user",
                          b"full@r.example 5.2.2 5.2.2 that is full",
                          b"odd@r.example 0.0.0 never"], self.notification(sink))
        self.assertEqual([[b"b@r.example", b"c@r.example"], [b"queue@s.example"]],
                         [m.recipients for m in sink.mails])

    def test_milter_names_every_recipient_with_its_own_words_when_none_is_taken(self):
        def answer(verb, argument):
            if verb != "RCPT" or argument == b"<queue@s.example>":
                return None
            return b"550 5.1.1 gone" if argument == b"<b@r.example>" else b"550 5.7.1 no"
        sink = self.sink(answer=answer)
        self.start(sink.address)
        self.send("queue", recipients=[b"b@r.example", b"c@r.example"])
        self.assertEqual([b"b@r.example 5.1.1 5.1.1 gone", b"c@r.example 5.7.1 5.7.1 no"],
                         self.notification(sink))

    def test_milter_names_all_when_the_mail_is_refused_after_some_recipients(self):
        left = [1]

        def answer(verb, argument):
            if verb == "RCPT" and argument == b"<gone@r.example>":
                return b"550 5.1.1 gone"
            if verb == "DOT" and left[0] > 0:
                left[0] -= 1
                return b"554 5.6.0 not such a mail"
            return None
        sink = self.sink(answer=answer)
        self.start(sink.address)
        self.send("queue", recipients=[b"b@r.example", b"gone@r.example"])
        self.assertEqual([b"b@r.example 5.6.0 5.6.0 not such a mail",
                          b"gone@r.example 5.1.1 5.1.1 gone"], self.notification(sink))

    def test_milter_takes_a_reply_of_odd_lines_for_one(self):
        left = [1]

        def answer(verb, argument):
            if verb == "RCPT" and argument == b"<gone@r.example>":
                return b"550x what\r\n550x is\r\n550 5.1.1 gone"
            if verb == "DOT" and left[0] > 0:
                left[0] -= 1
                return b"554 5.6.0 not such a mail"
            return None
        sink = self.sink(answer=answer)
        self.start(sink.address)
        self.send("queue", recipients=[b"gone@r.example", b"b@r.example", b"c@r.example"])
        self.assertEqual([b"gone@r.example 5.1.1 5.1.1 gone", b"b@r.example 5.6.0 5.6.0 not such a mail",
                          b"c@r.example 5.6.0 5.6.0 not such a mail"], self.notification(sink))

    def test_milter_says_later_when_nobody_got_it_though_some_were_refused(self):
        """A refused recipient is no word about the mail: whoever was taken gets it at the next try."""
        for reply in (b"451 4.3.0 not now", b""):
            for verb in ("DATA", "DOT"):
                with self.subTest(f"{verb} {reply}"):
                    left = [1]

                    def answer(said, argument, verb=verb, reply=reply, left=left):
                        if said == "RCPT" and argument == b"<gone@r.example>":
                            return b"550 5.1.1 gone"
                        if said != verb or left[0] == 0:
                            return None
                        left[0] -= 1
                        return reply
                    sink = self.sink(answer=answer)
                    self.start(sink.address, "connections = 1")
                    self.send("queue", recipients=[b"gone@r.example", b"b@r.example"])
                    self.assertEqual([b"gone@r.example 5.1.1 5.1.1 gone"], self.notification(sink))
                    self.assertEqual(1, self.milter.log_text().count("emission status=later"))
                    self.assertEqual([b"b@r.example"], sink.mails[0].recipients)
                    self.assertNotIn(": mail_server ", self.milter.log_text())
                    self.assertNotIn("gone@", self.milter.log_text())
                    self.milter.stop()

    def test_milter_sends_to_nobody_while_one_recipient_is_put_off(self):
        left = [3]

        def answer(verb, argument):
            if verb != "RCPT" or argument != b"<slow@r.example>" or left[0] == 0:
                return None
            left[0] -= 1
            return b"450 4.2.1 busy"
        sink = self.sink(answer=answer)
        self.start(sink.address)
        self.send("queue", recipients=[b"b@r.example", b"slow@r.example"])
        self.logged("emission status=sent")
        self.assertEqual([[b"b@r.example", b"slow@r.example"]], [m.recipients for m in sink.mails])

    def test_milter_sends_what_another_had_not_done(self):
        """A milter that is killed between the mail server's answer and its own word sends twice, in
        the documented window; one that is killed before it loses nothing."""
        import threading
        gate = threading.Event()
        taken = threading.Event()

        def answer(verb, _):
            if verb == "DOT" and not gate.is_set():
                taken.set()
                gate.wait(drive.WAIT_S)
            return None
        sink = self.sink(answer=answer)
        self.start(sink.address)
        self.send("queue")
        self.assertTrue(taken.wait(drive.WAIT_S))
        self.milter.process.kill()
        self.milter.process.wait()
        gate.set()
        self.start(sink.address)
        self.logged("emission status=sent")
        self.assertEqual({MAIL}, {m.text for m in sink.mails})
        self.assertLessEqual(len(sink.mails), 2)

    def test_milter_ends_its_transfers_before_it_stops(self):
        import threading
        taken = threading.Event()

        def answer(verb, _):
            if verb == "DOT":
                taken.set()
                time.sleep(0.5)
            return None
        sink = self.sink(answer=answer)
        self.start(sink.address)
        self.send("queue")
        self.assertTrue(taken.wait(drive.WAIT_S))
        self.assertEqual(0, self.milter.stop())
        self.assertIn("emission status=sent", self.milter.log_text())
        self.assertEqual(1, len(sink.mails))


if __name__ == "__main__":
    unittest.main(verbosity=2)
