"""What a person does with an account: a new password, a second factor, devices, languages."""
import base64
import urllib.parse

import keyd
from code_app import CodeApp, step_now, totp

PASSWORD = "correct horse battery"
OTHER = "another long password"


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


class Made(Case):
    """Whoever made a password knows it: it leads to another one, and to nothing else."""

    def made(self, user):
        if self.service.run("account", "password", user, check=False).returncode != 0:
            self.service.run("account", "add", user)
        return self.service.run("account", "password", user).stdout.strip()

    def renew(self, browser, user, ticket, password=OTHER):
        return browser.call("POST", "/v1/session/password",
                            {"user": user, "ticket": ticket, "password": password})

    def test_it_signs_nobody_in_until_another_was_chosen(self):
        user = "new@example.org"
        made = self.made(user)
        browser = keyd.Browser(self.service)
        answer = browser.sign_in(user, made)
        self.assertEqual((answer.status, answer.json["needs"]), (200, "password"))
        self.assertIsNone(self.user(browser))
        ticket = answer.json["ticket"]
        self.assert_refused(self.renew(browser, user, ticket, "short"), 400, "weak_password")
        self.assert_refused(self.renew(browser, user, ticket, made), 409, "conflict")
        self.assertIsNone(self.user(browser))
        answer = self.renew(browser, user, ticket)
        self.assertEqual((answer.status, answer.json["user"]), (200, user), answer.body)
        self.assertEqual(self.user(browser), user)
        self.assertEqual(self.service.mail(user)["Subject"], "Your password was changed")
        self.assert_refused(keyd.Browser(self.service).sign_in(user, made), 401, "credentials")
        self.signed_in(user, OTHER)
        self.assert_refused(self.renew(browser, user, ticket, "a third long password"), 401, "credentials")

    def test_a_ticket_is_good_in_its_browser_and_for_its_account_alone(self):
        user = "ticket@example.org"
        made = self.made(user)
        self.service.account("eve@example.org", PASSWORD)
        browser = keyd.Browser(self.service)
        ticket = browser.sign_in(user, made).json["ticket"]
        for other, name in ((keyd.Browser(self.service), user), (browser, "eve@example.org"),
                            (browser, "nobody@example.org")):
            self.assert_refused(self.renew(other, name, ticket), 401, "credentials")
        self.assert_refused(self.renew(browser, user, "A" * 86), 401, "credentials")
        # The ticket of the second step is none for this, nor is this one for that.
        self.assert_refused(browser.call("POST", "/v1/session/second",
                                         {"user": user, "ticket": ticket, "code": "123456"}), 401, "credentials")
        again = self.made(user)
        self.assert_refused(self.renew(browser, user, ticket), 401, "credentials")
        self.assertEqual(browser.renew(user, again, OTHER).status, 200)

    def test_the_second_step_comes_before_it(self):
        user = "two@example.org"
        self.service.account(user, PASSWORD)
        browser = self.signed_in(user)
        app = CodeApp(browser.call("POST", "/v1/account/totp", {}).json["secret"])
        self.assertEqual(app.confirm(browser).status, 200)
        made = self.made(user)
        browser = keyd.Browser(self.service)
        first = browser.sign_in(user, made).json
        self.assertEqual(first["needs"], "totp")
        self.assert_refused(self.renew(browser, user, first["ticket"]), 401, "credentials")
        second = browser.call("POST", "/v1/session/second",
                              {"user": user, "ticket": first["ticket"], "code": app.code()}).json
        self.assertEqual(second["needs"], "password")
        self.assertEqual(self.renew(browser, user, second["ticket"]).status, 200)
        self.assertEqual(self.user(browser), user)

    def test_a_program_opens_nothing_by_it(self):
        user = "bob@example.org"
        made = self.made(user)
        identity = self.stored(to=(user,))
        opening = {"user": user, "m": identity, "pub": keyd.public_key()}
        self.assert_refused(self.service.open(password=made, **opening), 401, "credentials")
        self.assertEqual(keyd.Browser(self.service).renew(user, made, OTHER).status, 200)
        self.assertEqual(self.service.open(password=OTHER, **opening).status, 200)


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
        for to in ("/reset", "/online/Ab0_-", "/"):
            body = urllib.parse.urlencode({"language": "ja", "to": to})
            answer = browser.call("POST", "/language", body, form)
            self.assertEqual((answer.status, answer.headers["Location"]), (303, to))
        self.assertEqual(browser.cookies["__Host-bulla-language"], "ja")
        for to in ("//evil.example", "https://evil.example", "/nothing", "", "/reset%0d", "/online/", "/online/a%2fb",
                   "/online/a.b", "/online/a%0d", "%2F%2Fevil.example", "/reset/x", "/" + "a" * 999):
            answer = browser.call("POST", "/language", "language=ja&to=" + to, form)
            self.assertEqual(answer.headers["Location"], "/", to)
        self.assert_refused(browser.call("POST", "/language", "language=xx&to=/", form), 400,
                            "bad_request")
        for other in ({"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": None}):
            answer = browser.call("POST", "/language", "language=de&to=/", form | other)
            self.assert_refused(answer, 403, "csrf")

    def test_a_page_with_a_name_behind_it_leads_back_to_itself(self):
        for path, back in (("/online/" + "A" * 43, None), ("/contact/acme-1", None), ("/online", None),
                           ("/contact", None), ("/signin", None), ("/online/%22%3E%3Cb", "/online/&quot;&gt;&lt;b")):
            page = self.service.call("GET", path)
            self.assertEqual(page.status, 200)
            self.assertIn(f'<input type="hidden" name="to" value="{back or path}">', page.body.decode())
            self.assertNotIn(b"{{", page.body.replace(b"{{code}}", b"").replace(b"{{url}}", b""))

    def test_bad_languages_are_refused(self):
        browser = keyd.Browser(self.service)
        for language in ("", "xx", "DE", "de-DE", "en\n"):
            self.assert_refused(browser.call("POST", "/v1/language", {"language": language}), 400,
                                "bad_request")


class Account(Case):
    def test_what_there_is_is_shown_to_its_owner_alone(self):
        self.service.account("mine@example.org", PASSWORD)
        self.assert_refused(keyd.Browser(self.service).call("GET", "/v1/account"), 401, "credentials")
        browser = self.signed_in("mine@example.org")
        found = browser.call("GET", "/v1/account", headers={
            "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}).json
        self.assertEqual((found["user"], found["totp"], found["recovery"], found["fresh"]),
                         ("mine@example.org", False, 0, True))
        self.assertEqual([place["here"] for place in found["sessions"] + found["devices"]],
                         [True, True])

    def test_sessions_and_devices_are_named_and_ended(self):
        self.service.account("places@example.org", PASSWORD)
        agent = {"User-Agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) "
                               "AppleWebKit/605.1.15 CriOS/140.0 Mobile Safari/604.1"}
        one, two, three = (keyd.Browser(self.service) for _ in range(3))
        for browser in (one, two, three):
            browser.call("POST", "/v1/session", {"user": "places@example.org",
                                                 "password": PASSWORD}, agent)
        places = one.call("GET", "/v1/account").json
        self.assertEqual({place["label"] for place in places["sessions"] + places["devices"]},
                         {"Chrome, iOS"})
        other = next(place for place in places["sessions"] if not place["here"])
        self.assertEqual(one.call("DELETE", "/v1/account/sessions/" + other["id"], {}).status, 200)
        self.assertEqual(sorted(self.user(browser) is None for browser in (two, three)), [False, True])
        self.assertEqual(one.call("DELETE", "/v1/account/sessions/others", {}).status, 200)
        self.assertEqual([self.user(browser) is None for browser in (one, two, three)],
                         [False, True, True])
        self.assertEqual(one.call("DELETE", "/v1/account/devices/others", {}).status, 200)
        places = one.call("GET", "/v1/account").json
        self.assertEqual([place["here"] for place in places["devices"]], [True])
        for name in ("x", "0" * 32, ""):
            answer = one.call("DELETE", "/v1/account/sessions/" + name, {})
            self.assert_refused(answer, 404, "unknown")

    def test_a_phrase_is_shown_on_a_known_device_to_who_types_the_address(self):
        self.service.account("phrase@example.org", PASSWORD)
        browser, stranger = self.signed_in("phrase@example.org"), keyd.Browser(self.service)
        self.assertEqual(browser.call("POST", "/v1/account/phrase", {"phrase": "blue zebra"}).status, 200)
        browser.call("DELETE", "/v1/session", {})
        browser.call("GET", "/v1/session")
        def shown(who, user):
            return who.call("POST", "/v1/device", {"user": user}).json["phrase"]
        self.assertEqual(shown(browser, " Phrase@Example.org "), "blue zebra")
        for who, user in ((stranger, "phrase@example.org"), (browser, "nobody@example.org"),
                          (browser, ""), (browser, "phrase")):
            self.assertEqual(shown(who, user), "")
        for phrase in ("a\nb", "x" * 256):
            answer = self.signed_in("phrase@example.org").call("POST", "/v1/account/phrase",
                                                               {"phrase": phrase})
            self.assert_refused(answer, 400, "bad_request")

    def test_a_new_password_ends_every_other_session(self):
        self.service.account("change@example.org", PASSWORD)
        browser, other = (self.signed_in("change@example.org") for _ in range(2))
        self.assert_refused(browser.call("POST", "/v1/account/password", {"password": "short"}), 400,
                            "weak_password")
        answer = browser.call("POST", "/v1/account/password", {"password": OTHER})
        self.assertEqual((answer.status, self.user(browser)), (200, "change@example.org"))
        self.assertIsNone(self.user(other))
        self.signed_in("change@example.org", OTHER)
        self.assertIn("changed", self.service.mail("change@example.org")["Subject"])

    def test_changes_want_a_password_typed_not_long_ago(self):
        self.service.account("fresh@example.org", PASSWORD)
        browser = self.signed_in("fresh@example.org")
        used = self.stored(to=("fresh@example.org",), level=keyd.HIGH)
        browser.call("POST", "/v1/release", {"m": used, "pub": keyd.public_key()})
        self.assertFalse(browser.call("GET", "/v1/account").json["fresh"])
        for method, path, body in (("POST", "/v1/account/password", {"password": OTHER}),
                                   ("POST", "/v1/account/totp", {}), ("DELETE", "/v1/account", {}),
                                   ("DELETE", "/v1/account/totp", {"code": "123456"}),
                                   ("DELETE", "/v1/account/sessions/others", {}),
                                   ("DELETE", "/v1/account/devices/others", {}),
                                   ("POST", "/v1/account/recovery", {"code": "123456"})):
            self.assert_refused(browser.call(method, path, body), 403, "fresh")
        browser.sign_in("fresh@example.org", PASSWORD)
        self.assertEqual(browser.call("POST", "/v1/account/totp", {}).status, 200)

    def test_an_account_is_deleted_by_its_owner(self):
        self.service.account("leaving@example.org", PASSWORD)
        browser, other = (self.signed_in("leaving@example.org") for _ in range(2))
        self.assertEqual(browser.call("DELETE", "/v1/account", {}).json, {"user": None})
        self.assertIsNone(self.user(other))
        self.assert_refused(keyd.Browser(self.service).sign_in("leaving@example.org", PASSWORD), 401,
                            "credentials")
        self.assertIn((None, "leaving@example.org"), self.events("account_delete"))
        self.service.account("leaving@example.org", OTHER)
        self.signed_in("leaving@example.org", OTHER)

    def test_who_holds_a_role_does_not_just_go(self):
        self.service.account("boss@example.org", PASSWORD)
        self.service.run("role", "grant", "boss@example.org", "administrator")
        self.assert_refused(self.signed_in("boss@example.org").call("DELETE", "/v1/account", {}), 409,
                            "conflict")

    def test_forged_changes_are_refused(self):
        self.service.account("forged@example.org", PASSWORD)
        browser = self.signed_in("forged@example.org")
        for method, path in (("DELETE", "/v1/account"), ("POST", "/v1/account/password"),
                             ("POST", "/v1/account/phrase"), ("POST", "/v1/account/totp"),
                             ("DELETE", "/v1/account/sessions/others"), ("POST", "/v1/language"),
                             ("POST", "/v1/account/passkeys"), ("POST", "/v1/session/passkey"),
                             ("POST", "/v1/session/second"), ("POST", "/v1/device")):
            for headers in ({"X-Bulla-CSRF": None}, {"Origin": "https://evil.example"}):
                self.assert_refused(browser.call(method, path, {}, headers), 403, "csrf")


class Factor(Case):
    def turn_on(self, user):
        self.service.account(user, PASSWORD)
        browser = self.signed_in(user)
        begun = browser.call("POST", "/v1/account/totp", {}).json
        self.assertIn("secret=" + begun["secret"], begun["uri"])
        self.assertTrue(begun["image"].startswith("data:image/svg+xml;base64,"))
        app = CodeApp(begun["secret"])
        answer = app.confirm(browser)
        self.assertEqual(answer.status, 200, answer.body)
        return browser, app, answer.json["codes"]

    def second(self, user, code, password=PASSWORD, browser=None):
        before = None if browser is None else self.user(browser)
        browser = browser or keyd.Browser(self.service)
        asked = browser.sign_in(user, password)
        self.assertEqual((asked.status, asked.json["needs"]), (200, "totp"))
        self.assertEqual(self.user(browser), before)
        return browser.call("POST", "/v1/session/second",
                            {"user": user, "ticket": asked.json["ticket"], "code": code})

    def test_signing_in_takes_two_steps_and_each_code_once(self):
        user = "two.steps@example.org"
        _, app, codes = self.turn_on(user)
        self.assert_refused(self.second(user, app.again()), 401, "credentials")  # confirmed with
        answer = self.second(user, app.code())
        self.assertEqual((answer.status, answer.json.get("user")), (200, user))
        self.assert_refused(self.second(user, app.again()), 401, "credentials")
        self.assertEqual((len(codes), len(set(codes))), (10, 10))
        self.assertEqual(self.second(user, codes[0].upper().replace("-", " ")).status, 200)
        self.assert_refused(self.second(user, codes[0]), 401, "credentials")
        for code in ("", "000000", "aaaaa-aaaaa", "1", "x" * 32):
            self.assert_refused(self.second(user, code, browser=keyd.Browser(self.service)), 401,
                                "credentials")
        self.assertIn(("second_factor", user), self.events("sign_in"))

    def test_a_ticket_is_one_browsers_and_hangs_on_the_password(self):
        user = "ticket@example.org"
        owner, _, codes = self.turn_on(user)
        one, two = keyd.Browser(self.service), keyd.Browser(self.service)
        ticket = one.sign_in(user, PASSWORD).json["ticket"]
        def give(browser, ticket, name=user):
            return browser.call("POST", "/v1/session/second",
                                {"user": name, "ticket": ticket, "code": codes[1]})
        self.service.account("neighbour@example.org", PASSWORD)
        self.assert_refused(give(two, ticket), 401, "credentials")
        self.assert_refused(give(one, "A" * 86), 401, "credentials")
        self.assert_refused(give(one, ""), 401, "credentials")
        self.assert_refused(give(one, ticket, "neighbour@example.org"), 401, "credentials")
        self.assert_refused(give(one, ticket, "nobody@example.org"), 401, "credentials")
        owner.call("POST", "/v1/account/password", {"password": OTHER})
        self.assert_refused(give(one, ticket), 401, "credentials")
        self.assertEqual(self.second(user, codes[1], OTHER).status, 200)

    def test_a_reset_does_not_get_past_it(self):
        user = "mailbox@example.org"
        _, _, codes = self.turn_on(user)
        browser = keyd.Browser(self.service)
        browser.call("POST", "/v1/reset", {"user": user, "password": OTHER})
        code = self.service.code(user, 2)
        answer = browser.call("POST", "/v1/reset/verify", {"user": user, "code": code}).json
        self.assertEqual(answer["needs"], "totp")
        self.assertIsNone(self.user(browser))
        answer = browser.call("POST", "/v1/session/second",
                              {"user": user, "ticket": answer["ticket"], "code": codes[2]})
        self.assertEqual(answer.json["user"], user)

    def test_programs_give_the_code_along(self):
        user = "program@example.org"
        _, app, codes = self.turn_on(user)
        fields = {"user": user, "password": PASSWORD, "m": self.stored(to=(user,)),
                  "pub": keyd.public_key()}
        self.assert_refused(self.service.open(**fields), 401, "second_factor")
        self.assert_refused(self.service.open(**fields, totp="000000"), 401, "second_factor")
        self.assertEqual(self.service.open(**fields, totp=app.code()).status, 200)
        self.assertEqual(self.service.open(**fields, totp=codes[0]).status, 200)
        wrong = {**fields, "password": "not the password"}
        self.assert_refused(self.service.open(**wrong, totp=codes[1]), 401, "credentials")
        self.assertEqual(self.service.open(**fields, totp=codes[1]).status, 200)

    def test_guesses_of_it_have_to_wait_and_the_owner_does_not(self):
        user = "guessed@example.org"
        owner, _, codes = self.turn_on(user)
        guesser = keyd.Browser(self.service)
        statuses = [self.second(user, "000000", browser=guesser).status for _ in range(11)]
        self.assertEqual(statuses, [401] * 10 + [429])
        self.assertEqual(self.second(user, codes[0], browser=guesser).status, 429)
        self.assertEqual(self.second(user, codes[0], browser=owner).status, 200)

    def test_it_is_turned_off_with_a_code_or_by_the_operator(self):
        user = "off@example.org"
        browser, _, codes = self.turn_on(user)
        self.assert_refused(browser.call("DELETE", "/v1/account/totp", {"code": "000000"}), 401,
                            "second_factor")
        fresh = browser.call("POST", "/v1/account/recovery", {"code": codes[0]}).json["codes"]
        self.assertFalse(set(fresh) & set(codes))
        self.assert_refused(browser.call("DELETE", "/v1/account/totp", {"code": codes[1]}), 401,
                            "second_factor")
        self.assertEqual(browser.call("DELETE", "/v1/account/totp", {"code": fresh[0]}).status, 200)
        self.signed_in(user)
        other = "helped@example.org"
        helped, *_ = self.turn_on(other)
        told = len(self.service.mails(other))
        self.service.run("account", "reset-factor", other)
        self.assertIn("code app", self.service.mail(other, told + 1)["Subject"])
        self.assertIsNone(self.user(helped))
        self.signed_in(other)
        self.assertEqual(self.service.run("account", "reset-factor", "no@example.org",
                                          check=False).returncode, 67)
        self.assertIn((None, other), self.events("account_factor"))

    def test_a_wrong_first_code_or_secret_turns_nothing_on(self):
        self.service.account("first@example.org", PASSWORD)
        browser = self.signed_in("first@example.org")
        secret = browser.call("POST", "/v1/account/totp", {}).json["secret"]
        for fields, status in (({"secret": secret, "code": "000000"}, 401),
                               ({"secret": secret, "code": totp(secret, step_now() - 3)}, 401),
                               ({"secret": secret[1:], "code": "123456"}, 400),
                               ({"secret": "!" * 32, "code": "123456"}, 400)):
            answer = browser.call("POST", "/v1/account/totp/confirm", fields)
            self.assertEqual(answer.status, status, answer.body)
        self.assertFalse(browser.call("GET", "/v1/account").json["totp"])

    def test_no_secret_or_code_stands_in_the_database(self):
        _, app, codes = self.turn_on("hidden@example.org")
        if self.service.database:
            return
        raw = b""
        for name in keyd.os.listdir(self.service.dir):
            if name.startswith("keys.db"):
                with open(self.service.path(name), "rb") as file:
                    raw += file.read()
        for kept in (app.secret.encode(), base64.b32decode(app.secret), codes[0].encode(),
                     codes[0].replace("-", "").encode()):
            self.assertNotIn(kept, raw)


class Ticketless(Case):
    turn_on = Factor.turn_on

    def test_who_has_no_ticket_writes_no_lines_and_has_to_wait(self):
        user = "no.ticket@example.org"
        owner, _, codes = self.turn_on(user)
        ticket = owner.sign_in(user, PASSWORD).json["ticket"]
        stranger = keyd.Browser(self.service)
        before = self.service.audit_text()
        answers = [stranger.call("POST", "/v1/session/second",
                                 {"user": name, "ticket": "A" * 86, "code": "000000"})
                   for name in [user, "nobody@example.org"] * 16]
        self.assertEqual(answers[-1].error, "too_many")
        self.assertEqual({answer.status for answer in answers}, {401, 429})
        self.assertEqual(self.service.audit_text(), before)
        # Who gave the password is not kept out by that.
        answer = owner.call("POST", "/v1/session/second",
                            {"user": user, "ticket": ticket, "code": codes[0]})
        self.assertEqual((answer.status, answer.json.get("user")), (200, user))


if __name__ == "__main__":
    keyd.main()
