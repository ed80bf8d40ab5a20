"""Several key services on one PostgreSQL database: any request to any of them."""
import concurrent.futures
import os
import random
import sys
import tempfile
import time
import unittest

import keyd

PASSWORD = "correct horse battery"
SEED = int(os.environ.get("BULLA_SEED", time.time_ns() % 1_000_000))


class Nodes(unittest.TestCase):
    """Three services; the seed is in the output, so that a run can be had again."""

    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory()
        first = keyd.Service(cls.temporary.name)
        cls.nodes = [first, keyd.Node(first, "two"), keyd.Node(first, "three")]
        cls.random = random.Random(SEED)
        print(f"BULLA_SEED={SEED}")
        first.account("bob@example.org", PASSWORD)
        first.account("eve@example.org", PASSWORD)

    @classmethod
    def tearDownClass(cls):
        statuses = [node.stop() for node in cls.nodes]
        log = "".join(node.log_text() for node in cls.nodes)
        cls.temporary.cleanup()
        if statuses != [0, 0, 0]:
            raise AssertionError(f"the services ended with {statuses}:\n{log}")

    def setUp(self):
        self.released = self.lines("release")

    def lines(self, event):
        return self.any().audit_text().count(f'"event":"{event}"')

    def any(self):
        return self.random.choice(self.nodes)

    def stored(self):
        identity = keyd.envelope_id()
        answer = self.any().store(keyd.batch(keyd.record(identity)))
        self.assertEqual(answer.status, 200, answer.body)
        return identity.hex()

    def release(self, browser, identity):
        """Asked of any node by a browser that keeps its cookies."""
        pub = keyd.public_key()
        browser.service = self.any()
        answer = browser.call("POST", "/v1/release", {"m": identity, "pub": pub})
        self.assertEqual(answer.status, 200, answer.body)
        return "/pickup/" + keyd.pickup_name(pub), answer

    def unbroken(self, events):
        done = self.any().run("audit", "verify")
        self.assertIn("unbroken", done.stdout)
        self.assertEqual(self.lines("release") - self.released, events)

    def test_any_request_goes_to_any_node(self):
        browser = keyd.Browser(self.any())
        browser.service = self.any()
        self.assertEqual(browser.sign_in("bob@example.org", PASSWORD).status, 200)
        for _ in range(8):
            path, answer = self.release(browser, self.stored())
            parked = self.any().call("GET", path)
            self.assertEqual((parked.status, parked.body), (200, answer.body))
            for node in self.nodes:
                self.assertEqual(node.call("GET", path).status, 404)
        self.unbroken(8)

    def test_guesses_at_all_nodes_count_together(self):
        identity = self.stored()
        def guess(number):
            return self.nodes[number % 3].open(user="eve@example.org", password="wrong", m=identity,
                                               pub=keyd.public_key()).status
        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            statuses = list(pool.map(guess, range(18)))
        self.assertEqual((statuses.count(401), statuses.count(429)), (10, 8))

    def test_a_node_that_is_killed_takes_nothing_with_it(self):
        browser = keyd.Browser(self.nodes[0])
        self.assertEqual(browser.sign_in("bob@example.org", PASSWORD).status, 200)
        identity = self.stored()
        path, answer = self.release(browser, identity)
        killed = self.nodes.pop(self.random.randrange(3))
        self.assertEqual(killed.stop(9), -9)
        self.assertEqual(self.any().call("GET", path).body, answer.body)
        for _ in range(4):
            self.release(browser, self.stored())
        self.unbroken(5)
        killed.start()
        self.nodes.append(killed)
        browser.service = killed
        self.release(browser, identity)
        self.unbroken(6)

    def test_lines_of_all_nodes_make_one_chain(self):
        before = self.lines("sign_in")
        def refuse(number):
            return self.nodes[number % 3].open(user=f"nobody{number}@example.org", password="wrong",
                                               m=32 * "0", pub=keyd.public_key()).status
        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            statuses = list(pool.map(refuse, range(60)))
        self.assertEqual(statuses.count(401), 60)
        self.assertIn("unbroken", self.any().run("audit", "verify").stdout)
        self.assertEqual(self.lines("sign_in") - before, 60)

    def test_a_row_that_was_touched_breaks_the_chain(self):
        database = self.nodes[0].database
        newest = "last = (SELECT max(last) FROM audit)"
        keyd.psql(f"CREATE TABLE kept AS SELECT * FROM audit WHERE {newest}", database)
        for damage in (f"UPDATE audit SET lines = overlay(lines placing 'x' from 100) WHERE {newest}",
                       f"DELETE FROM audit WHERE {newest}"):
            keyd.psql(damage, database)
            done = self.any().run("audit", "verify", check=False)
            self.assertEqual(done.returncode, 65, done.stdout)
            keyd.psql(f"DELETE FROM audit WHERE {newest} AND last IN (SELECT last FROM kept);"
                      "INSERT INTO audit SELECT * FROM kept", database)
            self.assertIn("unbroken", self.any().run("audit", "verify").stdout)
        keyd.psql("DROP TABLE kept", database)

    def test_a_node_without_the_newest_master_key_does_not_start(self):
        old = self.nodes.pop()
        self.assertEqual(old.stop(), 0)
        with open(old.path("master.key"), "rb") as file:
            before = file.read()
        old.run("master-key", "add")
        self.nodes[0].stop()
        self.nodes[0].start()
        with open(old.path("master.key"), "rb") as file:
            after = file.read()
        with open(old.path("master.key"), "wb") as file:
            file.write(before)
        done = old.run("serve", check=False)
        self.assertEqual(done.returncode, 78, done.stderr)
        self.assertIn("under master key 2", done.stderr)
        with open(old.path("master.key"), "wb") as file:
            file.write(after)
        # The second was not restarted, and finds the new key in its file when it meets one.
        identity = keyd.envelope_id()
        self.nodes[0].store(keyd.batch(keyd.record(identity)))
        answer = self.nodes[1].open(user="bob@example.org", password=PASSWORD, m=identity.hex(),
                                    pub=keyd.public_key())
        self.assertEqual(answer.status, 200, answer.body)
        old.start()
        self.nodes.append(old)


if __name__ == "__main__":
    if "BULLA_POSTGRESQL" not in os.environ:
        print("skipped: run it by tools/private-postgresql")
        sys.exit(77)
    keyd.main()
