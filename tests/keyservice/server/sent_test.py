"""What a sender does with what he sent: lists, locks, dates, each biting at the next release."""
import calendar
import contextlib
import email.utils
import re
import sqlite3
import time

import keyd

PASSWORD = "correct horse battery"
ALICE, BOB, CAROL = "alice@example.com", "bob@example.org", "carol@example.org"


def now():
    return int(time.time() * 1000)


class Sent(keyd.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for address in (ALICE, BOB, CAROL):
            cls.service.account(address, PASSWORD)
        cls.browsers = {}
        for address in (ALICE, BOB, CAROL):
            cls.browsers[address] = keyd.Browser(cls.service)
            assert cls.browsers[address].sign_in(address, PASSWORD).status == 200

    def release(self, identity, who=BOB):
        return self.browsers[who].call("POST", "/v1/release",
                                       {"m": identity, "pub": keyd.public_key()})

    def change(self, identity, who=ALICE, **change):
        return self.browsers[who].call("POST", f"/v1/sent/{identity}", change)

    def changed(self, identity, **change):
        answer = self.change(identity, **change)
        self.assertEqual(answer.status, 200, answer.body)
        return answer.json

    def view(self, identity):
        return self.browsers[ALICE].call("GET", f"/v1/sent/{identity}").json

    def list(self, query="", who=ALICE):
        answer = self.browsers[who].call("GET", "/v1/sent" + query)
        self.assertEqual(answer.status, 200, answer.body)
        return answer.json

    def found(self, query):
        return [message["m"] for message in self.list(query)["messages"]]

    def test_a_sender_sees_his_messages_newest_first_and_nobody_elses(self):
        text = "order" + keyd.secrets.token_hex(4)
        mine = [self.stored(subject=f"{text} {n}") for n in range(3)]
        other = self.stored(subject=text, sender="mallory@example.com")
        self.assertEqual(self.found(f"?text={text}"), mine[::-1])
        self.assertNotIn(other, [m["m"] for m in self.list()["messages"]])
        self.assertEqual(self.list(who=BOB), {"messages": [], "after": ""})
        first = self.list(f"?text={text}")["messages"][0]
        self.assertEqual((first["to"], first["recipients"], first["state"]), (BOB, 1, "unopened"))

    def test_a_list_is_given_in_pages(self):
        text = "page" + keyd.secrets.token_hex(4)
        ids = [keyd.envelope_id() for _ in range(120)]
        body = keyd.batch(*(keyd.record(i, subject=text) for i in ids))
        self.assertEqual(self.service.store(body).status, 200)
        seen, after = [], ""
        for _ in range(10):
            page = self.list(f"?text={text}&after={after}")
            seen += [message["m"] for message in page["messages"]]
            self.assertLessEqual(len(page["messages"]), 100)
            after = page["after"]
            if not after:
                break
        self.assertEqual(seen, sorted((i.hex() for i in ids), reverse=True))

    def test_a_lock_bites_at_the_very_next_release(self):
        identity = self.stored()
        self.assertEqual(self.release(identity).status, 200)
        locked = self.changed(identity, locked=True)
        self.assertEqual((locked["state"], locked["locked"]), ("locked", True))
        self.assert_refused(self.release(identity), 403, "locked")
        self.assertEqual(self.browsers[BOB].call("GET", f"/v1/envelopes/{identity}").json["state"],
                         "locked")
        self.assertEqual(self.view(identity)["openings"][0]["times"], 1)
        self.changed(identity, locked=False)
        self.assertEqual(self.release(identity).status, 200)
        self.assertEqual(self.view(identity)["openings"][0]["times"], 2)

    def test_a_lock_for_one_recipient_leaves_the_others(self):
        identity = self.stored(to=(BOB, CAROL))
        view = self.changed(identity, locked=True, recipient=" BOB@example.org ")
        self.assertEqual((view["state"], view["locked_for"]), ("unopened", 1))
        self.assert_refused(self.release(identity, BOB), 403, "locked")
        self.assertEqual(self.browsers[BOB].call("GET", f"/v1/envelopes/{identity}").json["state"],
                         "locked")
        self.assert_refused(self.service.open(user=BOB, password=PASSWORD, m=identity,
                                              pub=keyd.public_key()), 403, "locked")
        self.assertEqual(self.release(identity, CAROL).status, 200)
        self.changed(identity, locked=False, recipient=BOB)
        self.assertEqual(self.release(identity, BOB).status, 200)
        self.assert_refused(self.change(identity, locked=True, recipient="eve@example.org"), 404,
                            "unknown")

    def test_an_expiry_is_set_changed_and_removed(self):
        identity = self.stored()
        self.assertEqual(self.changed(identity, expires=now() - 1)["state"], "expired")
        self.assert_refused(self.release(identity), 410, "expired")
        self.changed(identity, expires=now() + 3600000)
        self.assertEqual(self.release(identity).status, 200)
        self.changed(identity, expires=now() - 1)
        self.assertEqual(self.changed(identity, expires=0)["expires"], 0)
        self.assertEqual(self.release(identity).status, 200)

    def test_openings_are_shown_for_each_recipient(self):
        start = now()
        identity = self.stored(to=(BOB, CAROL), read_by=start - 1, sent=start - 5000)
        self.assertEqual(self.view(identity)["state"], "overdue")
        for _ in range(2):
            self.assertEqual(self.release(identity).status, 200)
        view = self.view(identity)
        self.assertEqual((view["opened"], view["recipients"], view["state"]), (1, 2, "overdue"))
        bob, carol = view["openings"]
        self.assertEqual((bob["address"], bob["times"], bob["released"], bob["online"]),
                         (BOB, 2, True, False))
        self.assertTrue(start <= bob["first"] <= bob["last"] <= now() + 1000)
        self.assertEqual((carol["address"], carol["times"], carol["first"]), (CAROL, 0, 0))
        self.assertEqual(self.changed(identity, read_by=now() + 3600000)["state"], "opened")
        self.assertEqual(self.changed(identity, read_by=0)["read_by"], 0)

    def test_a_list_is_filtered_by_state(self):
        text = "state" + keyd.secrets.token_hex(4)
        unopened, opened, locked, expired = (self.stored(subject=text) for _ in range(4))
        self.assertEqual(self.release(opened).status, 200)
        self.changed(locked, locked=True)
        self.changed(expired, expires=now() - 1)
        for state, expected in (("opened", [opened]), ("locked", [locked]), ("expired", [expired]),
                                ("unopened", [expired, locked, unopened]), ("overdue", [])):
            self.assertEqual(self.found(f"?text={text}&state={state}"), expected, state)
        self.assertEqual(self.found(f"?text={text.upper()}&state=opened"), [opened])
        self.assertEqual(self.found("?text=CAROL@&state=opened&after=" + "0" * 32), [])

    def test_another_account_sees_and_changes_nothing(self):
        identity = self.stored()
        for who in (BOB, CAROL):
            self.assert_refused(self.browsers[who].call("GET", f"/v1/sent/{identity}"), 404,
                                "unknown")
            self.assert_refused(self.change(identity, who, locked=True), 404, "unknown")
        nobody = keyd.Browser(self.service)
        self.assert_refused(nobody.call("GET", "/v1/sent"), 401, "credentials")
        self.assert_refused(nobody.call("GET", f"/v1/sent/{identity}"), 401, "credentials")
        self.assert_refused(nobody.call("POST", f"/v1/sent/{identity}", {"locked": True}), 401,
                            "credentials")
        self.assertEqual(self.release(identity).status, 200)

    def test_a_sender_changes_so_much_and_no_more(self):
        sender = f"often{keyd.secrets.token_hex(4)}@example.com"
        self.service.account(sender, PASSWORD)
        browser = keyd.Browser(self.service)
        self.assertEqual(browser.sign_in(sender, PASSWORD).status, 200)
        path = "/v1/sent/" + self.stored(sender=sender)
        for past in (1, now() - 1):
            self.assert_refused(browser.call("POST", path, {"read_by": past}), 400, "bad_request")
        for count in range(400):
            answer = browser.call("POST", path, {"read_by": now() + 3600000 + count})
            if answer.status != 200:
                break
        self.assert_refused(answer, 429, "too_many")
        self.assertGreater(int(answer.headers["Retry-After"]), 0)
        self.assertGreaterEqual(count, 200)
        self.assertEqual(browser.call("GET", path).status, 200)

    def test_a_change_needs_the_token_of_the_page(self):
        identity = self.stored()
        answer = self.browsers[ALICE].call("POST", f"/v1/sent/{identity}", {"locked": True},
                                           {"X-Bulla-CSRF": "A" * 43})
        self.assert_refused(answer, 403, "csrf")
        self.assertEqual(self.view(identity)["locked"], False)

    def test_what_is_no_change_is_refused(self):
        identity = self.stored()
        for body in ({}, {"locked": 1}, {"locked": "true"}, {"locked": True, "expires": 0},
                     {"expires": -1}, {"expires": "7"}, {"expires": 10**15}, {"read_by": None},
                     {"recipient": BOB}, {"expires": 0, "recipient": BOB}, {"more": True},
                     {"locked": True, "recipient": "nobody"}, [], "x"):
            answer = self.browsers[ALICE].call("POST", f"/v1/sent/{identity}", body)
            self.assert_refused(answer, 400, "bad_request")
        for query in ("?after=7", "?state=gone", "?text=" + "x" * 300):
            self.assert_refused(self.browsers[ALICE].call("GET", "/v1/sent" + query), 400,
                                "bad_request")
        for path in ("7", "g" * 32, identity.upper(), "0" * 32):
            self.assert_refused(self.browsers[ALICE].call("GET", "/v1/sent/" + path), 404,
                                "unknown")

    def test_every_change_stands_in_the_audit_log(self):
        identity = self.stored()
        self.changed(identity, locked=True)
        self.changed(identity, locked=False, recipient=BOB)
        self.changed(identity, expires=0)
        self.changed(identity, read_by=4102444800000)
        lines = [(line["event"], line.get("detail"), line["user"]) for line in self.audit()
                 if line.get("m") == identity]
        self.assertEqual(lines, [("lock", None, ALICE), ("unlock", BOB, ALICE),
                                 ("change_expiry", "none", ALICE),
                                 ("change_read_by", "2100-01-01T00:00:00Z", ALICE)])

    def test_what_anybody_may_open_is_locked_for_all_or_nobody(self):
        identity = self.stored(level=keyd.NONE)
        self.assert_refused(self.change(identity, locked=True, recipient=BOB), 400, "bad_request")
        self.assertEqual(self.changed(identity, locked=True)["state"], "locked")

    def test_an_account_searches_so_much_and_no_more(self):
        sender = f"search{keyd.secrets.token_hex(4)}@example.com"
        self.service.account(sender, PASSWORD)
        browser = keyd.Browser(self.service)
        self.assertEqual(browser.sign_in(sender, PASSWORD).status, 200)
        for count in range(400):
            answer = browser.call("GET", f"/v1/sent?{'text=x' if count % 2 else 'state=opened'}")
            if answer.status != 200:
                break
        self.assert_refused(answer, 429, "too_many")
        self.assertGreaterEqual(count, 100)
        self.assertEqual(browser.call("GET", "/v1/sent?state=all").status, 200)

    def test_a_long_notice_is_cut_between_characters(self):
        for shift in range(2):  # one of the two would be cut within one
            sender = f"long{keyd.secrets.token_hex(4)}@example.com"
            self.stored(sender=sender, sent=now() - 9000, read_by=now() - 1000,
                        to=["a" * shift + "\u00fc" * 110 + f"{n:02}@example.org"
                            for n in range(20)])
            text = self.service.mail(sender).get_content()
            self.assertGreater(len(text.encode()), 4000)
            self.assertNotIn("\ufffd", text)

    def receipt_text(self, mail, identity):
        """RFC 8098: what a person reads; what a program reads is looked at."""
        self.assertEqual(mail.get_content_type(), "multipart/report")
        self.assertEqual(mail.get_param("report-type"), "disposition-notification")
        self.assertEqual(mail["Auto-Submitted"], "auto-replied")
        self.assertEqual(mail["References"], f"<{identity}@localhost>")
        self.assertEqual(mail.defects, [])
        person, program = mail.iter_parts()
        self.assertEqual((person.get_content_type(), person.get_content_charset()),
                         ("text/plain", "utf-8"))
        self.assertEqual(program.get_content_type(), "message/disposition-notification")
        fields = program.get_payload(0)
        kind, address = fields["Final-Recipient"].split("; ")
        self.assertIn(kind, ("rfc822", "utf-8"))
        self.assertIn(address.replace("\\x{F6}", "ö"), person.get_content())
        self.assertEqual(fields["Disposition"],
                         "manual-action/MDN-sent-automatically; displayed")
        self.assertEqual(fields["Reporting-UA"], "localhost; bulla-keyd")
        self.assertEqual(fields["X-Bulla-Envelope"], identity)
        opened = email.utils.parsedate_to_datetime(fields["X-Bulla-Opened"]).timestamp()
        self.assertLess(abs(opened - now() / 1000), keyd.WAIT_S)
        return person.get_content()

    def receipt(self, language, reader, **stored):
        """One receipt in a sender's language: its subject, and its text."""
        sender = f"{language}{keyd.secrets.token_hex(4)}@example.com"
        self.service.account(sender, PASSWORD)
        browser = keyd.Browser(self.service)
        self.assertEqual(browser.sign_in(sender, PASSWORD).status, 200)
        self.assertEqual(browser.call("POST", "/v1/language", {"language": language}).status, 200)
        identity = self.stored(sender=sender, flags=1, to=(reader,), **stored)
        self.assertEqual(self.release(identity, reader).status, 200)
        mail = self.service.mail(sender)
        self.assertEqual(next(mail.iter_parts())["Content-Language"], language)
        return mail["Subject"], self.receipt_text(mail, identity)

    def test_a_receipt_speaks_the_senders_language(self):
        self.assertEqual(self.receipt("de", BOB)[0], f"{BOB} hat Ihre versiegelte Nachricht geöffnet")
        subject, text = self.receipt("ar", BOB, subject="Q3 (final)")
        self.assertEqual(subject, f"فتح \u2068{BOB}\u2069 رسالتك المختومة")
        self.assertIn("    الموضوع: \u2068Q3 (final)\u2069\n", text.replace("\r\n", "\n"))
        self.assertEqual(text.count("\u2068"), text.count("\u2069"))
        self.assertRegex(text, r"(?m)^https://\S+/sent\?m=[0-9a-f]{32}\s*$")

    def test_a_receipt_names_an_address_that_is_not_ascii(self):
        reader = "j\u00f6rg@example.org"
        self.service.account(reader, PASSWORD)
        self.browsers[reader] = keyd.Browser(self.service)
        self.assertEqual(self.browsers[reader].sign_in(reader, PASSWORD).status, 200)
        _, text = self.receipt("en", reader, subject="")
        self.assertIn(reader, text)
        self.assertIn("(no subject)", text)

    def test_whoever_needs_no_account_is_told_of_without_a_name(self):
        sender = f"nobody{keyd.secrets.token_hex(4)}@example.com"
        identity = self.stored(sender=sender, flags=1, level=keyd.NONE)
        answer = keyd.Browser(self.service).call("POST", "/v1/release",
                                                 {"m": identity, "pub": keyd.public_key()})
        self.assertEqual(answer.status, 200)
        mail = self.service.mail(sender)
        self.assertEqual((mail.get_content_type(), mail["Auto-Submitted"]),
                         ("text/plain", "auto-generated"))
        self.assertIn("Somebody without an account", mail["Subject"])

    def test_a_receipt_is_mailed_once_for_each_reader(self):
        sender = f"receipts{keyd.secrets.token_hex(4)}@example.com"
        identity = self.stored(sender=sender, flags=1, to=(BOB, CAROL), subject="Zahlen für März")
        for who in (BOB, BOB, CAROL, BOB):
            self.assertEqual(self.release(identity, who).status, 200)
        self.service.mail(sender, 2)
        mails = self.service.mails(sender)
        self.assertEqual(sorted(mail["Subject"] for mail in mails),
                         [f"{BOB} opened your sealed message",
                          f"{CAROL} opened your sealed message"])
        for mail in mails:
            self.assertIn("Zahlen für März", self.receipt_text(mail, identity))
            self.assertIn(f"/sent?m={identity}", self.receipt_text(mail, identity))
        other = self.stored(sender=sender)
        self.assertEqual(self.release(other).status, 200)
        self.assertEqual(len(self.service.mails(sender)), 2)

    def database(self, statement):
        if self.service.database:
            keyd.psql(statement, self.service.database)
            return
        with contextlib.closing(sqlite3.connect(self.service.path("keys.db"), keyd.WAIT_S)) as rows:
            rows.executescript(statement)

    def test_damaged_messages_hold_up_no_notice_and_hide_no_message(self):
        sender = f"poison{keyd.secrets.token_hex(4)}@example.com"
        self.service.account(sender, PASSWORD)
        browser = keyd.Browser(self.service)
        self.assertEqual(browser.sign_in(sender, PASSWORD).status, 200)
        ids = [keyd.envelope_id() for _ in range(40)]  # more than one round of notices
        body = keyd.batch(*(keyd.record(identity, sender=sender) for identity in ids))
        self.assertEqual(self.service.store(body).status, 200)
        blob = "'\\x{}'" if self.service.database else "x'{}'"
        damaged = ", ".join(blob.format(identity.hex()) for identity in ids)
        self.database("BEGIN; UPDATE envelope SET record = " + blob.format("ff") +
                      f" WHERE id IN ({damaged});"
                      " INSERT INTO notice (kind, envelope, address, at)"
                      f" SELECT 1, id, 'x@example.org', 1 FROM envelope WHERE id IN ({damaged});"
                      " COMMIT;")
        identity = self.stored(sender=sender, flags=1)
        self.assertEqual(self.release(identity).status, 200)
        self.assertEqual(self.service.mail(sender)["Subject"], f"{BOB} opened your sealed message")
        self.assertIn("notice_dropped", self.service.log_text())
        answer = browser.call("GET", "/v1/sent")
        self.assertEqual(answer.status, 200, answer.body)
        self.assertEqual([message["m"] for message in answer.json["messages"]], [identity])

    def test_who_has_not_read_in_time_is_told_to_the_sender(self):
        sender = f"unread{keyd.secrets.token_hex(4)}@example.com"
        identity = self.stored(sender=sender, to=(BOB, CAROL, "dan@example.org"), subject="",
                               sent=now() - 9000, read_by=now() - 1000)
        self.assertEqual(self.release(identity).status, 200)
        mail = self.service.mail(sender)
        self.assertEqual(mail["Subject"], "Your sealed message was not read in time")
        text = mail.get_content()
        self.assertNotIn(BOB, text)
        self.assertIn(f"    {CAROL}\n    dan@example.org\n", text.replace("\r\n", "\n"))
        self.assertIn("(no subject)", text)
        self.assertEqual((mail.get_content_type(), mail["Auto-Submitted"], mail["References"]),
                         ("text/plain", "auto-generated", f"<{identity}@localhost>"))

    def test_reports_count_what_happened(self):
        domain = f"d{keyd.secrets.token_hex(4)}.example"
        sealed = [self.stored(sender=f'=1+1"{n}@{domain}') for n in range(3)]
        self.assertEqual(self.release(sealed[0]).status, 200)
        self.assertEqual(self.release(sealed[0]).status, 200)
        self.service.run("envelope", "lock", sealed[1])
        self.assert_refused(self.release(sealed[1]), 403, "locked")
        self.service.run("envelope", "expire", sealed[2])
        self.assert_refused(self.release(sealed[2]), 410, "expired")
        self.assert_refused(self.release(sealed[0], CAROL), 403, "not_recipient")
        until = time.monotonic() + keyd.WAIT_S
        row = None
        while row is None and time.monotonic() < until:
            lines = self.service.run("report", "--by", "domain", "--csv").stdout.splitlines()
            self.assertEqual(lines[0], "domain,sealed,opened,unopened,expired,locked,failed")
            row = next((line for line in lines if line == f'"{domain}",3,1,2,1,1,1'), None)
        self.assertIsNotNone(row, lines)
        users = self.service.run("report", "--by", "user", "--csv").stdout
        self.assertIn(f'"\'=1+1""0@{domain}",1,1,0,0,0,1', users)
        self.assertIn("sealed", self.service.run("report").stdout)
        self.assertNotEqual(self.service.run("report", "--from", "x", check=False).returncode, 0)
        self.service.account("auditor@example.com", PASSWORD)
        self.service.run("role", "grant", "auditor@example.com", "auditor")
        auditor = keyd.Browser(self.service)
        self.assertEqual(auditor.sign_in("auditor@example.com", PASSWORD).status, 200)
        rows = auditor.call("GET", "/v1/admin/reports?by=domain").json["rows"]
        self.assertIn({"name": domain, "sealed": 3, "opened": 1, "unopened": 2, "expired": 1,
                       "locked": 1, "failed": 1}, rows)
        self.assertIn(f'"{domain}",3,1,2,1,1,1', auditor.call(
            "GET", "/v1/admin/reports?by=domain&format=csv").body.decode())
        self.assert_refused(auditor.call("GET", "/v1/admin/reports?by=moon"), 400, "bad_request")
        self.assert_refused(self.browsers[BOB].call("GET", "/v1/admin/reports"), 403, "rights")
        self.assertEqual(self.service.run("envelope", "list", f"bob@{domain}").stdout, "")
        mine = self.stored()
        self.assertIn(f"{mine}  ", self.service.run("envelope", "list", ALICE).stdout)

    def test_an_administrator_locks_but_changes_no_date(self):
        identity = self.stored()
        self.service.account("root@example.com", PASSWORD)
        self.service.run("role", "grant", "root@example.com", "administrator")
        browser = keyd.Browser(self.service)
        self.assertEqual(browser.sign_in("root@example.com", PASSWORD).status, 200)
        path = f"/v1/sent/{identity}"
        self.assertEqual(browser.call("GET", path).status, 200)
        self.assertEqual(browser.call("POST", path, {"locked": True}).status, 200)
        self.assert_refused(self.release(identity), 403, "locked")
        self.assert_refused(browser.call("POST", path, {"expires": 0}), 403, "rights")


class Operator(keyd.Case):
    """The same by `bulla-keyd envelope`, beside the running service, for who operates it."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.browsers = {}
        for address in (BOB, CAROL):
            cls.service.account(address, PASSWORD)
            cls.browsers[address] = keyd.Browser(cls.service)
            assert cls.browsers[address].sign_in(address, PASSWORD).status == 200

    def release(self, identity, who=BOB):
        return self.browsers[who].call("POST", "/v1/release",
                                       {"m": identity, "pub": keyd.public_key()})

    def envelope(self, *words):
        return self.service.run("envelope", *words)

    def shown(self, identity):
        """Lines by their first words; those of recipients and other readers by address."""
        lines = {}
        for line in self.envelope("show", identity).stdout.splitlines():
            if line.startswith(("recipient", "reader")):
                _, address, text = re.split(r"  +", line, maxsplit=2)
                lines[address] = text
            else:
                lines[line[:10].strip()] = line[10:].strip()
        return lines

    def refused(self, *words, status=65):
        """Ends with that status, and says why."""
        done = self.service.run("envelope", *words, check=False)
        self.assertEqual((done.returncode, done.stdout), (status, ""), words)
        return done.stderr

    def assert_noted(self, identity, *lines):
        noted = [(line["event"], line.get("detail"), line["from"]) for line in self.audit()
                 if line.get("m") == identity and line.get("from") == "operator"]
        self.assertEqual(noted, [(event, detail, "operator") for event, detail in lines])

    def test_a_lock_for_one_recipient_leaves_the_others(self):
        identity = self.stored(to=(BOB, CAROL))
        self.envelope("lock", "--recipient", " BOB@example.org ", identity)
        self.assert_refused(self.release(identity, BOB), 403, "locked")
        self.assertEqual(self.release(identity, CAROL).status, 200)
        shown = self.shown(identity)
        self.assertEqual((shown["state"], shown[BOB]), ("open", "not opened, locked"))
        self.assertNotIn("locked", shown[CAROL])
        self.envelope("unlock", "--recipient", BOB, identity)
        self.assertEqual(self.release(identity, BOB).status, 200)
        self.assert_noted(identity, ("lock", BOB), ("unlock", BOB))

    def test_a_lock_that_would_hold_nobody_is_refused(self):
        identity = self.stored()
        self.assertIn(f"{CAROL} is not a recipient of {identity}",
                      self.refused("lock", "--recipient", CAROL, identity))
        self.assertIn("\"nobody\" is not an address",
                      self.refused("lock", "--recipient", "nobody", identity))
        self.assert_noted(identity)
        self.assertIn("is known here", self.refused("lock", "--recipient", BOB, "0" * 32))
        anybodys = self.stored(level=keyd.NONE)
        self.assertIn("lock it without --recipient",
                      self.refused("lock", "--recipient", BOB, anybodys))

    def test_an_expiry_is_set_changed_and_removed(self):
        identity = self.stored()
        self.assertEqual(self.shown(identity)["expires"], "-")
        self.envelope("expire", "--at", "2099-02-28T23:59:59Z", identity)
        self.assertEqual(self.shown(identity)["expires"], "2099-02-28T23:59:59Z")
        self.assertEqual(self.release(identity).status, 200)
        self.envelope("expire", "--at", "2020-01-01T00:00:00Z", identity)
        self.assert_refused(self.release(identity), 410, "expired")
        self.envelope("expire", "--never", identity)
        self.assertEqual(self.shown(identity)["expires"], "-")
        self.assertEqual(self.release(identity).status, 200)
        self.envelope("expire", identity)
        self.assert_refused(self.release(identity), 410, "expired")
        now_text = self.shown(identity)["expires"]
        self.assert_noted(identity, ("change_expiry", "2099-02-28T23:59:59Z"),
                          ("change_expiry", "2020-01-01T00:00:00Z"), ("change_expiry", "none"),
                          ("change_expiry", now_text))

    def test_a_read_by_date_is_set_changed_and_removed(self):
        identity = self.stored()
        for at in ("2098-06-01T12:00:00Z", "2099-06-01T12:00:00Z"):
            self.envelope("read-by", "--at", at, identity)
            self.assertEqual(self.shown(identity)["read by"], at)
        self.assertIn("has passed", self.refused("read-by", "--at", "2020-01-01T00:00:00Z",
                                                 identity))
        self.envelope("read-by", "--never", identity)
        self.assertEqual(self.shown(identity)["read by"], "-")
        self.assert_noted(identity, ("change_read_by", "2098-06-01T12:00:00Z"),
                          ("change_read_by", "2099-06-01T12:00:00Z"), ("change_read_by", "none"))

    def test_openings_are_shown_for_each_recipient(self):
        identity = self.stored(to=(BOB, CAROL), level=keyd.NONE)
        start = int(time.time())
        for _ in range(2):
            self.assertEqual(self.release(identity).status, 200)
        self.assertEqual(self.service.open(m=identity, pub=keyd.public_key()).status, 200)
        shown = self.shown(identity)
        bob = re.fullmatch("opened 2 times, first (.*), last (.*), key released", shown[BOB])
        self.assertIsNotNone(bob, shown)
        first, last = (calendar.timegm(time.strptime(at, "%Y-%m-%dT%H:%M:%SZ"))
                       for at in bob.groups())
        self.assertTrue(start <= first <= last <= time.time() + 1)
        self.assertEqual((shown[CAROL], shown["level"]), ("not opened", "none"))
        self.assertIn("opened 1 times", shown["(not signed in)"])

    def test_what_is_no_time_is_refused_with_one_that_is(self):
        identity = self.stored()
        for at in ("tomorrow", "2099-02-29T00:00:00Z", "2099-1-1T0:0:0Z", "2099-01-01",
                   "2099-01-01T00:00:00", "2099-01-01T00:00:00+01:00", "1970-01-01T00:00:00Z",
                   "1969-01-01T00:00:00Z", "2099-01-01T24:00:00Z", "2099-12-31T23:59:60Z",
                   " 2099-01-01T00:00:00Z", "2099-01-01T00:00:00Z ", ""):
            self.assertIn("write it in UTC, like 2026-12-24T18:00:00Z",
                          self.refused("expire", "--at", at, identity))
        self.assertIn("write it in UTC", self.refused("read-by", "--at", "friday", identity))
        self.assert_noted(identity)

    def test_options_of_another_verb_are_wrong_usage(self):
        identity = self.stored()
        at = ("--at", "2099-01-01T00:00:00Z")
        for words in (("show", *at), ("list", "--never"), ("lock", *at), ("unlock", "--never"),
                      ("expire", *at, "--never"), ("read-by",), ("read-by", *at, "--never"),
                      ("expire", "--recipient", BOB), ("show", "--recipient", BOB), ("open",)):
            self.assertIn("usage:", self.refused(*words, identity, status=64))
        self.assert_noted(identity)


if __name__ == "__main__":
    keyd.main()
