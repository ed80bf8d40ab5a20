"""Many clients at once, and an engine that is stopped while they work."""
import concurrent.futures
import signal
import tempfile
import threading

import drive


def mail(n):
    return (b"From: a@sender.example\r\nTo: b@recipient.example\r\nSubject: %d\r\n\r\n" % n
            + b"line of message %d\r\n" % n * (n * 37 % 4000))


class Load(drive.Case):
    def test_many_clients_at_once_each_get_their_own_message(self):
        def one(n):
            sealed = drive.seal(mail(n))
            return n, sealed, drive.unseal(sealed.out) if sealed.status == 0 else None

        with concurrent.futures.ThreadPoolExecutor(max_workers=12) as pool:
            for n, sealed, opened in pool.map(one, range(120)):
                self.assert_sealed(sealed)
                self.assertEqual((0, ""), (opened.status, opened.err))
                self.assertTrue(opened.out == mail(n), f"message {n} came back as another")

    def stop_under_load(self, with_signal):
        with tempfile.TemporaryDirectory(dir=drive.DEMO) as folder:
            engine = drive.engine(folder)
            stopped = threading.Event()
            some = threading.Semaphore(0)

            def one(n):
                ended = drive.seal(mail(n), "--socket", engine.socket)
                some.release()
                return n, ended, stopped.is_set()

            with concurrent.futures.ThreadPoolExecutor(max_workers=8) as pool:
                futures = [pool.submit(one, n) for n in range(150)]
                for _ in range(20):
                    self.assertTrue(some.acquire(timeout=drive.WAIT_S))
                status = engine.stop(with_signal)
                stopped.set()
                ends = [future.result() for future in futures]
            return status, ends, engine.log.read_text()

    def assert_all_or_nothing(self, ends):
        sealed = [(n, ended) for n, ended, _ in ends if ended.status == 0]
        for _, ended, _ in ends:
            if ended.status != 0:
                self.assert_ends(ended, drive.TEMPFAIL)
        self.assertGreaterEqual(len(sealed), 20)
        self.assertLess(len(sealed), len(ends), "the engine was stopped before the end")
        for n, ended in sealed[-12:]:
            opened = drive.unseal(ended.out)
            self.assertEqual(0, opened.status, opened.err)
            self.assertTrue(opened.out == mail(n))

    def test_sigterm_under_load_drains(self):
        status, ends, log = self.stop_under_load(signal.SIGTERM)
        self.assertEqual(0, status, log)
        self.assert_all_or_nothing(ends)

    def test_sigkill_under_load_gives_nothing_half(self):
        status, ends, _ = self.stop_under_load(signal.SIGKILL)
        self.assertEqual(-signal.SIGKILL, status)
        self.assert_all_or_nothing(ends)

    def test_an_engine_starts_again_where_a_killed_one_was(self):
        with tempfile.TemporaryDirectory(dir=drive.DEMO) as folder:
            drive.engine(folder).stop(signal.SIGKILL)
            with drive.engine(folder) as engine:
                self.assert_sealed(drive.seal(mail(1), "--socket", engine.socket))

    def test_sighup_reloads_without_losing_a_message(self):
        with tempfile.TemporaryDirectory(dir=drive.DEMO) as folder:
            with drive.engine(folder) as engine:
                with concurrent.futures.ThreadPoolExecutor(max_workers=4) as pool:
                    futures = [pool.submit(drive.seal, mail(n), "--socket", engine.socket)
                               for n in range(40)]
                    for _ in range(5):
                        engine.process.send_signal(signal.SIGHUP)
                    for future in futures:
                        self.assert_sealed(future.result())
                engine.conf.write_text("engine { nonsense")
                engine.process.send_signal(signal.SIGHUP)
                self.assert_sealed(drive.seal(mail(1), "--socket", engine.socket))


if __name__ == "__main__":
    drive.main()
