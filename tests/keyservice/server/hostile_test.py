"""What may arrive at an open port: requests that two readers read in two ways, and what is no TLS at all."""
import os
import re
import socket
import ssl
import struct
import subprocess
import time

import keyd

HOST = b"Host: localhost\r\n"
POST = b"POST /v1/open HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\n"
SMUGGLED = b"GET /v1/health HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"
CHUNKED = b"0\r\n\r\n"


class Hostile(keyd.Case):
    def tearDown(self):
        answer = self.service.call("GET", "/v1/health")
        self.assertEqual((answer.status, answer.json), (200, {"status": "ok"}))

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.service.public), keyd.WAIT_S)

    def raw(self, data):
        """The status of each answer to these bytes, and all that came back until the service closed."""
        context = self.service.tls()
        with context.wrap_socket(self.connect(), server_hostname="localhost") as tls:
            tls.sendall(data)
            answer = b""
            try:
                while piece := tls.recv(65536):
                    answer += piece
            except (ConnectionResetError, ssl.SSLError):
                pass
        return [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3})", answer)], answer

    def test_a_request_whose_end_is_in_doubt_is_refused_and_nothing_behind_it_is_read(self):
        for fields, body in (
                (b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", CHUNKED),
                (b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", CHUNKED),
                (b"Content-Length: 2\r\nContent-Length: 4\r\n", b"{}"),
                (b"Content-Length: 2\r\nContent-Length: 2\r\n", b"{}"),
                (b"Content-Length: 2\r\ncontent-length: 40\r\n", b"{}"),
                (b"Transfer-Encoding: xchunked\r\n", CHUNKED),
                (b"Transfer-Encoding: chunked, identity\r\n", CHUNKED),
                (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", CHUNKED),
                (b"Transfer-Encoding : chunked\r\n", CHUNKED),
                (b"X: a\r\n Content-Length: 40\r\n", b""),
                (b"X: a\rContent-Length: 40\r\n", b"")):
            statuses, answer = self.raw(POST + fields + b"\r\n" + body + SMUGGLED)
            self.assertEqual(statuses, [400], (fields, answer))

    def test_a_length_that_is_no_number_is_refused(self):
        for length in (b"2, 2", b"+2", b"-1", b"0x2", b"", b"2 2"):
            statuses, answer = self.raw(POST + b"Content-Length: " + length + b"\r\n\r\n{}" + SMUGGLED)
            self.assertNotIn(200, statuses, (length, answer))
        statuses, answer = self.raw(POST + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n{}" + SMUGGLED)
        self.assertNotIn(200, statuses, answer)

    def test_a_chunk_that_is_no_chunk_is_refused(self):
        for chunk in (b"f" * 17 + b"1\r\nx\r\n0\r\n\r\n", b"-1\r\nx\r\n0\r\n\r\n", b"zz\r\n\r\n"):
            statuses, answer = self.raw(POST + b"Transfer-Encoding: chunked\r\n\r\n" + chunk + SMUGGLED)
            self.assertNotIn(200, statuses, (chunk, answer))

    def test_a_request_names_one_host(self):
        for fields in (b"", HOST + b"Host: evil\r\n"):
            statuses, answer = self.raw(b"GET /v1/health HTTP/1.1\r\n" + fields + b"Connection: close\r\n\r\n")
            self.assertIn(400, statuses, (fields, answer))
            self.assertNotIn(200, statuses, (fields, answer))

    def test_a_body_of_a_get_is_not_read_as_the_next_request(self):
        statuses, answer = self.raw(b"GET /v1/health HTTP/1.1\r\n" + HOST
                                    + b"Content-Length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED)
        self.assertEqual(statuses, [413], answer)

    def test_other_protocols_and_methods_are_refused(self):
        for request, status in ((b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
                                (b"TRACE / HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n", 405),
                                (b"CONNECT evil:443 HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n", 404),
                                (b"GET https://evil/v1/health HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n", 404)):
            statuses, answer = self.raw(request)
            self.assertEqual(statuses, [status], answer)

    def test_heads_over_the_limit_are_refused(self):
        fields = b"".join(b"X-%d: a\r\n" % n for n in range(4000))
        for request in (b"GET /v1/health HTTP/1.1\r\n" + HOST + fields + b"\r\n",
                        b"GET /" + b"a" * 70000 + b" HTTP/1.1\r\n" + HOST + b"\r\n"):
            statuses, answer = self.raw(request)
            self.assertTrue(not statuses or 400 <= statuses[0] < 500, answer[:200])

    def test_what_is_no_tls_is_dropped(self):
        record = struct.pack(">BHH", 22, 0x0301, 0xffff)
        for data in (b"GET / HTTP/1.1\r\n\r\n", b"\0" * 4096, os.urandom(4096), record + b"\1" * 300,
                     struct.pack(">BHH", 21, 0x0303, 2) + b"\2\0", b"\x80\x2e\1\0\2" + b"\0" * 41):
            with self.connect() as plain:
                plain.settimeout(keyd.WAIT_S)
                try:
                    plain.sendall(data)
                    plain.shutdown(socket.SHUT_WR)
                    answer = b""
                    while piece := plain.recv(4096):
                        answer += piece
                except TimeoutError:
                    raise
                except OSError:  # reset or gone already
                    continue
                self.assertNotIn(b"HTTP", answer, data[:20])
                self.assertLess(len(answer), 64)

    def test_old_tls_and_weak_ciphers_are_not_spoken(self):
        for options in (["-tls1"], ["-tls1_1"], ["-tls1_2", "-cipher", "AES256-SHA:AES128-GCM-SHA256"],
                        ["-tls1_2", "-cipher", "NULL:aNULL:RC4:3DES"],
                        ["-tls1_2", "-cipher", "ECDHE+SHA1:ECDHE+SHA256:!AESGCM:!CHACHA20:!CCM"],
                        ["-tls1_2", "-cipher", "DHE:!ECDHE"]):
            done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{self.service.public}",
                                   *options], input=b"", capture_output=True, timeout=keyd.WAIT_S, check=False)
            self.assertNotEqual(done.returncode, 0, options)

    def test_what_was_refused_stands_in_the_log_and_does_not_fill_it(self):
        forged = (b"POST /v1/session HTTP/1.1\r\nConnection: close\r\nContent-Length: 11\r\n" + HOST +
                  b"\r\nsecret word")
        unknown = b"DELETE /v1/health HTTP/1.1\r\nConnection: close\r\n" + HOST + b"\r\n"
        self.raw(forged)
        self.raw(unknown)
        log = self.service.log_text()
        self.assertIn("refused path=/v1/session status=403 from=127.0.0.1", log)
        self.assertIn("refused path=- status=405 from=127.0.0.1", log)
        self.assertNotIn("secret word", log)
        before = log.count("refused path=")
        begun = time.monotonic()
        for _ in range(40):
            self.raw(unknown)
        seconds = int(time.monotonic() - begun) + 2
        self.assertLessEqual(self.service.log_text().count("refused path=") - before, 20 * seconds)

    def test_the_process_has_given_up_what_it_does_not_need(self):
        with open(f"/proc/{self.service.process.pid}/status", encoding="ascii") as file:
            status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
        log = self.service.log_text()
        landlock = int(re.search(r"confined landlock=(\d+)", log)[1])
        self.assertEqual(status["NoNewPrivs"], "1" if landlock or "seccomp=yes" in log else "0")
        self.assertEqual(status["Seccomp"], "2" if "seccomp=yes" in log else "0")


class Named(keyd.Case):
    """A service by a name of its own, which browsers may hold to TLS; localhost is other programs' too."""

    settings = 'public_url = "https://keys.example.com"\n'

    def test_browsers_are_told_to_come_by_tls_alone(self):
        for path in ("/", "/v1/health", "/nothing"):
            self.assertEqual(self.service.call("GET", path).headers["Strict-Transport-Security"],
                             "max-age=31536000; includeSubDomains")


class Unconfined(keyd.Case):
    settings = 'confine = "no"\n'

    def test_an_operator_can_leave_it_off(self):
        self.assertNotIn(" confined ", self.service.log_text())
        self.assertEqual(self.service.call("GET", "/v1/health").status, 200)


class Refused(keyd.Case):
    def test_a_user_that_is_not_there_and_a_wrong_word_name_the_mend(self):
        self.service.stop()
        for setting, words in (('confine = "perhaps"\n', "confine: write try, require or no"),
                               ('user = "no-such-user-here"\n', "adduser")):
            if setting.startswith("user") and os.geteuid() != 0:
                continue
            with open(self.service.config, encoding="utf-8") as file:
                text = file.read()
            with open(self.service.config, "a", encoding="utf-8") as file:
                file.write(setting)
            done = self.service.run("serve", check=False)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(words, done.stderr)
            with open(self.service.config, "w", encoding="utf-8") as file:
                file.write(text)

    def test_a_word_that_is_none_is_named_with_its_line_whatever_comments_stand_before(self):
        self.service.stop()
        with open(self.service.config, encoding="utf-8") as file:
            text = file.read()
        with open(self.service.config, "w", encoding="utf-8") as file:
            file.write("# one\n// two\nnonsense = 1 # three\n" + text)
        done = self.service.run("serve", check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("keyd.conf:3: no such option 'nonsense'; bulla-keyd.conf(5)", done.stderr)


if __name__ == "__main__":
    keyd.main()
