"""A mail server's SMTP listener for tests: keeps what it takes, and answers as it is told."""
import socket
import threading


class Mail:
    """One mail that was taken, as its client meant it: dots unstuffed."""

    def __init__(self, sender, recipients, arguments, text):
        self.sender, self.recipients, self.arguments, self.text = \
            sender, recipients, arguments, text


class Sink:
    """`answer(verb, argument)` may give another reply, b"" for hanging up, or None for the usual."""

    def __init__(self, answer=lambda verb, argument: None, port=0):
        self.answer = answer
        self.mails, self.connections, self.quits = [], 0, 0
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", port))
        self.port = self.listener.getsockname()[1]
        self.open = []
        self.thread = threading.Thread(target=self.accept, daemon=True)
        self.thread.start()

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def close(self):
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        for connection in self.open:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.thread.join()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with self.lock:
                self.connections += 1
                self.open.append(connection)
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def reply(self, connection, usual, verb, argument=b"", before=None):
        """True: it was a good one. What `before` does is done by the time that one is heard."""
        said = self.answer(verb, argument)
        said = usual if said is None else said
        if said == b"":
            connection.shutdown(socket.SHUT_RDWR)
            raise ConnectionError
        good = said[:1] in (b"2", b"3")
        if good and before is not None:
            before()
        connection.sendall(said + b"\r\n")
        return good

    def serve(self, connection):
        with connection:
            try:
                self.converse(connection, connection.makefile("rb"))
            except OSError:
                pass

    def converse(self, connection, lines):
        sender, recipients, arguments = None, [], b""
        if not self.reply(connection, b"220 sink ESMTP", "GREETING"):
            return
        for line in lines:
            verb, _, argument = line.strip().partition(b" ")
            verb = verb.upper().decode("ascii", "replace")
            if verb in ("EHLO", "HELO"):
                self.reply(connection, b"250-sink\r\n250-SIZE 90000000\r\n250-8BITMIME\r\n"
                                       b"250-ENHANCEDSTATUSCODES\r\n250 SMTPUTF8", verb, argument)
            elif verb == "MAIL":
                path, _, arguments = argument.partition(b":")[2].partition(b" ")
                if self.reply(connection, b"250 2.1.0 Ok", verb, path):
                    sender, recipients = path.strip(b"<>"), []
            elif verb == "RCPT":
                path = argument.partition(b":")[2].split(b" ")[0]
                if self.reply(connection, b"250 2.1.5 Ok", verb, path):
                    recipients.append(path.strip(b"<>"))
            elif verb == "DATA":
                if not recipients:
                    connection.sendall(b"554 5.5.1 no valid recipients\r\n")
                    continue
                if not self.reply(connection, b"354 go on", verb):
                    continue
                self.take(connection, lines, Mail(sender, recipients, arguments, b""))
            elif verb == "QUIT":
                with self.lock:
                    self.quits += 1
                connection.sendall(b"221 bye\r\n")
                return
            else:
                connection.sendall(b"250 Ok\r\n")

    def take(self, connection, lines, mail):
        text = []
        for line in lines:
            if line == b".\r\n":
                mail.text = b"".join(text)
                self.reply(connection, b"250 2.0.0 Ok: queued as SINK1", "DOT", mail.text,
                           before=lambda: self.keep(mail))
                return
            text.append(line[1:] if line.startswith(b".") else line)

    def keep(self, mail):
        with self.lock:
            self.mails.append(mail)
