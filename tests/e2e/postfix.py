"""A mail host of the tests' own: a private Postfix, bulla-milter, an engine, and a sink behind them.

The configuration is that of docs/postfix.md, block by block, with other ports and folders. The key
service is the demonstration's, behind a proxy that can take it away.
"""
import contextlib
import os
import pathlib
import re
import shutil
import signal
import smtplib
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading

import drive

sys.path.insert(0, str(drive.SOURCE / "tests" / "keyservice"))
import fault_proxy  # noqa: E402

GUIDE = drive.SOURCE / "docs" / "postfix.md"
PRIVATE = drive.SOURCE / "tools" / "private-postfix"
SENDER = "alice@sender.example"
MAIL_BYTES_MAX = 64 << 20


def missing():
    """What keeps these tests from running here; "" when nothing does."""
    if os.geteuid() != 0:
        return "Postfix starts as root only"
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    absent = [name for name in ("postfix", "bulla-milter") if shutil.which(name, path=path) is None]
    return f"not here: {', '.join(absent)}" if absent else ""


def blocks(kind, guide=GUIDE):
    """The guide's fenced blocks of this kind, joined."""
    found = re.findall(rf"^```{re.escape(kind)}\n(.*?)^```$", guide.read_text(), re.M | re.S)
    assert found, f"{guide} has no block {kind}"
    return "".join(found)


def scratch():
    """A folder that Postfix's own user may enter."""
    made = tempfile.TemporaryDirectory(prefix="bulla-mailhost-")
    os.chmod(made.name, 0o755)
    return made


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class Mail:
    def __init__(self, sender, recipients, options, data):
        self.sender, self.recipients, self.options, self.data = sender, recipients, options, data


class _Dialogue(socketserver.StreamRequestHandler):
    """One SMTP session at the sink."""

    def say(self, text):
        self.wfile.write(text.encode() + b"\r\n")

    def address(self, line):
        return line[line.index(b"<") + 1:line.index(b">")].decode()

    def handle(self):
        with contextlib.suppress(ConnectionError):  # a client that was killed
            self.converse()

    def converse(self):
        sink = self.server.sink
        sender, recipients, options = None, [], ""
        self.say("220 sink ESMTP")
        while line := self.rfile.readline(65536):
            verb = line[:4].upper()
            if verb == b"EHLO":
                self.say(f"250-sink\r\n250-SIZE {MAIL_BYTES_MAX}\r\n250-8BITMIME\r\n250-DSN\r\n"
                         "250-SMTPUTF8\r\n250 ENHANCEDSTATUSCODES")
            elif verb == b"MAIL":
                sender, recipients = self.address(line), []
                options = line[line.index(b">") + 1:].decode().strip()
                self.say("250 2.1.0 ok")
            elif verb == b"RCPT":
                recipients.append(self.address(line))
                self.say("250 2.1.5 ok")
            elif verb == b"DATA":
                self.say("354 go on")
                data = []
                while (line := self.rfile.readline(65536)) not in (b".\r\n", b""):
                    data.append(line[1:] if line.startswith(b".") else line)
                if line == b"":
                    return
                refusal = sink.refusal
                if refusal is None:
                    sink.take(Mail(sender, recipients, options, b"".join(data)))
                self.say(refusal or "250 2.0.0 taken")
            elif verb == b"QUIT":
                self.say("221 2.0.0 bye")
                return
            else:
                self.say("250 2.0.0 ok")


class Sink:
    """Takes all mail that leaves, and keeps it. `refusal` is what DATA is answered instead."""

    def __init__(self):
        self.mails = []
        self.refusal = None
        self.came = threading.Condition()
        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Dialogue)
        self.server.daemon_threads = True
        self.server.sink = self
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def take(self, mail):
        with self.came:
            self.mails.append(mail)
            self.came.notify_all()

    def wait(self, count, seconds=None):
        """The mails, as soon as there are so many."""
        with self.came:
            self.came.wait_for(lambda: len(self.mails) >= count, seconds or drive.WAIT_S)
            return list(self.mails)

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Postfix:
    """A private instance; `main` and `master` are lines of its two files."""

    def __init__(self, folder, main, master):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(mode=0o755)
        self.main, self.master = self.folder / "main", self.folder / "master"
        self.main.write_text(main)
        self.master.write_text(master)
        self.log = self.folder / "log"
        self.process = None

    def start(self, port):
        out = open(self.folder / "out", "ab")
        with out:
            self.process = subprocess.Popen([PRIVATE, self.folder, self.main, self.master],
                                            stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        await_part(lambda: listens(port), f"Postfix on port {port}", self.process,
                   self.folder / "out", self.log)

    def told(self):
        return "".join(path.read_text(errors="replace") for path in (self.folder / "out", self.log)
                       if path.exists())

    def stop(self, with_signal=signal.SIGTERM):
        if self.process is not None:
            self.process.send_signal(with_signal)
            self.process.wait(drive.WAIT_S)
            self.process = None

    def command(self, program, *words):
        environment = dict(os.environ, PATH=os.environ["PATH"] + ":/usr/sbin:/sbin")
        done = subprocess.run([program, "-c", self.folder / "etc", *words], env=environment,
                              capture_output=True, timeout=drive.WAIT_S, check=True)
        return done.stdout.decode()

    def queue_ids(self):
        return re.findall(r'"queue_id": "([^"]+)"', self.command("postqueue", "-j"))


def listens(port):
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as connection:
            return connection.recv(4) == b"220 "
    except OSError:
        return False


def await_part(question, what, process, *logs):
    try:
        drive.wait_until(question, what, process)
    except AssertionError as error:
        told = "".join(log.read_text(errors="replace") for log in logs if log.exists())
        raise AssertionError(f"{error}\n{told}") from None


class DemoKeyService:
    """The demonstration's."""

    def __init__(self):
        conf = (drive.DEMO / "bulla.conf").read_text()
        self.url = os.environ["BULLA_KEYD_URL"]
        self.engine_port = int(re.search(r'engine_url = "https://localhost:(\d+)"', conf).group(1))
        self.ca = drive.DEMO / "engine" / "ca.crt"
        self.certificate = drive.DEMO / "engine" / "engine.crt"
        self.key = drive.DEMO / "engine" / "engine.key"


class Mailhost:
    """All of it. Parts may be stopped and started one by one."""

    def __init__(self, engine="", profile=None, milter="", main="", dkim=False, spool=True,
                 key_service=None):
        self.temporary = scratch()
        self.folder = pathlib.Path(self.temporary.name)
        self.ends = contextlib.ExitStack()
        self.ends.callback(self.temporary.cleanup)
        self.sink = Sink()
        self.ends.callback(self.sink.close)
        self.key_service = key_service or DemoKeyService()
        self.engine = self.milter = self.postfix = None
        self.submission, self.reinject = free_port(), free_port()
        self.dkim = free_port() if dkim else 8891
        self.milter_socket = self.folder / "milter.sock"
        try:
            self._make_proxy()
            self._make_conf(engine, profile, milter, spool)
            self._make_postfix(main, dkim)
            self.start_engine()
            self.start_milter()
            self.postfix.start(self.submission)
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        if self.postfix is not None:
            self.postfix.stop()
        ends = [self.stop_milter(), self.stop_engine()]
        told = self.logs() if any(ends) else ""
        self.ends.close()
        if told:  # sanitizers speak up when a program ends
            raise AssertionError(f"milter and engine ended with {ends}\n{told}")

    def _make_proxy(self):
        """Between the engine and its key service."""
        self.proxy = fault_proxy.FaultProxy(
            fault_proxy.Authority(self.folder), self.key_service.engine_port, self.key_service.ca,
            self.key_service.certificate, self.key_service.key)
        self.ends.callback(self.proxy.close)

    def substitute(self, text):
        for old, new in (("/run/bulla-milter/milter.sock", self.milter_socket),
                         ("127.0.0.1:10026", f"127.0.0.1:{self.reinject}"),
                         ("/var/spool/bulla", self.folder / "spool"),
                         ("/etc/bulla/spool.key", self.folder / "spool.key"),
                         ('{"bulla-milter"}', '{"nobody"}'),  # that user need not exist here
                         ("127.0.0.1:8891", f"127.0.0.1:{self.dkim}"),
                         ("submission inet", f"127.0.0.1:{self.submission} inet"),
                         ('key_service = "main"', 'key_service = "demo"'),
                         ("spool_size = 4GB", "spool_size = 512MB")):
            text = text.replace(old, str(new))
        return text

    def _make_conf(self, engine, profile, milter, spool):
        key = self.folder / "spool.key"
        key.write_bytes(os.urandom(32))
        key.chmod(0o600)
        (self.folder / "spool").mkdir(mode=0o700)
        text = (drive.DEMO / "bulla.conf").read_text()
        text = text[:text.index("profile ")]
        text = re.sub(r'socket = "[^"]*"', f'socket = "{self.folder}/engine.sock"', text, count=1)
        text = re.sub(r'engine_url = "[^"]*"', f'engine_url = "{self.proxy.url}"', text)
        text = re.sub(r'\burl = "[^"]*"', f'url = "{self.key_service.url}"', text, count=1)
        text = re.sub(r'\bca = "[^"]*"', f'ca = "{self.proxy.authority.ca}"', text)
        engine += blocks("bulla.conf engine") if spool else ""
        text = text.replace("engine {", f"engine {{\n  key_wait = 1s\n{engine}", 1)
        block = blocks("bulla.conf")
        if profile is not None:
            block = re.sub(r'(key_service = "main"\n)(.*?)^}', rf"\1{profile}\n}}", block, count=1,
                           flags=re.M | re.S)
        if not spool:  # then the engine may be asked to keep nothing
            block = re.sub(r"reinject = .*", 'reinject = ""', block)
        block = block.replace("milter {", f"milter {{\n{milter}", 1)
        self.conf = self.folder / "bulla.conf"
        self.conf.write_text(self.substitute(text + block))

    def _make_postfix(self, main, dkim):
        master = blocks("master.cf")
        if dkim:
            # The guide shows the two listeners again, with the signer: its milters replace ours.
            milters = re.findall(r"smtpd_milters=(.*)", blocks("master.cf dkim"))
            parts = iter(milters)
            master = re.sub(r"smtpd_milters=.*", lambda _: f"smtpd_milters={next(parts)}", master)
        main = (blocks("main.cf") + f"relayhost = [127.0.0.1]:{self.sink.port}\n"
                "minimal_backoff_time = 1s\nqueue_run_delay = 2s\nmaximal_backoff_time = 2s\n"
                + main)
        master += "smtp unix - - n - - smtp\nrelay unix - - n - - smtp\n"
        self.postfix = Postfix(self.folder / "postfix", self.substitute(main),
                               self.substitute(master))

    def start_engine(self):
        self.engine = drive.Service(["bullad", "--config", self.conf], self.folder / "bullad.log")
        await_part(lambda: self.status().status == 0, "bullad", self.engine.process, self.engine.log)

    def start_milter(self):
        self.milter = drive.Service(["bulla-milter", "--config", self.conf],
                                    self.folder / "milter.log")
        await_part(self.milter_socket.exists, "bulla-milter", self.milter.process, self.milter.log)

    def stop_engine(self, with_signal=signal.SIGTERM):
        engine, self.engine = self.engine, None
        return engine.stop(with_signal) if engine is not None else 0

    def stop_milter(self, with_signal=signal.SIGTERM):
        milter, self.milter = self.milter, None
        if milter is None:
            return 0
        milter.process.send_signal(with_signal)
        # libmilter looks up every five seconds, or when somebody comes.
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as poke:
            poke.connect(str(self.milter_socket))
        status = milter.stop(with_signal)
        self.milter_socket.unlink(missing_ok=True)
        return status

    def bulla(self, command, *words):
        return drive.bulla(*command.split(), "--socket", self.folder / "engine.sock", *words)

    def status(self):
        return self.bulla("status")

    def logs(self):
        names = ("bullad.log", "milter.log", "postfix/log", "postfix/out")
        return "\n".join(f"--- {name}\n{(self.folder / name).read_text(errors='replace')[-6000:]}"
                         for name in names if (self.folder / name).exists())

    def sendmail(self, data):
        """As a program on this machine hands mail in; lines end as its system's do."""
        environment = dict(os.environ, PATH=os.environ["PATH"] + ":/usr/sbin:/sbin")
        subprocess.run(["sendmail", "-C", self.postfix.folder / "etc", "-i", "-f", SENDER,
                        drive.USER], input=data.replace(b"\r\n", b"\n"), env=environment,
                       timeout=drive.WAIT_S, check=True)

    def send(self, data, recipients=None, sender=SENDER, options=(), rcpt_options=(), port=None):
        """(code, text) of the end of data; an SMTP error before it is returned alike."""
        recipients = [recipients or drive.USER] if not isinstance(recipients, list) else recipients
        with smtplib.SMTP("127.0.0.1", port or self.submission, timeout=drive.WAIT_S) as client:
            client.ehlo()
            utf8 = "SMTPUTF8" in options
            client.command_encoding = "utf-8" if utf8 else "ascii"
            code, text = client.mail(sender, list(options))
            for recipient in recipients:
                if code == 250:
                    code, text = client.rcpt(recipient, list(rcpt_options))
            if code != 250:
                return code, text.decode("utf-8", "replace")
            code, text = client.data(data)
            return code, text.decode("utf-8", "replace")


class Case(drive.Case):
    """One mail host for a class of tests, unless they make their own."""

    keywords = {}
    host = None

    @classmethod
    def setUpClass(cls):
        cls.host = Mailhost(**cls.keywords)

    @classmethod
    def tearDownClass(cls):
        cls.host.close()

    def setUp(self):
        self.host.sink.mails.clear()

    def run(self, result=None):
        before = len(result.failures) + len(result.errors) if result else 0
        done = super().run(result)
        if result and len(result.failures) + len(result.errors) > before and self.host:
            print(self.host.logs(), file=sys.stderr)
        return done

    def assert_sent(self, *arguments, **keywords):
        code, text = self.host.send(*arguments, **keywords)
        self.assertEqual(250, code, text)
        return text

    def assert_put_off(self, *arguments, **keywords):
        code, text = self.host.send(*arguments, **keywords)
        self.assertEqual(4, code // 100, (code, text))
        return text

    def arrived(self, count=1):
        mails = self.host.sink.wait(count)
        self.assertEqual(count, len(mails), [m.recipients for m in mails])
        return mails

    def assert_opens(self, mail, original):
        opened = drive.unseal(mail.data)
        self.assertEqual((0, ""), (opened.status, opened.err), mail.data[:2000])
        self.assertTrue(opened.out == original, f"byte for byte:\n{opened.out[:2000]!r}\n"
                                                f"{original[:2000]!r}")


def main():
    absent = missing()
    if absent:
        print(absent)
        sys.exit(77)
    drive.main()
