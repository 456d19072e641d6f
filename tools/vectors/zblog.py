"""The log on disk (SPEC §10.3): read whole, and written for the fixtures. A log that something happened to (kinds 6 and 8) is not read here.

In: the bytes of segments, data keys by number. Out: the streams, each with its events and checkpoints. Every frame is opened, every chain followed, and what
headers, marks, heads, tables and trailers tell is worked out once more and must be the same.
"""

import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from zbcrypto import expand, extract, h_0, h_next, sha256
from zbwrite import LANES

EVENTS, SESSION, STREAM, CHECKPOINTS, MARK, HEADS = 1, 2, 3, 4, 5, 7
HEAD, TAG_LEN = struct.Struct("<IIBIQHQ"), 16
FRAME_EVENTS_LEN, FRAME_LEN_MAX, RUN_LEN_MAX, SESSION_LEN = 16 * 1024, 128 * 1024, 64 * 1024, 64 * 1024


class Bad(Exception):
    """It is not what the page says."""


def must(good, why: str):
    if not good:
        raise Bad(why)


@dataclass
class Stream:
    number: int
    origin: tuple
    branch: bytes | None
    base: tuple                                      # seq, chain hash
    events: list = field(default_factory=list)       # from base seq + 1 on
    hashes: list = field(default_factory=list)       # of the base, then after each event
    checkpoints: list = field(default_factory=list)  # seq, key number, signature
    hlc: int = 0
    newest: int = 0                                  # segment

    @property
    def seq(self) -> int:
        return self.base[0] + len(self.events)

    @property
    def checkpoint_seq(self) -> int:
        return max((seq for seq, *_ in self.checkpoints), default=0)

    def hash_at(self, seq: int) -> bytes:
        return self.hashes[seq - self.base[0]]

    def definition(self) -> bytes:
        node, incarnation, lane, audience = self.origin
        optional = lambda some: b"\1" + some if some else bytes(9)
        return node + incarnation + bytes([lane]) + optional(audience) + optional(self.branch) + self.base[1]

    def mark(self) -> bytes:
        return struct.pack("<IQ32sQQ", self.number, self.seq, self.hashes[-1], self.checkpoint_seq, self.hlc)

    def head(self) -> bytes:
        place = struct.pack("<QQ32sQQI", self.base[0], self.seq, self.hashes[-1], self.checkpoint_seq, self.hlc, self.newest)
        return struct.pack("<I", self.number) + self.definition() + place


def defined(number: int, body: bytes, base_seq: int) -> Stream:
    must(len(body) == 63 and body[12] < len(LANES), "a stream of no shape")
    optional = lambda at: body[at + 1:at + 9] if body[at] else None
    stream = Stream(number, (body[:8], body[8:12], body[12], optional(13)), optional(22), (base_seq, body[31:]))
    stream.hashes.append(stream.base[1])
    must(stream.definition() == body, "a flag that is neither, or an id without it")
    must(stream.branch or stream.base == (0, h_0(stream.origin)), "the first branch does not begin at the beginning")
    return stream


# ---- frames ----
def session_key(data_key: bytes, salt: bytes, segment: int) -> ChaCha20Poly1305:
    return ChaCha20Poly1305(expand(extract(salt, data_key), b"zbundle/1 wal session\0" + struct.pack(">I", segment), 32))


def bound(segment: int, offset: int) -> bytes:
    return struct.pack(">IQ", segment, offset)


def framed(kind, stream, first, count, hlc, body: bytes, key, segment: int, offset: int, clear=b"") -> bytes:
    head = HEAD.pack(HEAD.size - 8 + len(clear) + len(body) + TAG_LEN, 0, kind, stream, first, count, hlc)
    nonce = bound(segment, offset)
    rest = head[8:] + clear + key.encrypt(nonce, body, nonce + head[8:])
    return head[:4] + struct.pack("<I", zlib.crc32(head[:4] + rest)) + rest


# ---- the index of a sealed segment ----
class Index:
    """What a segment's frames come to, table by table (R10.3-d)."""

    def __init__(self, previous: dict):
        self.sessions, self.runs, self.checkpoint_runs, self.previous = [], {}, {}, previous

    def events(self, stream: int, first: int, count: int, offset: int, length: int):
        runs = self.runs.setdefault(stream, [])
        if runs:
            last_first, last_count, last_offset, last_length = runs[-1]
            beside = last_offset + last_length == offset and last_first + last_count == first
            if beside and last_length + length <= RUN_LEN_MAX:
                runs[-1] = (last_first, last_count + count, last_offset, last_length + length)
                return
        runs.append((first, count, offset, length))

    def tables(self) -> tuple:
        """Their bytes, and how many entries each has."""
        streams = sorted(self.runs.keys() | self.checkpoint_runs.keys())
        directory, runs, checkpoint_runs = [], [], []
        for stream in streams:
            mine, signed = self.runs.get(stream, []), self.checkpoint_runs.get(stream, [])
            first, last = (mine[0][0], mine[-1][0] + mine[-1][1] - 1) if mine else (0, 0)
            directory.append(struct.pack("<IIQQIIIIQ", stream, self.previous.get(stream, 0), first, last, len(runs), len(mine), len(checkpoint_runs), len(signed), 0))
            runs += [struct.pack("<IIQII", stream, count, first, offset, length) for first, count, offset, length in mine]
            checkpoint_runs += [struct.pack("<IIQQII", stream, count, low, high, offset, length) for count, low, high, offset, length in signed]
        counts = (len(self.sessions), len(directory), len(runs), len(checkpoint_runs), 0)
        return b"".join(self.sessions + directory + runs + checkpoint_runs), counts


def header(segment: int, made_ms: int) -> bytes:
    head = struct.pack("<8sHHIQ36x", b"zblog\r\n\x1a", 1, 0, segment, made_ms)
    return head + struct.pack("<I", zlib.crc32(head))


def trailer(segment: int, heads_at: int, tables_at: int, tables: bytes, counts: tuple) -> bytes:
    end = struct.pack("<8s9I16x", b"zblogend", segment, heads_at, tables_at, zlib.crc32(tables), *counts)
    return end + struct.pack("<I", zlib.crc32(end))


# ---- reading ----
class Reader:
    """Follows a log from its first segment on."""

    def __init__(self, data_keys: dict):
        self.data_keys, self.streams, self.touched = data_keys, {}, set()

    def stream(self, number: int) -> Stream:
        must(number in self.streams, f"stream {number} was not defined")
        return self.streams[number]

    def segment(self, number: int, data: bytes) -> bool:
        """Whether it is sealed."""
        self.number, self.data, self.key = number, data, None
        self.index = Index({stream.number: stream.newest for stream in self.streams.values()})
        must(len(data) >= 64 and data[:64] == header(number, struct.unpack_from("<Q", data, 16)[0]), f"the header of segment {number}")
        sealed = len(data) >= 128 and data[-64:-56] == b"zblogend"
        offset, heads_at = 64, struct.unpack_from("<I", data, len(data) - 52)[0] if sealed else len(data)
        while offset < heads_at and data[offset:offset + 4].strip(b"\0"):
            offset += self.frame(offset)
        if not sealed:
            must(not data[offset:].strip(b"\0"), "padding is zeros")
            return False
        must(offset == heads_at, "the heads stand behind the frames")
        self.sealed(offset)
        return True

    def look(self, offset: int) -> tuple:
        must(offset + HEAD.size + TAG_LEN <= len(self.data), f"a frame at {offset} that ends behind its segment")
        length, crc, *head = HEAD.unpack_from(self.data, offset)
        frame = self.data[offset:offset + 8 + length]
        must(len(frame) == 8 + length <= FRAME_LEN_MAX, f"the length of the frame at {offset}")
        must(zlib.crc32(frame[:4] + frame[8:]) == crc, f"the checksum of the frame at {offset}")
        return head, frame

    def opened(self, offset: int, frame: bytes, clear: int = 0) -> bytes:
        nonce = bound(self.number, offset)
        try:
            return self.key.decrypt(nonce, frame[HEAD.size + clear:], nonce + frame[8:HEAD.size])
        except InvalidTag:
            raise Bad(f"the seal of the frame at {offset}") from None

    def frame(self, offset: int) -> int:
        head, frame = self.look(offset)
        kind, stream, first, count, hlc = head
        must(self.key or kind == SESSION, "a segment begins with a session")
        if kind == SESSION:
            salt = frame[HEAD.size:HEAD.size + 16]
            must(stream in self.data_keys and (first, count, hlc) == (0, 0, 0), "a session under another key")
            self.key = session_key(self.data_keys[stream], salt, self.number)
            must(self.opened(offset, frame, 16) == b"", "a session frame seals nothing")
            self.index.sessions.append(struct.pack("<II16s", offset, stream, salt))
            self.began, self.defined, self.just_defined = offset, set(), None
            return len(frame)
        must(offset - self.began < SESSION_LEN or stream == self.just_defined, "a session of 64 KiB goes on")
        self.just_defined = stream if kind == STREAM else None
        take = {EVENTS: self.events, STREAM: self.define, CHECKPOINTS: self.checkpoints, MARK: self.mark}.get(kind)
        must(take, f"kind {kind} at {offset}")
        must(kind not in (EVENTS, CHECKPOINTS) or stream in self.defined, f"stream {stream} was not defined in this session")
        take(self.opened(offset, frame), stream, first, count, hlc, offset, len(frame))
        return len(frame)

    def events(self, body, number, first, count, hlc, offset, length):
        stream = self.stream(number)
        must(count and first == stream.seq + 1, f"events of stream {number} that do not follow")
        lengths = struct.unpack_from(f"<{count}H", body)
        must(2 * count + sum(lengths) == len(body), "lengths that do not add up")
        must(count == 1 or sum(lengths) <= FRAME_EVENTS_LEN, "more events than a frame holds")
        at = 2 * count
        for one in lengths:
            stream.events.append(body[at:at + one])
            stream.hashes.append(h_next(stream.hashes[-1], stream.seq, stream.events[-1]))
            at += one
        stream.hlc, stream.newest = hlc, self.number
        self.touched.add(number)
        self.index.events(number, first, count, offset, length)

    def define(self, body, number, first, count, hlc, offset, length):
        stream = defined(number, body, first)
        must(number not in self.defined and (count, hlc) == (0, 0), "a session defines a stream once")
        self.defined.add(number)
        if number in self.streams:
            known = self.streams[number]
            must((known.definition(), known.base) == (body, stream.base), f"stream {number} was another before")
            return
        must(number == len(self.streams) + 1, "streams are numbered in the order they come")
        must(all((stream.origin, stream.branch) != (other.origin, other.branch) for other in self.streams.values()), "a stream has one number")
        self.streams[number] = stream

    def checkpoints(self, body, number, low, count, high, offset, length):
        stream = self.stream(number)
        rows = [struct.unpack_from("<Q32sQ64s", body, at) for at in range(0, len(body), 112)]
        seqs = [seq for seq, *_ in rows]
        must(count == len(rows) and (low, high) == (min(seqs), max(seqs)), "checkpoints and their head")
        for seq, hash_, key_number, signature in rows:
            must(stream.base[0] < seq <= stream.seq and hash_ == stream.hash_at(seq), "a checkpoint of another chain")
            stream.checkpoints.append((seq, key_number, signature))
        stream.newest = self.number
        self.touched.add(number)
        self.index.checkpoint_runs.setdefault(number, []).append((count, low, high, offset, length))

    def mark(self, body, number, following, count, hlc, offset, length):
        must((number, hlc) == (0, 0) and len(body) == 60 * count, "a mark of no shape")
        for at in range(0, len(body), 60):
            stream = self.stream(struct.unpack_from("<I", body, at)[0])
            must(body[at:at + 60] == stream.mark() and stream.number in self.touched, f"a mark says something else of stream {stream.number}")
            self.touched.remove(stream.number)
        must(following or not self.touched, "a mark leaves streams out")

    def sealed(self, offset: int):
        """Heads, tables and trailer."""
        heads_at, told = offset, b""
        while True:
            (kind, highest, following, count, hlc), frame = self.look(offset)
            must(kind == HEADS and highest == len(self.streams) and hlc == 0, "heads of no shape")
            body = self.opened(offset, frame)
            must(len(body) == 135 * count + (0 if following else 32), "as many heads as it says")
            told += body
            offset += len(frame)
            if not following:
                break
        tables, counts = self.index.tables()
        heads = b"".join(self.streams[number].head() for number in sorted(self.streams))
        must(told == heads + sha256(tables), "heads say something else, or of other tables")
        must(self.data[offset:] == tables + trailer(self.number, heads_at, offset, tables, counts), "tables or trailer")
        self.touched.clear()


def read(segments: dict, data_keys: dict) -> list:
    """Streams in the order they came. `segments`: number -> bytes."""
    reader, sealed = Reader(data_keys), True
    must(sorted(segments) == list(range(1, len(segments) + 1)), "a segment is missing")
    for number in sorted(segments):
        must(sealed, "only the newest segment is open")
        sealed = reader.segment(number, segments[number])
    return [reader.streams[number] for number in sorted(reader.streams)]


def read_folder(folder: Path, data_keys: dict) -> list:
    return read({int(path.stem): path.read_bytes() for path in folder.glob("*.seg")}, data_keys)


# ---- writing ----
class Writer:
    """Appends to a log in memory; `segments` are its files."""

    def __init__(self, data_keys: dict, random, made_ms: int):
        self.data_keys, self.random, self.made_ms = data_keys, random, made_ms
        self.segments, self.streams, self.touched = {}, {}, set()
        self.rotate()

    def rotate(self):
        self.number = len(self.segments) + 1
        self.segments[self.number] = header(self.number, self.made_ms)
        self.index = Index({stream.number: stream.newest for stream in self.streams.values()})
        self.key = None

    def put(self, kind, stream, first, count, hlc, body, clear=b""):
        if kind in (EVENTS, CHECKPOINTS) and stream in self.streams and stream not in self.defined:
            self.define(self.streams[stream])
        offset = len(self.segments[self.number])
        frame = framed(kind, stream, first, count, hlc, body, self.key, self.number, offset, clear)
        self.segments[self.number] += frame
        return offset, len(frame)

    def session(self, key_number: int = 1):
        """A writer begins."""
        salt = self.random(16)
        self.key, self.defined = session_key(self.data_keys[key_number], salt, self.number), set()
        offset, _ = self.put(SESSION, key_number, 0, 0, 0, b"", salt)
        self.index.sessions.append(struct.pack("<II16s", offset, key_number, salt))
        return self

    def stream(self, origin: tuple, branch=None, base=None) -> Stream:
        number = len(self.streams) + 1
        stream = Stream(number, origin, branch, base or (0, h_0(origin)))
        stream.hashes.append(stream.base[1])
        self.streams[number] = stream
        self.define(stream)
        return stream

    def define(self, stream: Stream):
        self.put(STREAM, stream.number, stream.base[0], 0, 0, stream.definition())
        self.defined.add(stream.number)

    def events(self, stream: Stream, events: list, hlc: int):
        first = stream.seq + 1
        body = struct.pack(f"<{len(events)}H", *map(len, events)) + b"".join(events)
        offset, length = self.put(EVENTS, stream.number, first, len(events), hlc, body)
        for event in events:
            stream.events.append(event)
            stream.hashes.append(h_next(stream.hashes[-1], stream.seq, event))
        stream.hlc, stream.newest = hlc, self.number
        self.touched.add(stream.number)
        self.index.events(stream.number, first, len(events), offset, length)

    def checkpoints(self, stream: Stream, rows: list):
        """`rows`: seq, key number, signature."""
        body = b"".join(struct.pack("<Q32sQ64s", seq, stream.hash_at(seq), key_number, signature) for seq, key_number, signature in rows)
        low, high = min(row[0] for row in rows), max(row[0] for row in rows)
        offset, length = self.put(CHECKPOINTS, stream.number, low, len(rows), high, body)
        stream.checkpoints += rows
        stream.newest = self.number
        self.touched.add(stream.number)
        self.index.checkpoint_runs.setdefault(stream.number, []).append((len(rows), low, high, offset, length))

    def mark(self):
        rows = [self.streams[number].mark() for number in sorted(self.touched)]
        self.put(MARK, 0, 0, len(rows), 0, b"".join(rows))
        self.touched.clear()

    def seal(self):
        """Close the segment and begin the next."""
        heads_at = len(self.segments[self.number])
        tables, counts = self.index.tables()
        heads = [self.streams[number].head() for number in sorted(self.streams)]
        self.put(HEADS, len(heads), 0, len(heads), 0, b"".join(heads) + sha256(tables))
        tables_at = len(self.segments[self.number])
        self.segments[self.number] += tables + trailer(self.number, heads_at, tables_at, tables, counts)
        self.touched.clear()
        self.rotate()
