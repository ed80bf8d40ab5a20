"""Administration over HTTPS: who may call what, what each call does, and that it is on record first."""
import base64
import json
import struct
import time
import zlib

import keyd

PASSWORD = "correct horse battery"
ROLES = ("administrator", "helpdesk", "auditor", "profile_administrator:sales")
SEES, CARES, OWNS = "administrator helpdesk auditor", "administrator helpdesk", "administrator"


def png(width=2, height=2, data=None):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    rows = zlib.compress(b"".join(b"\0" + bytes(3 * width) for _ in range(height)))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) +
            chunk(b"IDAT", rows if data is None else data) + chunk(b"IEND", b""))


def url(picture, kind="png"):
    return f"data:image/{kind};base64," + base64.b64encode(picture).decode()


class Admin(keyd.Case):
    """One service for all of these tests, and one browser for each role, signed in once."""

    shared = None

    @classmethod
    def setUpClass(cls):
        if Admin.shared is None:
            super().setUpClass()
            Admin.shared = cls
            cls.make()
        for name in ("service", "temporary", "browsers"):
            setattr(cls, name, getattr(Admin.shared, name))

    @classmethod
    def tearDownClass(cls):
        """tearDownModule() ends it."""

    count = 0

    @classmethod
    def make(cls):
        cls.browsers = {}
        for role in (*ROLES, "nobody"):
            name = role.split(":")[0]
            cls.service.account(f"{name}@example.org", PASSWORD)
            if role != "nobody":
                cls.service.run("role", "grant", f"{name}@example.org", role)
            browser = cls.browsers[name] = keyd.Browser(cls.service)
            assert browser.sign_in(f"{name}@example.org", PASSWORD).status == 200

    @property
    def admin(self):
        return self.browsers["administrator"]

    def user(self):
        """A fresh account; its number and address, and the password that its owner chose."""
        number, address, made = self.made_user()
        browser = keyd.Browser(self.service)
        self.assertEqual(browser.renew(address, made, PASSWORD).status, 200)
        self.assertEqual(browser.call("DELETE", "/v1/session", {}).status, 200)
        return number, address, PASSWORD

    def made_user(self):
        """The same with the password that the service made."""
        Admin.count += 1
        address = f"u{Admin.count}@example.org"
        answer = self.admin.call("POST", "/v1/admin/users", {"address": address})
        self.assertEqual(answer.status, 200, answer.body)
        return answer.json["number"], address, answer.json["password"]

    def number(self, name):
        answer = self.admin.call("GET", f"/v1/admin/users?q={name}@example.org")
        return answer.json["users"][0]["number"]

    def program(self, token, method, path, body=None, headers=()):
        fields = {"Authorization": "Bearer " + token}
        if method != "GET":
            fields["Content-Type"] = "application/json"
        return self.service.call(method, path, None if body is None else json.dumps(body),
                                 {**fields, **dict(headers)})

    def token(self, role="administrator", **fields):
        answer = self.admin.call("POST", "/v1/admin/tokens",
                                 {"name": "t", "role": role, "days": 30, **fields})
        self.assertEqual(answer.status, 200, answer.body)
        return answer.json["token"]


class Rights(Admin):
    """Every call by every role."""

    CALLS = [  # roles that may, method, path, body; {u}: an account of nobody's role
        (SEES, "GET", "/v1/admin/users", None),
        (SEES, "GET", "/v1/admin/users/{u}", None),
        (OWNS, "POST", "/v1/admin/users", {"address": "new-{role}@example.org"}),
        (OWNS, "POST", "/v1/admin/users/{u}/disable", {"reason": "left"}),
        (OWNS, "POST", "/v1/admin/users/{u}/enable", {}),
        (CARES, "POST", "/v1/admin/users/{u}/end-sessions", {}),
        (CARES, "POST", "/v1/admin/users/{u}/reset", {"reason": "asked by telephone"}),
        (CARES, "POST", "/v1/admin/users/{u}/second-factor", {"reason": "telephone lost"}),
        (OWNS, "POST", "/v1/admin/users/{u}/grant", {"role": "auditor"}),
        (OWNS, "POST", "/v1/admin/users/{u}/revoke", {"role": "auditor"}),
        (OWNS, "POST", "/v1/admin/users/{u}/remove", {}),
        (OWNS, "GET", "/v1/admin/engines", None),
        (OWNS, "POST", "/v1/admin/engines", {"name": "gate-{role}"}),
        (OWNS, "DELETE", "/v1/admin/engines/gate-{role}", {}),
        (OWNS, "GET", "/v1/admin/tokens", None),
        (OWNS, "POST", "/v1/admin/tokens", {"name": "t", "role": "auditor", "days": 1}),
        (OWNS, "DELETE", "/v1/admin/tokens/{token}", {}),
        ("administrator profile_administrator", "GET", "/v1/admin/profiles", None),
        ("administrator profile_administrator", "PUT", "/v1/admin/profiles/sales", {"title": "Sales"}),
        ("administrator profile_administrator", "GET", "/v1/admin/profiles/sales", None),
        (OWNS, "PUT", "/v1/admin/profiles/legal", {"title": "Legal"}),
        (OWNS, "PUT", "/v1/admin/profiles/sales", {"retention_days": 30}),
        (OWNS, "DELETE", "/v1/admin/profiles/legal", {}),
        ("administrator auditor", "GET", "/v1/admin/reports", None),
        ("administrator auditor", "GET", "/v1/admin/audit", None),
        ("administrator auditor", "GET", "/v1/admin/audit/lines", None),
        ("administrator auditor", "POST", "/v1/admin/audit/verify", {}),
    ]

    def test_every_call_of_the_table_is_tried(self):
        tried = {(method, "/v1/admin/" + path.split("/v1/admin/")[1].split("/")[0])
                 for _, method, path, _ in self.CALLS}
        for method, path, _ in keyd.DESCRIBED.operations:
            if path.startswith("/v1/admin/"):
                part = "/v1/admin/" + path.split("/v1/admin/")[1].split("/")[0]
                self.assertIn((method, part), tried, path)

    def test_each_role_may_what_the_table_says(self):
        number, _, _ = self.user()
        self.token()
        listed = self.admin.call("GET", "/v1/admin/tokens").json["tokens"][-1]["number"]
        for allowed, method, path, body in self.CALLS:
            for name, browser in reversed(self.browsers.items()):
                fill = {"{u}": str(number), "{role}": name, "{token}": str(listed)}
                here, sent = path, json.dumps(body)
                for key, value in fill.items():
                    here, sent = here.replace(key, value), sent.replace(key, value)
                answer = browser.call(method, here, None if body is None else sent)
                where = f"{name}: {method} {here}: {answer.body}"
                if name in allowed.split():
                    self.assertEqual(answer.status, 200, where)
                else:
                    self.assertEqual((answer.status, answer.error), (403, "rights"), where)

    def test_whoever_is_not_signed_in_gets_nothing(self):
        for _, method, path, body in self.CALLS:
            path = path.replace("{u}", "1").replace("{token}", "1").replace("{role}", "x")
            answer = keyd.Browser(self.service).call(method, path, body)
            self.assert_refused(answer, 401, "credentials")

    def test_a_page_of_elsewhere_gets_nothing(self):
        for _, method, path, body in self.CALLS:
            path = path.replace("{u}", "1").replace("{token}", "1").replace("{role}", "x")
            answer = self.admin.call(method, path, body, {"Origin": "https://evil.example",
                                                          "Sec-Fetch-Site": "cross-site"})
            self.assert_refused(answer, 403, "csrf")
            self.assertIsNone(answer.headers["Access-Control-Allow-Origin"])
            if method != "GET":
                answer = self.admin.call(method, path, body, {"X-Bulla-CSRF": None})
                self.assert_refused(answer, 403, "csrf")

    def test_a_refusal_is_on_record(self):
        self.browsers["nobody"].call("GET", "/v1/admin/engines")
        line = [line for line in self.audit() if line["event"] == "admin_refuse"][-1]
        self.assertEqual((line["by"], line["detail"]), ("nobody@example.org", "/v1/admin/engines"))


class Users(Admin):
    def test_accounts_are_found_by_a_part(self):
        number, address, _ = self.user()
        answer = self.admin.call("GET", f"/v1/admin/users?q={address[:3].upper()}")
        self.assertIn(number, [user["number"] for user in answer.json["users"]])
        self.assertEqual(self.admin.call("GET", "/v1/admin/users?q=no-such").json["users"], [])
        self.assert_refused(self.admin.call("GET", "/v1/admin/users?after=x"), 400, "bad_request")
        self.assert_refused(self.admin.call("GET", "/v1/admin/users/999999"), 404, "unknown")
        self.assert_refused(self.admin.call("GET", "/v1/admin/users/x"), 404, "unknown")

    def test_a_long_list_has_pages(self):
        self.user()
        first = self.admin.call("GET", "/v1/admin/users").json["users"]
        behind = self.admin.call("GET", f"/v1/admin/users?after={first[0]['number']}").json["users"]
        self.assertEqual(behind, first[1:])

    def test_a_new_account_signs_in_with_the_password_that_was_told(self):
        _, address, password = self.user()
        self.assertEqual(keyd.Browser(self.service).sign_in(address, password).status, 200)
        self.assert_refused(self.admin.call("POST", "/v1/admin/users", {"address": address}), 409, "conflict")
        self.assertEqual(self.audit()[-1]["outcome"], "conflict")

    def test_a_disabled_account_is_out_until_it_is_enabled(self):
        number, address, password = self.user()
        browser = keyd.Browser(self.service)
        browser.sign_in(address, password)
        identity = self.stored(to=(address,), level=keyd.MEDIUM)
        self.assertEqual(self.admin.call("POST", f"/v1/admin/users/{number}/disable",
                                         {"reason": "stolen laptop"}).status, 200)
        line = [line for line in self.audit() if line["event"] == "account_disable"][-1]
        self.assertEqual((line["user"], line["by"], line["detail"]),
                         (address, "administrator@example.org", "stolen laptop"))
        self.assertIsNone(browser.call("GET", "/v1/session").json["user"])
        self.assert_refused(browser.sign_in(address, password), 401, "credentials")
        answer = self.service.open(user=address, password=password, m=identity, pub=keyd.public_key())
        self.assert_refused(answer, 401, "credentials")
        self.assertGreater(self.admin.call("GET", f"/v1/admin/users/{number}").json["disabled"], 0)
        self.admin.call("POST", f"/v1/admin/users/{number}/enable", {})
        self.assertEqual(browser.sign_in(address, password).status, 200)

    def test_sessions_end_everywhere(self):
        number, address, password = self.user()
        browser = keyd.Browser(self.service)
        browser.sign_in(address, password)
        self.assertEqual(self.admin.call("GET", f"/v1/admin/users/{number}").json["sessions"], 1)
        self.browsers["helpdesk"].call("POST", f"/v1/admin/users/{number}/end-sessions", {})
        self.assertIsNone(browser.call("GET", "/v1/session").json["user"])

    def test_a_reset_is_mailed(self):
        number, address, _ = self.user()
        answer = self.browsers["helpdesk"].call("POST", f"/v1/admin/users/{number}/reset", {},
                                                {"Accept-Language": "de"})
        self.assertEqual(answer.status, 200)
        self.assertIn("/reset\r\n", self.service.mail(address, 2).get_content())

    def test_a_second_factor_goes_with_a_reason_alone(self):
        number, _, _ = self.user()
        path = f"/v1/admin/users/{number}/second-factor"
        self.assert_refused(self.admin.call("POST", path, {}), 400, "bad_request")
        self.assertEqual(self.admin.call("POST", path, {"reason": "telephone lost"}).status, 200)
        self.assertEqual(self.audit()[-1]["event"], "account_factor_clear")

    def test_who_loses_a_second_factor_is_told_and_signed_out(self):
        number, address, password = self.user()
        browser = keyd.Browser(self.service)
        browser.sign_in(address, password)
        path = f"/v1/admin/users/{number}/second-factor"
        answer = self.browsers["helpdesk"].call("POST", path, {"reason": "telephone lost"})
        self.assertEqual(answer.status, 200)
        self.assertIn("code app", self.service.mail(address, 2)["Subject"])
        self.assertIsNone(browser.call("GET", "/v1/session").json["user"])

    def test_nobody_raises_own_rights(self):
        own = self.number("administrator")
        for verb, body in (("grant", {"role": "auditor"}), ("revoke", {"role": "administrator"}),
                           ("disable", {}), ("remove", {})):
            answer = self.admin.call("POST", f"/v1/admin/users/{own}/{verb}", body)
            self.assert_refused(answer, 403, "rights")

    def test_who_holds_a_role_is_beyond_the_helpdesk(self):
        number = self.number("auditor")
        for verb in ("end-sessions", "reset"):
            answer = self.browsers["helpdesk"].call("POST", f"/v1/admin/users/{number}/{verb}", {})
            self.assert_refused(answer, 403, "rights")

    def test_grants_are_shown(self):
        number, address, password = self.user()
        for profile in ("one", "two"):
            self.admin.call("POST", f"/v1/admin/users/{number}/grant",
                            {"role": "profile_administrator", "profile": profile})
        grants = self.admin.call("GET", f"/v1/admin/users/{number}").json["grants"]
        self.assertEqual([grant["profile"] for grant in grants], ["one", "two"])
        browser = keyd.Browser(self.service)
        browser.sign_in(address, password)
        self.assertEqual(browser.call("GET", "/v1/session").json["profiles"], ["one", "two"])
        for body in ({"role": "root"}, {"role": "auditor", "profile": "x"},
                     {"role": "profile_administrator"}, {}):
            answer = self.admin.call("POST", f"/v1/admin/users/{number}/grant", body)
            self.assert_refused(answer, 400, "bad_request")
        self.assert_refused(self.admin.call("POST", f"/v1/admin/users/{number}/explode", {}), 404,
                            "unknown")


class Audit(Admin):
    def page(self, query=""):
        answer = self.browsers["auditor"].call("GET", "/v1/admin/audit" + query)
        self.assertEqual(answer.status, 200, answer.body)
        return answer.json

    def test_the_log_is_paged_newest_first(self):
        number, _, _ = self.user()
        for _ in range(101):
            self.admin.call("POST", f"/v1/admin/users/{number}/end-sessions", {})
        whole, seen, query = [line["seq"] for line in self.audit()], [], ""
        while True:
            answer = self.page(query)
            seen += [line["seq"] for line in answer["lines"]]
            if "after" not in answer:
                break
            query = "?after=" + answer["after"]
        self.assertEqual(seen[-len(whole):], sorted(whole, reverse=True))

    def test_lines_are_found_by_event_user_and_time(self):
        _, address, _ = self.user()
        lines = self.page(f"?event=account_add&user={address}")["lines"]
        self.assertEqual([(line["user"], line["by"]) for line in lines],
                         [(address, "administrator@example.org")])
        at = lines[0]["at"]
        self.assertEqual(len(self.page(f"?user={address}&from={at}&until={at + 1}")["lines"]), 1)
        self.assertEqual(self.page(f"?user={address}&until={at}")["lines"], [])
        identity = self.stored()
        self.service.open(user="nobody@example.org", password=PASSWORD, m=identity, pub=keyd.public_key())
        self.assertEqual([line["event"] for line in self.page("?m=" + identity)["lines"]], ["refuse"])
        self.assert_refused(self.admin.call("GET", "/v1/admin/audit?from=now"), 400, "bad_request")

    def test_it_is_downloaded_as_it_stands_and_its_chain_is_whole(self):
        before = self.service.audit_text()
        text = self.browsers["auditor"].call("GET", "/v1/admin/audit/lines").body.decode()
        self.assertTrue(text.startswith(before))
        rest = self.browsers["auditor"].call("GET", "/v1/admin/audit/lines?after=3").body.decode()
        self.assertEqual(rest.splitlines()[0], text.splitlines()[3])
        found = self.browsers["auditor"].call("POST", "/v1/admin/audit/verify", {}).json
        self.assertEqual((found["bad_line"], found["hash"]), (0, self.audit_hash(found["lines"])))

    def audit_hash(self, number):
        return self.service.audit_text().splitlines()[number - 1].split(" ")[0]


class Tokens(Admin):
    def test_a_token_may_what_its_role_may(self):
        token = self.token("auditor")
        self.assertEqual(self.program(token, "GET", "/v1/admin/users").status, 200)
        self.assert_refused(self.program(token, "GET", "/v1/admin/engines"), 403, "rights")
        sales = self.token("profile_administrator", profile="sales")
        answer = self.program(sales, "PUT", "/v1/admin/profiles/sales", {"title": "Sales"})
        self.assertEqual(answer.status, 200, answer.body)
        answer = self.program(sales, "PUT", "/v1/admin/profiles/legal", {"title": "Legal"})
        self.assert_refused(answer, 403, "rights")
        line = [line for line in self.audit() if line["event"] == "profile_put"][-1]
        self.assertEqual(line["by"], "administrator@example.org token t")

    def test_a_token_makes_no_tokens_and_no_roles(self):
        token, number = self.token(), self.user()[0]
        body = {"name": "t", "role": "auditor", "days": 1}
        self.assert_refused(self.program(token, "POST", "/v1/admin/tokens", body), 403, "rights")
        answer = self.program(token, "POST", f"/v1/admin/users/{number}/grant", {"role": "auditor"})
        self.assert_refused(answer, 403, "rights")

    def test_cookies_and_tokens_never_mix(self):
        token = self.token()
        answer = self.admin.call("GET", "/v1/admin/users", None, {"Authorization": "Bearer " + token})
        self.assert_refused(answer, 403, "csrf")
        answer = self.program(token, "GET", "/v1/admin/users", headers={"Origin": "https://a.example"})
        self.assert_refused(answer, 403, "csrf")
        self.assertIsNone(answer.headers["Access-Control-Allow-Origin"])
        answer = self.program(token, "POST", "/v1/admin/users", {"address": "x@example.org"},
                              {"Content-Type": "text/plain"})
        self.assert_refused(answer, 400, "bad_request")

    def test_what_is_no_token_is_refused(self):
        for text in ("", "bulla_", "bulla_" + "A" * 43, "x" * 49, self.token()[:-1]):
            self.assert_refused(self.program(text, "GET", "/v1/admin/users"), 401, "credentials")
        answer = self.service.call("GET", "/v1/admin/users", headers={"Authorization": "Basic eDp5"})
        self.assert_refused(answer, 401, "credentials")

    def test_what_a_proxy_asks_of_a_browser_is_no_token(self):
        answer = self.admin.call("GET", "/v1/admin/users", None, {"Authorization": "Basic eDp5"})
        self.assertEqual(answer.status, 200, answer.body)

    def test_a_token_ends_with_its_owner_and_with_its_role(self):
        _, address, password = self.user()
        number = self.number(address.split("@")[0])
        self.admin.call("POST", f"/v1/admin/users/{number}/grant", {"role": "administrator"})
        browser = keyd.Browser(self.service)
        browser.sign_in(address, password)
        made = browser.call("POST", "/v1/admin/tokens", {"name": "mine", "role": "auditor", "days": 1})
        token = made.json["token"]
        self.assertEqual(self.program(token, "GET", "/v1/admin/users").status, 200)
        def ends(token, *path, undone=None):
            """For good: it does not come back with what it ended with."""
            self.assertEqual(self.program(token, "GET", "/v1/admin/users").status, 200)
            for verb, fields in (path, undone):
                answer = self.admin.call("POST", f"/v1/admin/users/{number}/{verb}", fields)
                self.assertEqual(answer.status, 200, answer.body)
                self.assert_refused(self.program(token, "GET", "/v1/admin/users"), 401, "credentials")

        role = {"role": "administrator"}
        ends(token, "revoke", role, undone=("grant", role))
        browser.sign_in(address, password)
        kept = browser.call("POST", "/v1/admin/tokens", {"name": "kept", "role": "auditor", "days": 1})
        self.admin.call("POST", f"/v1/admin/users/{number}/grant", {"role": "helpdesk"})
        self.admin.call("POST", f"/v1/admin/users/{number}/revoke", {"role": "helpdesk"})
        ends(kept.json["token"], "disable", {}, undone=("enable", {}))

    def test_a_made_password_has_an_end(self):
        _, address, password = self.made_user()
        browser = keyd.Browser(self.service)
        ticket = browser.sign_in(address, password).json["ticket"]
        self.service.sql("UPDATE account SET password = 'until=1' || substr(password, 20)"
                         f" WHERE address = '{address}'",
                         "UPDATE account SET password = 'until=1'::bytea || substring(password FROM 20)"
                         f" WHERE address = '{address}'::bytea")
        self.assert_refused(keyd.Browser(self.service).sign_in(address, password), 401, "credentials")
        self.assert_refused(browser.call("POST", "/v1/session/password", {
            "user": address, "ticket": ticket, "password": "another long password"}), 401, "credentials")

    def test_a_token_ends_with_its_owners_password(self):
        _, address, password = self.user()
        number = self.number(address.split("@")[0])
        self.admin.call("POST", f"/v1/admin/users/{number}/grant", {"role": "administrator"})
        browser = keyd.Browser(self.service)
        browser.sign_in(address, password)
        made = browser.call("POST", "/v1/admin/tokens", {"name": "mine", "role": "auditor", "days": 1})
        self.assertEqual(self.program(made.json["token"], "GET", "/v1/admin/users").status, 200)
        answer = browser.call("POST", "/v1/account/password", {"password": "another long password"})
        self.assertEqual(answer.status, 200, answer.body)
        self.assert_refused(self.program(made.json["token"], "GET", "/v1/admin/users"), 401,
                            "credentials")
        self.assertIn("tokens that programs", self.service.mail(address, 2).get_content())

    def test_a_revoked_token_is_refused(self):
        token = self.token()
        row = self.admin.call("GET", "/v1/admin/tokens").json["tokens"][-1]
        self.assertNotIn("token", row)
        self.assertEqual(self.admin.call("DELETE", f"/v1/admin/tokens/{row['number']}", {}).status, 200)
        self.assert_refused(self.program(token, "GET", "/v1/admin/users"), 401, "credentials")
        self.assert_refused(self.admin.call("DELETE", f"/v1/admin/tokens/{row['number']}", {}), 404,
                            "unknown")

    def test_a_token_has_a_name_and_an_end(self):
        for body in ({"name": "", "role": "auditor", "days": 1}, {"name": "t", "role": "auditor", "days": 0},
                     {"name": "t", "role": "auditor", "days": 731}, {"name": "t", "role": "auditor"},
                     {"name": "t", "role": "auditor", "days": "1"}, {"name": "a\nb", "role": "auditor", "days": 1},
                     {"name": "t", "role": "auditor", "days": 1, "more": 1}):
            self.assert_refused(self.admin.call("POST", "/v1/admin/tokens", body), 400, "bad_request")


class Profiles(Admin):
    def put(self, name="sales", **fields):
        return self.admin.call("PUT", f"/v1/admin/profiles/{name}", fields)

    def test_what_is_put_is_seen(self):
        self.put(title="Sales & <b>Co</b>", text="One\nTwo", link="https://example.org/a?b=c",
                 locale="de", contact="Desk@example.org", logo=url(png()))
        look = self.service.call("GET", "/v1/profiles/sales/look")
        self.assertEqual(look.json, {"title": "Sales & <b>Co</b>", "link": "https://example.org/a?b=c",
                                     "locale": "de", "text": "One\nTwo", "logo": url(png()),
                                     "contact": True})
        self.put(title="Other")
        self.assertEqual(self.admin.call("GET", "/v1/admin/profiles/sales").json["text"], "One\nTwo")
        self.assert_refused(self.service.call("GET", "/v1/profiles/none/look"), 404, "unknown")
        self.assert_refused(self.service.call("GET", "/v1/profiles/sales/other"), 404, "unknown")

    def test_what_a_page_could_be_hurt_by_is_refused(self):
        whole = png()
        bad = [{"link": link} for link in ("javascript:alert(1)", "http://example.org", "https://",
                                           "https://a b", "https://user@example.org", "//example.org",
                                           'https://a"onx=1', "data:text/html,x")]
        bad += [{"logo": logo} for logo in (
            "https://example.org/logo.png", "data:image/svg+xml;base64,PHN2Zz4=", url(b"<svg/>"),
            url(whole[:-1]), url(whole + b"\0"), url(png(2049, 1)), url(png(data=bytes(33000))),
            url(whole, "jpeg"), url(whole.replace(b"IEND", b"IENE")), "data:image/png;base64,",
            url(whole)[:-2] + '">', "data:image/png;base64,====")]
        bad += [{"title": "a\nb"}, {"title": "x" * 101}, {"text": "\x07"}, {"locale": "xx"},
                {"contact": "nobody"}, {"retention_days": 36501}, {"retention_days": "1"}, {"more": ""}]
        for fields in bad:
            self.assert_refused(self.put(**fields), 400, "bad_request")
        for name in ("a b", "x" * 65, "..%2f"):
            self.assertIn(self.put(name.replace(" ", "%20")).status, (400, 404))

    def test_a_jpeg_is_taken(self):
        scan = b"\xff\xda\x00\x02\x00\xff\xd9"
        frame = b"\xff\xc0\x00\x0b\x08\x00\x02\x00\x02\x01\x01\x11\x00"
        self.assertEqual(self.put(logo=url(b"\xff\xd8" + frame + scan, "jpeg")).status, 200)
        self.assert_refused(self.put(logo=url(b"\xff\xd8" + scan, "jpeg")), 400, "bad_request")

    def test_a_delegated_administrator_sees_the_own_profiles_only(self):
        self.put("legal", title="Legal")
        self.put("sales", title="Sales")
        browser = self.browsers["profile_administrator"]
        names = [row["name"] for row in browser.call("GET", "/v1/admin/profiles").json["profiles"]]
        self.assertEqual(names, ["sales"])
        self.assert_refused(browser.call("GET", "/v1/admin/profiles/legal"), 403, "rights")


class Alone(keyd.Case):
    """What would be in the way of other tests."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.service.account("root@example.org", PASSWORD)
        cls.service.run("role", "grant", "root@example.org", "administrator")
        cls.admin = keyd.Browser(cls.service)
        cls.admin.sign_in("root@example.org", PASSWORD)

    def test_a_code_enrols_once_and_a_revoked_engine_is_refused(self):
        answer = self.admin.call("POST", "/v1/admin/engines", {"name": "edge"})
        self.assertRegex(answer.json["code"], r"^[a-z0-9]{6}(-[a-z0-9]{6}){3}$")
        self.assert_refused(self.admin.call("POST", "/v1/admin/engines", {"name": "no name"}), 400,
                            "bad_request")
        self.assertIn("engine", [engine["name"] for engine in
                                 self.admin.call("GET", "/v1/admin/engines").json["engines"]])
        self.assertEqual(self.service.store(keyd.batch(keyd.record())).status, 200)
        self.assertEqual(self.admin.call("DELETE", "/v1/admin/engines/engine", {}).status, 200)
        self.assert_refused(self.service.store(keyd.batch(keyd.record())), 403, "forbidden")
        self.assert_refused(self.admin.call("DELETE", "/v1/admin/engines/engine", {}), 404, "unknown")

    def test_the_operator_does_what_the_page_does(self):
        run = self.service.run
        run("profile", "set", "--title", "Sales", "--link", "https://example.org", "sales")
        run("profile", "set", "--text", "Hello", "sales")
        self.assertRegex(run("profile", "show", "sales").stdout, r"(?s)title +Sales\n.*text +Hello\n")
        self.assertIn("sales", run("profile", "list").stdout)
        run("profile", "remove", "sales")
        token = run("token", "add", "root@example.org", "backup", "auditor", "7").stdout.strip()
        headers = {"Authorization": "Bearer " + token}
        self.assertEqual(self.service.call("GET", "/v1/admin/audit", headers=headers).status, 200)
        number = run("token", "list").stdout.split()[0]
        run("token", "revoke", number)
        self.assert_refused(self.service.call("GET", "/v1/admin/audit", headers=headers), 401, "credentials")
        run("account", "add", "leaver@example.org")
        for verb in ("disable", "enable", "sign-out"):
            run("account", verb, "leaver@example.org")
        for words, status in ((("profile", "set", "--link", "http://x", "sales"), 65),
                              (("profile", "show", "none"), 67), (("profile", "remove", "none"), 67),
                              (("profile", "set", "--logo", "/etc/hostname", "sales"), 65),
                              (("token", "add", "nobody@example.org", "x", "auditor", "7"), 67),
                              (("token", "add", "root@example.org", "x", "auditor", "900"), 65),
                              (("token", "revoke", "999"), 67), (("token",), 64), (("profile",), 64),
                              (("retention", "now"), 64), (("account", "disable", "root@example.org"), 77),
                              (("account", "burn", "root@example.org"), 64)):
            self.assertEqual(run(*words, check=False).returncode, status, words)

    def test_an_old_sign_in_does_not_do_for_what_is_dangerous(self):
        if self.service.database:
            self.skipTest("made in SQLite's file")
        browser = keyd.Browser(self.service)
        browser.sign_in("root@example.org", PASSWORD)
        keyd.subprocess.run(["sqlite3", self.service.path("keys.db"), ".timeout 5000",
                             "UPDATE session SET created = created - 601000"], check=True)
        for method, path, body in (("POST", "/v1/admin/engines", {"name": "edge"}),
                                   ("PUT", "/v1/admin/profiles/sales", {"title": "x"}),
                                   ("POST", "/v1/admin/tokens", {"name": "t", "role": "auditor", "days": 1})):
            self.assert_refused(browser.call(method, path, body), 403, "fresh")
        self.assertEqual(browser.call("GET", "/v1/admin/engines").status, 200)
        browser.sign_in("root@example.org", PASSWORD)
        self.assertEqual(browser.call("POST", "/v1/admin/engines", {"name": "edge"}).status, 200)


class Retention(keyd.Case):
    def test_keys_are_destroyed_when_their_profile_says_so(self):
        def made(days_ago):
            then = int(time.time() * 1000) - days_ago * 86400000
            identity = bytearray(keyd.envelope_id())
            identity[:6] = then.to_bytes(6, "big")
            record = keyd.record(bytes(identity), sent=then, level=keyd.NONE)
            self.assertEqual(self.service.store(keyd.batch(record)).status, 200)
            return bytes(identity).hex()
        old, young = made(31), made(29)
        self.assertEqual(self.service.run("retention").stdout, "")
        self.service.run("profile", "set", "--days", "30", "default")
        self.assertIn("default  30 days  1 keys would be destroyed",
                      self.service.run("retention", "--dry-run").stdout)
        self.assertIn("default  30 days  1 keys destroyed", self.service.run("retention").stdout)
        self.assertIn("0 keys destroyed", self.service.run("retention").stdout)
        self.assertEqual([(line["event"], line["detail"]) for line in self.audit()
                          if line["event"] == "retention"], [("retention", "1 envelopes")])
        self.assert_refused(self.service.open(m=old, pub=keyd.public_key()), 401, "credentials")
        self.assertEqual(self.service.open(m=young, pub=keyd.public_key()).status, 200)


def tearDownModule():
    if Admin.shared is not None:
        super(Admin, Admin.shared).tearDownClass()


if __name__ == "__main__":
    keyd.main()
