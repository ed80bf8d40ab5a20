"""Opening by forwarding: what comes to `bulla-keyd receive`, who gets a link, and what a click on it does."""
import base64
import concurrent.futures
import email.message
import os
import re
import sqlite3
import subprocess
import sys
import urllib.parse

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import keyd  # noqa: E402
from online_test import FIELDS, ID, KEY, MAIL, PASSWORD  # noqa: E402

TEMPFAIL = 75
OWN = "open@keys.example.com"
URL = "https://keys.example.com"


def envelope(identity=ID, **changed):
    """The attachment, as docs/format/envelope.md has it, with the least that a reader needs."""
    fields = {**FIELDS, "m": identity, **changed}
    inputs = "".join(f'<input type="hidden" name="{name}" value="{value}">\r\n'
                     for name, value in fields.items())
    return f'<!doctype html><form id="bulla" method="post">\r\n{inputs}</form>\r\n'.encode()


def sealed(identity=ID, name="securedoc_20261122T101500.html", kind=("text", "html"), html=None):
    """A sealed mail, as it came."""
    mail = email.message.EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "alice@example.com", "bob@example.org", "Hidden"
    mail.set_content("This message is sealed.\n")
    mail.add_attachment(envelope(identity) if html is None else html, maintype=kind[0],
                        subtype=kind[1], filename=name)
    return mail


def forwarded(sender, *within, **headers):
    """A person's mail to the service: `within` are mails, forwarded as attachments."""
    mail = email.message.EmailMessage()
    for name, value in ({"From": sender, "To": OWN, "Subject": "Fwd: Hidden"} | headers).items():
        if value is not None:
            mail[name.replace("_", "-")] = value
    mail.set_content("Please open this.\n")
    for one in within:
        mail.add_attachment(one)
    return mail.as_bytes()


class Receive(keyd.Case):
    settings = f'receive_address = "{OWN}"\npublic_url = "{URL}"\n'

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.service.account("bob@example.org", PASSWORD)
        answer = cls.service.store(keyd.batch(keyd.record(
            bytes.fromhex(ID), key=KEY, to=("bob@example.org", "nina@example.org"))))
        assert answer.status == 200, answer.body

    def receive(self, mail, sender="somebody@example.net", config=None, words=()):
        words = [keyd.PROGRAM, "receive", "--config", config or self.service.config, *words]
        if sender is not None:
            words.append("--sender=" + sender)
        return subprocess.run(words, input=mail, capture_output=True, timeout=keyd.WAIT_S)

    def taken(self, mail, **options):
        """Whatever becomes of it, the mail server hears the same."""
        done = self.receive(mail, **options)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, b"", b""))

    def links(self):
        return [line for line in self.audit() if line["event"] == "link"]

    def path(self, to, count=1):
        """Of the link in the newest of so many mails."""
        text = self.service.mail(to, count).get_content()
        return re.search(rf"^ +{URL}(/link/[\w-]{{43}})\s*$", text, re.M)[1]

    def sql(self, statement):
        if self.service.database:
            return keyd.psql(statement, self.service.database)
        with sqlite3.connect(self.service.path("keys.db"), timeout=keyd.WAIT_S) as database:
            return str(database.execute(statement).fetchone())

    def click(self, path, **headers):
        return self.service.call("POST", path, "", {
            "Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin",
            "Origin": f"https://localhost:{self.service.public}"} | headers)

    def plain(self, path, cookies, **fields):
        """A form of the pages without scripts."""
        answer = self.service.call("POST", path, urllib.parse.urlencode(fields), {
            "Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin",
            "Cookie": "; ".join(f"{k}={v}" for k, v in cookies.items())})
        for cookie in answer.headers.get_all("Set-Cookie") or []:
            name, value = cookie.split(";")[0].split("=", 1)
            cookies[name] = value
        token = re.search(rb'name="csrf" value="([\w-]{43})"', answer.body)
        return answer.body.decode(), token[1].decode() if token else ""

    def test_a_recipient_forwards_clicks_signs_in_and_reads_it_once(self):
        self.taken(forwarded("Bob <Bob@Example.org>", sealed()))
        mail = self.service.mail("bob@example.org")
        self.assertEqual(mail["Auto-Submitted"], "auto-generated")
        self.assertNotIn("Hidden", mail.as_string() + mail.get_content())
        self.assertNotIn("alice", mail.as_string() + mail.get_content())
        path = self.path("bob@example.org")
        for method in ("GET", "HEAD", "GET"):  # a scanner of mail, too
            page = self.service.call(method, path)
            self.assertEqual(page.status, 200)
        self.assertIn(b'<form method="post" >', page.body)
        self.assertNotIn(b"<script", page.body)
        self.assertNotIn("script-src", page.headers["Content-Security-Policy"])
        self.assertEqual(page.headers["Cache-Control"], "no-store")
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda _: self.click(path), range(4)))
        self.assertEqual(sorted(answer.status for answer in answers), [303, 410, 410, 410])
        location = next(a for a in answers if a.status == 303).headers["Location"]
        self.assertRegex(location, r"^/online/[\w-]{43}$")
        self.assertEqual(self.service.call("GET", path).status, 410)
        self.assertIn(b"used already", self.click(path).body)
        self.assertEqual(self.sql(f"SELECT count(*) FROM link_part WHERE name IN (SELECT name FROM "
                                  "link WHERE state = 3)").strip("(),"), "0")
        cookies = {}
        text, token = self.plain(location, cookies)
        self.assertIn('type="password"', text)
        self.assertNotIn("Alice@", text)
        text, token = self.plain(location, cookies, csrf=token, act="signin",
                                 user="bob@example.org", password=PASSWORD)
        self.assertIn("Alice@", text)
        text, token = self.plain(location, cookies, csrf=token, act="open")
        self.assertIn('<div class="text" dir="auto">Hi\n</div>', text)
        lines = [line for line in self.audit() if line.get("m") == ID]
        self.assertEqual([(line["event"], line.get("outcome"), line.get("user")) for line in lines],
                         [("link", "sent", "bob@example.org"),
                          ("link", "opened", "bob@example.org"),
                          ("release", "online", "bob@example.org")])
        sent = keyd.Browser(self.service)
        self.service.account("alice@example.com", PASSWORD)
        sent.sign_in("alice@example.com", PASSWORD)
        opening, = (one for one in sent.call("GET", "/v1/sent/" + ID).json["openings"] if one["times"])
        self.assertEqual((opening["address"], opening["times"]), ("bob@example.org", 1))

    def test_the_attachment_is_found_however_it_was_forwarded(self):
        self.service.account("ways@example.org", PASSWORD)
        ways = {
            "kept": lambda i: sealed(i), "renamed": lambda i: sealed(i, "x.bin", ("application", "octet-stream")),
            "cut": lambda i: sealed(i, html=b"\xef\xbb\xbf<p>Scanned.</p>" + envelope(i))}
        count = 0
        for way, make in ways.items():
            for depth in range(2):
                identity = self.stored(to=("ways@example.org",))
                mail = make(identity)
                if depth == 0:  # the attachment itself, beside the forwarder's words
                    mail.replace_header("From", "ways@example.org")
                    self.taken(mail.as_bytes())
                else:
                    outer = email.message.EmailMessage()
                    outer["From"] = "else@example.org"
                    outer.set_content("forwarded to me")
                    outer.add_attachment(mail)
                    self.taken(forwarded("ways@example.org", outer))
                count += 1
                self.assertEqual(self.links()[-1]["m"], identity, f"{way} {depth}")
        self.service.mail("ways@example.org", count)

    def test_who_is_no_recipient_learns_nothing(self):
        identity = self.stored(to=("vera@example.org",))
        before = len(self.links())
        for mail in (forwarded("eve@example.org", sealed(identity)),
                     forwarded("bob@example.org", sealed("0" * 12 + "7" + "0" * 3 + "8" + "0" * 15)),
                     forwarded(f"vera@example.org, eve@example.org", sealed(identity)),
                     forwarded("vera", sealed(identity)),
                     forwarded('"vera@example.org" <eve@example.org>', sealed(identity)),
                     forwarded("eve@example.org", sealed(identity), Reply_To="vera@example.org"),
                     forwarded("eve@example.org", sealed(identity), Sender="vera@example.org"),
                     b"From: vera@example.org\r\n" + forwarded("eve@example.org", sealed(identity)),
                     forwarded(None, sealed(identity)), forwarded(OWN, sealed(identity)),
                     forwarded("bulla@localhost", sealed(identity))):
            self.taken(mail)
        self.assertEqual(len(self.links()), before)
        # A forged one writes to the recipient alone, to whom the message was sent anyway.
        self.taken(forwarded("vera@example.org", sealed(identity)), sender="eve@example.org")
        self.service.mail("vera@example.org")
        self.assertEqual(self.service.mails("eve@example.org"), [])
        self.assertEqual(len(self.links()), before + 1)

    def test_no_program_is_answered(self):
        identity = self.stored(to=("pia@example.org",))
        before = len(self.links())
        inner = sealed(identity)
        # received_test.c has the other fields.
        for headers in ({"Auto-Submitted": "auto-replied"}, {"List-Id": "<a.example.org>"}):
            self.taken(forwarded("pia@example.org", inner, **headers))
        for sender in ("", "<>", "MAILER-DAEMON"):
            self.taken(forwarded("pia@example.org", inner), sender=sender)
        mail = forwarded("pia@example.org", inner)
        self.taken(mail.replace(b"multipart/mixed", b"multipart/report", 1))
        self.taken(b"Received: from a by b; x\r\n" * 51 + mail)
        answer = self.service.mails("bob@example.org")
        if answer:  # our own mail, sent back as it is
            self.taken(answer[-1].as_bytes())
        self.assertEqual(len(self.links()), before)
        self.taken(b"Received: from a by b; x\r\n" * 20 + mail.replace(
            b"Subject", b"Auto-Submitted: no\r\nSubject", 1), sender=None)
        self.assertEqual(len(self.links()), before + 1)

    def test_hostile_mails_are_dropped_and_harm_nothing(self):
        identity = self.stored(to=("hans@example.org",))
        good = envelope(identity)
        before = len(self.links())
        head = b"From: hans@example.org\r\nMIME-Version: 1.0\r\n"
        nested = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n)
                          for n in range(20000))
        within = b"Content-Type: message/rfc822\r\n\r\n" * 20000
        parts = b"--x\r\nContent-Type: text/plain\r\n\r\na\r\n" * 5000
        for mail in (b"", b"\x00" * 5000, b"no mail at all", head + nested, head + within,
                     head + b"Content-Type: multipart/mixed; boundary=x\r\n\r\n" + parts +
                     b"--x\r\nContent-Type: text/html\r\n\r\n" + good + b"--x--\r\n",
                     head + b"".join(b"X-%d: y\r\n" % n for n in range(3000)) + b"\r\n" + good,
                     forwarded("hans@example.org", sealed(html=good.replace(b'name="e"', b'name="q"'))),
                     forwarded("hans@example.org", sealed(html=good.replace(b'value="GL9', b'value="!L9')
                                                          .replace(b"\r\nGL9", b"\r\n!!!"))),
                     forwarded("hans@example.org", sealed(html=good[:len(good) // 2])),
                     forwarded("hans@example.org", sealed(identity, html=envelope(identity, s="3"))),
                     forwarded("hans@example.org", sealed(identity, html=envelope(identity, s="2"))),
                     # More than its message of 1,234 bytes was ever sealed to.
                     forwarded("hans@example.org", sealed(identity, html=envelope(
                         identity, c="\r\n" + ("A" * 76 + "\r\n") * 1300)))):
            self.taken(mail)
        self.assertEqual(len(self.links()), before)
        self.taken(forwarded("hans@example.org", sealed(identity)))
        self.assertEqual(len(self.links()), before + 1)

    def test_more_than_any_sealed_mail_is_read_to_its_end_and_dropped(self):
        before = len(self.links())
        self.taken(forwarded("bob@example.org", sealed()) + b"x" * (97 << 20))
        self.assertEqual(len(self.links()), before)

    def test_of_two_envelopes_the_first_is_answered_with_one_mail(self):
        first, second = (self.stored(to=("tina@example.org",)) for _ in range(2))
        self.taken(forwarded("tina@example.org", sealed(first), sealed(second)))
        self.assertEqual([line["m"] for line in self.links() if line["user"] == "tina@example.org"],
                         [first])

    def test_an_address_is_sent_so_many_links_and_others_still_theirs(self):
        many = [self.stored(to=("many@example.org",)) for _ in range(4)]
        other = self.stored(to=("other@example.org",))
        for identity in many:
            for _ in range(4):
                self.taken(forwarded("many@example.org", sealed(identity)))
            self.assertEqual(sum(line["m"] == identity for line in self.links()),
                             1 if identity == many[-1] else 3)
        self.taken(forwarded("other@example.org", sealed(other)))
        self.assertEqual([sum(line["user"] == to for line in self.links())
                          for to in ("many@example.org", "other@example.org")], [10, 1])
        self.sql_run("UPDATE link SET expires = 1 WHERE address = " + self.text("many@example.org"))
        self.assertEqual(self.service.call("GET", self.path("many@example.org", 10)).status, 410)
        self.assertEqual(self.click(self.path("many@example.org", 10)).status, 410)
        self.taken(forwarded("many@example.org", sealed(many[0])))
        self.assertEqual(sum(line["user"] == "many@example.org" for line in self.links()), 11)

    def text(self, value):
        return f"convert_to('{value}', 'UTF8')" if self.service.database else f"'{value}'"

    def sql_run(self, statement):
        if self.service.database:
            keyd.psql(statement, self.service.database)
            return
        with sqlite3.connect(self.service.path("keys.db"), timeout=keyd.WAIT_S) as database:
            database.execute(statement)

    def test_another_sites_page_spends_nothing(self):
        identity = self.stored(to=("owen@example.org",))
        self.taken(forwarded("owen@example.org", sealed(identity)))
        path = self.path("owen@example.org")
        for headers in ({"Origin": "https://evil.example"}, {"Origin": "null"},
                        {"Sec-Fetch-Site": "cross-site"}):
            self.assertEqual(self.click(path, **headers).status, 403)
        self.assertEqual(self.click(path).status, 303)

    def test_no_other_token_leads_anywhere(self):
        for token in ("A" * 43, "A" * 42, "A" * 44, "", "..", "%00" * 14, "A" * 42 + "%"):
            for answer in (self.service.call("GET", "/link/" + token), self.click("/link/" + token)):
                self.assertIn(answer.status, (404, 410), token)

    def test_locks_ends_and_levels_hold_as_at_every_other_door(self):
        refused = {"locked": "has locked", "over": "is over", "high": 'type="password"'}
        for name, told in refused.items():
            to = f"{name}@example.org"
            self.service.account(to, PASSWORD)
            identity = self.stored(to=(to,), level=keyd.HIGH if name == "high" else keyd.MEDIUM)
            self.taken(forwarded(to, sealed(identity)))
            if name != "high":
                self.service.run("envelope", "lock" if name == "locked" else "expire", identity)
            location = self.click(self.path(to)).headers["Location"]
            browser = keyd.Browser(self.service)
            self.assertEqual(browser.sign_in(to, PASSWORD).status, 200)
            text, token = self.plain(location, browser.cookies)
            if name == "high":  # the password of signing in is good for one opening
                text, token = self.plain(location, browser.cookies, csrf=token, act="open")
                self.assertIn("does not fit", text, "another key: the example's is not registered")
                continue
            self.assertIn(told, text)
        identity = self.stored(to=("free@example.org",), level=keyd.NONE)
        self.taken(forwarded("free@example.org", sealed(identity)))
        text, _ = self.plain(self.click(self.path("free@example.org")).headers["Location"], {})
        self.assertIn('value="open"', text)
        self.assertNotIn('type="password"', text)

    def test_the_mail_is_in_the_recipients_language(self):
        self.service.account("uwe@example.org", PASSWORD)
        browser = keyd.Browser(self.service)
        browser.sign_in("uwe@example.org", PASSWORD)
        self.assertEqual(browser.call("POST", "/v1/language", {"language": "de"}).status, 200)
        self.taken(forwarded("uwe@example.org", sealed(self.stored(to=("uwe@example.org",)))))
        mail = self.service.mail("uwe@example.org")
        self.assertEqual(mail["Content-Language"], "de")
        self.assertIn("versiegelten Nachricht", mail["Subject"])

    def test_what_cannot_be_answered_now_stays_with_the_mail_server(self):
        mail = forwarded("nina@example.org", sealed())
        before = len(self.links())
        with open(self.service.config, encoding="utf-8") as file:
            text = file.read()
        wrong = {"setting": "receive_address = \"\"\n", "syntax": "receive_address = \n",
                 "database": 'database = "/nonexistent/keys.db"\n',
                 "url": 'database = "postgresql://127.0.0.1:1/none"\n'}
        if not self.service.database:
            wrong["audit"] = 'audit_file = "/nonexistent/audit.log"\n'
        for name, line in wrong.items():
            path = self.service.path(f"{name}.conf")
            with open(path, "w", encoding="utf-8") as file:
                file.write(text + line)
            done = self.receive(mail, config=path)
            self.assertEqual((done.returncode, done.stdout, done.stderr), (TEMPFAIL, b"", b""), name)
        self.assertEqual(self.receive(mail, words=("--unknown",)).returncode, TEMPFAIL)
        self.assertEqual(len(self.links()), before)
        self.assertEqual(self.sql("SELECT count(*) FROM link WHERE address = "
                                  + self.text("nina@example.org")).strip("(),"), "0")

    def test_a_database_tells_no_link_and_no_message(self):
        identity = self.stored(to=("dora@example.org",))
        self.taken(forwarded("dora@example.org", sealed(identity)))
        token = self.path("dora@example.org").rsplit("/", 1)[1].encode()
        if self.service.database:
            kept = keyd.psql("SELECT encode(name, 'escape') FROM link", self.service.database).encode()
        else:
            with sqlite3.connect(self.service.path("keys.db"), timeout=keyd.WAIT_S) as database:
                kept = b"".join(row[0] for row in database.execute("SELECT name FROM link"))
        self.assertTrue(kept)
        self.assertNotIn(token, kept)
        self.assertNotIn(base64.urlsafe_b64decode(token + b"="), kept)
        self.assertNotIn(token, self.service.log_text().encode() + self.service.audit_text().encode())


if __name__ == "__main__":
    keyd.main()
