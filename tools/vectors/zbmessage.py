"""What one end of a link says (SPEC §7.2, §7.3): reads messages in their order, with the numbers they give to histories; and checks their fixtures.

In: the bytes of one direction inside TLS, from the first. Out: the messages, or the first fault. Nothing here knows what may follow what (§7.4).
"""

import zbcbor
import zbgrammar
from zbcrypto import h_0
from zbgrammar import SEQ_MAX, Fault, Shape
from zbroster import Roster

MESSAGE_LEN_MAX, VERSION = 98_304, 1
KINDS = ("hello", "range", "ack", "again", "done", "who", "introduction", "bye", "busy", "lost")
BAD = Shape("format")                       # the code is Z505 throughout; here the fault's kind stands in its place


def frames(data: bytes):
    """The messages' bytes (R7.2-a, R7.2-b). What has not arrived whole is no fault and not told."""
    pos = 0
    while pos < len(data):
        try:
            major, length, at = zbcbor.read_head(data, pos, len(data))
        except zbcbor.Cut:
            return
        except zbcbor.Bad as bad:
            raise Fault("format", str(bad)) from None
        BAD.need(major == 2, "not a byte string")
        if length > MESSAGE_LEN_MAX:
            raise Fault("length", f"a message of {length} bytes")
        if at + length > len(data):
            return
        yield data[at:at + length]
        pos = at + length


class Numbers:
    """The histories one end has named, by their numbers (R7.3-b)."""

    def __init__(self):
        self.named = []

    def read(self, s: Shape, value):
        """Key 0 of a range: a number, or a history that has none yet."""
        if type(value) is int:
            s.uint(value, "number", 0, len(self.named) - 1)
            return self.named[value]
        origin = zbgrammar.whole_origin(s, value, "history")
        s.need(origin not in self.named, "a history named in full that has a number")
        return origin

    def name(self, origin):
        if origin not in self.named:
            self.named.append(origin)


def read(body: bytes, numbers: Numbers) -> dict:
    """One message, in the order of R7.2-c."""
    try:
        major, count, pos = zbcbor.read_head(body, 0, len(body))
        BAD.need(major == 4 and count > 0, "not an array with a kind")
        major, kind, pos = zbcbor.read_head(body, pos, len(body))
        BAD.need(major == 0, "kind is not an unsigned integer")
        if kind >= len(KINDS):
            raise Fault("kind", f"kind {kind}")
        if kind == 0 and count > 1:
            major, version, _ = zbcbor.read_head(body, pos, len(body))
            BAD.need(major == 0, "version is not an unsigned integer")
            if version != VERSION:
                raise Fault("version", f"version {version}")
        value = zbcbor.whole(body)
    except (zbcbor.Bad, zbcbor.Cut) as bad:
        raise Fault("format", str(bad)) from None
    try:
        return {"kind": KINDS[kind]} | globals()[f"_{KINDS[kind]}"](value, numbers)
    except Fault as fault:
        raise Fault("format", str(fault)) from None


def _hello(value, numbers):
    BAD.array(value, "hello", 6)
    _, _, more, window, take, page = value
    BAD.need(type(more) is bool, "more is no truth value")
    BAD.uint(window, "window")
    if take is not None:
        BAD.uint(take, "take")
    manifest = zbgrammar.manifest(page)
    numbers.named += [origin for origin, _, _ in manifest["vector"]]                 # a forked one twice: its first number is its number
    return {"more": more, "window": window, "take": take, "manifest": manifest}


def _range(value, numbers):
    BAD.array(value, "range", 2)
    r = zbgrammar.range_(value[1], numbers.read)
    numbers.name(r["origin"])
    return {"ranges": [r]}


def _ack(value, numbers):
    BAD.need(len(value) >= 3 and len(value) % 2 == 1, "not one or more pairs")
    pairs = list(zip(value[1::2], value[2::2]))
    for number, seq in pairs:
        BAD.uint(number, "number")
        BAD.uint(seq, "seq", 1, SEQ_MAX)
    return {"pairs": pairs}


def _again(value, numbers):
    BAD.array(value, "again", 5)
    BAD.uint(value[1], "number")
    BAD.uint(value[2], "seq", 0, SEQ_MAX)
    BAD.bytes(value[3], "tag", 4)
    BAD.uint(value[4], "reason", 0, 2)
    return {}


def _introduction(value, numbers):
    BAD.array(value, "introduction", 2)
    return {"ranges": [zbgrammar.range_(row, Numbers().read) for row in BAD.array(value[1], "ranges")]}


def _bye(value, numbers):
    BAD.array(value, "bye", 2)
    BAD.need(value[1] is None or type(value[1]) is str, "neither code nor null")
    return {"code": value[1]}


def _lost(value, numbers):
    BAD.array(value, "lost", 2)
    BAD.uint(value[1], "receipt number")
    return {}


def _alone(value, numbers):
    BAD.array(value, "message", 1)
    return {}


def _done(value, numbers):
    BAD.need(len(value) in (1, 2), "neither alone nor with a number")
    if len(value) == 2:
        BAD.uint(value[1], "agains heard", 1)
    return {}


_who = _busy = _alone


def conversation(data: bytes) -> list:
    """All messages of one end; a `Fault` bears the place of its message as `at`."""
    numbers, said = Numbers(), []
    try:
        for body in frames(data):
            said.append(read(body, numbers))
    except Fault as fault:
        fault.at = len(said)
        raise
    return said


# ---- a writer, for what was read: equal messages have equal bytes ----
def spell(data: bytes) -> bytes:
    """The same messages in the one spelling there is."""
    return b"".join(zbcbor.enc(zbcbor.enc(zbcbor.whole(body))) for body in frames(data))


def read_all(paths) -> int:
    """Files of another implementation, each what one end says: how many are refused."""
    refused, counts = 0, dict.fromkeys(KINDS, 0)
    for path in paths:
        data = path.read_bytes()
        try:
            for message in conversation(data):
                counts[message["kind"]] += 1
            BAD.need(spell(data) == data, "spelled in another way")
        except Fault as fault:
            refused += 1
            print(f"{path}: message {getattr(fault, 'at', '?')}: {fault.code}: {fault.why}")
    print(f"{len(paths) - refused} conversations heard, {refused} refused:", ", ".join(f"{count} {kind}" for kind, count in counts.items() if count))
    return refused


# ---- the content of ranges, for a reader that held nothing and took what came before ----
class Held:
    """Histories as they grow: chain hashes and raw events by position."""

    def __init__(self):
        self.hashes, self.events = {}, {}

    def take(self, r, roster: Roster, domain: bytes):
        import zb_read
        origin = r["origin"]
        hashes, events = self.hashes.setdefault(origin, [h_0(origin)]), self.events.setdefault(origin, [])
        base = r["base"]
        if base is None:                                                             # R7.3-f
            BAD.need(r["first"] <= len(hashes), "no base, and none of our own")
            base = hashes[r["first"] - 1]
        prefix = None
        if r["prefix"]:                                                              # R7.3-g
            first, count = r["prefix"]
            BAD.need(first + count - 1 <= len(events), "a prefix that is not held")
            prefix = b"".join(events[first - 1:first - 1 + count])
            BAD.need(len(prefix) <= 128 << 10, "a prefix above 128 KiB")
        found = zb_read.verify_range(r, roster, domain, base, prefix)
        if r["first"] == len(hashes):
            for i, (raw, _) in enumerate(found):
                hashes.append(zb_read.h_next(hashes[-1], r["first"] + i, raw))
                events.append(raw)


# ---- fixtures ----
def _good(data, story, told, path):
    import zb_read
    said = conversation(data)
    if [message["kind"] for message in said] != story["messages"]:
        return f"{[message['kind'] for message in said]}"
    roster, held, ranges = Roster.from_context(told), Held(), []
    for r in (r for message in said for r in message.get("ranges", ())):
        held.take(r, roster, bytes.fromhex(told["domain"]))
        ranges.append({"origin": zb_read.spot(roster, r["origin"]), "first": r["first"], "last": r["first"] + r["count"] - 1, "h": r["h"].hex()})
    return None if ranges == story.get("range", []) else f"{ranges}"


def _bad(data, story, told, path):
    try:
        conversation(data)
    except Fault as fault:
        good = (story["expect"], story["fault"], story["at"]) == ("Z505", fault.code, fault.at)
        return None if good else f"{fault.code} at {fault.at}: {fault.why}"
    return "accepted"


FIXTURES = [("messages/accept", ".bin", _good), ("messages/reject", ".bin", _bad)]
