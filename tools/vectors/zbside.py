"""Reads what is no bundle: single events (SPEC §3.2), request and join files (§8.5); and checks their fixtures."""

import zbcbor
import zbgrammar
from zbcrypto import REQUEST, digest, domain_id, node_id, sha256, usable_point, usable_sealing, verify
from zbgrammar import Fault, Shape
from zbroster import NAME, Roster

REQUEST_LEN_MAX, JOIN_LEN_MAX = 1_024, 4 << 20
BAD = Shape("Z609")


def event(raw: bytes):
    return zbgrammar.events(raw, 1)[0]


def one_item(data: bytes, label: str, length_max: int):
    BAD.need(len(data) <= length_max, "too long")
    try:
        value = zbcbor.whole(data)
    except (zbcbor.Bad, zbcbor.Cut) as bad:
        raise Fault("Z609", str(bad)) from None
    BAD.need(type(value) is list and len(value) >= 3 and value[0] == label, "not of this kind")
    return value


def request(data: bytes) -> dict:
    """A request that the authority may look at (R8.5-a to -d). The old signature needs the roster: see `old_signature_fits`."""
    value = one_item(data, "zbundle/1 request", REQUEST_LEN_MAX)
    BAD.need(len(value) in (3, 4), "not 3 or 4 elements")
    m = BAD.map(value[1], "request", (0, 2, 4, 6), (8,))
    BAD.need(bool(NAME.fullmatch(BAD.text(m[0], "name"))), "name")
    BAD.bytes(m[2], "node", 8)
    BAD.need(usable_point(BAD.bytes(m[4], "signing key", 32)), "weak signing key")
    BAD.need(usable_sealing(BAD.bytes(m[6], "sealing key", 32)), "weak sealing key")
    if 8 in m:
        BAD.uint(m[8], "key number", 2)
    else:
        BAD.need(m[2] == node_id(m[4]) and len(value) == 3, "a first request: id of its key, one signature")
    _, at = zbcbor.decode(data, 1)                                        # behind the label; the map as received (R2.1-j)
    _, end = zbcbor.decode(data, at)
    signed = REQUEST + data[at:end]
    for signature in value[2:]:
        BAD.bytes(signature, "signature", 64)
    BAD.need(verify(m[4], value[2], signed), "signature")
    return {"map": m, "old_signature": value[3] if len(value) == 4 else None, "signed": signed}


def old_signature_fits(found: dict, roster: Roster) -> bool:
    m = found["map"]
    if found["old_signature"] is None:
        return True
    key = roster.key(m[2], m[8] - 1)
    return key is not None and verify(key, found["old_signature"], found["signed"])


def join(data: bytes, asked: bytes) -> Roster:
    """The roster of a join file that answers the request `asked` (R8.5-e, R8.5-f), the words aside."""
    import zb_read
    value = one_item(data, "zbundle/1 join", JOIN_LEN_MAX)
    BAD.need(len(value) == 3, "not 3 elements")
    m = BAD.map(value[1], "join", (0, 2, 4, 6))
    BAD.bytes(m[0], "node", 8)
    BAD.need(usable_point(BAD.bytes(m[2], "authority's key", 32)), "weak authority's key")
    BAD.bytes(m[4], "incarnation", 4)
    if BAD.bytes(m[6], "request digest", 32) != sha256(asked):
        raise Fault("Z606", "the answer to another request")
    told, authority = request(asked)["map"], node_id(m[2])
    if 8 in told and m[0] != told[2]:
        raise Fault("Z606", "numbered keys for another member")                                # R8.5-i
    roster = Roster(authority, m[4])
    BAD.need(type(value[2]) is list and value[2], "no ranges")
    try:
        for row in value[2]:
            r = zbgrammar.range_(row, zbgrammar.in_file([authority]))
            BAD.need(r["origin"] == roster.origin and r["codec"] == 0 and r["first"] == len(roster.hashes), "not the roster in order")
            pinned = roster if roster.members else First(roster, m[2])
            events = zb_read.verify_range(r, pinned, domain_id(m[2]))
            BAD.need(roster.learn(r["first"], r["base"], [raw for raw, _ in events], r["checkpoints"]) == "learned", "another base")
    except Fault as fault:
        raise Fault("Z609", fault.why) from None
    member = roster.members.get(m[0])
    if member is None or member["keys"].get(member["current"]) != (told[4], told[6]):
        raise Fault("Z606", "the roster does not have our keys as those of the member we become")
    return roster


class First:
    """The roster before its first event: only the pin's key vouches."""

    def __init__(self, roster, key):
        self.roster, self.pin = roster, key

    def key(self, node, number):
        return self.pin if (node, number) == (self.roster.authority, 1) else None

    def name(self, node):
        return self.roster.name(node)


# ---- fixtures: each check takes (bytes, story, context, file) and says what is wrong, or nothing ----
def _event(data, story, told, path):
    raw, _ = event(bytes.fromhex(data.decode()))
    return None if digest(raw).hex() == story["digest"] and len(raw) == story["length"] else "digest or length"


def _asked_or_answered(data, story, told, path):
    if path.stem.startswith("join"):
        join(data, (path.parents[1] / "accept/first.bin").read_bytes())
        return None
    found = request(data)
    if "words" in story and sha256(b"zbundle/1 join\0", data, bytes.fromhex(told["authority"]["signing"]))[:9].hex() != story["words"]:
        return "words"
    if not old_signature_fits(found, Roster.from_context(told)):
        raise Fault("Z609", "old signature")
    return None


def _refused(check):
    def run(data, story, told, path):
        try:
            check(data, story, told, path)
        except Fault as fault:
            return None if fault.code == story["expect"] else f"{fault}, not {story['expect']}"
        return f"accepted, not {story['expect']}"
    return run


KINDS = [("events/accept", ".hex", _event), ("events/reject", ".hex", _refused(_event)),
         ("requests/accept", ".bin", _asked_or_answered), ("requests/reject", ".bin", _refused(_asked_or_answered))]
