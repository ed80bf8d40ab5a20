"""The key service goes away and comes back: nothing is released without its key, nothing is kept."""
import concurrent.futures
import os
import signal
import tempfile
import threading
import time

import drive

MAIL = b"From: a@sender.example\r\nTo: b@recipient.example\r\n\r\nhello\r\n"


def quick(text):
    """An engine that tells after one second that a key was not stored."""
    return text.replace("engine {", "engine {\n  key_wait = 1s", 1)


class Away(drive.Case):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(dir=drive.DEMO)
        self.engine = drive.engine(self.folder.name, quick)
        self.keyd = int(os.environ["BULLA_DEMO_KEYD_PID"])

    def tearDown(self):
        os.kill(self.keyd, signal.SIGCONT)
        self.engine.stop()
        self.folder.cleanup()

    def seal(self, mail=MAIL, **keywords):
        return drive.seal(mail, "--socket", self.engine.socket, **keywords)

    def sealed_again(self):
        self.assert_sealed(self.seal())
        return True

    def test_a_key_service_that_hangs_costs_75_and_recovers(self):
        self.assert_sealed(self.seal())
        drive.halt(self.keyd)
        self.assert_ends(self.seal(), drive.TEMPFAIL, "nothing was kept")
        os.kill(self.keyd, signal.SIGCONT)
        drive.wait_until(lambda: self.seal().status == 0, "sealing works again")

    def test_more_than_the_engine_holds_is_told_to_come_back(self):
        """The engine's few jobs are all waiting for keys: every further message gets 75."""
        full = tempfile.TemporaryDirectory(dir=drive.DEMO)
        with full as folder, drive.engine(
                folder, lambda text: text.replace("engine {", "engine {\n  jobs = 32\n"
                                                  "  key_wait = 5s", 1)) as engine:
            drive.halt(self.keyd)
            with concurrent.futures.ThreadPoolExecutor(max_workers=48) as pool:
                ends = list(pool.map(lambda _: drive.seal(MAIL, "--socket", engine.socket,
                                                          "--timeout", "20"), range(48)))
            for ended in ends:
                self.assert_ends(ended, drive.TEMPFAIL)
            os.kill(self.keyd, signal.SIGCONT)
            drive.wait_until(lambda: drive.seal(MAIL, "--socket", engine.socket).status == 0,
                             "the engine is free again")

    def test_what_is_released_under_interruptions_can_be_opened(self):
        """The service stops and goes on all the time; a sealed mail always has its key."""
        stop = threading.Event()

        def interrupt():
            while not stop.is_set():
                drive.halt(self.keyd)
                time.sleep(0.15)
                os.kill(self.keyd, signal.SIGCONT)
                time.sleep(0.15)

        thread = threading.Thread(target=interrupt)
        thread.start()
        try:
            with concurrent.futures.ThreadPoolExecutor(max_workers=4) as pool:
                ends = list(pool.map(lambda n: (n, self.seal(MAIL + b"%d" % n)), range(60)))
        finally:
            stop.set()
            thread.join()
            os.kill(self.keyd, signal.SIGCONT)
        sealed = [(n, ended) for n, ended in ends if ended.status == 0]
        for _, ended in ends:
            if ended.status != 0:
                self.assert_ends(ended, drive.TEMPFAIL)
        for n, ended in sealed:
            opened = drive.unseal(ended.out)
            self.assertEqual((0, MAIL + b"%d" % n), (opened.status, opened.out), opened.err)
        print(f"{len(sealed)} of {len(ends)} sealed, each of them opens", flush=True)

    def test_an_engine_starts_without_a_key_service(self):
        drive.halt(self.keyd)
        with tempfile.TemporaryDirectory(dir=drive.DEMO) as folder:
            with drive.engine(folder, quick) as engine:
                self.assert_ends(drive.seal(MAIL, "--socket", engine.socket), drive.TEMPFAIL)
                os.kill(self.keyd, signal.SIGCONT)
                drive.wait_until(
                    lambda: drive.seal(MAIL, "--socket", engine.socket).status == 0,
                    "sealing starts when the key service does")


if __name__ == "__main__":
    drive.main()
