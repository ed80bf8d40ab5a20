"""Guessing at one account from many networks at once, and that its owner is not kept out by it."""
import time

import code_app
import keyd

PASSWORD = "correct horse battery"
HERE = "127.0.0.1"
EACH = 10  # what one network may guess of one account
NETWORKS = 20  # each a /24 of loopback, none of them the owner's


def sources(first):
    """An address in each of so many networks."""
    return [f"127.0.{network}.1" for network in range(first, first + NETWORKS)]


class ManyNetworks(keyd.Case):
    def owner(self, user):
        """A browser that was signed in before, which is then known."""
        self.service.account(user, PASSWORD)
        browser = keyd.Browser(self.service, HERE)
        self.assertEqual(browser.sign_in(user, PASSWORD).status, 200)
        return browser

    def guess_until_refused(self, first, burst, refill_s, guess_from):
        """`guess_from(source)` makes a guesser there; the allowance of all is met, and not one network's."""
        begun = time.monotonic()
        wrong = 0
        for source in sources(first):
            guess = guess_from(source)
            for _ in range(EACH):
                answer = guess()
                if answer.status == 429:
                    self.assert_refused(answer, 429, "too_many")
                    refilled = int((time.monotonic() - begun) / refill_s) + 1
                    self.assertIn(wrong, range(burst, burst + refilled + 1))
                    return
                self.assertEqual(answer.status, 401, answer.body)
                wrong += 1
        self.fail(f"{wrong} guesses from {NETWORKS} networks, and none was refused")


class Passwords(ManyNetworks):
    def sign_in(self, source, user):
        return keyd.Browser(self.service, source).sign_in(user, PASSWORD)

    def test_all_together_guess_a_password_a_hundred_times_and_the_owner_still_gets_in(self):
        owner = self.owner("owner@example.org")

        def guess_from(source):
            browser = keyd.Browser(self.service, source)
            return lambda: browser.sign_in("owner@example.org", "a wrong guess")
        self.guess_until_refused(20, 100, 30, guess_from)
        # The allowance is the account's: these networks may try another one.
        self.assert_refused(self.sign_in("127.0.20.1", "other@example.org"), 401, "credentials")
        self.assertEqual(owner.sign_in("owner@example.org", PASSWORD).status, 200)
        # So does a browser without cookies, where the owner was signed in before.
        self.assertEqual(self.sign_in(HERE, "owner@example.org").status, 200)


class Factors(ManyNetworks):
    def test_who_knows_the_password_tries_thirty_second_factors_and_the_owner_still_gets_in(self):
        user = "factor@example.org"
        owner = self.owner(user)
        codes = self.second_factor(owner)

        def guess_from(source):
            browser = keyd.Browser(self.service, source)
            asked = browser.sign_in(user, PASSWORD)
            self.assertEqual((asked.status, asked.json["needs"]), (200, "totp"))
            return lambda: browser.call("POST", "/v1/session/second", {
                "user": user, "ticket": asked.json["ticket"], "code": "aaaaa-aaaaa"})
        self.guess_until_refused(100, 30, 300, guess_from)
        asked = owner.sign_in(user, PASSWORD).json
        answer = owner.call("POST", "/v1/session/second",
                            {"user": user, "ticket": asked["ticket"], "code": codes[0]})
        self.assertEqual((answer.status, answer.json["user"]), (200, user))

    def second_factor(self, browser):
        """Turns it on; the recovery codes."""
        app = code_app.CodeApp(browser.call("POST", "/v1/account/totp", {}).json["secret"])
        answer = app.confirm(browser)
        self.assertEqual(answer.status, 200, answer.body)
        return answer.json["codes"]


if __name__ == "__main__":
    keyd.main()
