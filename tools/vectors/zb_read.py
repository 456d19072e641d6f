#!/usr/bin/env python3
"""Reads zbundle files by SPEC.md alone: every check of §6.1 in its order, the first fault's code, or what the file holds.

    zb_read.py FILE... --context fixtures/context.json [--as NAME] [--json]
    zb_read.py --fixtures fixtures
    zb_read.py --keys DIR/keys-for-readers.json FILE...
    zb_read.py --messages FILE...

Not here: admission (§6.2), receipts (§6.5), after-revoke (R8.3-b).
"""

import argparse
import json
import os
import stat
import sys
import tomllib
import zlib
from pathlib import Path

import zstandard

import zbcbor
import zbgrammar
import zbmix
from zbcrypto import FILE, MAGIC, checkpoint_message, chunk_key, chunk_open, digest, h_0, h_next, hint, hpke_open, sealing_public, sha256, usable_point, verify
from zbcrypto import domain_id
from zbgrammar import Fault
from zbroster import Roster

HEADER_LEN_MAX, MANIFEST_LEN_MAX, BUNDLE_LEN_MAX = 8_192, 1 << 20, (1 << 32) - 1
CHUNK_SEALED_LEN, TAG_LEN = 65_552, 16
WINDOW_MAX = 1 << 20
EXPANSION_FLOOR, EXPANSION_FACTOR = 1 << 20, 200
MIX_FILE_RAW_LEN_MAX = 2 << 20
LANES = ("control", "urgent", "routine", "bulk")


def spot(roster: Roster, origin) -> str:
    """The text form of an origin (R3.1-f)."""
    node, incarnation, lane, audience = origin
    text = f"{roster.name(node)}~{incarnation.hex()}/{LANES[lane]}"
    return text if audience is None else f"{text}>{roster.name(audience)}"


class Context:
    """What the reading node knows: its domain, its roster, its sealing secrets."""

    def __init__(self, told: dict, readers=None):
        """`readers`: names or node ids (hex) whose secrets are ours; None for all that are told."""
        self.told = told
        self.domain = bytes.fromhex(told["domain"])
        names = {row["node"]: row["name"] for row in told["roster"]}
        self.secrets = []
        for node, secrets in told["secret_sealing_keys"].items():
            if readers is None or node in readers or names.get(node) in readers:
                self.secrets += [bytes.fromhex(s) for s in ([secrets] if isinstance(secrets, str) else secrets)]

    def roster(self) -> Roster:
        return Roster.from_context(self.told)


# ---- checks 2 to 9: no key needed ----
def read_header(data: bytes):
    """Check 4 -> (value, header bytes)."""
    window = data[12:12 + HEADER_LEN_MAX]
    try:
        major, count, pos = zbcbor.read_head(window, 0, len(window))
        if major != 5:
            raise Fault("Z217", "header is not a map")
        if count == 0 or (pos < len(window) and window[pos] != 0):
            raise Fault("Z217", "header key 0 is missing")
        version, _ = zbcbor.decode(window, pos + 1)
        if type(version) is not int or version < 0:
            raise Fault("Z217", "the version is no unsigned integer")     # R4.1-c
        if version != 1:
            raise Fault("Z216", f"version {version}")                     # R4.1-c
        value, end = zbcbor.decode(window)
    except zbcbor.Cut:
        if len(data) - 12 > HEADER_LEN_MAX:
            raise Fault("Z218", "header does not end within 8 192 bytes") from None
        raise Fault("Z212", "ends inside the header") from None
    except zbcbor.Bad as bad:
        raise Fault("Z217", f"header: {bad}") from None
    zbgrammar.header(value)
    if not usable_point(value[6]):
        raise Fault("Z217", "sender's key is no usable point")
    return value, data[12:12 + end]


def read_frames(data: bytes, pos: int):
    """Checks 5 and 6 -> (sealed chunks, where the trailer begins). What the file ends in is Z212 when it could have become whole (R6.1-a)."""
    chunks, short = [], False
    while True:
        if pos >= len(data):
            raise Fault("Z212", "ends before the trailer")
        if data[pos] == 0x82:
            break
        if short:
            raise Fault("Z213", "a chunk behind a short one")
        try:
            major, n, at = zbcbor.read_head(data, pos, len(data))
        except zbcbor.Cut:
            raise Fault("Z212", "ends inside a chunk's head") from None
        except zbcbor.Bad as bad:
            raise Fault("Z213", f"chunk head: {bad}") from None
        if major != 2:
            raise Fault("Z213", "neither chunk nor trailer")
        if not TAG_LEN < n <= CHUNK_SEALED_LEN:
            raise Fault("Z213", "chunk of a wrong length")
        if n > len(data) - at:
            raise Fault("Z212", "ends inside a chunk")
        short = n < CHUNK_SEALED_LEN
        chunks.append(data[at:at + n])
        pos = at + n
    if not chunks:
        raise Fault("Z213", "no chunk")
    trailer = data[pos:pos + 72]
    for at, want in ((1, b"\x58\x40"), (67, b"\x44")):
        if trailer[at:at + len(want)] != want[:max(0, len(trailer) - at)]:
            raise Fault("Z213", "trailer is not spelled as it must be")
    if len(trailer) < 72:
        raise Fault("Z212", "ends inside the trailer")
    return chunks, pos


def read_outside(data: bytes):
    """Checks 2 to 9 -> (header value, header bytes, sealed chunks)."""
    if data[:12] != MAGIC[:len(data)]:
        raise Fault("Z211", "not a bundle")
    if len(data) < 12:
        raise Fault("Z212", "ends inside the magic")
    if len(data) > BUNDLE_LEN_MAX:
        raise Fault("Z218", "longer than 2^32 - 1 bytes")
    header, header_bytes = read_header(data)
    chunks, at = read_frames(data, 12 + len(header_bytes))
    if len(data) > at + 72:
        raise Fault("Z219", "something follows the trailer")
    if zlib.crc32(data[:at + 67]).to_bytes(4, "big") != data[at + 68:]:
        raise Fault("Z213", "checksum does not fit")
    if not verify(header[6], data[at + 3:at + 67], FILE + sha256(data[:at])):
        raise Fault("Z215", "signature does not verify")
    return header, header_bytes, chunks


# ---- checks 10 to 12: ours ----
def unseal(header, context: Context) -> bytes:
    """R5.2-c."""
    for secret in context.secrets:
        public = sealing_public(secret)
        for told, sealed in header[8]:
            if told == hint(sealed[:32], public):
                content_key = hpke_open(secret, sealed)
                if content_key is not None:
                    return content_key
    raise Fault("Z611", "none of our keys unseals it")


class Inner:
    """The inner sequence; a chunk is opened when its bytes are needed (R6.1-b)."""

    def __init__(self, key, chunks):
        self.key, self.chunks, self.opened, self.buf, self.pos = key, chunks, 0, bytearray(), 0

    def more(self) -> bool:
        if self.opened == len(self.chunks):
            return False
        i, last = self.opened, self.opened == len(self.chunks) - 1
        plain = chunk_open(self.key, i, last, self.chunks[i])
        if plain is None:
            raise Fault("Z221", f"chunk {i} failed authentication")
        self.buf += plain
        self.opened += 1
        return True

    def ended(self) -> bool:
        return self.pos == len(self.buf) and not self.more()

    def item(self):
        """The next item -> (first byte's major type, value, length)."""
        if self.pos == len(self.buf) and not self.more():
            raise Fault("Z222", "an item is missing")
        while True:
            try:
                value, end = zbcbor.decode(self.buf, self.pos)
                break
            except zbcbor.Cut:
                if not self.more():
                    raise Fault("Z222", "the inside ends within an item") from None
            except zbcbor.Bad as bad:
                raise Fault("Z222", f"inner item: {bad}") from None
        length, self.pos = end - self.pos, end
        return value, length


# ---- check 17 (and 15): one range ----
def inflate(r, prefix=None) -> bytes:
    """The raw bytes of a range (R4.4-a, R4.4-c, R4.4-h); `prefix`: the raw bytes of the events that key 14 names."""
    if r["codec"] == 0:
        if len(r["data"]) != r["raw_len"]:
            raise Fault("Z224", "stored data is not of the claimed length")
        return r["data"]
    if r["codec"] == 3:
        return zbmix.decode(r["data"], r["raw_len"], prefix or b"")
    frame = b"\x28\xb5\x2f\xfd" + r["data"]
    try:
        told = zstandard.get_frame_parameters(frame)
        if told.window_size > WINDOW_MAX:
            raise Fault("Z224", "window above 2^20")
        known = zstandard.ZstdCompressionDict(prefix, dict_type=zstandard.DICT_TYPE_RAWCONTENT) if prefix else None
        d = zstandard.ZstdDecompressor(dict_data=known, max_window_size=WINDOW_MAX).decompressobj()
        out = bytearray()
        for at in range(0, len(frame), 64):                               # small bites bound the output
            out += d.decompress(frame[at:at + 64])
            if len(out) > r["raw_len"]:
                raise Fault("Z224", "longer than claimed")
            if d.eof:
                if d.unused_data or at + 64 < len(frame):
                    raise Fault("Z224", "bytes after the frame")
                break
        if not d.eof:
            raise Fault("Z224", "frame is cut short")
    except zstandard.ZstdError as error:
        raise Fault("Z224", f"zstd: {error}") from None
    if len(out) != r["raw_len"]:
        raise Fault("Z224", "shorter than claimed")
    return bytes(out)


def verify_range(r, roster: Roster, domain: bytes, base=None, prefix=None):
    """Check 17 after the sum, all of it before any of the range counts (R4.3-f) -> [(bytes, value)]; sets r["h"].

    `base` and `prefix`: what a reader with a log has of its own, as on a link (R7.3-f, R7.3-g)."""
    base = base or r["base"]
    if base is None:
        raise Fault("Z222", "base is missing")
    events = zbgrammar.events(inflate(r, prefix), r["count"])
    keys = []
    for _, number, _ in r["checkpoints"]:
        key = roster.key(r["origin"][0], number)
        if key is None:
            raise Fault("Z615", f"signer {roster.name(r['origin'][0])}, key {number}, is not in the roster")
        keys.append(key)
    if r["first"] == 1 and base != h_0(r["origin"]):
        raise Fault("Z225", "base of a range from 1 is not h_0")
    h, hashes = base, []
    for i, (raw, _) in enumerate(events):
        h = h_next(h, r["first"] + i, raw)
        hashes.append(h)
    for (offset, number, signature), key in zip(r["checkpoints"], keys):
        seq = r["first"] + offset - 1
        if not verify(key, signature, checkpoint_message(domain, r["origin"], number, seq, hashes[offset - 1])):
            raise Fault("Z225", f"checkpoint at {seq} does not verify")
    r["h"] = h
    return events


def read(data: bytes, context: Context) -> dict:
    """All checks but 1 -> what the file holds."""
    header, header_bytes, chunks = read_outside(data)
    if header[2] != context.domain[:4]:
        raise Fault("Z613", "another domain")
    content_key = unseal(header, context)
    inner, roster, notes = Inner(chunk_key(content_key, header_bytes), chunks), context.roster(), []

    value, length = inner.item()
    if length > MANIFEST_LEN_MAX:
        raise Fault("Z218", "manifest above 1 MiB")
    manifest = zbgrammar.manifest(value)

    def know_sender():
        if not roster.knows_sender(header[4], header[6]):
            raise Fault("Z612", "sender's id and key are not together in the roster")
        if not roster.sender_is_current(header[4], header[6]):
            notes.append("Z614")                                          # R6.1-f

    ranges, total, mixed, beyond_roster, pad = [], 0, 0, False, None
    while not inner.ended():
        value, length = inner.item()
        if type(value) is bytes:
            if any(value):
                raise Fault("Z222", "pad is not zero")
            pad = len(value)
            if not inner.ended():
                raise Fault("Z222", "something follows the pad")
            break
        if length > zbgrammar.RANGE_ITEM_LEN_MAX:
            raise Fault("Z218", "range item too long")
        r = zbgrammar.range_(value, zbgrammar.in_file(manifest["nodes"]))
        if r["prefix"]:
            raise Fault("Z222", "a prefix in a file")                     # R4.4-d
        is_roster = r["origin"] == roster.origin
        if is_roster and (beyond_roster or r["codec"] != 0):
            raise Fault("Z222", "roster range after another, or compressed")
        if not is_roster and not beyond_roster:
            know_sender()
            beyond_roster = True
        total += r["raw_len"]
        if total > min(BUNDLE_LEN_MAX, EXPANSION_FACTOR * len(data) + EXPANSION_FLOOR):
            raise Fault("Z218", "claims more than 200 times the file")    # R4.4-l
        mixed += r["raw_len"] if r["codec"] == 3 else 0
        if mixed > MIX_FILE_RAW_LEN_MAX:
            raise Fault("Z218", "claims more than 2 MiB in codec 3")      # R4.4-m
        r["events"] = verify_range(r, roster, context.domain)
        if is_roster:
            r["roster"] = roster.learn(r["first"], r["base"], [raw for raw, _ in r["events"]], r["checkpoints"])
        ranges.append(r)
    if not beyond_roster:
        know_sender()
    return {"header": header, "header_bytes": header_bytes, "manifest": manifest, "ranges": ranges, "pad": pad,
            "chunks": len(chunks), "notes": notes, "roster": roster}


# ---- for people ----
def shown(found: dict) -> dict:
    """`read`'s result as JSON: bytes in hex, text payloads as text besides."""
    roster, header, manifest = found["roster"], found["header"], found["manifest"]

    def plain(v):
        if isinstance(v, bytes):
            return v.hex()
        if isinstance(v, (list, tuple)):
            return [plain(x) for x in v]
        return {str(k): plain(x) for k, x in v.items()} if isinstance(v, dict) else v

    def one_event(seq, raw, value):
        row = {"seq": seq, "digest": digest(raw)[:8].hex(), "hlc": value[0], "type": value[1], "payload": value[2].hex()}
        return row | ({"ext": plain(value[3])} if len(value) == 4 else {})

    return {
        "header": {"created": header.get(1), "domain_hint": header[2].hex(), "lane": header.get(3), "sender": roster.name(header[4]),
                   "sender_node": header[4].hex(), "signing_key": header[6].hex(), "recipients": len(header[8])},
        "manifest": {"vector": [[spot(roster, o), seq, tag.hex()] for o, seq, tag in manifest["vector"]],
                     "receipt": plain(manifest["receipt"]), "forks": [[spot(roster, o), *plain(rest)] for o, *rest in manifest["forks"]]},
        "ranges": [{"origin": spot(roster, r["origin"]), "first": r["first"], "last": r["first"] + r["count"] - 1, "codec": r["codec"],
                    "h": r["h"].hex(), "checkpoints_verified": [[r["first"] + o - 1, n] for o, n, _ in r["checkpoints"]],
                    "events": [one_event(r["first"] + i, *e) for i, e in enumerate(r["events"])]} for r in found["ranges"]],
        "chunks": found["chunks"], "pad": found["pad"], "notes": found["notes"],
    }


def load(path: Path) -> bytes:
    """Check 1."""
    try:
        kind = os.lstat(path).st_mode
        if not stat.S_ISREG(kind):
            raise Fault("Z229", "not a regular file, or reached through a link")
        return path.read_bytes()
    except OSError as error:
        raise Fault("Z201", str(error)) from None


# ---- fixtures ----
def readers_of(story) -> set:
    keys = story["keys"]
    return {keys} if isinstance(keys, str) else set(keys)


def check_accept(data: bytes, story: dict, told: dict, path: Path):
    for reader in readers_of(story):
        found = read(data, Context(told, {reader}))
        got = [(spot(found["roster"], r["origin"]), r["first"], r["first"] + r["count"] - 1, r["h"].hex()) for r in found["ranges"]]
        want = [(r["origin"], r["first"], r["last"], r["h"]) for r in story.get("range", [])]
        if got != want:
            return f"ranges: {got}, not {want}"
        if sum(r["count"] for r in found["ranges"]) != story["events"]:
            return "event count"
        facts = {"sender": found["roster"].name(found["header"][4]), "notes": found["notes"], "chunks": found["chunks"],
                 "receipt": found["manifest"]["receipt"][1] if found["manifest"]["receipt"] else None}
        for name, fact in facts.items():
            if name in story and story[name] != fact:
                return f"{name}: {fact}, not {story[name]}"
    return None


def check_reject(data: bytes, story: dict, told: dict, path: Path):
    for reader in readers_of(story):
        try:
            read(data, Context(told, {reader}))
        except Fault as fault:
            if fault.code != story["expect"]:
                return f"{fault}, not {story['expect']}"
        else:
            return f"accepted, not {story['expect']}"
    return None


def walk_fixtures(root: Path) -> int:
    told = json.loads((root / "context.json").read_text())
    if domain_id(bytes.fromhex(told["authority"]["signing"])) != bytes.fromhex(told["domain"]):
        print("context.json: domain is not the authority's", file=sys.stderr)
        return 1
    import fixtures_logs
    import zbmessage
    import zbside
    kinds = [("bundles/accept", ".zb", check_accept), ("bundles/reject", ".zb", check_reject)] + zbside.KINDS + zbmessage.FIXTURES
    passed = failed = 0
    for folder, suffix, check in kinds:
        files = sorted((root / folder).glob("*"))
        for path in files:
            if path.suffix == suffix and not path.with_suffix(".toml").exists():
                print(f"FAIL {folder}/{path.name}: no story beside it")
                failed += 1
        for path in (p for p in files if p.suffix == ".toml"):
            story = tomllib.loads(path.read_text())
            try:
                complaint = check(path.with_suffix(suffix).read_bytes(), story, told, path)
            except Fault as fault:
                complaint = str(fault)
            print(f"{'FAIL' if complaint else 'ok  '} {folder}/{path.stem}" + (f": {complaint}" if complaint else ""))
            failed, passed = failed + bool(complaint), passed + (not complaint)
    logs = fixtures_logs.walk(root / "logs")
    passed, failed = passed + logs[0], failed + logs[1]
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed or not logs[0] else 0


def main() -> int:
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("files", nargs="*", type=Path)
    args.add_argument("--context", type=Path)
    args.add_argument("--keys", type=Path)
    args.add_argument("--as", dest="reader", action="append")
    args.add_argument("--json", action="store_true")
    args.add_argument("--fixtures", type=Path)
    args.add_argument("--messages", action="store_true")
    args.add_argument("--logs", type=Path)
    a = args.parse_args()
    if a.fixtures:
        return walk_fixtures(a.fixtures)
    if a.logs:
        import fixtures_logs
        passed, failed = fixtures_logs.walk(a.logs)
        print(f"{passed} logs as they are told, {failed} not")
        return 1 if failed or not passed else 0
    if a.messages and a.files:
        import zbmessage
        return 1 if zbmessage.read_all(a.files) else 0
    if not a.files or not (a.context or a.keys):
        args.error("name a FILE and a --context (or --keys), or --fixtures DIR")
    context = Context(json.loads((a.context or a.keys).read_text()), set(a.reader) if a.reader else None)
    refused = 0
    for path in a.files:
        try:
            found = read(load(path), context)
        except Fault as fault:
            refused += 1
            print(f"{path}: {fault.code} {fault.why}" if a.keys or len(a.files) > 1 else f"{fault.code} {fault.why}")
            continue
        events = sum(r["count"] for r in found["ranges"])
        if a.json:
            print(json.dumps(shown(found), indent=1, ensure_ascii=False))
        else:
            print(f"{path}: ok, {events} events in {len(found['ranges'])} ranges, {len(found['manifest']['vector'])} origins told")
    if a.keys:
        print(f"{len(a.files) - refused} accepted, {refused} refused")
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
