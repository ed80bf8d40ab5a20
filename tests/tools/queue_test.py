"""What `bulla queue` asks and shows, against an engine of the test's own: queue_test.py BULLA."""
import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import unittest

BULLA = sys.argv[1]
IDS = [f"{n:032x}" for n in range(1, 201)]


def message(n, **more):
    return {"id": IDS[n], "kind": "mail", "state": "key", "held": False, "bytes": 1000 + n,
            "tries": 0, "arrived_ms": 1763700000000, "worker": 0, "sender": f"s{n}@example.org",
            "recipient": f"r{n}@example.net", "recipients": 1 + n % 3, **more}


class Engine:
    """Answers each question by `answers(question)`, which gives a JSON value."""

    def __init__(self, answers):
        self.folder = tempfile.TemporaryDirectory()
        self.path = os.path.join(self.folder.name, "engine.sock")
        self.answers = answers
        self.asked = []
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(self.path)
        self.listener.listen(8)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            with peer:
                hello = peer.recv(64)
                magic, version, _, _, _, kind = struct.unpack_from("<QIIQQI", hello)
                assert (version, kind, len(hello)) == (2, 2, 64), hello
                peer.send(struct.pack("<QIIQII", magic + (2 << 48), 2, 0, 0, 7, 0) + bytes(32))
                while question := peer.recv(512):
                    self.asked.append(question.decode())
                    text = json.dumps(self.answers(question.decode())).encode()
                    for at in range(0, len(text), 32768):
                        peer.send(text[at:at + 32768])

    def close(self):
        self.listener.close()
        self.folder.cleanup()


class Queue(unittest.TestCase):
    def queue(self, answers, *arguments, stdout=subprocess.PIPE):
        engine = Engine(answers)
        self.addCleanup(engine.close)
        ended = subprocess.run([BULLA, "queue", *arguments, "--socket", engine.path], stdout=stdout,
                               stderr=subprocess.PIPE, timeout=60, check=False,
                               env={"TZ": "UTC", "PATH": ""})
        return ended, engine.asked

    @staticmethod
    def pages(question):
        """150 messages of two workers, 64 a page."""
        _, _, cursor, most, *_ = question.split()
        worker, at = (int(part) for part in cursor.split(":"))
        first, last = ((0, 100), (100, 150))[worker]
        count = int(most) or 64
        page = list(range(first + at, min(first + at + min(count, 64), last)))
        more = page and page[-1] + 1 < last
        after = f"{worker}:{page[-1] + 1 - first}" if more else "1:0" if worker == 0 else None
        return {"messages": [message(n, worker=worker) for n in page], "next": after}

    def test_list_goes_through_all_pages(self):
        ended, asked = self.queue(self.pages, "list")
        self.assertEqual((0, b""), (ended.returncode, ended.stderr))
        lines = ended.stdout.decode().splitlines()
        self.assertEqual(152, len(lines))
        self.assertIn("SENDER", lines[0])
        self.assertEqual(f"{IDS[1]} 2025-11-21 04:40:00       1001 key             0  "
                         "s1@example.org  r1@example.net (+1)", lines[2])
        self.assertEqual("-- 150 messages, 161175 bytes", lines[-1])
        self.assertEqual(["queue list 0:0 0", "queue list 0:64 0", "queue list 1:0 0"], asked)

    def test_list_as_json_is_an_object_a_line(self):
        ended, _ = self.queue(self.pages, "list", "--json")
        read = [json.loads(line) for line in ended.stdout.splitlines()]
        self.assertEqual(IDS[:150], [one["id"] for one in read])
        self.assertEqual("r149@example.net", read[149]["recipient"])

    def test_a_limit_ends_the_list_and_after_goes_on(self):
        ended, asked = self.queue(self.pages, "list", "--json", "--brief", "--limit", "70")
        self.assertEqual(70, len(ended.stdout.splitlines()))
        self.assertIn(b"--after 0:70", ended.stderr)
        self.assertEqual(["queue list 0:0 70 brief", "queue list 0:64 6 brief"], asked)
        ended, _ = self.queue(self.pages, "list", "--json", "--after", "0:70")
        self.assertEqual(IDS[70:150],
                         [json.loads(line)["id"] for line in ended.stdout.splitlines()])

    def test_nothing_waits(self):
        ended, _ = self.queue(lambda _: {"messages": [], "next": None}, "list")
        self.assertEqual(0, ended.returncode)
        self.assertIn(b"nothing waits\n", ended.stdout)

    def test_addresses_cannot_move_the_cursor(self):
        evil = "a\x1b[2J\u009b1m\u202e\u2066\r\nb@\u00e4.example"
        for command in (["list"], ["show", IDS[0]]):
            one = message(0, sender=evil, recipient=evil, held=True, recipients=1)
            if command[0] == "show":
                one["recipients"] = [evil]
            answer = one if command[0] == "show" else {"messages": [one], "next": None}
            with self.subTest(command=command):
                ended, _ = self.queue(lambda _, answer=answer: answer, *command)
                self.assertEqual(0, ended.returncode)
                text = ended.stdout.decode()
                self.assertIn("a?[2J?1m????b@\u00e4.example", text)
                self.assertIn("held", text)
                for bad in "\x1b\u009b\u202e\u2066\r":
                    self.assertNotIn(bad, text)

    def test_show_names_every_recipient(self):
        full = message(5, sender="", profile="default", recipients=["a@b.example", "c@d.example"],
                       end_ms=1763786400000)
        ended, asked = self.queue(lambda _: full, "show", IDS[5])
        lines = [line.split(None, 1) for line in ended.stdout.decode().splitlines()]
        self.assertIn(["sender", "<>"], lines)
        self.assertIn(["recipient", "a@b.example"], lines)
        self.assertIn(["recipient", "c@d.example"], lines)
        self.assertIn(["ends", "2025-11-22 04:40:00"], lines)
        self.assertEqual([f"queue show {IDS[5]}"], asked)
        ended, _ = self.queue(lambda _: full, "show", "--json", IDS[5])
        self.assertEqual(full, json.loads(ended.stdout))

    def test_all_goes_on_until_there_is_no_next(self):
        answers = {"queue hold all 0:0": {"done": 60, "busy": 0, "next": "0:99"},
                   "queue hold all 0:99": {"done": 1, "busy": 0, "next": None}}
        ended, _ = self.queue(answers.get, "hold", "--all")
        self.assertEqual((0, b"held 61 messages\n"), (ended.returncode, ended.stdout))

    def test_what_was_busy_is_tried_again(self):
        rounds = iter([{"done": 1, "busy": 2, "next": None}, {"done": 2, "busy": 0, "next": None}])
        ended, asked = self.queue(lambda _: next(rounds), "remove", "--all")
        self.assertEqual((0, b"removed 3 messages\n"), (ended.returncode, ended.stdout))
        self.assertEqual(2, len(asked))
        ended, asked = self.queue(lambda _: {"done": 0, "busy": 2, "next": None}, "hold", "--all")
        self.assertEqual((75, b"held 0 messages\n"), (ended.returncode, ended.stdout))
        self.assertIn(b"2 are with a mail server", ended.stderr)
        self.assertEqual(5, len(asked))

    def test_each_id_is_done_whatever_becomes_of_the_others(self):
        def answers(question):
            if question.endswith(IDS[1]):
                return {"error": "nothing waits under this id", "code": "not_found"}
            return {"done": 1, "busy": 0, "next": None}
        ended, asked = self.queue(answers, "release", *IDS[:3])
        self.assertEqual((65, b"released 2 messages\n"), (ended.returncode, ended.stdout))
        self.assertIn(IDS[1].encode(), ended.stderr)
        self.assertEqual(3, len(asked))

    def test_refusals_have_their_exit_status_and_mend(self):
        for code, status, words in (("denied", 77, b"allow_users"), ("no_spool", 78, b"set spool"),
                                    ("not_found", 65, b"why"), ("busy", 75, b"try again"),
                                    ("io", 75, b"log"), ("new", 69, b"same version")):
            with self.subTest(code=code):
                for command in ("stats", "list", "flush"):
                    ended, _ = self.queue(lambda _, code=code: {"error": "why", "code": code},
                                          command)
                    self.assertEqual((status, b""), (ended.returncode, ended.stdout))
                    self.assertEqual(1, ended.stderr.count(b"\n"))
                    self.assertIn(words, ended.stderr)

    def test_waits_for_another_command_to_end(self):
        left = [3]

        def answers(_):
            left[0] -= 1
            return {"error": "another", "code": "in_use"} if left[0] >= 0 else {"done": 4}
        ended, asked = self.queue(answers, "flush")
        self.assertEqual((0, b"trying 4 messages\n"), (ended.returncode, ended.stdout))
        self.assertEqual(4, len(asked))

    def test_stats(self):
        stats = {"messages": 3, "held": 1, "oldest_ms": 1763700000000, "bytes": 99, "segments": 2,
                 "segments_free": 1, "segments_bad": 0, "damaged": 0, "write_failures": 0,
                 "states": {"key": 2, "ready": 1}}
        ended, _ = self.queue(lambda _: stats, "stats")
        lines = [line.split(None, 1) for line in ended.stdout.decode().splitlines()]
        for line in (["messages", "3"], ["ready", "1"], ["oldest", "2025-11-21 04:40:00"]):
            self.assertIn(line, lines)
        ended, _ = self.queue(lambda _: stats, "stats", "--json")
        self.assertEqual(stats, json.loads(ended.stdout))

    def test_wrong_command_lines_ask_nothing(self):
        for arguments in ([], ["lst"], ["list", "x"], ["show"], ["show", "12"], ["show", "--all"],
                          ["hold"], ["hold", "--all", IDS[0]], ["hold", IDS[0].upper() + "G"],
                          ["flush", "--all"], ["stats", IDS[0]], ["list", "--limit", "0"],
                          ["list", "--after", "a:b"], ["show", "--brief", IDS[0]],
                          ["list", "--nope"], ["remove", "-1"]):
            with self.subTest(arguments=arguments):
                ended, asked = self.queue(lambda _: {}, *arguments)
                self.assertEqual((64, b"", []), (ended.returncode, ended.stdout, asked))

    def test_a_full_disk_is_told(self):
        with open("/dev/full", "wb") as full:
            ended, _ = self.queue(self.pages, "list", stdout=full)
        self.assertEqual(74, ended.returncode)

    def test_no_engine(self):
        ended = subprocess.run([BULLA, "queue", "list", "--socket", "/nonexistent/s"],
                               capture_output=True, timeout=60, check=False)
        self.assertEqual(75, ended.returncode)
        self.assertIn(b"start bullad", ended.stderr)


unittest.main(argv=sys.argv[:1], verbosity=2)
