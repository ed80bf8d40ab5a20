"""The key service is away: the engine keeps the mail, Postfix forgets it, and nothing is lost."""
import json
import re
import signal
import time

import drive
import postfix
from postfix_mail import mail

FAULTS = ("refuse", "black_hole", "reset_header", "reset_body", "lost_ack", "503", "429", "garbage",
          "cut_json", "cut_body", "expired")


def numbered(n, size=0):
    return mail(subject=b"Subject: [secure] number %d\r\n" % n, body=b"tablet %d\r\n" % n
                + b"clay and more clay\r\n" * (size // 20))


class Away(postfix.Case):
    keywords = {"engine": "  message_id_host = \"sender.example\"\n",
                "main": "virtual_alias_maps = inline:{info@elsewhere.example=bob@elsewhere.example}\n"
                        "recipient_bcc_maps = inline:{carol@elsewhere.example="
                        "archive@sender.example}\n",
                "profile": '  seal_subject = {"[secure]"}\n  wait = 1h\n'}

    def setUp(self):
        super().setUp()
        self.host.proxy.set("pass")

    def tearDown(self):
        self.host.proxy.set("pass")

    def waiting(self):
        ended = self.host.bulla("queue list", "--json")
        self.assertEqual(0, ended.status, ended.err)
        return [json.loads(line) for line in ended.out.decode().splitlines()]

    def assert_kept(self, count):
        """With the engine, and nowhere else."""
        self.assertEqual(count, len(self.waiting()))
        self.assertEqual([], self.host.sink.mails)
        self.assertEqual([], self.host.postfix.queue_ids())

    def assert_each_once(self, originals):
        """By number; each arrives sealed, opens byte for byte, and nothing comes twice."""
        mails = self.host.sink.wait(len(originals))
        drive.wait_until(lambda: self.waiting() == [], "the engine has nothing left")
        time.sleep(0.5)
        mails = list(self.host.sink.mails)
        numbers = [int(re.search(rb"^Subject:.*number (\d+)", m.data, re.M)[1]) for m in mails]
        self.assertEqual(sorted(originals), sorted(numbers))
        for number, one in zip(numbers, mails):
            self.assertNotIn(b"tablet %d" % number, one.data)
            self.assert_opens(one, originals[number])

    def test_it_is_kept_and_arrives_once_when_the_service_is_back(self):
        self.host.proxy.set("refuse")
        self.assert_sent(numbered(1), recipients=[drive.USER, "bob@elsewhere.example"])
        self.assert_kept(1)
        self.host.proxy.set("pass")
        self.assert_each_once({1: numbered(1)})
        got, = self.host.sink.mails
        self.assertEqual((postfix.SENDER, ["bob@elsewhere.example", drive.USER]),
                         (got.sender, sorted(got.recipients)))

    def test_aliases_and_archives_get_it_once_whether_it_waits_or_not(self):
        given = [drive.USER, "info@elsewhere.example", "carol@elsewhere.example"]
        meant = ["archive@sender.example", "bob@elsewhere.example", "carol@elsewhere.example",
                 drive.USER]
        for fault in ("pass", "refuse"):
            self.host.sink.mails.clear()
            self.host.proxy.set(fault)
            self.assert_sent(numbered(1), recipients=given)
            self.host.proxy.set("pass")
            mails = self.host.sink.wait(1)
            drive.wait_until(lambda: self.waiting() == [], "the engine has nothing left")
            time.sleep(0.5)
            self.assertEqual(sorted(meant), sorted(r for m in mails for r in m.recipients), fault)

    def test_large_and_small_wait_together(self):
        self.host.proxy.set("refuse")
        originals = {n: numbered(n, 4 << 20 if n == 3 else 50 * n) for n in range(10)}
        for original in originals.values():
            self.assert_sent(original)
        self.assert_kept(10)
        self.host.proxy.set("pass")
        self.assert_each_once(originals)

    def test_a_killed_engine_finds_them_again(self):
        self.host.proxy.set("refuse")
        originals = {n: numbered(n) for n in range(12)}
        for original in originals.values():
            self.assert_sent(original)
        self.host.stop_engine(signal.SIGKILL)
        self.host.start_engine()
        self.assert_kept(12)
        self.host.proxy.set("pass")
        self.assert_each_once(originals)

    def test_smtputf8_and_the_null_sender_wait_too(self):
        self.host.proxy.set("refuse")
        self.assert_sent(numbered(1), sender="")
        utf8 = numbered(2).replace(b"tablet 2", "Täfelchen 2".encode())
        self.assert_sent(utf8, sender="jürgen@sender.example", options=["SMTPUTF8", "BODY=8BITMIME"])
        self.assert_kept(2)
        self.host.proxy.set("pass")
        self.assert_each_once({1: numbered(1), 2: utf8})
        self.assertEqual({"", "jürgen@sender.example"}, {m.sender for m in self.host.sink.mails})

    def test_they_wait_for_a_milter_and_for_postfix_too(self):
        self.host.proxy.set("refuse")
        self.assert_sent(numbered(1))
        self.host.postfix.stop()
        self.host.proxy.set("pass")
        time.sleep(1.5)
        self.assertEqual(1, len(self.waiting()), "not forgotten before Postfix has taken it")
        self.host.stop_milter(signal.SIGKILL)
        self.host.postfix.start(self.host.submission)
        time.sleep(0.5)
        self.assertEqual(1, len(self.waiting()))
        self.host.start_milter()
        self.host.bulla("queue flush")
        self.assert_each_once({1: numbered(1)})

    def test_every_fault_of_the_network_ends_with_each_arriving_once(self):
        originals = {}
        for n, fault in enumerate(FAULTS):
            self.host.proxy.set(fault)
            originals[n] = numbered(n)
            self.assert_sent(originals[n])
        self.assertEqual([], self.host.sink.mails)
        self.host.proxy.set("flapping")
        time.sleep(1)
        self.host.proxy.set("pass")
        self.assert_each_once(originals)

    def test_the_service_is_probed_once_a_second_at_most(self):
        self.host.proxy.set("503")
        began = len(self.host.proxy.seen)
        originals = {n: numbered(n) for n in range(8)}
        for original in originals.values():
            self.assert_sent(original)
        time.sleep(4)
        seen = self.host.proxy.seen[began:]
        self.assertGreaterEqual(len(seen), 2)
        for one, two in zip(seen[2:], seen[3:]):
            self.assertGreater(two - one, 0.85, seen)
        self.host.proxy.set("pass")
        self.assert_each_once(originals)

    def test_whoever_wants_to_hear_of_its_delivery_is_not_kept(self):
        """Only Postfix can report on it, so Postfix keeps it, or rather its client."""
        self.host.proxy.set("refuse")
        self.assert_put_off(numbered(1), rcpt_options=["NOTIFY=SUCCESS"])
        self.assert_sent(numbered(2), rcpt_options=["NOTIFY=FAILURE"])
        self.assert_kept(1)
        self.host.proxy.set("pass")
        self.assert_each_once({2: numbered(2)})

    def test_a_held_one_stays_until_it_is_released(self):
        self.host.proxy.set("refuse")
        self.assert_sent(numbered(1))
        self.assert_sent(numbered(2))
        first = self.waiting()[0]["id"]
        self.assertEqual(0, self.host.bulla("queue hold", first).status)
        self.host.proxy.set("pass")
        self.host.sink.wait(1)
        time.sleep(1)
        self.assertEqual([first], [one["id"] for one in self.waiting()])
        self.assertEqual(0, self.host.bulla("queue release", first).status)
        self.assert_each_once({1: numbered(1), 2: numbered(2)})


if __name__ == "__main__":
    postfix.main()
