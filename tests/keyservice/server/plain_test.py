"""Opening online without a script: forms, their token, and what each of them may do."""
import os
import re
import sys
import urllib.parse

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import keyd  # noqa: E402
import online_test  # noqa: E402
from code_app import CodeApp  # noqa: E402

PASSWORD = online_test.PASSWORD
OTHER = "several quiet words"
ID = online_test.ID


class Plain(online_test.Online):
    """POST /online/<handle>."""
    settings = "# second_factor_roles: as it comes\n"

    def setUp(self):
        super().setUp()
        self.cookies = {}

    def form(self, handle, headers=(), cookies=None, **fields):
        cookies = self.cookies if cookies is None else cookies
        answer = self.service.call("POST", "/online/" + handle, urllib.parse.urlencode(fields), {
            "Content-Type": "application/x-www-form-urlencoded",
            "Origin": f"https://localhost:{self.service.public}",
            "Sec-Fetch-Site": "same-origin",
            "Cookie": "; ".join(f"{k}={v}" for k, v in cookies.items())} | dict(headers))
        for cookie in answer.headers.get_all("Set-Cookie") or []:
            name, value = cookie.split(";")[0].split("=", 1)
            cookies[name] = value
        answer.text = answer.body.decode("utf-8", "replace")
        token = re.search(r'name="csrf" value="([\w-]{43})"', answer.text)
        self.csrf = token.group(1) if token else ""
        return answer

    def sign_in(self, handle, user="bob@example.org", password=PASSWORD):
        self.form(handle)
        return self.form(handle, csrf=self.csrf, act="signin", user=user, password=password)

    def mail_code(self, handle, act, user, password=OTHER, cookies=None):
        self.form(handle, cookies=cookies)
        shown = self.form(handle, cookies=cookies, csrf=self.csrf, act=act, user=user)
        self.assertIn(f'value="{act}-mail"', shown.text)
        self.assertIn(f'value="{user}"', shown.text)
        return self.form(handle, cookies=cookies, csrf=self.csrf, act=act + "-mail", user=user,
                         password=password)

    def give_code(self, handle, act, user, code, cookies=None):
        return self.form(handle, cookies=cookies, csrf=self.csrf, act=act + "-code", user=user,
                         code=code)

    def test_a_password_that_was_made_is_changed_before_anything_is_shown(self):
        self.register()
        handle = self.handle()
        made = self.service.run("account", "password", "bob@example.org").stdout.strip()
        asked = self.sign_in(handle, password=made)
        self.assertIn('value="renew"', asked.text)
        ticket = re.search(r'name="ticket" value="([\w-]{86})"', asked.text).group(1)
        for password, words in (("short", "too short"), (made, "made for you")):
            again = self.form(handle, csrf=self.csrf, act="renew", user="bob@example.org",
                              password=password, ticket=ticket)
            self.assertIn(words, again.text)
            self.assertIn('value="renew"', again.text)
        self.assertIn('type="password"', self.form(handle, csrf=self.csrf, act="open").text)
        no_ticket = self.form(handle, csrf=self.csrf, act="renew", user="bob@example.org",
                              password=OTHER, ticket="A" * 86)
        self.assertIn('value="signin"', no_ticket.text)
        self.assertIn("type your password once more", no_ticket.text)
        self.assertNotIn('"outcome":"credentials"', self.service.audit_text().replace(" ", ""))
        shown = self.form(handle, csrf=self.csrf, act="renew", user="bob@example.org",
                          password=PASSWORD, ticket=ticket)
        self.assertIn('value="open"', shown.text)
        self.assertIn('<div class="text" dir="auto">Hi\n</div>',
                      self.form(handle, csrf=self.csrf, act="open").text)

    def test_a_recipient_signs_in_clicks_and_reads_it_once(self):
        self.register(level=keyd.HIGH)
        handle = self.handle()
        first = self.form(handle)
        self.assertEqual(first.status, 200)
        self.assertIn('type="password"', first.text)
        self.assertNotIn("Alice@", first.text)
        self.assertNotIn("<script", first.text)
        self.assertNotIn("script-src", first.headers["Content-Security-Policy"])
        self.assertEqual(first.headers["Referrer-Policy"], "same-origin")
        shown = self.sign_in(handle)
        self.assertIn('value="open"', shown.text)
        self.assertNotIn(">Hi", shown.text)
        self.assertNotIn('class="text"', shown.text)
        opened = self.form(handle, csrf=self.csrf, act="open")
        self.assertIn('<div class="text" dir="auto">Hi\n</div>', opened.text)
        self.assertEqual(opened.headers["Cache-Control"], "no-store")
        self.assertIn("was used already", self.form(handle, csrf=self.csrf, act="open").text)
        self.assert_refused(self.browser().call("GET", "/v1/online/" + handle), 410, "gone")
        line = [line for line in self.audit() if line["event"] == "release"][-1]
        self.assertEqual((line["m"], line["user"], line["outcome"]),
                         (ID, "bob@example.org", "online"))

    def test_its_files_are_fetched_by_the_browser_that_opened_it_alone(self):
        self.register()
        handle = self.handle()
        self.sign_in(handle)
        self.assertIn("was used already", self.form(handle, csrf=self.csrf, part="0").text,
                      "not before it was opened")
        self.sign_in(handle)
        self.form(handle, csrf=self.csrf, act="open")
        token = self.csrf
        saved = self.form(handle, csrf=token, part="0")
        self.assertEqual(saved.body, online_test.MAIL)
        self.assertEqual(saved.headers["Content-Type"], "application/octet-stream")
        self.assertEqual(saved.headers["X-Content-Type-Options"], "nosniff")
        self.assertTrue(saved.headers["Content-Disposition"].startswith("attachment; "))
        self.assertIn("was used already", self.form(handle, csrf=token, part="7").text)
        other = {}
        self.form(handle, cookies=other)
        self.assertNotEqual(self.form(handle, cookies=other, csrf=self.csrf, part="0").body,
                            online_test.MAIL)
        self.service.run("envelope", "lock", ID)
        self.assertIn("has locked", self.form(handle, csrf=token, part="0").text)

    def test_nothing_is_done_without_the_token_of_this_browser(self):
        self.register()
        handle = self.handle()
        self.sign_in(handle)
        for csrf in ("", "A" * 43):
            answer = self.form(handle, csrf=csrf, act="open")
            self.assertIn("open for too long", answer.text)
        stranger = {}
        self.form(handle, cookies=stranger)
        answer = self.form(handle, csrf=self.csrf, act="open")
        self.assertIn("open for too long", answer.text, "another browser's token")
        for headers in ({"Origin": "https://evil.example"}, {"Origin": "null"},
                        {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"},
                        {"Content-Type": "text/plain"}):
            self.assertEqual(self.form(handle, headers=headers, act="open").status, 403)
        self.form(handle)
        self.assertIn(">Hi\n", self.form(handle, csrf=self.csrf, act="open").text)

    def test_links_spend_nothing(self):
        self.register()
        handle = self.handle()
        for _ in range(2):
            page = self.service.call("GET", "/online/" + handle)
            self.assertEqual(page.status, 200)
            self.assertIn(b'<form method="post" class="late">', page.body)
        self.sign_in(handle)
        self.assertIn(">Hi\n", self.form(handle, csrf=self.csrf, act="open").text)

    def test_refusals_are_told_on_a_page(self):
        self.register(to=("bob@example.org",))
        handle = self.handle()
        wrong = self.sign_in(handle, password="not the password")
        self.assertIn("do not match", wrong.text)
        self.assertIn('value="bob@example.org"', wrong.text)
        self.assertNotIn("not the password", wrong.text)
        other = self.sign_in(handle, user="eve@example.org")
        self.assertIn("was not sent to eve@example.org", other.text)
        self.assertNotIn("Alice@", other.text)
        self.form(handle, csrf=self.csrf, act="signout")
        self.assertNotIn("eve@example.org", self.form(handle).text)
        self.assertIn('value="open"', self.sign_in(handle).text)
        token = self.csrf
        self.service.run("envelope", "lock", ID)
        self.assertIn("has locked", self.form(handle, csrf=token, act="open").text)
        self.service.run("envelope", "unlock", ID)
        self.assertIn(">Hi\n", self.form(handle, csrf=token, act="open").text)
        self.assertIn("was used already", self.form("A" * 43).text)
        self.assertIn("was used already", self.form("<script>").text)

    def test_a_first_reader_registers_and_goes_on_to_the_message(self):
        new = "new@example.org"
        self.register(to=(new,), level=keyd.HIGH)
        handle = self.handle()
        asked = self.mail_code(handle, "register", new)
        self.assertIn('value="register-code"', asked.text)
        self.assertIn(f"mail to {new}", asked.text)
        self.assertNotIn(OTHER, asked.text)
        self.assertNotIn("Alice@", asked.text)
        for _ in range(2):  # no link of the mail, and no look at the page, spends anything
            self.assertEqual(self.service.call("GET", "/online/" + handle).status, 200)
        code = self.service.code(new)
        self.assertIn("code is wrong", self.give_code(handle, "register", new, "0000 0000").text)
        stage = self.give_code(handle, "register", new, code)
        self.assertIn('value="open"', stage.text)
        self.assertIn("Alice@Example.com", stage.text)
        self.assertIn(">Hi\n", self.form(handle, csrf=self.csrf, act="open").text)
        self.assertEqual(self.browser().call("POST", "/v1/session",
                                             {"user": new, "password": OTHER}).status, 200)
        self.assertEqual([line["user"] for line in self.audit() if line["event"] == "register"
                          and "outcome" not in line], [new])

    def test_registering_and_resetting_tell_nobody_who_has_an_account(self):
        self.register()
        handle = self.handle()
        for act, mails in (("register", ("Your account", "Your code")),
                           ("reset", ("Your code", "There is no account"))):
            pages = []
            for user in ("bob@example.org", f"{act}@example.org"):
                cookies = {}
                page = self.mail_code(handle, act, user, cookies=cookies)
                wrong = self.give_code(handle, act, user, "12345678", cookies)
                pages.append([re.sub(r'value="[\w-]{43}"', "", answer.text.replace(user, ""))
                              for answer in (page, wrong)])
            self.assertEqual(pages[0], pages[1])
            self.assertIn("code is wrong", pages[0][1])
            for user, subject in zip(("bob@example.org", f"{act}@example.org"), mails):
                self.assertTrue(self.service.mail(user)["Subject"].startswith(subject))
        self.assertIn('value="open"', self.sign_in(handle).text, "the old password stands")

    def test_registering_has_the_checks_and_limits_of_its_call(self):
        self.register()
        handle = self.handle()
        for user, password, words in (("new@example.org", "password12", "too common"),
                                      ("new@example.org", "short", "too short"),
                                      ("new@example.org", "new@example.org", "made of your"),
                                      ("nobody", OTHER, "cannot be right"),
                                      ("j\u00f6rg@example.org", OTHER, "cannot be right")):
            answer = self.mail_code(handle, "register", user, password)
            self.assertIn(words, answer.text)
            self.assertIn('value="register-mail"', answer.text)
            self.assertNotIn(f'value="{password}"', answer.text.replace(f'value="{user}"', ""))
        self.mail_code(handle, "register", "new@example.org")
        code, token = self.service.code("new@example.org"), self.csrf
        stranger = {}
        self.form(handle, cookies=stranger)
        self.assertIn("code is wrong", self.give_code(handle, "register", "new@example.org", code,
                                                      stranger).text, "another browser's")
        for csrf in ("", "A" * 43):
            self.assertIn("open for too long", self.form(
                handle, csrf=csrf, act="register-code", user="new@example.org", code=code).text)
        self.csrf = token
        for wrong in ("1", "00000000", "0000 0000", "0000-0000", "00000000", "00000000"):
            self.assertIn("code is wrong", self.give_code(handle, "register", "new@example.org",
                                                          wrong).text)
        self.assertIn("code is wrong", self.give_code(handle, "register", "new@example.org",
                                                      code).text, "five tries were all it had")
        for _ in range(20):
            answer = self.mail_code(handle, "register", "new@example.org")
            if "Too many" in answer.text:
                break
        self.assertIn("Too many attempts. Wait some minutes", answer.text)

    def test_a_new_password_and_a_second_factor(self):
        bob = "bob@example.org"
        self.register()
        self.service.run("role", "grant", bob, "auditor")
        browser = self.browser()
        app = CodeApp(browser.call("POST", "/v1/account/totp", {}).json["secret"])
        codes = app.confirm(browser).json["codes"]
        handle = self.handle()
        self.mail_code(handle, "reset", bob)
        asked = self.give_code(handle, "reset", bob, self.service.code(bob, 2))
        self.assertIn("asks for a code too", asked.text)
        self.assertNotIn("Alice@", asked.text)
        self.assertEqual(self.service.mail(bob, 3)["Subject"], "Your password was changed")
        self.assert_refused(browser.call("GET", "/v1/account"), 401, "credentials")
        fields = {"csrf": self.csrf, "act": "signin", "user": bob}
        self.assertIn("do not match", self.form(handle, **fields, password=PASSWORD,
                                                code=codes[0]).text)
        fields["csrf"] = self.csrf
        wrong = self.form(handle, **fields, password=OTHER, code="000000")
        self.assertIn("This code is wrong", wrong.text)
        self.assertIn('name="code"', wrong.text)
        fields["csrf"] = self.csrf
        self.assertIn('value="open"', self.form(handle, **fields, password=OTHER,
                                                code=codes[0]).text)
        self.form(handle, csrf=self.csrf, act="signout")
        fields["csrf"] = self.csrf
        self.assertIn('value="open"', self.form(handle, **fields, password=OTHER,
                                                code=app.code()).text)
        cookies = "; ".join(f"{k}={v}" for k, v in self.cookies.items())
        told = self.service.call("GET", "/v1/session", headers={"Cookie": cookies}).json
        self.assertEqual((told["roles"], told["withheld"]), (["auditor"], []))

    def test_a_role_is_not_held_by_who_signs_in_by_password_alone(self):
        self.register()
        self.service.run("role", "grant", "bob@example.org", "auditor")
        self.assertIn('value="open"', self.sign_in(self.handle()).text)
        cookies = "; ".join(f"{k}={v}" for k, v in self.cookies.items())
        told = self.service.call("GET", "/v1/session", headers={"Cookie": cookies}).json
        self.assertEqual((told["roles"], told["withheld"]), ([], ["auditor"]))

    def test_level_none_asks_for_a_click_alone(self):
        self.register(level=keyd.NONE)
        handle = self.handle()
        page = self.form(handle)
        self.assertNotIn('type="password"', page.text)
        self.assertIn("Alice@Example.com", page.text)
        shown = self.form(handle, csrf=self.csrf, act="open").text
        self.assertIn(">Hi\n", shown)
        self.assertIn('<div class="answer" hidden>', shown)
        self.assertEqual(self.form(handle, csrf=self.csrf, part="0").body, online_test.MAIL)

    def test_an_answer_is_offered_where_the_sender_allows_one(self):
        self.register(level=keyd.NONE, flags=2)
        handle = self.handle()
        self.form(handle)
        shown = self.form(handle, csrf=self.csrf, act="open").text
        self.assertIn('<div class="answer" >', shown)
        self.assertIn(f'<a class="plain" href="/write?m={ID}#,,,"', shown)
        self.assertIn("that takes scripts", shown)

    def test_another_key_ends_it(self):
        self.register(key=bytes(32))
        handle = self.handle()
        self.sign_in(handle)
        self.assertIn("does not fit", self.form(handle, csrf=self.csrf, act="open").text)
        self.assertIn("was used already", self.form(handle, csrf=self.csrf, act="open").text)

    def test_malformed_forms_are_refused(self):
        handle = self.handle()
        for body in (b"csrf", b"x=1", b"act=%", b"act=%zz", b"act=a%00b", b"act=a&act=b",
                     b"act=" + b"a" * 99, b"part=123456"):
            answer = self.service.call("POST", "/online/" + handle, body,
                                       {"Content-Type": "application/x-www-form-urlencoded"})
            self.assertEqual(answer.status, 403, body)


# Those of the base stand in a file of their own.
for name in [name for name in dir(online_test.Online) if name.startswith("test_")]:
    if name not in Plain.__dict__:
        setattr(Plain, name, None)
del online_test.Online

if __name__ == "__main__":
    keyd.main()
