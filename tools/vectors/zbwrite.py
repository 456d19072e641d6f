"""A zbundle writer with nothing left to chance: keys from names, randomness from labels; and a hook at every layer, to write it wrong.

In: names, histories, a label. Out: the bytes of one file (SPEC §4, §5), always the same for the same input.
"""

import hmac
import zlib
from itertools import count

from zbcbor import Raw, enc, head
from zbcrypto import (FILE, MAGIC, checkpoint_message, chunk_key, chunk_seal, digest, h_0, h_next, hint, hpke_seal, node_id, sealing_public,
                      sha256, sign, signing_public)

CHUNK_LEN = 65_536
LANES = ("control", "urgent", "routine", "bulk")
DAY = 1_795_219_200_000 << 16                     # hlc of 2026-11-21T00:00Z: every fixture's morning


class Random:
    """The world's dice, loaded: block i is HMAC-SHA-256(label, i)."""

    def __init__(self, label: str):
        self.label, self.counter = label.encode(), count()

    def __call__(self, length: int) -> bytes:
        out = b""
        while len(out) < length:
            out += hmac.digest(self.label, next(self.counter).to_bytes(8, "big"), "sha256")
        return out[:length]


def seed(role: str, name: str) -> bytes:
    return sha256(f"zbundle fixture {role} {name}".encode())


class Node:
    """One node and its keys: number n is made from the name, from the second on with ` n` behind it."""

    def __init__(self, name: str, key_count: int = 1):
        self.name = name
        labels = [name] + [f"{name} {n}" for n in range(2, key_count + 1)]
        self.signing = [seed("signing", label) for label in labels]
        self.sealing = [seed("sealing", label) for label in labels]
        self.signing_public = [signing_public(s) for s in self.signing]
        self.sealing_public = [sealing_public(s) for s in self.sealing]
        self.node = node_id(self.signing_public[0])
        self.incarnation = seed("incarnation", name)[:4]


class Log:
    """One history: its events' bytes and chain hashes."""

    def __init__(self, writer: Node, lane: int, audience: Node | None = None, incarnation: bytes | None = None):
        self.writer = writer
        self.origin = (writer.node, incarnation or writer.incarnation, lane, audience.node if audience else None)
        self.text = f"{writer.name}~{self.origin[1].hex()}/{LANES[lane]}" + (f">{audience.name}" if audience else "")
        self.events, self.hashes = [], [h_0(self.origin)]

    def add(self, kind, payload=b"", ext=None, hlc=None) -> "Log":
        hlc = DAY + len(self.events) if hlc is None else hlc
        return self.add_raw(enc([hlc, kind, payload] + ([ext] if ext is not None else [])))

    def add_raw(self, raw: bytes) -> "Log":
        self.events.append(raw)
        self.hashes.append(h_next(self.hashes[-1], len(self.events), raw))
        return self

    def add_parts(self, kind, payload, ext=None) -> "Log":
        pieces = [payload[i:i + 4096] for i in range(0, len(payload), 4096)]
        for i, piece in enumerate(pieces):
            self.add(kind, piece, {**(ext or {} if i == 0 else {}), 2: [i, len(pieces)]})
        return self

    def event_id(self, seq):
        return [list(self.origin), seq, digest(self.events[seq - 1])[:8]]

    def checkpoint(self, seq, domain, number=1, h=None, origin=None, signed_seq=None):
        message = checkpoint_message(domain, origin or self.origin, number, signed_seq or seq, h or self.hashes[seq])
        return [number, sign(self.writer.signing[min(number, len(self.writer.signing)) - 1], message)]

    def range(self, first=1, last=None, checkpoints=None, domain=None, number=1, data=None, raw=None, codec=0, edit=None):
        """A range as `bundle` wants it. `checkpoints`: seqs, or (seq, key number); `edit` gets the wire map before encoding."""
        last = last or len(self.events)
        raw = b"".join(self.events[first - 1:last]) if raw is None else raw
        data = raw if data is None else data
        rows = []
        for place in checkpoints or [last]:
            seq, n = place if isinstance(place, tuple) else (place, number)
            rows.append([seq - first + 1, self.checkpoint(seq, domain, n)])
        wire = {0: self.origin, 2: first, 4: last - first + 1, 6: [codec, len(raw)], 8: data, 10: rows, 12: self.hashes[first - 1]}
        return {"log": self, "wire": wire, "edit": edit, "first": first, "last": last, "h": self.hashes[last]}


# ---- zstd frames made by hand: the same bytes with every library (RFC 8878 §3.1.1), without their 4 magic bytes (R4.4-b) ----
def block(content: bytes, last: bool, repeat: int = 0) -> bytes:
    """A raw block, or, with `repeat`, a block of one byte repeated."""
    size, kind = (repeat, 1) if repeat else (len(content), 0)
    return (last | kind << 1 | size << 3).to_bytes(3, "little") + content


def frame(blocks: bytes, content_size, window_log=None, flags=0) -> bytes:
    """Frame header with a 4-byte content size (none if None), then the blocks. Without `window_log` a single segment."""
    descriptor = (0 if content_size is None else 0x80) | (0x20 if window_log is None else 0) | flags
    window = b"" if window_log is None else bytes([(window_log - 10) << 3])
    return bytes([descriptor]) + window + (b"" if content_size is None else content_size.to_bytes(4, "little")) + blocks


def stored_frame(raw: bytes, **how) -> bytes:
    return frame(block(raw, True), len(raw), **how)


# ---- the file ----
def chunk_overhead(n: int) -> int:
    return len(head(2, n + 16)) + 16


def file_len(header_len: int, inner_len: int) -> int:
    full, rest = divmod(inner_len, CHUNK_LEN)
    if rest == 0:
        full, rest = full - 1, CHUNK_LEN
    return 12 + header_len + full * (CHUNK_LEN + chunk_overhead(CHUNK_LEN)) + rest + chunk_overhead(rest) + 72


def padme(n: int) -> int:
    e = n.bit_length() - 1
    z = e - e.bit_length()
    return (n + (1 << z) - 1) >> z << z


def pad_for(header_len: int, inner_len: int) -> bytes:
    """The pad item that brings the file to the smallest Padmé length within reach, or nothing (R4.5-b)."""
    goal = padme(file_len(header_len, inner_len))
    while True:
        if file_len(header_len, inner_len) == goal:
            return b""
        spare = goal - file_len(header_len, inner_len)
        for zeros in range(max(0, spare - 64), spare + 1):
            pad = enc(bytes(zeros))
            if file_len(header_len, inner_len + len(pad)) == goal:
                return pad
        goal = padme(goal + 1)


def same(x):
    return x


def bundle(label, sender: Node, to, ranges=(), *, domain, vector=None, receipt=1, forks=None, pad=True, sender_key=1, created=None, key_of=None,
           header_edit=same, header_bytes=same, manifest_edit=same, manifest_bytes=same, inner=same, split=None, sealed=same, last=None, frames=same,
           sign_with=None, signature=same, crc=same, file=same, content_key=None, ephemerals=None) -> bytes:
    """One file. `to`: nodes. `vector`: (log, seq) told, the sender's own ranges if None. Every `…=same` is a place to go wrong:
    it gets what a right writer would have written at that layer, and what it returns is written, sealed, signed and summed instead."""
    random = Random(label)
    content_key = content_key or random(32)
    recipients = []
    for i, node in enumerate(to):
        public = node if isinstance(node, bytes) else node.sealing_public[(key_of or {}).get(node.name, len(node.sealing)) - 1]
        sealed_key = hpke_seal(public, content_key, ephemerals[i] if ephemerals else random(32))
        recipients.append([hint(sealed_key[:32], public), sealed_key])
    header = {0: 1, 2: domain[:4], 4: sender.node, 6: sender.signing_public[sender_key - 1], 8: recipients}
    if created is not None:
        header[1] = created
    if ranges:
        header[3] = min(r["log"].origin[2] for r in ranges)
    header_raw = header_bytes(enc(header_edit(header)))

    own = {r["log"].origin: (r["log"], r["last"]) for r in ranges if r["log"].writer is sender}                  # once each, at its end
    told = list(own.values()) if vector is None else vector
    nodes = {id_ for r in ranges for id_ in (r["wire"][0][0], r["wire"][0][3])} | {id_ for log, _ in told for id_ in (log.origin[0], log.origin[3])}
    nodes |= {id_ for log, *_ in forks or () for id_ in (log.origin[0], log.origin[3])}
    table = sorted(nodes - {None})

    def indexed(origin):
        return [table.index(origin[0]), origin[1], origin[2], None if origin[3] is None else table.index(origin[3])]

    salt = sha256(header_raw)
    rows = sorted((((log.origin[0], log.origin[1], log.origin[2], log.origin[3] or b"", seq), log) for log, seq in told), key=lambda row: row[0])
    manifest = {0: table, 1: [[*indexed(log.origin), place[4], sha256(salt, log.hashes[place[4]])[:4]] for place, log in rows]}
    if receipt is not None:
        manifest[3] = [sender.incarnation, receipt]
    if forks:
        manifest[5] = [[indexed(log.origin), seq, *sorted((a, b))] for log, seq, a, b in forks]
    items = [manifest_bytes(enc(manifest_edit(manifest)))]
    for r in ranges:
        wire = {**r["wire"], 0: indexed(r["wire"][0])}
        wire = (r["edit"] or same)(wire)
        items.append(wire if isinstance(wire, Raw) else enc(wire))
    if pad:
        items.append(pad_for(len(header_raw), len(b"".join(items))))
    plain = b"".join(inner([i for i in items if i]))

    pieces = split(plain) if split else [plain[i:i + CHUNK_LEN] for i in range(0, len(plain), CHUNK_LEN)]
    key = chunk_key(content_key, header_raw)
    chunks = [chunk_seal(key, i, (i == len(pieces) - 1) if last is None else last, p) for i, p in enumerate(pieces)]
    body = MAGIC + header_raw + b"".join(frames([enc(c) for c in sealed(chunks)]))
    seed_ = sign_with or sender.signing[sender_key - 1]
    whole = body + b"\x82\x58\x40" + signature(sign(seed_, FILE + sha256(body)))
    return file(whole + b"\x44" + crc(zlib.crc32(whole).to_bytes(4, "big")))


def resum(data: bytes) -> bytes:
    """The same file with a checksum that fits."""
    return data[:-4] + zlib.crc32(data[:-5]).to_bytes(4, "big")
