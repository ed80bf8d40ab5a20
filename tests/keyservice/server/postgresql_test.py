"""The key service on PostgreSQL: a database that goes away and comes back."""
import os
import sys
import time

import keyd

PASSWORD = "correct horse battery"


class Postgresql(keyd.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.name = keyd.psql("SELECT current_database()", cls.service.database)
        cls.service.account("bob@example.org", PASSWORD)

    def tearDown(self):
        self.database_allow(True)

    def database_allow(self, allowed):
        keyd.psql(f"ALTER DATABASE {self.name} ALLOW_CONNECTIONS {allowed}")

    def sessions_end(self):
        keyd.psql("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                  f" WHERE datname = '{self.name}'")

    def open(self, identity):
        return self.service.open(user="bob@example.org", password=PASSWORD, m=identity,
                                 pub=keyd.public_key())

    def until(self, call, status):
        end = time.monotonic() + keyd.WAIT_S
        while True:
            answer = call()
            if answer.status == status or time.monotonic() > end:
                self.assertEqual(answer.status, status, answer.body)
                return answer
            time.sleep(0.1)

    def test_a_database_that_is_away_is_told_as_such_and_is_found_again(self):
        identity = self.stored()
        one = keyd.batch(keyd.record())
        self.database_allow(False)
        self.sessions_end()
        for _ in range(3):
            self.assert_refused(self.service.store(one), 503, "away")
        self.assert_refused(self.open(identity), 503, "away")
        self.assert_refused(self.service.call("GET", "/v1/health"), 503, "away")
        self.database_allow(True)
        self.until(lambda: self.service.store(one), 200)
        self.until(lambda: self.open(identity), 200)
        self.assertEqual(self.service.call("GET", "/v1/health").status, 200)

    def test_sessions_that_the_server_ends_cost_no_request(self):
        identity = self.stored()
        for _ in range(3):
            self.sessions_end()
            self.assertEqual(self.service.store(keyd.batch(keyd.record())).status, 200)
            self.assertEqual(self.open(identity).status, 200)

    def test_init_does_not_take_a_database_that_is_in_use(self):
        done = self.service.run("init", self.service.path("other"), "--database",
                                self.service.database, config=False, check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("belongs to a key service already", done.stderr)

    def test_what_was_stored_is_there_after_a_kill(self):
        identity = self.stored()
        self.service.stop(9)
        self.service.start()
        self.assertEqual(self.open(identity).status, 200)


if __name__ == "__main__":
    if "BULLA_POSTGRESQL" not in os.environ:
        print("skipped: run it by tools/private-postgresql")
        sys.exit(77)
    keyd.main()
