#!/usr/bin/env python3
"""A client of `zbundle serve --http` in one file: copy it beside your program. Python 3.9 or later, nothing else.

    node = Node("unix:/var/lib/zbundle/http.sock")                      # or Node("http://127.0.0.1:7780", token=...)
    node.push(b'{"bp":"120/80"}', idempotency_key="form-17", type="vitals", key="Patient/BT-0042")
    for event in node.events(after=cursor): ...; cursor = event["cursor"]   # what is there now
    for event in node.follow(after=cursor): ...                             # that, and then whatever comes

`push` returns once the event is on the node's disk. It always sends an idempotency key, so it may try again after a lost answer, and does, for
`patience` seconds. Give it a key of your own that you have kept before: then your program may be killed and push again, too (see outbox.py).
Keep the cursor together with what you made of the event, in one transaction: then nothing is missed or done twice.

docs/http-api.md tells what the fields mean.
"""
import http.client
import json
import random
import socket
import sys
import time
import urllib.parse
import uuid


class Refused(Exception):
    """The node said no: trying again will not help. `code` is for `zbundle error CODE`."""

    def __init__(self, status, problem):
        self.status, self.problem = status, problem
        self.code, self.line = problem.get("code", ""), problem.get("line")
        super().__init__(f"{status} {self.code} {problem.get('title', '')}: {problem.get('detail', '')}")


class Unreachable(Exception):
    """Nobody answered, or not for good, as long as there was patience. Whether a push was stored is not known: push again under the same key."""


class Node:
    """A node at `unix:PATH` or `http://127.0.0.1:PORT`."""

    def __init__(self, address, token=None, patience=60.0, timeout=45.0):
        # The stream sends something every 15 s, so silence for `timeout` means that the line is dead.
        self.address, self.token, self.patience, self.timeout = address, token, patience, timeout

    def push(self, payload, *, idempotency_key=None, content_type="application/json", **fields):
        """Store one payload (bytes, or what json.dumps takes); its answer, with `id`. `fields`: type, key, lane, base, author, to."""
        payload = payload if isinstance(payload, bytes) else json.dumps(payload, ensure_ascii=False).encode()
        headers = {"Content-Type": content_type, "Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        return self._ask("POST", "/v1/events", fields, headers, payload)

    def push_lines(self, payloads, **more):
        """Store many payloads, or none of them."""
        lines = b"\n".join(json.dumps(payload, ensure_ascii=False).encode() for payload in payloads)
        return self.push(lines, content_type="application/x-ndjson", **more)

    def events(self, after="0", **fields):
        """Every event behind the cursor `after` that is there now. `fields`: key, lane, limit."""
        while True:
            page = self._ask("GET", "/v1/events", dict(fields, after=after), {}, None)
            yield from page["events"]
            after = page["next"]
            if not page["more"]:
                return

    def follow(self, after="0", **fields):
        """Every event behind `after`, then those that come, for ever: over broken lines and restarts of the node, none missed and none twice."""
        failed = _Patience(self.patience)
        while True:
            try:
                connection, response = self._open("GET", "/v1/stream", fields, {"Last-Event-ID": after}, None)
                try:
                    for after, event in _server_sent(response):
                        failed = _Patience(self.patience)
                        yield event
                finally:
                    connection.close()
                failed.wait("the stream ended")
            except (OSError, http.client.HTTPException) as error:
                failed.wait(error)

    def record(self, key):
        """A record as it stands, or None."""
        try:
            return self._ask("GET", "/v1/records/" + urllib.parse.quote(key, safe=""), {}, {}, None)
        except Refused as refused:
            if refused.code == "Z412":
                return None
            raise

    def _ask(self, method, path, fields, headers, body):
        failed = _Patience(self.patience)
        while True:
            try:
                connection, response = self._open(method, path, fields, headers, body)
                try:
                    return json.loads(response.read())
                finally:
                    connection.close()
            except (OSError, http.client.HTTPException, json.JSONDecodeError) as error:
                failed.wait(error)

    def _open(self, method, path, fields, headers, body):
        """A response with a good status. One that may be better next time is an OSError, another is Refused."""
        pairs = [(name, value) for name, values in fields.items() if values is not None for value in _each(values)]
        headers = {**headers, **({"Authorization": f"Bearer {self.token}"} if self.token else {})}
        connection = _connection(self.address, self.timeout)
        try:
            connection.request(method, f"{path}?{urllib.parse.urlencode(pairs)}", body, headers)
            response = connection.getresponse()
            if response.status < 300:
                return connection, response
            problem = json.loads(response.read())
            if response.status in (429, 500, 502, 503, 504):
                raise OSError(f"{response.status} {problem.get('code')} {problem.get('detail')}")
            raise Refused(response.status, problem)
        except BaseException:
            connection.close()
            raise


class _Unix(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("zbundle", timeout=timeout)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _connection(address, timeout):
    if address.startswith("unix:"):
        return _Unix(address[len("unix:"):], timeout)
    return http.client.HTTPConnection(urllib.parse.urlsplit(address).netloc, timeout=timeout)


class _Patience:
    """Longer and longer pauses, never all clients at the same moment, until there is no patience left."""

    def __init__(self, seconds):
        self.until, self.pause = time.monotonic() + seconds, 0.1

    def wait(self, why):
        if time.monotonic() >= self.until:
            raise Unreachable(str(why)) from (why if isinstance(why, Exception) else None)
        time.sleep(self.pause * random.uniform(0.5, 1.0))
        self.pause = min(self.pause * 2, 10.0)


def _each(values):
    return values if isinstance(values, (list, tuple)) else [values]


def _server_sent(response):
    """Whole server-sent events: (cursor, event). One that breaks off in its middle is not told; it comes again."""
    cursor, data = None, []
    for line in response:
        line = line.rstrip(b"\r\n").decode()
        if not line:
            if cursor is not None and data:
                yield cursor, json.loads("\n".join(data))
            cursor, data = None, []
        elif line.startswith("id: "):
            cursor = line[len("id: "):]
        elif line.startswith("data: "):
            data.append(line[len("data: "):])


def main(arguments):
    """zbundle.py ADDRESS push KEY [field=value…] | events [after] | follow [after]; the payload is stdin, the token in ZBUNDLE_TOKEN."""
    import os

    if len(arguments) < 2:
        print(main.__doc__, file=sys.stderr)
        return 2
    (address, what, *rest), token = arguments, os.environ.get("ZBUNDLE_TOKEN")
    node = Node(address, token)
    try:
        if what == "push":
            print(json.dumps(node.push(sys.stdin.buffer.read(), idempotency_key=rest[0], **dict(word.split("=", 1) for word in rest[1:]))))
        else:
            for event in {"events": node.events, "follow": node.follow}[what](*rest):
                print(json.dumps(event), flush=True)
    except (Refused, Unreachable) as error:
        print(error, file=sys.stderr)
        return 3 if isinstance(error, Refused) else 16
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
