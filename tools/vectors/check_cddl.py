#!/usr/bin/env python3
"""Check bundle-format/zbundle.cddl: it parses, it takes and refuses the examples below, and it takes every structure of the accepted fixtures.

The tool behind it is the `cddl` crate, through its Python wheel: `pip install pycddl cbor2`. With `cryptography` and the fixtures' keys
(`fixtures/keys/*.toml`, fields `sealing_secret`) the inside of bundles is checked too. Exit: 0 good, 1 something is not, 2 a tool lacks.

    check_cddl.py [ROOT]        ROOT is the project's folder; default: two above this file
"""

import pathlib
import re
import sys

try:
    import cbor2
    import pycddl
except ImportError as missing:
    print(f"{missing}; install it with: pip install pycddl cbor2", file=sys.stderr)
    sys.exit(2)

ROOT = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parents[2]
GRAMMAR = (ROOT / "bundle-format/zbundle.cddl").read_text()
ACK = "ack         = [2, 1* ack-pair]"
assert ACK in GRAMMAR
GRAMMAR = GRAMMAR.replace(ACK, "ack = " + " / ".join(f"[2{', number: uint, seq' * pairs}]" for pairs in range(1, 5)))   # the crate cannot count groups in arrays
MAGIC = bytes.fromhex("d9d9f8da5a424e3143424f52")
faults = []
checked = {}


# ---- the grammar ---------------------------------------------------------------------------------------------------------------------------

def fits(rule, item, schemas={}):
    """Why the bytes of one item do not fit the rule, or None."""
    if rule not in schemas:
        schemas[rule] = pycddl.Schema(f"start_ = {rule}\n{GRAMMAR}")
    try:
        schemas[rule].validate_cbor(item)
    except pycddl.ValidationError as error:
        return str(error).splitlines()[0][:200]
    return None


def must_fit(where, rule, item):
    checked[rule] = checked.get(rule, 0) + 1
    why = fits(rule, item)
    if why:
        faults.append(f"{where}: not a {rule}: {why}")


# ---- examples: one of each rule that fits, and one fault each that does not -------------------------------------------------------------------

def b(length):
    return bytes(length)


ORIGIN = [b(8), b(4), 2, None]
DIRECTED = [b(8), b(4), 2, b(8)]
EVENT_ID = [DIRECTED, 7, b(8)]
KEEP = [b(4), 0, None, 3, b(32)]
HEADER = {0: 1, 2: b(4), 4: b(8), 6: b(32), 8: [[b(4), b(80)]]}
MANIFEST = {0: [b(8)], 1: [[0, b(4), 2, None, 4, b(4)], [0, b(4), 2, 0, 4, b(4)]]}
RANGE = {0: [0, b(4), 2, None], 2: 1, 4: 1, 6: [0, 10], 8: b(10), 10: [[1, [1, b(64)]]], 12: b(32)}
ENROL = {0: b(8), 2: "lunana-bhu", 4: b(32), 6: b(32), 8: 2}
REKEY = {0: b(8), 2: 2, 4: b(32), 6: b(32), 8: [KEEP]}
REQUEST = {0: "lunana-bhu", 2: b(8), 4: b(32), 6: b(32)}
JOIN = {0: b(8), 2: b(32), 4: b(4), 6: b(32)}


def without(map_, key):
    return {k: v for k, v in map_.items() if k != key}


GOOD = [
    ("origin", ORIGIN), ("origin", DIRECTED), ("event-id", EVENT_ID),
    ("event", [7, "vitals", b(3)]), ("event", [7, "vitals", b(0), {1: "Patient/BT-1", 3: [EVENT_ID], 11: "hw-7", 15: [1]}]),
    ("event", [7, "scan", b(4096), {2: [0, 2]}]),
    ("checkpoint", [1, b(64)]), ("checkpoint-message", [b(32), b(8), b(4), 2, None, 1, 7, b(32)]),
    ("header", HEADER), ("header", {0: 1, 1: 5, **without(HEADER, 0), 3: 2, 9: [1]}), ("trailer", [b(64), b(4)]), ("chunk", b(17)),
    ("manifest", MANIFEST), ("manifest", {**MANIFEST, 3: [b(4), 7], 5: [[[0, b(4), 2, None], 3, b(8), b(8)]]}), ("manifest", {0: [], 1: []}),
    ("range", RANGE), ("range", {**RANGE, 6: [2, 10], 14: [1, 2]}), ("pad", b(9)),
    ("enrol", ENROL), ("enrol", {**ENROL, 8: [b(8)]}), ("rekey", REKEY), ("revoke", {0: b(8), 2: 2, 8: []}), ("set-policy", {0: b(8), 8: 0}),
    ("accept", {0: b(8), 8: [KEEP]}), ("heal", {0: [3, b(32)], 2: [4, b(32)]}), ("roster-event", REKEY),
    ("close", {0: KEEP}), ("alive", {}), ("fork-closed", {0: DIRECTED, 2: 3}),
    ("request", ["zbundle/1 request", REQUEST, b(64)]), ("request", ["zbundle/1 request", {**REQUEST, 8: 2}, b(64), b(64)]),
    ("join", ["zbundle/1 join", JOIN, [RANGE]]),
    ("hello", [0, 1, False, 65536, None, MANIFEST]), ("hello", [0, 1, True, 0, 7, {0: [], 1: []}]),
    ("said-range", [1, {**without(RANGE, 12), 0: 3}]), ("said-range", [1, {**RANGE, 0: DIRECTED}]), ("said-range", [1, {**RANGE, 0: 0, 6: [2, 10], 14: [1, 2]}]),
    ("ack", [2, 0, 7]), ("ack", [2, 0, 7, 3, 1]), ("again", [3, 0, 0, b(4), 2]), ("done", [4]), ("done", [4, 1]), ("who", [5]),
    ("introduction", [6, []]), ("introduction", [6, [{**RANGE, 0: ORIGIN}] * 2]), ("bye", [7, None]), ("bye", [7, "Z203"]), ("busy", [8]), ("lost", [9, 7]),
]
BAD = [
    ("origin", [b(8), b(4), 4, None]), ("origin", [b(8), b(5), 2, None]), ("event-id", [ORIGIN, 0, b(8)]),
    ("event", [7, "", b(3)]), ("event", [7, "a", b(4097)]), ("event", [7, "a", b(3), {5: 0}]),
    ("event", [7, "a", b(3), {1: "x" * 201}]), ("event", [7, "a", b(3), {2: [0, 1]}]), ("event", [7, "a"]),
    ("header", {**HEADER, 0: 2}), ("header", {**HEADER, 8: []}), ("header", {**HEADER, 4: b(9)}), ("header", {**HEADER, 3: 4}),
    ("header", without(HEADER, 6)), ("header", {**HEADER, 1: "x"}), ("trailer", [b(64), b(5)]), ("chunk", b(16)),
    ("manifest", without(MANIFEST, 1)), ("manifest", {**MANIFEST, 3: [b(4)]}), ("manifest", {**MANIFEST, 1: [[0, b(4), 2, None, 0, b(4)]]}),
    ("range", {**RANGE, 4: 0}), ("range", {**RANGE, 4: 4097}), ("range", {**RANGE, 10: []}), ("range", {**RANGE, 6: [0, (1 << 20) + 1]}),
    ("range", {**RANGE, 12: b(31)}), ("range", without(RANGE, 0)),
    ("enrol", {**ENROL, 8: 3}), ("enrol", {**ENROL, 8: []}), ("rekey", without(REKEY, 8)), ("close", {0: [3, b(32)]}),
    ("request", ["zbundle/2 request", REQUEST, b(64)]), ("join", ["zbundle/1 join", JOIN, []]),
    ("hello", [0, 2, False, 65536, None, MANIFEST]), ("hello", [0, 1, False, None, None, MANIFEST]), ("hello", [0, 1, 0, 1, None, MANIFEST]), ("hello", [0, 1, False, 1, MANIFEST]),
    ("numbered-range", RANGE), ("said-range", [1, {**RANGE, 0: -1}]), ("ack", [2]), ("ack", [2, 0]), ("ack", [2, 0, 0]), ("ack", [2, 0, 7, 1]),
    ("again", [3, 0, 0, b(4), 3]), ("again", [3, 0, 1 << 63, b(4), 0]), ("again", [3, 0, 0, b(3), 0]), ("done", [4, 0]),
    ("introduction", [6, [{**RANGE, 0: 0}]]), ("introduction", [6, 0]), ("bye", [7]), ("bye", [7, 203]), ("lost", [9, None]),
]


def check_examples():
    for rule, value in GOOD:
        must_fit("an example", rule, cbor2.dumps(value))
    for rule, value in BAD:
        if fits(rule, cbor2.dumps(value)) is None:
            faults.append(f"a {rule} with a fault is taken: {str(value)[:100]}")


# ---- fixtures ---------------------------------------------------------------------------------------------------------------------------------

def head(data, at):
    """Major type, argument and where the head of the item at `at` ends."""
    info = data[at] & 31
    if info < 24:
        return data[at] >> 5, info, at + 1
    width = 1 << (info - 24)
    return data[at] >> 5, int.from_bytes(data[at + 1 : at + 1 + width], "big"), at + 1 + width


def item_end(data, at):
    """Where the item at `at` ends."""
    major, argument, at = head(data, at)
    if major in (2, 3):
        return at + argument
    for _ in range({4: argument, 5: 2 * argument, 6: 1}.get(major, 0)):
        at = item_end(data, at)
    return at


def items(data, at=0):
    while at < len(data):
        end = item_end(data, at)
        yield data[at:end]
        at = end


def sealing_keys():
    """Every X25519 secret the fixtures name."""
    found = []
    for path in sorted((ROOT / "fixtures").rglob("*.*")) if (ROOT / "fixtures").is_dir() else []:
        if path.suffix in (".toml", ".json"):
            found += [bytes.fromhex(secret) for secret in re.findall(r'sealing_secret"?\s*[:=]\s*"([0-9a-f]{64})"', path.read_text())]
    return found


def inner(header, chunks, keys):
    """The plaintext of a bundle, or None without a key that opens it. SPEC §5."""
    import hashlib

    from cryptography.hazmat.primitives import hashes, hpke
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
    from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

    suite = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.CHACHA20_POLY1305)
    for secret in keys:
        key = X25519PrivateKey.from_private_bytes(secret)
        public = key.public_key().public_bytes_raw()
        for hint, sealed in cbor2.loads(header)[8]:
            if hint != hashlib.sha256(sealed[:32] + public).digest()[:4]:
                continue
            content_key = suite.decrypt(sealed, key, b"zbundle/1 seal")
            info = b"zbundle/1 chunks\0" + hashlib.sha256(header).digest()
            cipher = ChaCha20Poly1305(HKDFExpand(hashes.SHA256(), 32, info).derive(content_key))
            last = len(chunks) - 1
            nonce = lambda i: bytes(7) + i.to_bytes(4, "big") + bytes([i == last])
            return b"".join(cipher.decrypt(nonce(i), cbor2.loads(chunk), b"") for i, chunk in enumerate(chunks))
    return None


def check_bundle(path, keys):
    data = path.read_bytes()
    if not data.startswith(MAGIC):
        faults.append(f"{path}: no magic")
        return
    must_fit(path, "magic", data[:12])
    header, *chunks, trailer = items(data, 12)
    must_fit(path, "header", header)
    must_fit(path, "trailer", trailer)
    for chunk in chunks:
        must_fit(path, "chunk", chunk)
    try:
        plain = inner(header, chunks, keys)
    except ImportError:
        plain = None
    if plain is None:
        return
    manifest, *rest = items(plain)
    must_fit(path, "manifest", manifest)
    for item in rest:
        if item[0] >> 5 == 2:
            must_fit(path, "pad", item)
            continue
        must_fit(path, "range", item)
        range_ = cbor2.loads(item)
        if range_[6][0] == 0:
            for event in items(range_[8]):
                must_fit(path, "event", event)
                check_control(path, event)


def check_control(path, event):
    """The payload of a control event; one in parts is left out."""
    rules = {"enrol": "enrol", "rekey": "rekey", "revoke": "revoke", "policy": "set-policy", "accept": "accept", "heal": "heal"}
    rules |= {"close": "close", "alive": "alive", "fork-closed": "fork-closed"}
    _, kind, payload, *ext = cbor2.loads(event)
    if kind.startswith("zb/") and not (ext and 2 in ext[0]) and kind[3:] in rules:
        must_fit(path, rules[kind[3:]], payload)


def check_messages(path):
    """What one end of a link says; the last message may have arrived in part."""
    rules = ("hello", "said-range", "ack", "again", "done", "who", "introduction", "bye", "busy", "lost")
    data, at = path.read_bytes(), 0
    while at < len(data) and item_end(data, at) <= len(data):
        end = item_end(data, at)
        message = cbor2.loads(data[at:end])
        must_fit(path, rules[cbor2.loads(message)[0]], message)
        at = end


def check_fixtures():
    keys = sealing_keys()
    for path in sorted((ROOT / "fixtures").rglob("*")) if (ROOT / "fixtures").is_dir() else []:
        if "accept" in path.parts and path.suffix == ".zb":
            check_bundle(path, keys)
        elif "accept" in path.parts and "requests" in path.parts and path.suffix == ".bin":
            must_fit(path, "join" if path.stem.startswith("join") else "request", path.read_bytes())
        elif "accept" in path.parts and "messages" in path.parts and path.suffix == ".bin":
            check_messages(path)


check_examples()
examples = sum(checked.values())
check_fixtures()
for fault in faults:
    print(fault, file=sys.stderr)
names = ", ".join(f"{rule} {count}" for rule, count in sorted(checked.items()))
print(f"zbundle.cddl: {len(GOOD)} examples taken, {len(BAD)} refused, {sum(checked.values()) - examples} items of fixtures; {len(faults)} faults ({names})")
sys.exit(1 if faults else 0)
