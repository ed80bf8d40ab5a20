"""Roles: granted and revoked by the operator, told to the session, and what the first administrator needs."""
import subprocess
import tempfile

import keyd
import passkey_test
from code_app import CodeApp

PASSWORD = "correct horse battery"


class Roles(keyd.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for name in ("ada", "ben", "cat"):
            cls.service.account(f"{name}@example.org", PASSWORD)

    def session(self, user):
        browser = keyd.Browser(self.service)
        self.assertEqual(browser.sign_in(user, PASSWORD).status, 200)
        return browser.call("GET", "/v1/session").json

    def test_a_session_tells_its_roles(self):
        self.assertNotIn("roles", keyd.Browser(self.service).call("GET", "/v1/session").json)
        self.assertEqual(self.session("cat@example.org")["roles"], [])
        self.service.run("role", "grant", "Ada@example.org", "helpdesk")
        self.service.run("role", "grant", "ada@example.org", "profile_administrator:sales")
        session = self.session("ada@example.org")
        self.assertEqual(session["roles"], ["helpdesk", "profile_administrator"])
        self.assertEqual(session["profiles"], ["sales"])
        self.assertRegex(self.service.run("role", "list").stdout,
                         r"Z  profile_administrator:sales  ada@example.org")
        line = [line for line in self.audit() if line["event"] == "role_grant"][-1]
        self.assertEqual((line["user"], line["detail"], line["from"]),
                         ("ada@example.org", "profile_administrator:sales", "operator"))

    def test_the_last_administrator_keeps_the_role(self):
        self.service.run("role", "grant", "ben@example.org", "administrator")
        for words in (("role", "revoke", "ben@example.org", "administrator"),
                      ("account", "remove", "ben@example.org")):
            done = self.service.run(*words, check=False)
            self.assertEqual(done.returncode, 77, done.stderr)
            self.assertIn("last administrator", done.stderr)
            self.assertEqual(self.audit()[-1]["outcome"], "rights")

    def test_what_is_no_role_is_refused(self):
        for words, status in ((("grant", "cat@example.org", "root"), 65),
                              (("grant", "cat@example.org", "auditor:sales"), 65),
                              (("grant", "cat@example.org", "profile_administrator"), 65),
                              (("grant", "cat@example.org", "profile_administrator:a b"), 65),
                              (("grant", "nobody@example.org", "auditor"), 67),
                              (("revoke", "cat@example.org", "auditor"), 67),
                              (("grant", "no address", "auditor"), 65),
                              (("grant", "cat@example.org"), 64), ((), 64)):
            self.assertEqual(self.service.run("role", *words, check=False).returncode, status, words)


class FactorCase(keyd.Case):
    count = 0

    def holder(self, role="administrator"):
        FactorCase.count += 1
        user = f"holder{FactorCase.count}@example.org"
        self.service.account(user, PASSWORD)
        self.service.run("role", "grant", user, role)
        browser = keyd.Browser(self.service)
        self.assertEqual(browser.sign_in(user, PASSWORD).status, 200)
        return user, browser

    def code_app(self, browser):
        app = CodeApp(browser.call("POST", "/v1/account/totp", {}).json["secret"])
        return app, app.confirm(browser)

    def passkey(self, browser):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        key = passkey_test.Authenticator(self.service, folder.name)
        asked = browser.call("GET", "/v1/challenge").json
        key.handle = asked["handle"]
        return key, browser.call("POST", "/v1/account/passkeys", {"name": "key", **key.make(asked["challenge"])})

    def by_passkey(self, key):
        browser = keyd.Browser(self.service)
        challenge = browser.call("GET", "/v1/challenge").json["challenge"]
        self.assertEqual(browser.call("POST", "/v1/session/passkey", key.answer(challenge)).status, 200)
        return browser

    def by_password(self, user, password=PASSWORD):
        browser = keyd.Browser(self.service)
        answer = browser.sign_in(user, password)
        self.assertEqual((answer.status, answer.json.get("user")), (200, user))
        return browser

    def assert_withheld(self, browser, path="/v1/admin/engines"):
        self.assert_refused(browser.call("GET", path), 403, "no_second_factor")
        told = browser.call("GET", "/v1/session").json
        self.assertEqual((told["roles"], told["profiles"], len(told["withheld"])), ([], [], 1))

    def assert_held(self, browser, path="/v1/admin/engines"):
        self.assertEqual(browser.call("GET", path).status, 200)
        told = browser.call("GET", "/v1/session").json
        self.assertEqual((len(told["roles"]), told["withheld"]), (1, []))


class SecondFactor(FactorCase):
    """What a role asks for where nothing is set."""
    settings = "# second_factor_roles: as it comes\n"

    def test_every_role_asks_for_it(self):
        for role, path in (("administrator", "/v1/admin/engines"), ("helpdesk", "/v1/admin/users"),
                           ("auditor", "/v1/admin/users"), ("profile_administrator:sales", "/v1/admin/profiles")):
            user, browser = self.holder(role)
            self.assert_withheld(browser, path)
            line = [line for line in self.audit() if line["event"] == "admin_refuse"][-1]
            self.assertEqual((line["by"], line["outcome"]), (user, "no_second_factor"))
            self.assertEqual(self.code_app(browser)[1].status, 200)
            self.assert_held(browser, path)
            if role != "administrator":
                self.assert_refused(browser.call("GET", "/v1/admin/engines"), 403, "rights")

    def test_a_code_app_gives_the_role_until_it_is_removed(self):
        user, browser = self.holder()
        app, answer = self.code_app(browser)
        codes = answer.json["codes"]
        other = keyd.Browser(self.service)
        ticket = other.sign_in(user, PASSWORD).json["ticket"]
        self.assertEqual(other.call("POST", "/v1/session/second",
                                    {"user": user, "ticket": ticket, "code": app.code()}).status, 200)
        self.assert_held(other)
        self.assertEqual(other.call("DELETE", "/v1/account/totp", {"code": codes[0]}).status, 200)
        self.assert_withheld(other)
        self.assert_withheld(browser)
        self.assert_withheld(self.by_password(user))

    def test_a_passkey_gives_the_role_and_a_password_does_not_get_round_it(self):
        user, browser = self.holder()
        key, answer = self.passkey(browser)
        self.assertEqual(answer.status, 200, answer.body)
        self.assert_held(browser)
        thief = self.by_password(user)
        self.assert_withheld(thief)
        self.assert_refused(self.passkey(thief)[1], 403, "no_second_factor")
        self.assert_refused(self.code_app(thief)[1], 403, "no_second_factor")
        mine = thief.call("GET", "/v1/account").json["passkeys"][0]["id"]
        self.assert_refused(thief.call("DELETE", f"/v1/account/passkeys/{mine}", {}), 403, "no_second_factor")
        owner = self.by_passkey(key)
        self.assert_held(owner)
        self.assertEqual(owner.call("DELETE", f"/v1/account/passkeys/{mine}", {}).status, 200)
        for session in (owner, browser, thief):
            self.assert_withheld(session)

    def test_another_password_keeps_it_and_a_new_session_does_not(self):
        user, browser = self.holder()
        self.passkey(browser)
        self.assertEqual(browser.call("POST", "/v1/account/password", {"password": "several quiet words"}).status, 200)
        self.assert_held(browser)
        self.assert_withheld(self.by_password(user, "several quiet words"))

    def test_tokens_work_without_and_are_made_with_it(self):
        user, browser = self.holder()
        body = {"name": "program", "role": "administrator", "days": 1}
        self.assert_refused(browser.call("POST", "/v1/admin/tokens", body), 403, "no_second_factor")
        self.passkey(browser)
        token = browser.call("POST", "/v1/admin/tokens", body).json["token"]
        mine = browser.call("GET", "/v1/account").json["passkeys"][0]["id"]
        self.assertEqual(browser.call("DELETE", f"/v1/account/passkeys/{mine}", {}).status, 200)
        self.assert_withheld(browser)
        answer = self.service.call("GET", "/v1/admin/engines", headers={"Authorization": f"Bearer {token}"})
        self.assertEqual(answer.status, 200)

    def test_locks_of_others_need_it_and_say_so_alike_of_every_message(self):
        _, browser = self.holder("helpdesk")
        stored, unknown = self.stored(to=("bob@example.org",)), keyd.envelope_id().hex()
        for identity in (stored, unknown):
            self.assert_refused(browser.call("GET", f"/v1/sent/{identity}"), 403, "no_second_factor")
        self.code_app(browser)
        self.assertEqual(browser.call("GET", f"/v1/sent/{stored}").status, 200)
        self.assert_refused(browser.call("GET", f"/v1/sent/{unknown}"), 404, "unknown")

    def test_who_holds_no_role_is_asked_for_nothing(self):
        self.service.account("reader@example.org", PASSWORD)
        browser = self.by_password("reader@example.org")
        told = browser.call("GET", "/v1/session").json
        self.assertEqual((told["roles"], told["withheld"]), ([], []))
        self.assertEqual(self.passkey(browser)[1].status, 200)
        self.assertEqual(self.code_app(self.by_password("reader@example.org"))[1].status, 200)


class SomeRoles(FactorCase):
    """Of those that are named alone; another name is no setting."""
    settings = 'second_factor_roles = {"auditor"}\n'

    def test_the_others_do_not_ask(self):
        self.assert_held(self.holder()[1])
        self.assert_withheld(self.holder("auditor")[1], "/v1/admin/users")

    def test_what_is_no_role_is_refused(self):
        with open(self.service.config, encoding="utf-8") as config:
            text = config.read()
        with tempfile.NamedTemporaryFile("w", dir=self.service.dir, suffix=".conf") as other:
            other.write(text.replace("auditor", "root"))
            other.flush()
            done = subprocess.run([keyd.PROGRAM, "role", "--config", other.name, "list"],
                                  capture_output=True, text=True, timeout=keyd.WAIT_S, check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("second_factor_roles: write of administrator", done.stderr)


class Init(keyd.unittest.TestCase):
    def test_init_makes_the_first_administrator(self):
        with tempfile.TemporaryDirectory() as folder:
            words = [keyd.PROGRAM, "init", "--administrator", "Root@Example.org", folder + "/keyd"]
            done = subprocess.run(words, capture_output=True, text=True, timeout=keyd.WAIT_S, check=True)
            self.assertRegex(done.stdout, r"as root@example.org with the password [\w-]{20}\n")
            done = subprocess.run([keyd.PROGRAM, "role", "--config", folder + "/keyd/keyd.conf", "list"],
                                  capture_output=True, text=True, timeout=keyd.WAIT_S, check=True)
            self.assertRegex(done.stdout, r"administrator  root@example.org\n")
            words[3] = "no address"
            self.assertEqual(subprocess.run(words, capture_output=True, timeout=keyd.WAIT_S,
                                            check=False).returncode, 64)


if __name__ == "__main__":
    keyd.main()
