"""Writing: who may write to whom, what is stored before what leaves, and what leaves."""
import base64
import contextlib
import email
import email.policy
import hashlib
import hmac
import json
import os
import re
import secrets
import signal
import sqlite3
import struct
import time
import unittest

import keyd

PASSWORD = "correct horse battery"
TYPE = "application/vnd.bulla.letter"
REPLY, REPLY_ALL, FORWARD = 2, 4, 8
BOB, SUE, ALICE, INSIDER = ("bob@example.org", "sue@example.org", "alice@example.com",
                            "ida@inside.example")
LOCKER = "lou@inside.example"


def commitment(key, salt, identity):
    """RFC 5869, 2.3, as c2sp.org/chunked-encryption has it: bytes 44 to 76."""
    info = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0" + salt + b"bulla/1\0\1" + identity
    first = hmac.new(key, info + b"\1", hashlib.sha512).digest()
    return (first + hmac.new(key, first + info + b"\2", hashlib.sha512).digest())[44:76]


def letter(identity=None, key=None, chunks=None, commit=None, **head):
    """The body of POST /v1/write; the chunks are any bytes, since the service opens none."""
    identity = identity or keyd.envelope_id()
    key = key or secrets.token_bytes(32)
    salt = secrets.token_bytes(24)
    head = {"m": identity.hex(), "kind": "reply", "to": [ALICE], "subject": "Re: Grüße",
            "bytes": 17, **head}
    text = json.dumps({name: value for name, value in head.items() if value is not None}).encode()
    chunks = secrets.token_bytes(33) if chunks is None else chunks
    return (struct.pack("<I", len(text)) + text + key + salt +
            (commit or commitment(key, salt, identity)) + chunks)


class Write(keyd.Case):
    settings = ('write_domains = {"inside.example"}\ncontact_mailbox = "Office@Inside.example"\n'
                "write_size = 2\n")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for address in (BOB, SUE, INSIDER, LOCKER):
            cls.service.account(address, PASSWORD)

    def setUp(self):
        self.bob = self.browser(BOB)
        self.of = keyd.envelope_id()
        self.register(self.of, REPLY | REPLY_ALL | FORWARD)

    def browser(self, user):
        browser = keyd.Browser(self.service)
        self.assertEqual(browser.sign_in(user, PASSWORD).status, 200)
        return browser

    def register(self, identity, flags, **fields):
        fields.setdefault("to", (BOB, SUE))
        self.assertEqual(self.service.store(keyd.batch(
            keyd.record(identity, flags=flags, **fields))).status, 200)

    def post(self, browser, body, **headers):
        return browser.call("POST", "/v1/write", body, {"Content-Type": TYPE, **headers})

    def reply(self, **head):
        head.setdefault("of", self.of.hex())
        return letter(**head)

    def refused(self, browser, code, body):
        answer = self.post(browser, body)
        self.assertEqual((answer.error, self.outbox_names()), (code, self.before), answer.body)

    def outbox_names(self):
        return sorted(name for name in os.listdir(self.service.path("mail")) if name[0] != ".")

    def sent(self, identity, count=1):
        """The mails of that envelope, once they are all there."""
        until = time.monotonic() + keyd.WAIT_S
        while True:
            names = [name for name in self.outbox_names() if name.startswith(identity.hex())]
            if len(names) == count:
                break
            self.assertLess(time.monotonic(), until, names)
            time.sleep(0.02)
        found = []
        for name in names:
            with open(self.service.path("mail/" + name), "rb") as file:
                found.append(file.read())
        return found

    def test_a_reply_leaves_sealed_with_its_key_stored(self):
        identity, key = keyd.envelope_id(), secrets.token_bytes(32)
        chunks = secrets.token_bytes(16400 * 58 + 100)
        body = self.reply(identity=identity, key=key, chunks=chunks, name='Bob "B" Ünal',
                          in_reply_to="<1@example.com>", references="<0@example.com> <1@example.com>")
        self.assertEqual(self.post(self.bob, body).json, {"m": identity.hex()})
        raw, = self.sent(identity)
        self.assertTrue(all(len(line) <= 998 for line in raw.split(b"\r\n")))
        mail = email.message_from_bytes(raw, policy=email.policy.default)
        sender, = mail["From"].addresses
        self.assertEqual(sender.addr_spec, "bulla@localhost")  # DMARC: not a domain of ours
        self.assertEqual(sender.display_name, 'Bob "B" Ünal (bob@example.org)')
        self.assertEqual(mail["Reply-To"].addresses[0].addr_spec, BOB)
        self.assertEqual(mail["To"].addresses[0].addr_spec, ALICE)
        self.assertEqual(mail["Subject"], "Re: Grüße")
        self.assertEqual(mail["In-Reply-To"], "<1@example.com>")
        self.assertEqual(mail["References"].split(), ["<0@example.com>", "<1@example.com>"])
        self.assertEqual(mail["Message-ID"], f"<{identity.hex()}@localhost>")
        html = next(part for part in mail.walk() if part.get_filename()).get_payload()
        fields = re.findall(r'name="(\w)" value="([^"]*)"', html.replace("\r\n", "\n"))
        self.assertEqual("".join(name for name, _ in fields), "vsmfutkcce")
        self.assertEqual(b"".join(base64.b64decode(value) for name, value in fields if name == "c"),
                         chunks)
        self.assertIn("bob@example.org", dict(fields)["f"])
        # Its first recipient opens it: the key is what the browser made.
        self.service.account(ALICE, PASSWORD)
        alice = self.browser(ALICE)
        seen = alice.call("GET", f"/v1/envelopes/{identity.hex()}").json
        self.assertEqual((seen["from"], seen["subject"], seen["level"]),
                         (BOB, "Re: Grüße", "medium"))
        answer = alice.call("GET", f"/v1/write/{identity.hex()}").json
        self.assertTrue(answer["reply"])  # so the conversation goes on

    def test_the_same_letter_posted_twice_leaves_once(self):
        identity = keyd.envelope_id()
        body = self.reply(identity=identity)
        for _ in range(2):
            self.assertEqual(self.post(self.bob, body).status, 200)
        self.sent(identity)
        self.assertEqual(self.post(self.bob, body).status, 200)
        other = self.reply(identity=identity)
        self.assertEqual(self.post(self.bob, other).error, "conflict")
        self.sent(identity)

    def test_a_copy_goes_to_the_writer_alone(self):
        identity = keyd.envelope_id()
        self.assertEqual(self.post(self.bob, self.reply(identity=identity, copy=True)).status, 200)
        one, two = self.sent(identity, 2)
        self.assertEqual(one, two)
        self.assertTrue(b"\r\nTo: alice@example.com\r\nSubject:" in one)
        self.assertEqual(self.bob.call("GET", f"/v1/envelopes/{identity.hex()}").status, 200)

    def test_a_subject_that_was_hidden_stays_so(self):
        identity = keyd.envelope_id()
        self.assertEqual(self.post(self.bob, self.reply(identity=identity, subject="")).status, 200)
        raw, = self.sent(identity)
        self.assertIn(b"\r\nSubject: ", raw)  # the notification's own
        self.assertIn(b'name="u" value=""', raw)

    def test_the_senders_flags_hold(self):
        plain = keyd.envelope_id()
        self.register(plain, 0)
        self.before = self.outbox_names()
        for kind in ("reply", "reply_all", "forward"):
            self.refused(self.bob, "forbidden", letter(kind=kind, of=plain.hex()))
        self.refused(self.bob, "forbidden", self.reply(to=["eve@example.net"]))
        self.refused(self.bob, "forbidden", self.reply(cc=["eve@example.net"]))
        self.refused(self.bob, "forbidden", self.reply(kind="reply_all", cc=["eve@example.net"]))
        self.refused(self.bob, "forbidden", letter(kind="compose"))
        self.refused(self.bob, "forbidden", letter(kind="contact"))
        looked = self.bob.call("GET", f"/v1/write/{plain.hex()}").json
        self.assertEqual([looked[name] for name in ("reply", "reply_all", "forward", "anyone")],
                         [False] * 4)

    def test_only_who_may_read_a_message_may_answer_it(self):
        self.before = self.outbox_names()
        ida = self.browser(INSIDER)
        self.refused(ida, "not_recipient", self.reply())
        self.refused(self.bob, "unknown", letter(of=keyd.envelope_id().hex()))
        self.refused(keyd.Browser(self.service), "credentials", self.reply())
        self.service.run("envelope", "lock", self.of.hex())
        self.refused(self.bob, "locked", self.reply())

    def test_whom_the_sender_locked_out_cannot_answer_either(self):
        self.before = self.outbox_names()
        sender = self.browser(LOCKER)
        of = keyd.envelope_id()
        self.register(of, REPLY | REPLY_ALL | FORWARD, sender=LOCKER)
        self.assertEqual(sender.call("POST", f"/v1/sent/{of.hex()}",
                                     {"locked": True, "recipient": BOB}).status, 200)
        for kind in ("reply", "reply_all", "forward"):
            self.refused(self.bob, "locked", letter(of=of.hex(), kind=kind, to=[LOCKER]))
        self.assertEqual(self.bob.call("GET", f"/v1/write/{of.hex()}").error, "locked")
        self.assertEqual(self.browser(SUE).call("GET", f"/v1/write/{of.hex()}").status, 200)

    def test_reply_all_forward_and_compose_reach_whom_they_may(self):
        for user, fields in ((BOB, {"kind": "reply_all", "cc": [SUE]}),
                             (BOB, {"kind": "forward", "to": ["new@example.net"]})):
            identity = keyd.envelope_id()
            answer = self.post(self.browser(user), self.reply(identity=identity, **fields))
            self.assertEqual(answer.status, 200, answer.body)
            self.sent(identity, 1 + len(fields.get("cc", [])))
        identity = keyd.envelope_id()
        answer = self.post(self.browser(INSIDER), letter(identity=identity, kind="compose",
                                                         to=["new@example.net", SUE]))
        self.assertEqual(answer.status, 200, answer.body)
        raw = self.sent(identity, 2)[0]
        self.assertIn(b"From: ida@inside.example\r\n", raw)
        self.assertNotIn(b"Reply-To:", raw)

    def test_the_contact_mailbox_is_all_that_its_form_reaches(self):
        identity = keyd.envelope_id()
        body = letter(identity=identity, kind="contact", to=["office@inside.example"])
        self.assertEqual(self.post(self.bob, body).status, 200)
        self.assertIn(b"To: office@inside.example\r\n", self.sent(identity)[0])

    def test_a_profiles_form_reaches_the_profiles_mailbox_alone(self):
        self.service.run("profile", "set", "--title", "Sales", "--contact", "Sales@shop.example",
                         "sales")
        self.service.run("profile", "set", "--title", "No mailbox", "mute")
        looked = self.bob.call("GET", "/v1/write?profile=sales").json
        self.assertEqual((looked["contact"].lower(), looked["profile"]), ("sales@shop.example", "sales"))
        for path in ("/v1/write?profile=mute", "/v1/write?profile=none"):
            self.assertEqual(self.bob.call("GET", path).json["contact"], "")
        looked = self.bob.call("GET", "/v1/write").json
        self.assertEqual((looked["contact"], looked["profile"]), ("Office@Inside.example", "write"))
        for path in ("/v1/write?profile=a%2Fb", f"/v1/write/{self.of.hex()}?profile=sales"):
            self.assertEqual(self.bob.call("GET", path).error, "unknown")
        identity = keyd.envelope_id()
        body = letter(identity=identity, kind="contact", profile="sales", to=["sales@shop.example"])
        self.assertEqual(self.post(self.bob, body).status, 200)
        self.assertIn(b"To: sales@shop.example\r\n", self.sent(identity)[0])
        self.service.account("sales@shop.example", PASSWORD)
        seen = self.browser("sales@shop.example").call("GET", f"/v1/envelopes/{identity.hex()}")
        self.assertEqual(seen.json["profile"], "sales")
        self.before = self.outbox_names()
        for profile, to in (("sales", "office@inside.example"), ("mute", "sales@shop.example"),
                            ("none", "sales@shop.example"), (None, "sales@shop.example")):
            self.refused(self.bob, "forbidden", letter(kind="contact", profile=profile, to=[to]))
        self.refused(self.bob, "bad_request", self.reply(profile="sales"))
        self.refused(self.bob, "bad_request", letter(kind="contact", profile="a/b"))

    def test_a_session_says_who_may_write_to_everybody(self):
        self.assertNotIn("writes", keyd.Browser(self.service).call("GET", "/v1/session").json)
        self.assertIs(self.bob.call("GET", "/v1/session").json["writes"], False)
        self.assertIs(self.browser(INSIDER).call("GET", "/v1/session").json["writes"], True)

    def test_what_is_malformed_is_refused_whole(self):
        self.before = self.outbox_names()
        good = self.reply()
        late = bytearray(keyd.envelope_id())
        late[:6] = int((time.time() - 2 * 3600) * 1000).to_bytes(6, "big")
        for body in (b"", good[:3], good[:200], struct.pack("<I", 2**31) + good[4:],
                     self.reply(chunks=b""), self.reply(chunks=bytes(16400)),
                     self.reply(chunks=bytes(16400 + 15)), self.reply(identity=bytes(late)),
                     self.reply(identity=secrets.token_bytes(6) + b"\x40" + bytes(9)),
                     self.reply(kind="shout"), self.reply(to=[]), self.reply(to=["no address"]),
                     self.reply(to=["a@example.org\r\nBcc: eve@example.net"]),
                     self.reply(subject="x\r\nBcc: eve@example.net"), self.reply(name="x\ny"),
                     self.reply(name="Alice <alice@example.com>"), self.reply(name="a@b"),
                     self.reply(name="x" * 129),
                     self.reply(in_reply_to="<1@a>\r\nX: y"), self.reply(extra="x"),
                     self.reply(subject="x" * 513), self.reply(bytes=-1), self.reply(bytes="1"),
                     self.reply(to=[f"a{i}@example.org" for i in range(101)])):
            self.refused(self.bob, "bad_request", body)
        self.refused(self.bob, "key", self.reply(commit=bytes(32)))
        self.refused(self.bob, "too_large", self.reply(chunks=bytes(16400 * 192 + 16)))

    def test_another_sites_page_cannot_write(self):
        self.before = self.outbox_names()
        for headers in ({"Origin": "https://evil.example"}, {"X-Bulla-CSRF": "x"},
                        {"Content-Type": "application/json"}, {"Content-Type": "text/plain"},
                        {"Sec-Fetch-Site": "cross-site"}):
            answer = self.post(self.bob, self.reply(), **headers)
            self.assertEqual(answer.error, "csrf", headers)
        self.assertEqual(self.outbox_names(), self.before)

    def test_an_account_cannot_write_without_end(self):
        self.service.account("loud@inside.example", PASSWORD)
        loud = self.browser("loud@inside.example")
        answers = [self.post(loud, letter(kind="compose", to=["x@example.net"]))
                   for _ in range(32)]
        self.assertEqual(answers[29].status, 200)
        self.assertEqual(answers[31].error, "too_many")
        self.assertGreater(int(answers[31].headers["Retry-After"]), 0)


class Allowance(keyd.Case):
    """What an account may do, with a relay that is away, so that nothing leaves meanwhile."""
    settings = Write.settings + 'smtp_relay = "smtp://127.0.0.1:1"\n'
    browser, post = Write.browser, Write.post

    def writer(self, address):
        self.service.account(address, PASSWORD)
        return self.browser(address)

    def to(self, count):
        return [f"{secrets.token_hex(8)}@example.net" for _ in range(count)]

    def test_a_refused_message_takes_nothing_from_the_allowance(self):
        many = self.writer("many@inside.example")
        answers = [self.post(many, letter(kind="compose", to=self.to(count))).status
                   for count in (100, 60, 100, 30, 11)]
        self.assertEqual(answers, [200, 200, 429, 200, 429])

    def test_an_account_that_starts_no_conversation_forwards_to_few_strangers(self):
        of = keyd.envelope_id()
        few = self.writer("few@example.org")
        self.assertEqual(self.service.store(keyd.batch(keyd.record(
            of, flags=FORWARD, to=("few@example.org",)))).status, 200)
        colleagues = [f"c{i}@inside.example" for i in range(30)]
        answers = [self.post(few, letter(kind="forward", of=of.hex(), to=to)).status
                   for to in (self.to(15) + colleagues, self.to(6), self.to(5), self.to(1),
                              colleagues)]
        self.assertEqual(answers, [200, 429, 200, 429, 200])

    def test_a_mailbox_is_not_filled_by_many_accounts_together(self):
        contact = {"kind": "contact", "to": ["office@inside.example"]}
        one, two = self.writer("one@example.org"), self.writer("two@example.org")
        answers = [self.post(one, letter(**contact)).status for _ in range(30)]
        answers += [self.post(two, letter(**contact)).status for _ in range(21)]
        self.assertEqual(answers, [200] * 50 + [429])

    def test_refusals_fill_the_audit_log_so_far_and_no_further(self):
        rude = self.writer("rude@example.org")
        before = self.service.audit_text().count("\n")
        answers = [self.post(rude, letter(kind="compose")) for _ in range(60)]
        self.assertEqual((answers[0].error, answers[-1].error), ("forbidden", "too_many"))
        self.assertLess(self.service.audit_text().count("\n") - before, 60)


class Crash(keyd.Case):
    """A relay that is away, and a service that dies between a key's commit and its mail."""
    settings = 'smtp_relay = "smtp://127.0.0.1:1"\n'

    def claims_run_out(self):
        """What the dead service had begun, or put off, is due."""
        if self.service.database:
            keyd.psql("UPDATE outbox_to SET due = 1", self.service.database)
            return
        with contextlib.closing(sqlite3.connect(self.service.path("keys.db"))) as database:
            database.execute("UPDATE outbox_to SET due = 1")
            database.commit()

    def test_a_letter_waits_for_its_relay_and_a_key_for_its_letter(self):
        self.service.account(BOB, PASSWORD)
        of, identity, key = keyd.envelope_id(), keyd.envelope_id(), secrets.token_bytes(32)
        self.assertEqual(self.service.store(keyd.batch(
            keyd.record(of, flags=REPLY))).status, 200)
        # As if the service had died right after the commit: the key is there, the mail is not.
        self.assertEqual(self.service.store(keyd.batch(keyd.record(
            identity, to=(ALICE,), flags=REPLY, key=key, sender=BOB, subject="Re: Grüße",
            sent=int.from_bytes(identity[:6], "big")))).status, 200)
        browser = keyd.Browser(self.service)
        browser.sign_in(BOB, PASSWORD)
        body = letter(identity=identity, key=key, of=of.hex(), bytes=1234)
        answer = browser.call("POST", "/v1/write", body, {"Content-Type": TYPE})
        self.assertEqual(answer.json, {"m": identity.hex()})
        # The relay is away: killed and started anew, now with a folder, the service sends it.
        self.service.stop(signal.SIGKILL)
        with open(self.service.config, encoding="utf-8") as file:
            text = file.read()
        with open(self.service.config, "w", encoding="utf-8") as file:
            file.write(text.replace('smtp_relay = "smtp://127.0.0.1:1"\n', ""))
        self.claims_run_out()
        self.service.start()
        name = self.service.path(f"mail/{identity.hex()}-0.eml")
        until = time.monotonic() + keyd.WAIT_S
        while not os.path.exists(name):
            self.assertLess(time.monotonic(), until)
            time.sleep(0.05)


if __name__ == "__main__":
    unittest.main()
