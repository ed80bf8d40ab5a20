"""What is posted to /online, who may open it, and what it leaves behind."""
import http.client
import os
import socket
import time

import keyd

PASSWORD = "correct horse battery"
BOUNDARY = "----WebKitFormBoundary7MA4YWxkTrZu0gW"
# The worked example of docs/format/envelope.md.
KEY = bytes(range(32))
ID = "0192f0c1d2e37abc8def0123456789ab"
MAIL = b"Subject: x\r\n\r\nHi\r\n"
FIELDS = {
    "v": "1", "s": "1", "m": ID, "f": "alice@example.com", "u": "x", "t": "1700000000",
    "k": "WlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaI5dBslF0Nt0tw60C+IWAn3t4vefaDJ6BHksNyQi/I8E=",
    "c": "\r\nGL9ufPPQxwUUUGIBWpZXOed2nGDJKcoIQXwxPQ7HZ43Vn2ltET3cqS+GECPm\r\n", "e": "1"}


def form(**changed):
    text = ""
    for name, value in {**FIELDS, **changed}.items():
        if value is not None:
            text += (f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'
                     f"{value}\r\n")
    return (text + f"--{BOUNDARY}--\r\n").encode()


class Online(keyd.Case):
    """POST /online, then GET and POST /v1/online/<handle>."""

    # A service for each test: they all use the one id of the worked example.
    def setUp(self):
        super().setUpClass.__func__(type(self))
        self.service.account("bob@example.org", PASSWORD)
        self.service.account("eve@example.org", PASSWORD)

    def tearDown(self):
        super().tearDownClass.__func__(type(self))

    @classmethod
    def setUpClass(cls):
        pass

    @classmethod
    def tearDownClass(cls):
        pass

    def register(self, key=KEY, level=keyd.MEDIUM, **fields):
        identity = bytes.fromhex(ID)
        fields.setdefault("to", ("bob@example.org",))
        answer = self.service.store(keyd.batch(
            keyd.record(identity, key=key, level=level, **fields)))
        self.assertEqual(answer.status, 200, answer.body)

    def post(self, body=None, source=None, **changed):
        return self.service.call(
            "POST", "/online", form(**changed) if body is None else body,
            {"Content-Type": "multipart/form-data; boundary=" + BOUNDARY, "Origin": "null",
             "Sec-Fetch-Site": "cross-site"}, source=source)

    def handle(self, **changed):
        answer = self.post(**changed)
        self.assertEqual(answer.status, 303, answer.body)
        origin, handle = answer.headers["Location"].split("/online/")
        self.assertEqual(origin, "", "of the very origin that the form went to")
        self.assertEqual(len(handle), 43)
        return handle

    def browser(self, user="bob@example.org"):
        browser = keyd.Browser(self.service)
        if user is not None:
            self.assertEqual(browser.sign_in(user, PASSWORD).status, 200)
        return browser

    def open(self, browser, handle, **headers):
        return browser.call("POST", "/v1/online/" + handle, {}, headers)

    def test_a_recipient_opens_it_once(self):
        self.register()
        handle, browser = self.handle(), self.browser()
        self.assertEqual(browser.call("GET", "/v1/online/" + handle).json, {"m": ID})
        answer = self.open(browser, handle)
        self.assertEqual((answer.status, answer.body), (200, MAIL))
        self.assertEqual(answer.headers["Cache-Control"], "no-store")
        self.assertEqual(answer.headers["X-Content-Type-Options"], "nosniff")
        self.assertEqual(answer.headers["Content-Type"], "application/octet-stream")
        self.assertIn("attachment", answer.headers["Content-Disposition"])
        self.assert_refused(self.open(browser, handle), 410, "gone")
        self.assert_refused(browser.call("GET", "/v1/online/" + handle), 410, "gone")
        line = [line for line in self.audit() if line["event"] == "release"][-1]
        self.assertEqual((line["m"], line["user"], line["outcome"]),
                         (ID, "bob@example.org", "online"))

    def test_nothing_of_it_is_on_any_disk_or_in_the_log(self):
        self.register()
        handle = self.handle()
        self.assertEqual(self.open(self.browser(), handle).status, 200)
        kept = self.service.log_text().encode()
        for folder, _, names in os.walk(self.service.dir):
            for name in names:
                with open(os.path.join(folder, name), "rb") as file:
                    kept += file.read()
        for secret in (b"GL9ufPPQxwUU", b"\nHi\r\n", handle.encode(), KEY):
            self.assertNotIn(secret, kept)

    def test_the_answer_to_the_form_sets_nothing_and_shows_nothing(self):
        self.register()
        answer = self.post()
        self.assertEqual((answer.status, answer.body), (303, b""))
        self.assertIsNone(answer.headers["Set-Cookie"])
        self.assertIsNone(answer.headers["Access-Control-Allow-Origin"])
        self.assertEqual(answer.headers["Referrer-Policy"], "no-referrer")

    def test_the_page_cannot_be_framed_and_runs_its_own_scripts_only(self):
        page = self.service.call("GET", "/online/" + self.handle())
        policy = page.headers["Content-Security-Policy"]
        self.assertIn("script-src 'self';", policy)
        self.assertIn("frame-ancestors 'none'", policy)
        self.assertEqual(page.headers["X-Frame-Options"], "DENY")
        self.assertEqual(page.headers["Cross-Origin-Opener-Policy"], "same-origin")
        self.assertIn(b'<form method="post" class="late">', page.body, "the way without scripts")

    def test_who_is_not_signed_in_learns_and_spends_nothing(self):
        self.register()
        handle = self.handle()
        stranger = self.browser(None)
        self.assert_refused(self.open(stranger, handle), 401, "credentials")
        self.assert_refused(self.open(stranger, self.handle(m="f" * 32)), 401, "credentials")
        self.assertEqual(self.open(self.browser(), handle).body, MAIL)

    def test_who_is_not_a_recipient_leaves_it_to_who_is(self):
        self.register()
        handle = self.handle()
        self.assert_refused(self.open(self.browser("eve@example.org"), handle), 403,
                            "not_recipient")
        self.assertEqual(self.open(self.browser(), handle).body, MAIL)

    def test_locked_expired_and_unknown_are_told_apart(self):
        browser = self.browser()
        self.assert_refused(self.open(browser, self.handle()), 404, "unknown")
        self.register()
        handle = self.handle()
        self.service.run("envelope", "lock", ID)
        self.assert_refused(self.open(browser, handle), 403, "locked")
        self.service.run("envelope", "unlock", ID)
        self.service.run("envelope", "expire", ID)
        self.assert_refused(self.open(browser, handle), 410, "expired")

    def test_another_key_and_damage_are_told_apart_and_end_it(self):
        self.register()
        browser = self.browser()
        for code, changed in (
                ("key", {"k": FIELDS["k"].replace("I5dB", "I5dC")}), ("key", {"s": "2"}),
                ("damaged", {"c": FIELDS["c"].replace("GL9u", "GL9v")}),
                ("damaged", {"c": FIELDS["c"].replace("GL9ufPPQxwUU", "")})):
            handle = self.handle(**changed)
            self.assert_refused(self.open(browser, handle), 422, code)
            self.assert_refused(self.open(browser, handle), 410, "gone")
        self.assertEqual([line["outcome"] for line in self.audit() if line["event"] == "refuse"],
                         ["key", "key", "damaged", "damaged"])
        self.assertFalse([line for line in self.audit() if line["event"] == "release"])

    def test_level_high_asks_for_the_password_each_time(self):
        self.register(level=keyd.HIGH)
        browser = self.browser()
        self.assertEqual(self.open(browser, self.handle()).status, 200)
        handle = self.handle()
        self.assert_refused(self.open(browser, handle), 401, "credentials")
        browser.sign_in("bob@example.org", PASSWORD)
        self.assertEqual(self.open(browser, handle).status, 200)

    def test_level_none_opens_for_anyone(self):
        self.register(level=keyd.NONE)
        self.assertEqual(self.open(self.browser(None), self.handle()).body, MAIL)

    def test_aes_192_is_read_with_a_key_of_24_bytes(self):
        self.register(key=KEY[:24] + bytes(8), suite=2)
        # The example is sealed with AES-256: its commitment is of another key.
        self.assert_refused(self.open(self.browser(), self.handle(s="2")), 422, "key")

    def test_other_sites_cannot_click(self):
        self.register()
        handle, browser = self.handle(), self.browser()
        for headers in ({"X-Bulla-CSRF": "x"}, {"X-Bulla-CSRF": None}, {"Origin": "null"},
                        {"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"},
                        {"Content-Type": "text/plain"}, {"Cookie": ""}):
            answer = browser.call("POST", "/v1/online/" + handle, {}, headers)
            self.assert_refused(answer, 403, "csrf")
        self.assertEqual(self.open(browser, handle).body, MAIL)

    def test_looking_spends_nothing_and_guesses_find_nothing(self):
        self.register()
        handle, browser = self.handle(), self.browser()
        for path in ("/v1/online/" + handle, "/online/" + handle):
            for method in ("GET", "HEAD"):
                self.assertEqual(browser.call(method, path).status, 200)
        for wrong in ("", "x", "A" * 43, handle[:-1], handle + "A", handle.swapcase(), "../x"):
            self.assert_refused(browser.call("GET", "/v1/online/" + wrong), 410, "gone")
            self.assert_refused(self.open(browser, wrong), 410, "gone")
        self.assertEqual(self.open(browser, handle).body, MAIL)

    def assert_notice(self, answer, status, words):
        self.assertEqual(answer.status, status, answer.body)
        self.assertEqual(answer.headers["Content-Type"], "text/html; charset=utf-8")
        self.assertIn(words, answer.body)

    def test_forms_that_are_no_envelope_get_a_page_that_says_why(self):
        for changed in ({"v": "2"}, {"m": "x"}, {"k": ""}, {"c": None}, {"c": "!"}, {"t": "x"}):
            self.assert_notice(self.post(**changed), 400, b"damaged on its way")
        self.assert_notice(self.post(e=None), 400, b"is not whole")
        for body in (b"", b"x", form()[:-20], b"\0" * 5000):
            self.assert_notice(self.post(body), 400, b"damaged on its way")

    def test_a_form_that_is_too_large_is_read_and_told_so(self):
        self.assert_notice(self.post(c="A" * (65 << 20)), 413, b"too large")

    def test_a_form_without_a_length_is_refused(self):
        connection = http.client.HTTPSConnection("localhost", self.service.public,
                                                 context=self.service.tls(), timeout=keyd.WAIT_S)
        connection.request("POST", "/online", iter([form()]), {
            "Content-Type": "multipart/form-data; boundary=" + BOUNDARY}, encode_chunked=True)
        self.assertEqual(connection.getresponse().status, 411)
        connection.close()

    def test_a_flood_costs_its_own_network_the_earliest(self):
        self.register()
        mine = self.post(source="127.0.1.1").headers["Location"].split("/online/")[1]
        handles = [self.handle() for _ in range(17)]
        states = [self.service.call("GET", "/v1/online/" + handle).status
                  for handle in [mine, *handles]]
        self.assertEqual(states, [200, 410] + [200] * 16)

    def begin(self, length, share):
        """A form of `length` bytes of which `share` are sent; the connection stays open."""
        raw = socket.create_connection(("127.0.0.1", self.service.public), keyd.WAIT_S)
        tls = self.service.tls().wrap_socket(raw, server_hostname="localhost")
        tls.sendall(f"POST /online HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n"
                    f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n".encode())
        block = b"A" * (1 << 20)
        for _ in range(share >> 20):
            tls.sendall(block)
        return tls

    def test_uploads_that_never_end_fill_no_more_than_their_share(self):
        self.register()
        slow = [self.begin(64 << 20, 63 << 20) for _ in range(3)]
        until = time.monotonic() + keyd.WAIT_S
        while (answer := self.post(c="A" * (8 << 20))).status != 503:
            self.assertLess(time.monotonic(), until)
            time.sleep(0.1)
        self.assert_notice(answer, 503, b"try again")
        self.assertIn("Retry-After", answer.headers)
        elsewhere = self.post(source="127.0.1.1")
        self.assertEqual(elsewhere.status, 303)
        for connection in slow:
            connection.close()
        while self.post(c="A" * (8 << 20)).status == 503:
            self.assertLess(time.monotonic(), until)
            time.sleep(0.1)
        self.assertEqual(self.open(self.browser(), self.handle()).body, MAIL)


if __name__ == "__main__":
    keyd.main()
