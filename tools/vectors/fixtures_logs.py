"""Fixtures of logs on disk (SPEC §10.3): a folder of segments each, and a story that tells its keys and what is in it."""

import json
import struct
import tomllib
import zlib
from pathlib import Path

import zblog
from zbcrypto import digest, h_0
from zbworld import DOMAIN, GASA, HUB, LUNANA, roster, visits
from zbwrite import DAY, LANES, Log, Random, seed

MENDED = 8
KEYS = {1: seed("data", "first"), 2: seed("data", "second")}
MADE_MS = DAY >> 16


class Clinic(zblog.Writer):
    """A log that histories of the fixtures' world go into."""

    def __init__(self, name: str):
        super().__init__(KEYS, Random(name), MADE_MS)
        self.logs = {}

    def begin(self, log: Log, branch=None, base=None) -> zblog.Stream:
        stream = self.stream(log.origin, branch, base)
        self.logs[stream.number] = log
        return stream

    def take(self, stream: zblog.Stream, last: int, *signed: int):
        """The history's events up to `last`, in one frame, and its checkpoints at `signed`."""
        log = self.logs[stream.number]
        if last > stream.seq:
            self.events(stream, log.events[stream.seq:last], DAY + last - 1)
        if signed:
            self.checkpoints(stream, [(seq, *log.checkpoint(seq, DOMAIN)) for seq in signed])
        return self


def fresh(name):
    writer = Clinic(name).session()
    return writer.take(writer.begin(visits()), 3, 3)


def padded(name):
    writer = fresh(name)
    writer.segments[1] += bytes(4096 - len(writer.segments[1]))
    return writer


def two_writers(name):
    writer = Clinic(name).session(1)
    stream = writer.begin(visits(count=6))
    writer.take(stream, 2)
    writer.session(2)
    return writer.take(stream, 5, 2, 5)


def marked(name):
    writer = Clinic(name).session()
    own, heard = writer.begin(visits(count=9)), writer.begin(roster())
    writer.take(own, 2).take(heard, 4, 4).mark()
    writer.take(own, 3).take(own, 5, 5).mark()
    return writer.take(own, 9)


def sealed(name, more=True):
    """Three segments: a forked history, one for a single reader, one of which the second segment has nothing."""
    writer = Clinic(name).session()
    own, heard, letter = writer.begin(visits(count=30)), writer.begin(roster()), writer.begin(visits(GASA, 3, 1, HUB))
    writer.take(heard, 4, 4).take(own, 4).take(own, 9, 3, 9).take(letter, 1, 1)
    writer.take(own, 12).mark()
    writer.seal()
    writer.session()
    other = Log(LUNANA, 2)
    for event in visits(count=6).events:
        other.add_raw(event)
    other.add("visit", b"on the clone").add("visit", b"again")
    clone = writer.begin(other, branch=digest(other.events[6])[:8], base=(6, other.hashes[6]))
    writer.take(own, 20).take(clone, 8, 8).take(own, 24, 12, 24)
    writer.seal()
    if not more:
        return writer
    writer.session()
    return writer.take(letter, 3, 3).take(own, 30)


def begun(name):
    """Sealed, and the next segment is just made."""
    return sealed(name, more=False)


ACCEPT = (
    (fresh, "three events and a checkpoint, and nothing behind them", ["R10.3-a", "R10.3-b"]),
    (padded, "zeros behind the last frame", ["R10.4-c"]),
    (two_writers, "a second writer, with a newer data key", ["R10.3-a", "R10.3-g"]),
    (marked, "two marks, and events behind the last", ["R10.4-f"]),
    (sealed, "two sealed segments and an open one; a fork, a letter, a history that rests", ["R10.3-d", "R10.3-e", "R10.3-f"]),
    (begun, "two sealed segments and one that is just made", ["R10.4-e"]),
)


def summed(frame: bytes) -> bytes:
    """The frame, its checksum made right."""
    return frame[:4] + struct.pack("<I", zlib.crc32(frame[:4] + frame[8:])) + frame[8:]


def last_frame(data: bytes) -> int:
    at = 64
    while at + struct.unpack_from("<I", data, at)[0] + 8 < len(data):
        at += struct.unpack_from("<I", data, at)[0] + 8
    return at


def forged(name):
    """Somebody who knows how checksums are made."""
    writer = Clinic(name).session()
    writer.take(writer.begin(visits()), 3)
    data = writer.segments[1]
    at = last_frame(data)
    writer.segments[1] = data[:at] + summed(data[at:-1] + bytes([data[-1] ^ 1]))
    return writer


def moved(name):
    """The first events are written there once more."""
    writer = Clinic(name).session()
    stream = writer.begin(visits())
    writer.take(stream, 1)
    data = writer.segments[1]
    writer.segments[1] = data + data[last_frame(data):]
    return writer


def other_key(name):
    writer = fresh(name)
    writer.told_keys = {1: KEYS[2]}
    return writer


def version(name):
    writer = fresh(name)
    head = writer.segments[1][:8] + struct.pack("<H", 2) + writer.segments[1][10:60]
    writer.segments[1] = head + struct.pack("<I", zlib.crc32(head)) + writer.segments[1][64:]
    return writer


def twice(name, by_number: bool):
    """A stream's number is given to another, or a stream has two."""
    writer = Clinic(name).session()
    own = writer.begin(visits())
    writer.take(own, 2)
    other = zblog.Stream(1, roster().origin, None, (0, h_0(roster().origin))) if by_number else zblog.Stream(2, *(own.origin, own.branch, own.base))
    writer.put(zblog.STREAM, other.number, 0, 0, 0, other.definition())
    return writer


def number_twice(name):
    return twice(name, True)


def stream_twice(name):
    return twice(name, False)


def other_base(name):
    """A second session says that a branch parts elsewhere."""
    writer = Clinic(name).session()
    log = visits(count=6)
    clone = writer.begin(log, branch=digest(log.events[3])[:8], base=(3, log.hashes[3]))
    writer.take(clone, 6).session()
    writer.define(zblog.Stream(1, clone.origin, clone.branch, (2, log.hashes[2])))
    return writer


def undefined(name):
    """Events of a stream of which nobody has said what it is."""
    writer = Clinic(name).session()
    log = visits()
    stream = zblog.Stream(1, log.origin, None, (0, h_0(log.origin)), hashes=[h_0(log.origin)])
    writer.events(stream, log.events[:1], DAY)
    return writer


def mended(name, first: int):
    """Of what is not held nothing can come again."""
    writer = Clinic(name).session()
    log = visits(count=9)
    clone = writer.begin(log, branch=digest(log.events[3])[:8], base=(3, log.hashes[3]))
    writer.take(clone, 6, 6)
    event = log.events[first - 1]
    writer.put(MENDED, 1, first, 1, 0, struct.pack("<H", len(event)) + event)
    return writer


def mended_ahead(name):
    return mended(name, 7)


def mended_before(name):
    return mended(name, 3)


def marked_wrong(name, change):
    writer = fresh(name)
    row = bytearray(writer.streams[1].mark())
    change(row)
    writer.put(zblog.MARK, 0, 0, 1, 0, bytes(row))
    return writer


def mark_of_more(name):
    """It says that a fourth event is held."""
    return marked_wrong(name, lambda row: row.__setitem__(4, 4))


def mark_cut(name):
    return marked_wrong(name, lambda row: row.pop())


def cut_back_cut(name):
    writer = fresh(name)
    writer.put(6, 0, 64, 2, 10, writer.streams[1].mark())
    return writer


REJECT = (
    (forged, "a bit of a seal is flipped, and the checksum is made right", ["R10.3-b", "R10.8-a"], "Z302"),
    (moved, "a frame of events stands there twice", ["R10.3-b", "R10.8-a"], "Z301"),
    (other_key, "the data key is another", ["R10.8-b"], "Z302"),
    (version, "a segment of version 2", ["R10.2-e"], "Z105"),
    (number_twice, "a second stream has the number of the first", ["R10.8-a"], "Z301"),
    (stream_twice, "a stream has a second number", ["R10.8-a"], "Z301"),
    (other_base, "a second session says that a branch parts elsewhere", ["R10.3-g"], "Z301"),
    (undefined, "events of a stream that was not defined", ["R10.8-a"], "Z301"),
    (mended_ahead, "an event comes again that never came", ["R10.8-e"], "Z301"),
    (mended_before, "an event comes again that stands before the branch", ["R10.8-e"], "Z301"),
    (mark_of_more, "a mark tells an event that is not there", ["R10.4-f"], "Z301"),
    (mark_cut, "a mark of one entry that is a byte short", ["R10.4-f"], "Z301"),
    (cut_back_cut, "a cut-back of two entries that has one", ["R10.8-a"], "Z301"),
)


def told(writer: zblog.Writer) -> dict:
    keys = getattr(writer, "told_keys", KEYS)
    return {"keys": [f"{number} {key.hex()}" for number, key in sorted(keys.items())]}


def row(stream: zblog.Stream) -> dict:
    """What a story tells of a stream."""
    node, incarnation, lane, audience = stream.origin
    origin = f"@{node.hex()}~{incarnation.hex()}/{LANES[lane]}" + (f">@{audience.hex()}" if audience else "")
    return {"origin": origin, "branch": (stream.branch or b"").hex(), "base": stream.base[0], "last": stream.seq, "h": stream.hashes[-1].hex(),
            "checkpoints": sorted(seq for seq, *_ in stream.checkpoints), "hlc": stream.hlc}


def all_files() -> dict:
    """Path -> bytes, or a story: its rows and its streams."""
    files = {}
    for make, story, rules in ACCEPT:
        writer = make(make.__name__)
        files |= {f"logs/accept/{make.__name__}/{number:08}.seg": data for number, data in writer.segments.items()}
        files[f"logs/accept/{make.__name__}.toml"] = ({"story": story, "rules": rules} | told(writer), [row(s) for s in writer.streams.values()])
    for make, why, rules, expect in REJECT:
        writer = make(make.__name__)
        files |= {f"logs/reject/{make.__name__}/{number:08}.seg": data for number, data in writer.segments.items()}
        files[f"logs/reject/{make.__name__}.toml"] = ({"why": why, "rules": rules, "expect": expect} | told(writer), [])
    return files


# ---- read again ----
def complaint(path: Path) -> str | None:
    """What the log beside the story at `path` has that the story does not tell, or the other way round."""
    story = (json if path.suffix == ".json" else tomllib).loads(path.read_text())
    keys = {int(number): bytes.fromhex(key) for number, key in (key.split() for key in story["keys"])}
    try:
        streams = [row(stream) for stream in zblog.read_folder(path.with_suffix(""), keys)]
    except zblog.Bad as bad:
        return None if "expect" in story else str(bad)
    if "expect" in story:
        return "it was taken"
    differ = [f"{ours} against {theirs}" for ours, theirs in zip(streams, story["stream"], strict=True) if ours != theirs]
    return "; ".join(differ) or None


def walk(folder: Path) -> tuple:
    """How many were as told, and how many not."""
    passed = failed = 0
    for path in sorted(path for path in folder.rglob("*") if path.suffix in (".toml", ".json")):
        fault = complaint(path)
        print(f"{'FAIL' if fault else 'ok  '} {path.relative_to(folder.parent)}" + (f": {fault}" if fault else ""))
        passed, failed = passed + (not fault), failed + bool(fault)
    return passed, failed
