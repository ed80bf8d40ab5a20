"""What one client may use up, and that it is nobody else's."""
import socket
import ssl
import time

import keyd

PASSWORD = "correct horse battery"
HERE, ELSEWHERE = "127.0.0.1", "127.0.1.1"  # two networks: each is a /24


def sign_in(service, source, user, password):
    return keyd.Browser(service, source).sign_in(user, password)


def register(service, source, user, browser=None):
    browser = browser or keyd.Browser(service, source)
    return browser.call("POST", "/v1/accounts", {"user": user, "password": PASSWORD})


class Mapped(keyd.Case):
    """A listener of both families, which sees IPv4 clients as ::ffff:a.b.c.d."""

    settings = 'listen = "[::]:0"\n'

    @classmethod
    def setUpClass(cls):
        try:
            socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True).close()
        except (OSError, ValueError) as error:
            raise keyd.unittest.SkipTest("no IPv6 here") from error
        super().setUpClass()

    def test_ipv4_clients_are_networks_of_their_own(self):
        for _ in range(10):
            answer = sign_in(self.service, HERE, "bob@example.org", "a wrong guess")
            self.assert_refused(answer, 401, "credentials")
        answer = sign_in(self.service, HERE, "bob@example.org", "a wrong guess")
        self.assert_refused(answer, 429, "too_many")
        answer = sign_in(self.service, ELSEWHERE, "bob@example.org", "a wrong guess")
        self.assert_refused(answer, 401, "credentials")
        seen = {line["from"] for line in self.audit() if line["event"] == "sign_in"}
        self.assertEqual(seen, {HERE, ELSEWHERE})


class Guesses(keyd.Case):
    def test_a_known_browser_passes_where_its_network_has_guessed_too_much(self):
        self.service.account("owner@example.org", PASSWORD)
        owner = keyd.Browser(self.service, HERE)
        self.assertEqual(owner.sign_in("owner@example.org", PASSWORD).status, 200)
        guesser = keyd.Browser(self.service, HERE)
        statuses = []
        while 429 not in statuses and len(statuses) < 300:
            user = f"ghost{len(statuses) // 5}@example.org"
            statuses.append(guesser.sign_in(user, "a wrong guess").status)
        self.assertGreaterEqual(statuses.count(401), 100)
        self.assert_refused(sign_in(self.service, HERE, "owner@example.org", PASSWORD), 429,
                            "too_many")
        self.assertEqual(owner.sign_in("owner@example.org", PASSWORD).status, 200)
        # Its own wrong guesses count all the same.
        answers = [owner.sign_in("owner@example.org", "a wrong guess").status for _ in range(11)]
        self.assertEqual(answers, [401] * 10 + [429])

    def test_another_sites_page_cannot_spend_a_networks_guesses(self):
        self.service.account("visitor@example.org", PASSWORD)
        fields = {"user": "visitor@example.org", "m": self.stored(to=("visitor@example.org",)),
                  "pub": keyd.public_key()}

        def ask(password, headers):
            body = keyd.json.dumps({**fields, "password": password})
            return self.service.call("POST", "/v1/open", body,
                                     {"Content-Type": "text/plain", **headers}, source=ELSEWHERE)
        for headers in ({"Origin": "https://evil.example"}, {"Origin": "null"},
                        {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}):
            for _ in range(11):
                answer = ask("a wrong guess", headers)
                self.assert_refused(answer, 403, "csrf")
                self.assertIsNone(answer.headers["Access-Control-Allow-Origin"])
        self.assertEqual(ask(PASSWORD, {}).status, 200)
        own = {"Origin": f"https://127.0.0.1:{self.service.public}"}
        self.assertEqual(ask(PASSWORD, own).status, 200)

    def test_a_password_typed_as_the_address_is_not_logged(self):
        source = "127.0.7.1"
        self.assert_refused(sign_in(self.service, source, "my very secret words", "x"), 401,
                            "credentials")
        body = keyd.json.dumps({"user": "my very secret words", "password": "x",
                                "m": self.stored(), "pub": keyd.public_key()})
        self.assert_refused(self.service.call("POST", "/v1/open", body, source=source), 401,
                            "credentials")
        sign_in(self.service, source, " Known@Example.org ", "x")
        lines = [line for line in self.audit() if line["event"] == "sign_in"]
        self.assertNotIn("secret", keyd.json.dumps(lines) + self.service.log_text())
        self.assertEqual(lines[-1]["user"], "known@example.org")
        self.assertNotIn("user", lines[-2])


class Registrations(keyd.Case):
    def test_strangers_neither_trim_nor_block_a_registration(self):
        victim = keyd.Browser(self.service, HERE)
        self.assertEqual(register(self.service, HERE, "victim@example.org", victim).status, 200)
        code = self.service.code("victim@example.org")
        for network in range(1, 4):
            source = f"127.0.{network}.1"
            answers = [register(self.service, source, "victim@example.org").status
                       for _ in range(6)]
            self.assertEqual(answers, [200] * 5 + [429])
        # The owner asks for another code, and the first one still works.
        other = keyd.Browser(self.service, HERE)
        self.assertEqual(register(self.service, HERE, "victim@example.org", other).status, 200)
        answer = victim.call("POST", "/v1/accounts/verify", {"user": "victim@example.org",
                                                             "code": code})
        self.assertEqual((answer.status, answer.json.get("user")), (200, "victim@example.org"))

    def test_many_networks_together_do_not_flood_a_mailbox(self):
        answers = [register(self.service, f"127.0.{network}.2", "flood@example.org").status
                   for network in range(10, 15) for _ in range(5)]
        self.assertEqual(answers, [200] * 20 + [429] * 5)

    def test_addresses_that_are_not_ascii_are_refused_with_the_reason(self):
        answer = register(self.service, HERE, "jörg@example.org")
        self.assert_refused(answer, 400, "bad_request")
        self.assertIn("ASCII", answer.json["error"]["message"])
        self.assertEqual(self.service.mails("jörg@example.org"), [])


class Releases(keyd.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.service.account("bob@example.org", PASSWORD)

    def release(self, browser, identity, pub=None):
        return browser.call("POST", "/v1/release", {"m": identity, "pub": pub or self.pub})

    def setUp(self):
        self.pub = keyd.public_key()

    def signed_in(self):
        browser = keyd.Browser(self.service, HERE)
        self.assertEqual(browser.sign_in("bob@example.org", PASSWORD).status, 200)
        return browser

    def test_who_is_not_signed_in_learns_nothing_and_writes_nothing(self):
        browser = keyd.Browser(self.service, "127.0.5.1")
        known, unknown = self.stored(), keyd.envelope_id().hex()
        before = len(self.audit())
        answers = [self.release(browser, identity) for identity in (known, unknown)]
        for answer in answers:
            self.assert_refused(answer, 401, "credentials")
        self.assertEqual(answers[0].body, answers[1].body)
        self.assertEqual(len(self.audit()), before)

    def test_a_network_without_account_has_an_allowance_of_its_own(self):
        stranger = keyd.Browser(self.service, HERE)
        open_to_all = self.stored(level=keyd.NONE)
        statuses = []
        while 429 not in statuses and len(statuses) < 400:
            statuses.append(self.release(stranger, open_to_all).status)
        self.assertEqual(set(statuses[:-1]), {200})
        self.assertEqual(statuses[-1], 429)
        answer = self.service.call("POST", "/v1/open", keyd.json.dumps({"m": open_to_all,
                                                                        "pub": self.pub}),
                                   source=HERE)
        self.assert_refused(answer, 429, "too_many")
        self.assertGreater(int(answer.headers["Retry-After"]), 0)
        self.assertEqual(self.release(self.signed_in(), self.stored()).status, 200)
        elsewhere = keyd.Browser(self.service, ELSEWHERE)
        self.assertEqual(self.release(elsewhere, open_to_all).status, 200)

    def test_refusals_do_not_fill_the_audit_log(self):
        self.service.account("nosy@example.org", PASSWORD)
        browser = keyd.Browser(self.service, HERE)
        browser.sign_in("nosy@example.org", PASSWORD)
        before = len(self.audit())
        statuses = [self.release(browser, keyd.envelope_id().hex()).status for _ in range(80)]
        self.assertEqual(set(statuses), {404, 429})
        self.assertEqual(len(self.audit()) - before, statuses.count(404))
        self.assertLess(statuses.count(404), 60)
        # What the account may have it still gets.
        self.assertEqual(self.release(browser, self.stored(to=("nosy@example.org",))).status, 200)

    def test_a_look_at_a_pickup_does_not_spend_it(self):
        pub = keyd.public_key()
        self.assertEqual(self.release(self.signed_in(), self.stored(), pub).status, 200)
        path = "/pickup/" + keyd.pickup_name(pub)
        self.assertEqual(self.service.call("HEAD", path).status, 405)
        self.assertEqual(self.service.call("OPTIONS", path).status, 204)
        self.assertEqual(self.service.call("GET", path).status, 200)
        self.assertEqual(self.service.call("HEAD", "/v1/health").status, 200)


class Operator(keyd.Case):
    def test_a_changed_password_ends_sessions_and_the_old_one(self):
        self.service.account("bob@example.org", PASSWORD)
        browser = keyd.Browser(self.service)
        browser.sign_in("bob@example.org", PASSWORD)
        self.service.run("account", "password", "--password-file", "-", "bob@example.org",
                         stdin="another long password\n")
        self.assertIsNone(browser.call("GET", "/v1/session").json["user"])
        self.assert_refused(browser.sign_in("bob@example.org", PASSWORD), 401, "credentials")
        self.assertEqual(browser.sign_in("bob@example.org", "another long password").status, 200)
        made = self.service.run("account", "password", "bob@example.org").stdout.strip()
        self.assertEqual(browser.renew("bob@example.org", made, PASSWORD).status, 200)

    def test_what_the_store_refused_is_told_and_recorded(self):
        weak = self.service.run("account", "password", "--password-file", "-", "no@example.org",
                                check=False, stdin="short\n")
        self.assertEqual(weak.returncode, 65)
        self.service.account("there@example.org", PASSWORD)
        for words, status, event, outcome in (
                (("account", "password", "no@example.org"), 67, "account_password", "unknown"),
                (("account", "remove", "no@example.org"), 67, "account_remove", "unknown"),
                (("account", "add", "there@example.org"), 73, "account_add", "conflict"),
                (("engine", "revoke", "nobody"), 67, "engine_revoke", "unknown"),
                (("envelope", "lock", "0" * 32), 65, "lock", "unknown")):
            self.assertEqual(self.service.run(*words, check=False).returncode, status, words)
            line = self.audit()[-1]
            self.assertEqual((line["event"], line.get("outcome")), (event, outcome))


class Slow(keyd.Case):
    """Nobody holds a connection by trickling: the time is the request's, not the last byte's."""

    settings = 'request_head_time = "1s"\nrequest_body_time = "2s"\nconnection_idle = "600s"\n'

    def connected(self):
        raw = socket.create_connection(("127.0.0.1", self.service.public), keyd.WAIT_S)
        return self.service.tls().wrap_socket(raw, server_hostname="localhost")

    def assert_cut(self, connection, trickle):
        """Sends one byte after another until the service hangs up."""
        until = time.monotonic() + keyd.WAIT_S
        connection.settimeout(0.1)
        for byte in trickle:
            self.assertLess(time.monotonic(), until)
            try:
                connection.sendall(bytes([byte]))
                self.assertEqual(connection.recv(100), b"")
                return
            except (TimeoutError, ssl.SSLWantReadError):
                continue
            except OSError:
                return
        self.fail("everything could be trickled")

    def test_a_head_that_trickles_is_cut(self):
        with self.connected() as connection:
            self.assert_cut(connection, b"GET /v1/health HTTP/1.1\r\nX: " + b"x" * 2000)

    def test_a_body_that_trickles_is_cut(self):
        with self.connected() as connection:
            connection.sendall(b"POST /v1/open HTTP/1.1\r\nHost: localhost\r\n"
                               b"Content-Length: 2000\r\n\r\n")
            self.assert_cut(connection, b"x" * 1999)

    def test_a_client_that_never_greets_is_cut(self):
        with socket.create_connection(("127.0.0.1", self.service.public)) as connection:
            connection.settimeout(keyd.WAIT_S)
            try:
                self.assertEqual(connection.recv(1), b"")
            except ConnectionError:
                pass

    def test_a_prompt_client_is_served(self):
        self.assertEqual(self.service.call("GET", "/v1/health").status, 200)


if __name__ == "__main__":
    keyd.main()
