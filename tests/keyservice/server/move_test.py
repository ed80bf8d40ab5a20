"""An SQLite database goes to PostgreSQL: what was there is there, or the move is not done."""
import os
import signal
import subprocess
import tempfile
import time
import unittest

import keyd
from code_app import CodeApp

PASSWORD = "correct horse battery"
ALICE, BOB, BOSS = "alice@example.com", "bob@example.org", "boss@example.org"


class Move(unittest.TestCase):
    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory()
        self.addCleanup(self.temporary.cleanup)
        self.url = keyd.postgresql_database()
        server = os.environ.pop("BULLA_POSTGRESQL")
        try:
            self.service = keyd.Service(self.temporary.name)  # on SQLite
        finally:
            os.environ["BULLA_POSTGRESQL"] = server
        self.addCleanup(self.service.stop)
        for address in (ALICE, BOB, BOSS):
            self.service.account(address, PASSWORD)

    def move(self, check=True):
        return self.service.run("move", "--to", self.url, check=check)

    def settings_to_postgresql(self):
        with open(self.service.config, encoding="utf-8") as config:
            text = config.read()
        changed = text.replace('database = "keys.db"', f'database = "{self.url}"')
        self.assertNotEqual(text, changed)
        with open(self.service.config, "w", encoding="utf-8") as config:
            config.write(changed)

    def stored(self, **fields):
        identity = keyd.envelope_id()
        answer = self.service.store(keyd.batch(keyd.record(identity, **fields)))
        self.assertEqual(answer.status, 200, answer.body)
        return identity.hex()

    def browser(self, user):
        browser = keyd.Browser(self.service)
        self.assertEqual(browser.sign_in(user, PASSWORD).status, 200)
        return browser

    def release(self, browser, identity):
        return browser.call("POST", "/v1/release", {"m": identity, "pub": keyd.public_key()}).status

    def rows(self, table):
        return int(keyd.psql(f"SELECT count(*) FROM {table}", self.url))

    def test_what_was_there_is_there(self):
        plain = [self.stored(level=keyd.NONE) for _ in range(300)]
        opened, locked = self.stored(subject="Zürich \\ 1"), self.stored()
        self.assertEqual(self.release(self.browser(BOB), opened), 200)
        alice = self.browser(ALICE)
        answer = alice.call("POST", f"/v1/sent/{locked}", {"locked": True})
        self.assertEqual(answer.status, 200, answer.body)
        self.service.run("role", "grant", BOSS, "administrator")
        boss = self.browser(BOSS)
        app = CodeApp(boss.call("POST", "/v1/account/totp", {}).json["secret"])
        answer = app.confirm(boss)
        self.assertEqual(answer.status, 200, answer.body)
        def sent(browser):
            return browser.call("GET", "/v1/sent").json
        before = sent(alice)

        busy = self.move(check=False)
        self.assertEqual(busy.returncode, 75, busy.stderr)
        self.assertIn("stop", busy.stderr)
        self.service.stop()
        done = self.move()
        self.assertIn("302 envelopes, 3 accounts", done.stdout)
        log = self.service.path("audit.log")
        self.assertTrue(os.path.exists(log))
        self.settings_to_postgresql()
        self.service.start()

        self.assertEqual([self.service.open(m=m, pub=keyd.public_key()).status
                          for m in plain[::50]], [200] * 6)
        alice = self.browser(ALICE)
        self.assertEqual(sent(alice), before)
        self.assertEqual(alice.call("GET", f"/v1/sent/{opened}").json["opened"], 1)
        self.assertEqual(self.release(self.browser(BOB), locked), 403)
        self.assertIn("administrator", self.service.run("role", "list").stdout)
        asked = keyd.Browser(self.service)
        needs = asked.sign_in(BOSS, PASSWORD).json
        self.assertEqual(needs["needs"], "totp")
        answer = asked.call("POST", "/v1/session/second", {
            "user": BOSS, "ticket": needs["ticket"], "code": app.code()})
        self.assertEqual(answer.status, 200, answer.body)
        self.service.account("new@example.org", PASSWORD)  # its number goes on behind the others'
        self.assertIn("unbroken", self.service.run("audit", "verify").stdout)
        text = self.service.audit_text()
        with open(log, encoding="utf-8") as file:
            self.assertTrue(text.startswith(file.read()))
        self.assertIn('"event":"moved"', text)
        self.assertIn(log, text)

    def test_a_database_in_use_or_of_unknown_tables_is_refused(self):
        self.service.stop()
        self.move()
        again = self.move(check=False)
        self.assertEqual(again.returncode, 73, again.stderr)
        self.assertIn("not empty", again.stderr)
        self.url = keyd.postgresql_database()
        keyd.psql("CREATE TABLE forgotten (a bigint)", self.url)
        refused = self.move(check=False)
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn('"forgotten"', refused.stderr)

    def test_a_move_that_is_killed_is_not_served_and_can_be_done_again(self):
        identity = self.stored(level=keyd.NONE)
        self.service.stop()
        settings = self.service.config
        with open(settings, encoding="utf-8") as config:
            text = config.read()
        self.settings_to_postgresql()
        self.service.run("account", "list")  # makes the tables
        with open(settings, "w", encoding="utf-8") as config:
            config.write(text)

        with subprocess.Popen(["psql", "-X", "-q", "-A", "-t", self.url], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, text=True) as holder:
            holder.stdin.write("BEGIN; LOCK TABLE opening IN SHARE MODE; SELECT 'held';\n")
            holder.stdin.flush()
            self.assertEqual(holder.stdout.readline(), "held\n")
            with subprocess.Popen([keyd.PROGRAM, "move", "--to", self.url, "--config", settings],
                                  stderr=subprocess.DEVNULL) as moving:
                until = time.monotonic() + keyd.WAIT_S
                while keyd.psql("SELECT count(*) FROM pg_locks WHERE NOT granted", self.url) == "0":
                    self.assertIsNone(moving.poll())
                    self.assertLess(time.monotonic(), until)
                moving.send_signal(signal.SIGKILL)  # envelopes are sent, openings are waiting
                moving.wait(keyd.WAIT_S)
            holder.stdin.close()
            holder.wait(keyd.WAIT_S)
        until = time.monotonic() + keyd.WAIT_S
        while self.rows("pg_locks WHERE locktype = 'advisory'") > 0:  # of who was killed
            self.assertLess(time.monotonic(), until)

        self.settings_to_postgresql()
        with self.assertRaisesRegex(AssertionError, "cut off"):
            self.service.start()
        self.service.process = None
        self.service.log.close()
        self.assertIn("cut off", self.service.run("account", "list", check=False).stderr)
        with open(settings, "w", encoding="utf-8") as config:
            config.write(text)
        self.assertEqual(self.rows("envelope"), 0)
        self.move()
        self.settings_to_postgresql()
        self.service.start()
        self.assertEqual(self.service.open(m=identity, pub=keyd.public_key()).status, 200)


if __name__ == "__main__":
    keyd.main()
