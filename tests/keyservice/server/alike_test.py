"""Whether an address has an account is told by no work either: the passwords that are hashed are counted."""
import os
import tempfile

import keyd

PASSWORD = "correct horse battery"
COST = "m=19456,t=2,p=1"  # ACCOUNT_HASH_KIB, ACCOUNT_HASH_PASSES
THERE, GONE, OFF, NOBODY = (name + "@example.org" for name in ("there", "gone", "off", "nobody"))


class Work(keyd.Case):
    settings = 'confine = "no"\n'  # what stands between has a file of its own

    @classmethod
    def setUpClass(cls):
        cls.notes = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.notes.cleanup)
        cls.log = os.path.join(cls.notes.name, "log")
        options = os.environ.get("ASAN_OPTIONS", "")
        cls.environment = {"LD_PRELOAD": os.environ["BULLA_ARGON2_SHIM"], "BULLA_ARGON2_LOG": cls.log,
                           "ASAN_OPTIONS": options + ":verify_asan_link_order=0"}
        super().setUpClass()
        for user in (THERE, GONE, OFF):
            cls.service.account(user, PASSWORD)
        cls.service.run("account", "remove", GONE)
        cls.service.run("account", "disable", OFF)

    def runs(self):
        with open(self.log, encoding="ascii") as file:
            return file.read().splitlines()

    def assert_works(self, answer_of, wanted):
        """`answer_of(user)`: one answer and one and the same work, whoever it is."""
        answers = set()
        for user in (THERE, NOBODY, GONE, OFF):
            before = len(self.runs())
            answer = answer_of(user)
            answers.add((answer.status, answer.body))
            self.assertEqual(self.runs()[before:], wanted, user)
        self.assertEqual(len(answers), 1, answers)
        return answers.pop()[0]

    def test_a_wrong_password_costs_the_same_with_an_account_and_without(self):
        def sign_in(user):
            return keyd.Browser(self.service).sign_in(user, "a wrong guess")
        self.assertEqual(self.assert_works(sign_in, ["verify " + COST]), 401)

    def test_so_does_what_can_be_no_address(self):
        before = len(self.runs())
        answer = keyd.Browser(self.service).sign_in("my very secret words", "a wrong guess")
        self.assert_refused(answer, 401, "credentials")
        self.assertEqual(self.runs()[before:], ["verify " + COST])

    def test_opening_an_envelope_with_a_wrong_password_does(self):
        identity, pub = self.stored(to=(THERE,)), keyd.public_key()

        def opened(user):
            return self.service.open(user=user, password="a wrong guess", m=identity, pub=pub)
        self.assertEqual(self.assert_works(opened, ["verify " + COST]), 401)

    def test_registering_and_asking_for_a_new_password_do(self):
        for path in ("/v1/accounts", "/v1/reset"):
            def asked(user, path=path):
                return keyd.Browser(self.service).call("POST", path,
                                                       {"user": user, "password": PASSWORD})
            self.assertEqual(self.assert_works(asked, ["hash " + COST]), 200, path)

    def test_a_wrong_code_hashes_no_password_of_anybody(self):
        for path in ("/v1/accounts/verify", "/v1/reset/verify"):
            def typed(user, path=path):
                return keyd.Browser(self.service).call("POST", path,
                                                       {"user": user, "code": "1234 5678"})
            self.assertEqual(self.assert_works(typed, []), 401, path)

    def test_a_phrase_that_is_asked_for_hashes_nothing(self):
        def asked(user):
            return keyd.Browser(self.service).call("POST", "/v1/device", {"user": user})
        self.assertEqual(self.assert_works(asked, []), 200)


if __name__ == "__main__":
    keyd.main()
