"""Roles: granted and revoked by the operator, told to the session, and what the first administrator needs."""
import subprocess
import tempfile

import keyd

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
