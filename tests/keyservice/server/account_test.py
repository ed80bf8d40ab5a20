"""What a person does with an account: a new password, a second factor, devices, languages."""
import base64
import hashlib
import hmac
import json
import re
import struct
import time

import keyd

PASSWORD = "correct horse battery"
OTHER = "another long password"


def totp(secret, step):
    """RFC 6238, written anew."""
    digest = hmac.new(base64.b32decode(secret), struct.pack(">Q", step), hashlib.sha1).digest()
    at = digest[-1] & 15
    return f"{(struct.unpack('>I', digest[at:at + 4])[0] & 0x7fffffff) % 10**6:06}"


def step_now():
    return int(time.time()) // 30


class Case(keyd.Case):
    def signed_in(self, user, password=PASSWORD):
        browser = keyd.Browser(self.service)
        answer = browser.sign_in(user, password)
        self.assertEqual((answer.status, answer.json.get("user")), (200, user), answer.body)
        return browser

    def user(self, browser):
        return browser.call("GET", "/v1/session").json["user"]

    def events(self, name):
        return [(line.get("outcome"), line.get("user")) for line in self.audit()
                if line["event"] == name]


class Reset(Case):
    def begin(self, browser, user, password=OTHER):
        return browser.call("POST", "/v1/reset", {"user": user, "password": password})

    def verify(self, browser, user, code):
        return browser.call("POST", "/v1/reset/verify", {"user": user, "code": code})

    def test_a_code_changes_the_password_and_ends_every_session(self):
        self.service.account("forgot@example.org", PASSWORD)
        old = self.signed_in("forgot@example.org")
        browser = keyd.Browser(self.service)
        self.assertEqual(self.begin(browser, "forgot@example.org").json, {"status": "mailed"})
        self.assertEqual(self.user(old), "forgot@example.org")
        answer = self.verify(browser, "forgot@example.org", self.service.code("forgot@example.org"))
        self.assertEqual(answer.json["user"], "forgot@example.org")
        self.assertIsNone(self.user(old))
        self.assertEqual(self.user(browser), "forgot@example.org")
        self.assert_refused(keyd.Browser(self.service).sign_in("forgot@example.org", PASSWORD), 401,
                            "credentials")
        self.signed_in("forgot@example.org", OTHER)
        self.assertIn("password was changed", self.service.mail("forgot@example.org", 2)["Subject"])
        self.assertIn((None, "forgot@example.org"), self.events("reset"))

    def test_known_and_unknown_addresses_answer_alike(self):
        self.service.account("here@example.org", PASSWORD)
        one, two = keyd.Browser(self.service), keyd.Browser(self.service)
        known, unknown = self.begin(one, "here@example.org"), self.begin(two, "away@example.org")
        self.assertEqual((known.status, known.body), (unknown.status, unknown.body))
        mail = self.service.mail("away@example.org").get_content()
        self.assertIn("no account", mail)
        self.assertNotRegex(mail, r"\d{4} \d{4}")
        for browser, user in ((one, "here@example.org"), (two, "away@example.org")):
            self.assert_refused(self.verify(browser, user, "12345678"), 401, "credentials")

    def test_a_code_works_once_and_in_the_browser_that_asked_alone(self):
        self.service.account("bound@example.org", PASSWORD)
        attacker, owner = keyd.Browser(self.service), keyd.Browser(self.service)
        self.begin(attacker, "bound@example.org", "the attacker's choice")
        code = self.service.code("bound@example.org")
        self.assert_refused(self.verify(owner, "bound@example.org", code), 401, "credentials")
        self.begin(owner, "bound@example.org")
        cookies, csrf = dict(owner.cookies), owner.csrf
        code = self.service.code("bound@example.org", 2)
        self.assertEqual(self.verify(owner, "bound@example.org", code).status, 200)
        owner.cookies, owner.csrf = cookies, csrf
        self.assert_refused(self.verify(owner, "bound@example.org", code), 401, "credentials")

    def test_five_wrong_codes_end_it(self):
        self.service.account("five@example.org", PASSWORD)
        browser = keyd.Browser(self.service)
        self.begin(browser, "five@example.org")
        right = self.service.code("five@example.org")
        wrong = f"{(int(right.replace(' ', '')) + 1) % 10**8:08}"
        for code in [wrong] * 5 + [right]:
            self.assert_refused(self.verify(browser, "five@example.org", code), 401, "credentials")
        self.signed_in("five@example.org")

    def test_a_code_of_a_registration_resets_nothing(self):
        browser = keyd.Browser(self.service)
        browser.call("POST", "/v1/accounts", {"user": "cross@example.org", "password": PASSWORD})
        code = self.service.code("cross@example.org")
        self.assert_refused(self.verify(browser, "cross@example.org", code), 401, "credentials")

    def test_mails_are_limited_and_weak_passwords_refused(self):
        answers = [self.begin(keyd.Browser(self.service), "much@example.org").status
                   for _ in range(7)]
        self.assertEqual(answers, [200] * 5 + [429] * 2)
        browser = keyd.Browser(self.service)
        self.assert_refused(self.begin(browser, "much@example.org", "short"), 400, "weak_password")
        self.assert_refused(self.begin(browser, "much"), 400, "bad_request")
        for path in ("/v1/reset", "/v1/reset/verify"):
            self.assert_refused(browser.call("POST", path, {}, {"X-Bulla-CSRF": None}), 403, "csrf")


class Devices(Case):
    def test_a_device_cookie_changes_with_every_sign_in(self):
        self.service.account("one@example.org", PASSWORD)
        browser = self.signed_in("one@example.org")
        first = browser.cookies["__Host-bulla-device"]
        browser.sign_in("one@example.org", PASSWORD)
        self.assertNotEqual(first, browser.cookies["__Host-bulla-device"])

    def test_a_device_is_known_for_each_of_its_accounts(self):
        for user in ("two@example.org", "three@example.org"):
            self.service.account(user, PASSWORD)
        browser = self.signed_in("two@example.org")
        self.assertEqual(browser.sign_in("three@example.org", PASSWORD).status, 200)
        guesser = keyd.Browser(self.service)
        for user in ("two@example.org", "three@example.org"):
            for n in range(10):
                guesser.sign_in(user, f"guess number {n}")
            self.assert_refused(guesser.sign_in(user, PASSWORD), 429, "too_many")
            self.assertEqual(browser.sign_in(user, PASSWORD).status, 200)

    def test_made_up_device_cookies_are_worth_nothing(self):
        self.service.account("four@example.org", PASSWORD)
        browser = keyd.Browser(self.service)
        for cookie in ("x", "A" * 43, "A" * 44, ""):
            browser.cookies["__Host-bulla-device"] = cookie
            answer = browser.call("POST", "/v1/device", {"user": "four@example.org"})
            self.assertEqual(answer.json, {"phrase": ""})


class Language(Case):
    def test_the_cookie_beats_the_browser(self):
        browser = keyd.Browser(self.service)
        self.assertEqual(browser.call("POST", "/v1/language", {"language": "pl"}).status, 200)
        answer = browser.call("GET", "/signin", headers={"Accept-Language": "de"})
        self.assertEqual(answer.headers["Content-Language"], "pl")
        self.assertIn("Cookie", answer.headers["Vary"])
        self.assertIn('value="pl" lang="pl" selected', answer.body.decode())

    def test_what_an_account_chose_goes_along_and_into_its_mails(self):
        self.service.account("sprache@example.org", PASSWORD)
        self.signed_in("sprache@example.org").call("POST", "/v1/language", {"language": "de"})
        browser = keyd.Browser(self.service)
        browser.sign_in("sprache@example.org", PASSWORD)
        answer = browser.call("GET", "/", headers={"Accept-Language": "fr"})
        self.assertEqual(answer.headers["Content-Language"], "de")
        keyd.Browser(self.service).call("POST", "/v1/reset", {"user": "sprache@example.org",
                                                              "password": OTHER},
                                        {"Accept-Language": "fr"})
        self.assertEqual(self.service.mail("sprache@example.org")["Content-Language"], "de")

    def test_a_form_without_a_script_leads_back(self):
        browser = keyd.Browser(self.service)
        form = {"Content-Type": "application/x-www-form-urlencoded", "Origin": "null"}
        answer = browser.call("POST", "/language", "language=ja&to=/reset", form)
        self.assertEqual((answer.status, answer.headers["Location"]), (303, "/reset"))
        self.assertEqual(browser.cookies["__Host-bulla-language"], "ja")
        for to in ("//evil.example", "https://evil.example", "/nothing", "", "/reset%0d"):
            answer = browser.call("POST", "/language", "language=ja&to=" + to, form)
            self.assertEqual(answer.headers["Location"], "/", to)
        self.assert_refused(browser.call("POST", "/language", "language=xx&to=/", form), 400,
                            "bad_request")
        for other in ({"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": None}):
            answer = browser.call("POST", "/language", "language=de&to=/", form | other)
            self.assert_refused(answer, 403, "csrf")

    def test_bad_languages_are_refused(self):
        browser = keyd.Browser(self.service)
        for language in ("", "xx", "DE", "de-DE", "en\n"):
            self.assert_refused(browser.call("POST", "/v1/language", {"language": language}), 400,
                                "bad_request")


if __name__ == "__main__":
    keyd.main()
