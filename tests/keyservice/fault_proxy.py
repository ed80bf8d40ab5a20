"""Stands between the engine's key client and the real key service, and is every fault a network has.

A FaultProxy listens on one port of 127.0.0.1 for as long as it lives, under a certificate of its own
authority, and hands requests on under the engine's identity. `set()` chooses what it does from now on:

    pass            hands on and back
    refuse          connections are refused
    black_hole      connections are taken, and then nothing
    deaf            TLS and the request are taken, and then nothing
    reset_hello     RST within the TLS handshake
    reset_request   RST when half of the request was read
    reset_header    stored; RST within the header of the answer
    reset_body      stored; RST within the body of the answer
    lost_ack        stored; an orderly end without an answer
    slow_loris      stored; the answer comes a byte at a time, for ever
    500, 503, foreign_400   a page of somebody between
    429             with Retry-After, as in `retry_after_s`
    garbage         200 and a page
    cut_json        200 and the first half of the answer, its length told as such
    cut_body        200, half of the body that the header tells of, and an orderly end
    other_ack       200 and the answer to another batch
    other_long      the same, in the form of one result a record
    doubled_ack     the honest answer, two times
    doubled_request handed on two times, the second answer handed back
    expired         the certificate was good until yesterday
    stranger        the certificate is another name's
    flapping        turn about, passes and resets, a third of a second each

`seen` is when each connection or request came, in monotonic seconds.
"""
import http.client
import pathlib
import socket
import ssl
import struct
import subprocess
import threading
import time

AT_CONNECT = ("refuse", "black_hole", "reset_hello", "expired", "stranger")
FLAP_S = 1 / 3
LORIS_S = 0.2
PAGE = b"<!doctype html><title>away</title><p>Please come again.\n"
IO_S = 30


def openssl(*words):
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)


class Authority:
    """An authority in `folder` that makes the certificates of proxies."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.ca = self.folder / "proxy-ca.crt"
        self.key = self.folder / "proxy-ca.key"
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                "-subj", "/CN=fault proxy CA", "-days", "2", "-keyout", self.key, "-out", self.ca)
        self.contexts = {name: self._context(name, days, host) for name, days, host in (
            ("good", 2, "IP:127.0.0.1,DNS:localhost"), ("expired", -1, "IP:127.0.0.1,DNS:localhost"),
            ("stranger", 2, "DNS:other.example"))}

    def _context(self, name, days, host):
        stem = self.folder / f"proxy-{name}"
        key, request, crt, more = (f"{stem}{end}" for end in (".key", ".csr", ".crt", ".ext"))
        pathlib.Path(more).write_text(f"subjectAltName={host}\n", encoding="ascii")
        openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                "-subj", "/CN=fault proxy", "-keyout", key, "-out", request)
        openssl("x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self.key, "-days", days,
                "-extfile", more, "-out", crt)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(crt, key)
        return context


class Ended(Exception):
    """This connection is over."""


class FaultProxy:
    def __init__(self, authority, port, ca, certificate, key):
        """`port` of the service's engine listener, its authority, and the engine's identity."""
        self.authority = authority
        self.upstream_port = port
        self.upstream_tls = ssl.create_default_context(cafile=str(ca))
        self.upstream_tls.load_cert_chain(str(certificate), str(key))
        self.mode = "pass"
        self.retry_after_s = 1
        self.seen = []
        self.other = {}  # mode: the answer to another batch
        self.lock = threading.Lock()
        self.live = set()
        self.closing = False
        self.listener = None
        self.threads = []
        self._listen(0)
        self.port = self.listener.getsockname()[1]
        self.url = f"https://127.0.0.1:{self.port}"

    def set(self, mode):
        with self.lock:
            self.mode = mode
            was_deaf = self.listener is None
        if mode == "refuse":
            self._deafen()
        elif was_deaf:
            self._listen(self.port)
        if mode in AT_CONNECT:
            self._hang_up()

    def close(self):
        self.closing = True
        self._deafen()
        self._hang_up()
        for thread in self.threads:
            thread.join(IO_S)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _listen(self, port):
        listener = socket.create_server(("127.0.0.1", port), reuse_port=False)
        with self.lock:
            self.listener = listener
        self._thread(self._accept, listener)

    def _thread(self, target, *arguments):
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self.threads.append(thread)
        thread.start()

    def _deafen(self):
        with self.lock:
            listener, self.listener = self.listener, None
        if listener is not None:
            listener.shutdown(socket.SHUT_RDWR)  # wakes accept(), which close() does not
            listener.close()

    def _hang_up(self):
        with self.lock:
            live = list(self.live)
        for connection in live:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it has ended by itself

    def _accept(self, listener):
        while True:
            try:
                raw, _ = listener.accept()
            except OSError:
                return
            self._thread(self._serve, raw)

    def _mode(self):
        with self.lock:
            mode = self.mode
        if mode == "flapping":
            return "pass" if int(time.monotonic() / FLAP_S) % 2 == 0 else "reset_request"
        return mode

    def _see(self):
        with self.lock:
            self.seen.append(time.monotonic())

    @staticmethod
    def _reset(connection):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise Ended

    def _hang(self, connection):
        """Until the client has gone, or the proxy ends."""
        connection.settimeout(0.1)
        while not self.closing:
            try:
                if connection.recv(65536) == b"":
                    raise Ended
            except (TimeoutError, ssl.SSLWantReadError):
                continue
        raise Ended

    def _serve(self, raw):
        raw.settimeout(IO_S)
        mode = self._mode()
        connection = raw
        with self.lock:
            self.live.add(raw)
        upstream = http.client.HTTPSConnection("localhost", self.upstream_port, timeout=IO_S,
                                               context=self.upstream_tls)
        try:
            if mode == "black_hole":
                self._see()
                self._hang(raw)
            if mode == "reset_hello":
                self._see()
                raw.recv(100)
                self._reset(raw)
            if mode in ("expired", "stranger"):
                self._see()
            context = self.authority.contexts.get(mode) or self.authority.contexts["good"]
            connection = context.wrap_socket(raw, server_side=True, do_handshake_on_connect=False)
            with self.lock:
                self.live.discard(raw)
                self.live.add(connection)
            connection.do_handshake()
            while True:
                self._one(connection, upstream)
        except (Ended, OSError, http.client.HTTPException):
            pass
        finally:
            with self.lock:
                self.live -= {raw, connection}
            upstream.close()
            connection.close()

    def _one(self, connection, upstream):
        """One request and its answer."""
        head = b""
        while b"\r\n\r\n" not in head:
            more = connection.recv(65536)
            if more == b"":
                raise Ended
            head += more
        mode = self._mode()
        self._see()
        head, body = head.split(b"\r\n\r\n", 1)
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.strip().lower(): value.strip()
                   for name, value in (line.split(":", 1) for line in lines)}
        wanted = int(headers["content-length"])
        if mode == "reset_request":
            wanted //= 2
        while len(body) < wanted:
            more = connection.recv(65536)
            if more == b"":
                raise Ended
            body += more
        if mode == "reset_request":
            self._reset(connection)
        method, path, _ = first.split(" ")
        self._answer(mode, connection, lambda: self._ask(upstream, method, path, headers, body))

    def _ask(self, upstream, method, path, headers, body):
        upstream.request(method, path, body,
                         {name: headers[name] for name in ("content-type", "x-bulla-batch")})
        response = upstream.getresponse()
        return response.status, response.read()

    def _answer(self, mode, connection, ask):
        if mode == "deaf":
            self._hang(connection)
        elif mode in ("500", "503", "foreign_400"):
            self._send(connection, int(mode[-3:]), PAGE)
        elif mode == "429":
            self._send(connection, 429, PAGE, f"Retry-After: {self.retry_after_s}\r\n")
        elif mode == "garbage":
            self._send(connection, 200, PAGE)
        elif mode in ("other_ack", "other_long"):
            self._send(connection, 200, self.other[mode])
        elif mode == "lost_ack":
            ask()
            raise Ended
        elif mode == "doubled_request":
            ask()
            self._send(connection, *ask())
        elif mode == "doubled_ack":
            status, body = ask()
            self._send(connection, status, body, again=True)
        elif mode in ("reset_header", "reset_body", "slow_loris", "cut_json", "cut_body"):
            self._break(mode, connection, *ask())
        else:
            self._send(connection, *ask())

    def _break(self, mode, connection, status, body):
        whole = self._text(status, body)
        body_at = whole.index(b"\r\n\r\n") + 4
        if mode == "cut_json":
            connection.sendall(self._text(status, body[:len(body) // 2]))
        elif mode == "slow_loris":
            for at in range(len(whole)):
                connection.sendall(whole[at:at + 1])
                time.sleep(0 if self.closing else LORIS_S)
        else:
            cut = body_at // 2 if mode == "reset_header" else body_at + len(body) // 2
            connection.sendall(whole[:cut])
            if mode == "cut_body":
                raise Ended
            time.sleep(0.05)  # so that it is read before the RST takes it away
            self._reset(connection)

    @staticmethod
    def _text(status, body, more=""):
        return (f"HTTP/1.1 {status} As told\r\nContent-Type: application/json\r\n{more}"
                f"Content-Length: {len(body)}\r\n\r\n").encode() + body

    def _send(self, connection, status, body, more="", again=False):
        connection.sendall(self._text(status, body, more) * (2 if again else 1))

