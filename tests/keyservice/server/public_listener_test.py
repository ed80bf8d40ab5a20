"""What recipients and envelopes may do: opening, the window flow, accounts, and every refusal."""
import json
import os
import re
import socket
import threading
import time

import keyd

PASSWORD = "correct horse battery"


class Open(keyd.Case):
    """POST /v1/open and GET /pickup."""

    # Both ask for passwords often enough to meet the limits on guesses, which are tested below.
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.service.account("bob@example.org", PASSWORD)
        cls.service.account("eve@example.org", PASSWORD)

    def open(self, identity, user="bob@example.org", password=PASSWORD, pub=None):
        return self.service.open(user=user, password=password, m=identity,
                                 pub=pub or keyd.public_key())

    def test_a_recipient_gets_the_wrapped_key(self):
        identity = self.stored(to=("Bob@Example.ORG",))
        answer = self.open(identity, user=" BOB@example.org ")
        self.assertEqual(answer.status, 200, answer.body)
        self.assertEqual(set(answer.json), {"bulla", "m", "epk", "ct", "flags"})
        self.assertEqual((answer.json["bulla"], answer.json["m"]), (1, identity))
        self.assertEqual(len(keyd.decode(answer.json["epk"])), 65)
        self.assertEqual(len(keyd.decode(answer.json["ct"])), 48)

    def test_an_aes_192_key_has_24_bytes(self):
        identity = self.stored(suite=2, key=keyd.secrets.token_bytes(24) + bytes(8))
        self.assertEqual(len(keyd.decode(self.open(identity).json["ct"])), 40)

    def test_every_release_has_a_fresh_point(self):
        identity, pub = self.stored(), keyd.public_key()
        self.assertNotEqual(self.open(identity, pub=pub).json["epk"],
                            self.open(identity, pub=pub).json["epk"])

    def test_wrong_password_and_unknown_account_answer_alike(self):
        identity = self.stored()
        wrong = self.open(identity, password="not the password")
        unknown = self.open(identity, user="nobody@example.org")
        for answer in (wrong, unknown):
            self.assert_refused(answer, 401, "credentials")
        self.assertEqual(wrong.body, unknown.body)
        drop = {"Date"}
        self.assertEqual({k: v for k, v in wrong.headers.items() if k not in drop},
                         {k: v for k, v in unknown.headers.items() if k not in drop})

    def test_who_is_not_a_recipient_is_refused(self):
        self.assert_refused(self.open(self.stored(), user="eve@example.org"), 403, "not_recipient")

    def test_an_unknown_envelope_is_unknown(self):
        self.assert_refused(self.open(keyd.envelope_id().hex()), 404, "unknown")

    def test_a_locked_envelope_is_refused_until_it_is_unlocked(self):
        identity = self.stored()
        self.service.run("envelope", "lock", identity)
        self.assert_refused(self.open(identity), 403, "locked")
        self.assertIn("locked", self.service.run("envelope", "show", identity).stdout)
        self.service.run("envelope", "unlock", identity)
        self.assertEqual(self.open(identity).status, 200)

    def test_an_expired_envelope_is_gone(self):
        now = int(time.time() * 1000)
        identity = self.stored(sent=now - 5000, expires=now - 1)
        self.assert_refused(self.open(identity), 410, "expired")
        self.assertEqual(self.open(self.stored(expires=now + 3600000)).status, 200)

    def test_an_envelope_of_level_none_asks_nobody(self):
        identity = self.stored(level=keyd.NONE)
        answer = self.service.open(m=identity, pub=keyd.public_key())
        self.assertEqual(answer.status, 200)
        self.service.run("envelope", "lock", identity)
        answer = self.service.open(m=identity, pub=keyd.public_key())
        self.assert_refused(answer, 403, "locked")

    def test_without_credentials_every_other_level_is_refused(self):
        for level in (keyd.HIGH, keyd.MEDIUM):
            answer = self.service.open(m=self.stored(level=level), pub=keyd.public_key())
            self.assert_refused(answer, 401, "credentials")

    def test_points_off_the_curve_are_refused(self):
        identity = self.stored()
        x, y = keyd.point_times(7)
        good = keyd.point_bytes((x, y))
        twist = keyd.point_bytes((x, y ^ 1))
        infinity = b"\0" + bytes(64)
        large = b"\x04" + (keyd.P + 1).to_bytes(32, "big") + good[33:]
        compressed = b"\x02" + good[1:33]
        for raw in (twist, infinity, large, bytes(65), b"\x04" + bytes(64), good[:64], good + b"\0",
                    compressed, b"\x06" + good[1:], b""):
            answer = self.open(identity, pub=keyd.encode(raw) or "-")
            self.assert_refused(answer, 400, "bad_request")
        self.assertEqual(self.open(identity, pub=keyd.encode(good)).status, 200)

    def test_malformed_requests_are_refused(self):
        identity, pub = self.stored(), keyd.public_key()
        good = {"user": "bob@example.org", "password": PASSWORD, "m": identity, "pub": pub}
        bad = [b"", b"{", b"[]", b"null", b"\xff", b"{}" * 2, b"[" * 9000,
               json.dumps({**good, "m": identity[:-1]}), json.dumps({**good, "m": identity.upper()}),
               json.dumps({**good, "m": 7}), json.dumps({**good, "more": "x"}),
               json.dumps({**good, "password": "a\0b"}), json.dumps({**good, "user": "b" * 400}),
               json.dumps({**good, "pub": pub + "="}), json.dumps({**good, "pub": "+" + pub[1:]}),
               json.dumps(good)[:-1] + ', "m": "' + identity + '"}']
        for body in bad:
            answer = self.service.call("POST", "/v1/open", body, {"Content-Type": "text/plain"})
            self.assert_refused(answer, 400, "bad_request")

    def test_a_body_over_the_limit_is_refused(self):
        answer = self.service.call("POST", "/v1/open", b" " * 20000)
        self.assert_refused(answer, 413, "too_large")

    def test_envelopes_of_any_origin_may_ask(self):
        identity = self.stored()
        asked = [self.service.call("GET", "/v1/health", headers={"Origin": "null"}),
                 self.service.call("GET", "/pickup/" + "0" * 64, headers={"Origin": "null"})]
        self.assertEqual([answer.status for answer in asked], [200, 404])
        for answer in asked:
            self.assertEqual(answer.headers.get_all("Access-Control-Allow-Origin"), ["*"])
            self.assertIsNone(answer.headers["Access-Control-Allow-Credentials"])
            self.assertEqual(answer.headers["Cache-Control"], "no-store")
        for path in ("/v1/session", "/open", "/", "/static/open.js", "/v1/envelopes/" + identity,
                     "/nothing"):
            answer = self.service.call("GET", path, headers={"Origin": "null"})
            self.assertIsNone(answer.headers["Access-Control-Allow-Origin"], path)

    def test_a_preflight_is_answered_for_those_alone(self):
        answer = self.service.call("OPTIONS", "/v1/health", headers={"Origin": "null"})
        self.assertEqual((answer.status, answer.headers["Access-Control-Allow-Headers"]),
                         (204, "Content-Type"))
        for path in ("/v1/session", "/v1/release", "/v1/accounts", "/v1/open"):
            self.assert_refused(self.service.call("OPTIONS", path), 405, "bad_request")

    def test_unknown_methods_and_paths_are_refused(self):
        self.assert_refused(self.service.call("GET", "/v1/open"), 405, "bad_request")
        self.assert_refused(self.service.call("DELETE", "/v1/health"), 405, "bad_request")
        for path in ("/v2", "/open/", "/static/../strings/core/en.json", "/static/strings/core/en.json",
                     "/static/open.html", "/pickup/zz"):
            self.assertEqual(self.service.call("GET", path).status, 404, path)


class Window(keyd.Case):
    """Sessions, the window flow and its pages."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.service.account("bob@example.org", PASSWORD)
        cls.service.account("eve@example.org", PASSWORD)

    def signed_in(self, user="bob@example.org"):
        browser = keyd.Browser(self.service)
        self.assertEqual(browser.sign_in(user, PASSWORD).status, 200)
        return browser

    def release(self, browser, identity, pub=None, **more):
        return browser.call("POST", "/v1/release", {"m": identity, "pub": pub or keyd.public_key()},
                            **more)

    def test_a_released_key_is_picked_up_once(self):
        identity, pub = self.stored(), keyd.public_key()
        answer = self.release(self.signed_in(), identity, pub)
        self.assertEqual(answer.status, 200, answer.body)
        path = "/pickup/" + keyd.pickup_name(pub)
        first = self.service.call("GET", path)
        self.assertEqual((first.status, first.json), (200, answer.json))
        self.assert_refused(self.service.call("GET", path), 404, "unknown")

    def test_nothing_is_parked_for_programs(self):
        identity, pub = self.stored(), keyd.public_key()
        self.assertEqual(self.service.open(user="bob@example.org", password=PASSWORD, m=identity,
                                           pub=pub).status, 200)
        answer = self.service.call("GET", "/pickup/" + keyd.pickup_name(pub))
        self.assert_refused(answer, 404, "unknown")

    def test_sender_and_subject_are_shown_to_recipients_alone(self):
        identity = self.stored()
        self.assert_refused(keyd.Browser(self.service).call("GET", "/v1/envelopes/" + identity),
                            401, "credentials")
        self.assert_refused(
            self.signed_in("eve@example.org").call("GET", "/v1/envelopes/" + identity),
            403, "not_recipient")
        answer = self.signed_in().call("GET", "/v1/envelopes/" + identity)
        self.assertEqual(answer.json["from"], "Alice@Example.com")
        self.assertEqual(answer.json["subject"], "Grüße")
        self.assertEqual((answer.json["state"], answer.json["password_needed"]), ("open", False))

    def test_who_is_not_signed_in_learns_nothing_of_unknown_envelopes(self):
        browser = keyd.Browser(self.service)
        known = browser.call("GET", "/v1/envelopes/" + self.stored())
        unknown = browser.call("GET", "/v1/envelopes/" + keyd.envelope_id().hex())
        self.assertEqual((known.status, known.body), (unknown.status, unknown.body))

    def test_releases_are_refused_for_each_reason(self):
        now = int(time.time() * 1000)
        locked = self.stored()
        self.service.run("envelope", "lock", locked)
        browser = self.signed_in()
        self.assert_refused(self.release(browser, locked), 403, "locked")
        self.assertEqual(browser.call("GET", "/v1/envelopes/" + locked).json["state"], "locked")
        self.assert_refused(self.release(browser, self.stored(sent=now - 9, expires=now - 1)), 410,
                            "expired")
        self.assert_refused(self.release(browser, keyd.envelope_id().hex()), 404, "unknown")
        self.assert_refused(self.release(browser, self.stored(to=("eve@example.org",))), 403,
                            "not_recipient")
        self.assert_refused(self.release(browser, self.stored(), "x"), 400, "bad_request")
        self.assert_refused(self.release(keyd.Browser(self.service), self.stored()), 401,
                            "credentials")

    def test_high_wants_the_password_for_every_envelope(self):
        browser = self.signed_in()
        one, two = self.stored(level=keyd.HIGH), self.stored(level=keyd.HIGH)
        self.assertEqual(self.release(browser, one).status, 200)
        self.assertTrue(browser.call("GET", "/v1/envelopes/" + two).json["password_needed"])
        self.assert_refused(self.release(browser, two), 401, "credentials")
        self.assertEqual(self.release(browser, self.stored()).status, 200)  # medium does not
        self.assertEqual(browser.sign_in("bob@example.org", PASSWORD).status, 200)
        self.assertEqual(self.release(browser, two).status, 200)

    def test_a_refused_release_does_not_use_the_password_up(self):
        browser = self.signed_in()
        self.assert_refused(self.release(browser, keyd.envelope_id().hex()), 404, "unknown")
        self.assertEqual(self.release(browser, self.stored(level=keyd.HIGH)).status, 200)

    def test_signing_in_changes_the_cookie_and_ends_the_old_one(self):
        browser = keyd.Browser(self.service)
        before = browser.cookie
        browser.sign_in("bob@example.org", PASSWORD)
        first = browser.cookie
        browser.sign_in("bob@example.org", PASSWORD)
        self.assertEqual(len({before, first, browser.cookie}), 3)
        for old in (before, first):
            answer = self.service.call("GET", "/v1/session", headers={
                "Cookie": "__Host-bulla=" + old})
            self.assertIsNone(answer.json["user"])

    def test_cookies_are_for_this_host_and_not_for_scripts(self):
        answer = keyd.Browser(self.service).sign_in("bob@example.org", PASSWORD)
        cookies = answer.headers.get_all("Set-Cookie")
        self.assertEqual(len(cookies), 2)
        for cookie in cookies:
            self.assertTrue(cookie.startswith("__Host-bulla"))
            for word in ("; Secure", "; HttpOnly", "; Path=/", "; SameSite="):
                self.assertIn(word, cookie)
            self.assertNotIn("Domain", cookie)

    def test_a_cookie_of_someones_choice_is_not_adopted(self):
        """Session fixation: the planted cookie is worth nothing after the sign-in."""
        browser = keyd.Browser(self.service)
        planted = browser.cookie
        browser.sign_in("bob@example.org", PASSWORD)
        browser.cookies["__Host-bulla"] = planted
        self.assertIsNone(browser.call("GET", "/v1/session").json["user"])

    def test_signing_out_ends_the_session(self):
        browser = self.signed_in()
        cookie = browser.cookie
        answer = browser.call("DELETE", "/v1/session", {})
        self.assertEqual(answer.status, 200)
        # Not its cookies: what the browser is known by stays.
        self.assertEqual(answer.headers["Clear-Site-Data"], '"cache", "storage"')
        answer = self.service.call("GET", "/v1/session", headers={
            "Cookie": "__Host-bulla=" + cookie})
        self.assertIsNone(answer.json["user"])

    def test_a_removed_account_is_signed_out(self):
        self.service.account("leaver@example.org", PASSWORD)
        browser = self.signed_in("leaver@example.org")
        self.service.run("account", "remove", "leaver@example.org")
        self.assertIsNone(browser.call("GET", "/v1/session").json["user"])

    def test_forged_requests_are_refused(self):
        browser = self.signed_in()
        other = self.signed_in("eve@example.org")
        identity = self.stored()
        for headers in ({"X-Bulla-CSRF": None}, {"X-Bulla-CSRF": ""}, {"X-Bulla-CSRF": "x" * 43},
                        {"X-Bulla-CSRF": other.csrf}, {"Origin": "https://evil.example"},
                        {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"},
                        {"Sec-Fetch-Site": "same-site"}, {"Content-Type": "text/plain"},
                        {"Content-Type": None}, {"Cookie": None},
                        {"Origin": f"https://localhost:{self.service.public}0"}):
            self.assert_refused(self.release(browser, identity, headers=headers), 403, "csrf")
            for method, path in (("POST", "/v1/session"), ("DELETE", "/v1/session"),
                                 ("POST", "/v1/accounts"), ("POST", "/v1/accounts/verify")):
                answer = browser.call(method, path, {"user": "bob@example.org",
                                                     "password": PASSWORD}, headers)
                self.assert_refused(answer, 403, "csrf")
        self.assertEqual(self.release(browser, identity).status, 200)

    def test_pages_are_strict_and_the_open_page_keeps_its_opener(self):
        for path in ("/", "/signin", "/register", "/open?m=" + "0" * 32):
            answer = self.service.call("GET", path)
            self.assertEqual(answer.status, 200)
            policy = answer.headers["Content-Security-Policy"]
            self.assertIn("default-src 'none'", policy)
            self.assertIn("frame-ancestors 'none'", policy)
            self.assertNotIn("unsafe", policy)
            self.assertIn("require-trusted-types-for 'script'; trusted-types 'none'", policy)
            self.assertNotRegex(answer.body.decode(), r"<script(?![^>]*(src=|application/json))")
            self.assertNotRegex(answer.body.decode(), r"\son\w+=|\sstyle=|javascript:")
            self.assertEqual(answer.headers["X-Frame-Options"], "DENY")
            self.assertEqual(answer.headers["Referrer-Policy"], "no-referrer")
            self.assertEqual(answer.headers["X-Content-Type-Options"], "nosniff")
            self.assertEqual(answer.headers["Cross-Origin-Opener-Policy"],
                             "unsafe-none" if path.startswith("/open") else "same-origin")

    def test_what_is_no_page_does_nothing_where_it_is_shown_as_one(self):
        for path in ("/v1/health", "/v1/session", "/v1/openapi.json", "/static/seal.svg", "/nothing"):
            answer = self.service.call("GET", path)
            self.assertEqual(answer.headers["Content-Security-Policy"],
                             "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox")
            self.assertEqual(answer.headers["X-Content-Type-Options"], "nosniff")
            self.assertEqual(answer.headers["Cache-Control"], "no-store")

    def test_pages_speak_the_readers_language(self):
        for accept, language in (("de-CH, de;q=0.9", "de"), ("xx, *", "en"), ("", "en"),
                                 ("en;q=0.1, ar", "ar"), ("fr;q=0.5, ja;q=0.8", "ja"),
                                 ("zh-Hant-TW", "zh"), ("a," * 300 + "de", "en")):
            answer = self.service.call("GET", "/open", headers={"Accept-Language": accept})
            self.assertEqual(answer.headers["Content-Language"], language, accept)
            direction = "rtl" if language == "ar" else "ltr"
            self.assertIn(f'<html lang="{language}" dir="{direction}">', answer.body.decode())
            self.assertNotIn("{{", answer.body.decode().split("</script>", 1)[1])

    def test_every_locale_is_whole(self):
        folder = os.path.join(os.path.dirname(__file__), "../../../web/pages/strings")
        def read(part, name):
            with open(os.path.join(folder, part, name), encoding="utf-8") as file:
                return json.load(file)
        def markers(text):
            return sorted(re.findall(r"\{+\w+\}+", text))
        for part in sorted(os.listdir(folder)):
            names = sorted(os.listdir(os.path.join(folder, part)))
            self.assertEqual(len(names), 12, part)
            english = read(part, "en.json")
            for name in names:
                strings = read(part, name)
                self.assertEqual(list(strings), list(english), (part, name))
                for key, text in strings.items():
                    self.assertTrue(text.strip(), (part, name, key))
                    self.assertEqual(markers(text), markers(english[key]), (part, name, key))

    def test_a_mail_is_written_in_the_readers_language(self):
        browser = keyd.Browser(self.service)
        answer = browser.call("POST", "/v1/accounts", {"user": "leser@example.org",
                                                       "password": PASSWORD},
                              {"Accept-Language": "ja"})
        self.assertEqual(answer.status, 200)
        mail = self.service.mail("leser@example.org")
        self.assertEqual((mail["Subject"], mail["Content-Language"]), ("封印メールのコード", "ja"))
        self.assertRegex(self.service.code("leser@example.org"), r"^\d{4} \d{4}$")

    def test_no_session_value_stands_in_the_database(self):
        browser = self.signed_in()
        raw = b""
        for name in os.listdir(self.service.dir):
            if name.startswith("keys.db"):
                with open(self.service.path(name), "rb") as file:
                    raw += file.read()
        for secret in (browser.cookie, browser.csrf, PASSWORD):
            self.assertNotIn(secret.encode(), raw)


class Accounts(keyd.Case):
    """Registration: a mailbox proven by a code."""

    def register(self, browser, user, password=PASSWORD):
        return browser.call("POST", "/v1/accounts", {"user": user, "password": password})

    def verify(self, browser, user, code):
        return browser.call("POST", "/v1/accounts/verify", {"user": user, "code": code})

    def test_the_mailed_code_makes_the_account_and_signs_in(self):
        browser = keyd.Browser(self.service)
        user = "New.Person@Example.org"
        self.assertEqual(self.register(browser, user).json, {"status": "mailed"})
        before = browser.cookie
        self.assertEqual(browser.sign_in(user, PASSWORD).status, 401)
        answer = self.verify(browser, user, self.service.code("new.person@example.org"))
        self.assertEqual((answer.status, answer.json["user"]), (200, "new.person@example.org"))
        self.assertNotEqual(before, browser.cookie)
        self.assertEqual(keyd.Browser(self.service).sign_in(user, PASSWORD).status, 200)

    def test_a_code_works_once(self):
        browser = keyd.Browser(self.service)
        self.register(browser, "once@example.org")
        cookie, csrf = dict(browser.cookies), browser.csrf
        code = self.service.code("once@example.org")
        self.assertEqual(self.verify(browser, "once@example.org", code).status, 200)
        browser.cookies, browser.csrf = cookie, csrf
        self.assert_refused(self.verify(browser, "once@example.org", code), 401, "credentials")

    def test_a_code_works_in_the_browser_that_asked_alone(self):
        """Else whoever registers another's address would choose the password."""
        attacker, owner = keyd.Browser(self.service), keyd.Browser(self.service)
        self.register(attacker, "victim@example.org", "the attacker's choice")
        code = self.service.code("victim@example.org")
        self.assert_refused(self.verify(owner, "victim@example.org", code), 401, "credentials")
        self.register(owner, "victim@example.org")
        code = self.service.code("victim@example.org", 2)
        self.assertEqual(self.verify(owner, "victim@example.org", code).status, 200)
        self.assert_refused(keyd.Browser(self.service).sign_in("victim@example.org",
                                                               "the attacker's choice"),
                            401, "credentials")

    def test_five_wrong_codes_end_the_registration(self):
        browser = keyd.Browser(self.service)
        self.register(browser, "tries@example.org")
        right = self.service.code("tries@example.org")
        wrong = f"{(int(right.replace(' ', '')) + 1) % 10**8:08}"
        for _ in range(5):
            self.assert_refused(self.verify(browser, "tries@example.org", wrong), 401, "credentials")
        self.assert_refused(self.verify(browser, "tries@example.org", right), 401, "credentials")

    def test_fetching_spends_nothing(self):
        browser = keyd.Browser(self.service)
        self.register(browser, "scanner@example.org")
        code = self.service.code("scanner@example.org")
        for path in ("/", "/open", "/signin", "/register", "/v1/session", "/v1/accounts",
                     "/v1/accounts/verify?code=" + code.replace(" ", "")):
            browser.call("GET", path)
        answer = self.verify(browser, "scanner@example.org", code.replace(" ", "-"))
        self.assertEqual(answer.status, 200)

    def test_known_and_unknown_addresses_answer_alike(self):
        self.service.account("known@example.org", PASSWORD)
        one, two = keyd.Browser(self.service), keyd.Browser(self.service)
        known = self.register(one, "known@example.org")
        unknown = self.register(two, "unknown@example.org")
        self.assertEqual((known.status, known.body), (unknown.status, unknown.body))
        mail = self.service.mail("known@example.org").get_content()
        self.assertIn("have an account already", mail)
        self.assertNotRegex(mail, r"\d{4} \d{4}")
        self.assert_refused(self.verify(one, "known@example.org", "1234 5678"), 401, "credentials")

    def test_mails_are_whole_and_plain(self):
        self.register(keyd.Browser(self.service), "reader@example.org")
        mail = self.service.mail("reader@example.org")
        self.assertEqual(mail["Auto-Submitted"], "auto-generated")
        self.assertEqual(mail["Subject"], "Your code for sealed mail")
        self.assertIn(f"https://localhost:{self.service.public}", mail.get_content())
        for name in os.listdir(self.service.path("mail")):
            mode = os.stat(self.service.path("mail/" + name)).st_mode & 0o777
            self.assertEqual(mode, 0o600)

    def test_addresses_that_could_be_more_are_refused(self):
        browser = keyd.Browser(self.service)
        for user in ("", "a", "a@", "@b", "a@b@c", "a b@c", "a@b\r\nBcc: c@d", "a@b,c@d", "<a@b>",
                     '"a"@b', "a@b;c", "x" * 320 + "@b"):
            self.assert_refused(self.register(browser, user), 400, "bad_request")

    def test_weak_passwords_are_refused_with_the_reason(self):
        browser = keyd.Browser(self.service)
        for password in ("", "short", "ninechars", "weak.person@example.org", "Weak.Person26", "Password1234",
                         "qwertyuiop", "bulla-bulla"):
            self.assert_refused(self.register(browser, "weak.person@example.org", password), 400,
                                "weak_password")

    def test_an_address_is_not_flooded_with_mail(self):
        answers = [self.register(keyd.Browser(self.service), "flood@example.org").status
                   for _ in range(7)]
        self.assertEqual(answers, [200] * 5 + [429] * 2)


class Guesses(keyd.Case):
    """Limits on guessing, which never lock the owner out."""

    def test_the_owner_passes_where_a_guesser_waits(self):
        self.service.account("owner@example.org", PASSWORD)
        owner = keyd.Browser(self.service)
        self.assertEqual(owner.sign_in("owner@example.org", PASSWORD).status, 200)
        guesser = keyd.Browser(self.service)
        answers = [guesser.sign_in("owner@example.org", f"guess number {n}") for n in range(12)]
        self.assertEqual([answer.status for answer in answers], [401] * 10 + [429] * 2)
        self.assertGreater(int(answers[-1].headers["Retry-After"]), 0)
        # Even the right password has to wait there, so waiting tells a guesser nothing …
        self.assertEqual(guesser.sign_in("owner@example.org", PASSWORD).status, 429)
        answer = self.service.open(user="owner@example.org", password=PASSWORD,
                                   m=self.stored(to=("owner@example.org",)), pub=keyd.public_key())
        self.assert_refused(answer, 429, "too_many")
        # … but the browser that the owner signed in with before does not, from the same network.
        self.assertEqual(owner.sign_in("owner@example.org", PASSWORD).status, 200)

    def test_right_passwords_are_never_counted(self):
        self.service.account("often@example.org", PASSWORD)
        identity = self.stored(to=("often@example.org",))
        for _ in range(15):
            answer = self.service.open(user="often@example.org", password=PASSWORD, m=identity,
                                       pub=keyd.public_key())
            self.assertEqual(answer.status, 200)

    def test_unknown_accounts_are_limited_alike(self):
        browser = keyd.Browser(self.service)
        answers = [browser.sign_in("ghost@example.org", f"guess number {n}").status
                   for n in range(11)]
        self.assertEqual(answers, [401] * 10 + [429])


class Sessions(keyd.Case):
    settings = 'session_idle = "1s"\n'

    def test_an_idle_session_ends(self):
        self.service.account("idle@example.org", PASSWORD)
        browser = keyd.Browser(self.service)
        browser.sign_in("idle@example.org", PASSWORD)
        until = time.monotonic() + keyd.WAIT_S
        while browser.call("GET", "/v1/session").json["user"] is not None:
            self.assertLess(time.monotonic(), until)
            time.sleep(0.2)


class Running(keyd.Case):
    """Audit, signals, slow clients."""

    def test_every_decision_is_in_the_chain_and_no_secret_is(self):
        self.service.account("auditor@example.org", PASSWORD)
        identity = self.stored(to=("auditor@example.org",), subject="quarterly secrets")
        def ask(password, m):
            return self.service.open(user="auditor@example.org", password=password, m=m,
                                     pub=keyd.public_key())
        ask(PASSWORD, identity)
        ask("wrong password", identity)
        self.service.run("envelope", "lock", identity)
        ask(PASSWORD, identity)
        lines = self.audit()
        self.assertEqual([line["seq"] for line in lines], list(range(1, len(lines) + 1)))
        seen = [(line["event"], line.get("outcome"), line.get("m")) for line in lines]
        for wanted in (("account_add", None, None), ("release", None, identity),
                       ("sign_in", "credentials", None), ("lock", None, identity),
                       ("refuse", "locked", identity)):
            self.assertIn(wanted, seen)
        text = self.service.audit_text() + self.service.log_text()
        for secret in (PASSWORD, "quarterly", "wrong password"):
            self.assertNotIn(secret, text)
        self.assertIn("unbroken", self.service.run("audit", "verify").stdout)

    def test_a_changed_line_breaks_the_chain(self):
        raw = self.service.audit_text().encode()
        other = os.path.join(self.service.folder, "other.log")
        for changed in (raw.replace(b'"enrol"', b'"Enrol"', 1), raw[:-1], raw[10:], raw + raw):
            with open(other, "wb") as file:
                file.write(changed)
            done = self.service.run("audit", "verify", other, check=False)
            self.assertEqual(done.returncode, 65, done.stdout)

    def test_a_client_that_says_nothing_does_not_stop_the_others(self):
        silent = [socket.create_connection(("127.0.0.1", self.service.public)) for _ in range(50)]
        try:
            self.assertEqual(self.service.call("GET", "/v1/health").status, 200)
        finally:
            for one in silent:
                one.close()

    def test_many_passwords_at_once_do_not_stop_the_rest(self):
        self.service.account("crowd@example.org", PASSWORD)
        identity = self.stored(to=("crowd@example.org",))
        statuses = []

        def ask():
            statuses.append(self.service.open(user="crowd@example.org", password=PASSWORD,
                                              m=identity, pub=keyd.public_key()).status)
        threads = [threading.Thread(target=ask) for _ in range(24)]
        for thread in threads:
            thread.start()
        self.assertEqual(self.service.call("GET", "/v1/health").status, 200)
        self.stored()
        for thread in threads:
            thread.join()
        # Tries that are being looked at count; a crowd behind one address may be told to wait.
        self.assertLessEqual(set(statuses), {200, 429})
        self.assertIn(200, statuses)

    def test_sigterm_ends_it_with_success(self):
        self.assertEqual(self.service.stop(), 0)
        self.service.start()
        self.assertEqual(self.service.call("GET", "/v1/health").status, 200)


class Init(keyd.Case):
    def test_nothing_private_can_be_read_by_others(self):
        self.assertEqual(os.stat(self.service.dir).st_mode & 0o777, 0o700)
        for name in os.listdir(self.service.dir):
            mode = os.stat(self.service.path(name)).st_mode & 0o777
            allowed = 0o644 if name.endswith(".crt") else 0o700 if name == "mail" else 0o600
            self.assertEqual(mode, allowed, name)

    def test_what_is_there_is_not_overwritten(self):
        before = {}
        for name in os.listdir(self.service.dir):
            if name.endswith((".key", ".crt", ".conf")):
                with open(self.service.path(name), "rb") as file:
                    before[name] = file.read()
        done = self.service.run("init", self.service.dir, config=False, check=False)
        self.assertEqual(done.returncode, 73)
        self.assertIn("is there already", done.stderr)
        for name, raw in before.items():
            with open(self.service.path(name), "rb") as file:
                self.assertEqual(file.read(), raw, name)

    def test_certificates_are_what_browsers_take(self):
        def show(name, *words):
            return keyd.subprocess.run(["openssl", "x509", "-in", self.service.path(name), "-noout",
                                        *words], check=True, capture_output=True, text=True).stdout
        server = show("server.crt", "-ext", "subjectAltName,extendedKeyUsage,keyUsage,"
                      "basicConstraints")
        for word in ("DNS:localhost", "IP Address:127.0.0.1", "IP Address:0:0:0:0:0:0:0:1",
                     "TLS Web Server Authentication", "Digital Signature", "CA:FALSE"):
            self.assertIn(word, server)
        self.assertIn("will not expire", show("server.crt", "-checkend", str(396 * 86400)))
        ended = keyd.subprocess.run(["openssl", "x509", "-in", self.service.path("server.crt"),
                                     "-noout", "-checkend", str(397 * 86400)], capture_output=True)
        self.assertNotEqual(ended.returncode, 0)
        self.assertIn("CA:TRUE", show("ca.crt", "-ext", "basicConstraints"))
        self.assertIn("TLS Web Client Authentication", show("engine.crt", "-ext",
                                                            "extendedKeyUsage"))

    def test_bad_settings_are_named(self):
        for line, word in (('listen = "nowhere"', "listen"), ("lissen = 1", "lissen"),
                           ('session_idle = "soon"', "session_idle"),
                           ('public_url = "http://keys.example.org"', "public_url"),
                           ('smtp_relay = "mail.example.org"', "smtp_relay"),
                           ('smtp_tls = "maybe"', "smtp_tls"),
                           ("password_threads = 0", "password_threads"), ("listen = ", "other.conf")):
            other = self.service.path("other.conf")
            with open(self.service.config, encoding="utf-8") as file:
                text = file.read()
            with open(other, "w", encoding="utf-8") as file:
                file.write(text + line + "\n")
            self.addCleanup(lambda: os.path.exists(other) and os.unlink(other))
            done = self.service.run("serve", "--config", other, config=False, check=False)
            self.assertEqual(done.returncode, 78, (line, done.stderr))
            self.assertIn(word, done.stderr)

    def test_a_master_key_that_others_may_read_is_refused(self):
        key = self.service.path("master.key")
        os.chmod(key, 0o640)
        try:
            done = self.service.run("account", "list", check=False)
            self.assertIn("chmod 0600", done.stderr)
            self.assertEqual(done.returncode, 77)
        finally:
            os.chmod(key, 0o600)

    def test_usage_errors_end_with_64(self):
        for words in ((), ("nothing",), ("init",), ("init", "a", "b"), ("account",),
                      ("account", "add"), ("engine", "what", "x"), ("envelope", "lock"),
                      ("audit", "sign"), ("master-key", "remove"), ("serve", "x")):
            done = self.service.run(*words, config=len(words) > 1 and words[0] != "init",
                                    check=False)
            self.assertEqual(done.returncode, 64, words)


if __name__ == "__main__":
    keyd.main()
