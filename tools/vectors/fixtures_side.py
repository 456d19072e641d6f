"""Fixtures that are no bundles: single events as hex (SPEC §3.2), request and join files (§8.5)."""

import fixtures_reject
from zbcbor import Raw, enc
from zbcrypto import REQUEST, digest, node_id, sha256, sign
from zbworld import DOMAIN, GASA, HUB, LAYA, LUNANA, NOBODY, REHUB, enrol, rekey, roster, visits
from zbwrite import Log, Node

GASA3 = Node("gasa-bhu", 3)
SMALL_SEALING = bytes(32)


# ---- events ----
def good_events() -> dict:
    """Name -> (story, rules, bytes)."""
    log = Log(LUNANA, 2)
    log.add("t", b"", hlc=0)
    log.add("vitals", b'{"pulse":72}', {1: "Patient/BT-1"})
    log.add("རྟགས", b"\xff\x00\xc3\x28", None, (1 << 64) - 1)
    log.add("visit", bytes(4096), {1: "P" * 200, 3: [visits().event_id(2)], 5: 1, 7: "application/json", 9: "form-17", 11: "Dr Pema", 13: visits(HUB, 1, 2, LUNANA).event_id(1)})
    log.add("scan", bytes(4096), {1: "Patient/BT-1", 2: [0, 4096], 7: "image/tiff"})
    log.add("scan", b"x", {2: [4095, 4096]})
    log.add("visit", b"", {3: [visits().event_id(1)] * 64})
    log.add("visit", b"", {15: [{1: True}], (1 << 64) - 1: "last"})
    log.add("visit", b"", {15: bytes(16_384 - 22)}, 1 << 40)
    log.add("visit", b"", {17: Raw(fixtures_reject.nested(8))})
    log.add("scan", b"x", {2: [1, 2], 99: "later"})
    stories = (("smallest", "a stamp of 0, a type of one byte, no payload", ["R3.2-c", "R3.2-d"]), ("with_record", "the event of SPEC §4.7, another stamp", ["R3.2-c"]),
               ("any_bytes", "a payload that is not UTF-8, a type in another script, the largest stamp", ["R3.2-d", "R3.3-b"]), ("every_ext", "every ext key but part", ["R3.2-c"]),
               ("first_part", "part 0 of the most parts there may be", ["R3.2-e"]), ("last_part", "the last part, one byte long", ["R3.2-e"]),
               ("base_64", "64 event ids in base, the most there may be", ["R3.2-c"]), ("unknown_odd_keys", "unknown odd ext keys, the largest there is", ["R2.1-h"]),
               ("largest", "exactly 16 384 bytes", ["R3.2-c"]), ("eight_levels", "8 levels under an unknown key", ["R2.1-f"]),
               ("last_part_unknown_odd_key", "a last part with an unknown odd ext key", ["R3.2-e", "R2.1-h"]))
    assert len(log.events[8]) == 16_384, len(log.events[8])
    return {name: (story, rules, raw) for (name, story, rules), raw in zip(stories, log.events, strict=True)}


# ---- requests ----
def request(node: Node, number=None, old=None, edit=lambda m: m, signature=None, map_bytes=None, more=()) -> bytes:
    n = number or 1
    m = {0: node.name, 2: node.node, 4: node.signing_public[n - 1], 6: node.sealing_public[n - 1]} | ({8: number} if number else {})
    raw = map_bytes or enc(edit(m))
    rows = ["zbundle/1 request", Raw(raw), signature or sign(node.signing[n - 1], REQUEST + raw)]
    return enc(rows + ([sign(old, REQUEST + raw)] if old else []) + list(more))


def good_requests() -> dict:
    return {
        "first": ("laya-bhu asks to be enrolled", ["R8.5-a", "R8.5-c"], request(LAYA)),
        "first_unknown_odd_key": ("the same with an unknown odd key", ["R2.1-h"], request(LAYA, edit=lambda m: m | {9: "later"})),
        "rekey": ("gasa-bhu asks for its third keys, signed with the second too", ["R8.5-b"], request(GASA3, 3, GASA.signing[1])),
        "rekey_without_old": ("gasa-bhu asks for its third keys; it has lost the second", ["R8.5-b"], request(GASA3, 3)),
    }


def bad_requests() -> dict:
    weak = fixtures_reject.SMALL_ORDER
    good = request(LAYA)
    return {
        "signature_bit": ("one bit of the signature is flipped", ["R8.5-a"], "Z609", good[:-9] + bytes([good[-9] ^ 1]) + good[-8:]),
        "name_changed": ("the name was changed on the way", ["R8.5-a"], "Z609", good.replace(b"laya-bhu", b"laza-bhu")),
        "sealing_key_changed": ("the sealing key was changed on the way", ["R8.5-a"], "Z609", good.replace(LAYA.sealing_public[0], NOBODY.sealing_public[0])),
        "other_id": ("the node id is not that of the key", ["R8.5-c"], "Z609", request(LAYA, edit=lambda m: m | {2: GASA.node})),
        "name_capital": ("a name with a capital", ["R8.5-a"], "Z609", request(LAYA, edit=lambda m: m | {0: "Laya-bhu"})),
        "name_too_long": ("a name of 33 characters", ["R8.5-a"], "Z609", request(LAYA, edit=lambda m: m | {0: "l" * 33})),
        "signing_key_weak": ("a signing key of small order", ["R2.2-b", "R8.5-d"], "Z609", request(LAYA, edit=lambda m: m | {2: node_id(weak), 4: weak})),
        "sealing_key_weak": ("a sealing key of small order", ["R8.5-d"], "Z609", request(LAYA, edit=lambda m: m | {6: SMALL_SEALING})),
        "too_long": ("more than 1 024 bytes, by an unknown odd key", ["R8.5-d"], "Z609", request(LAYA, edit=lambda m: m | {9: bytes(900)})),
        "byte_behind": ("one byte behind the request", ["R8.5-d"], "Z609", good + b"\0"),
        "cut": ("the last byte is missing", ["R8.5-d"], "Z609", good[:-1]),
        "other_label": ("the label of a join file", ["R8.5-d"], "Z609", good.replace(b"\x71zbundle/1 request", b"\x6ezbundle/1 join")),
        "long_head": ("the head of the map is longer than it needs", ["R2.1-a"], "Z609", request(LAYA, map_bytes=b"\xb8\x04" + enc(
            {0: LAYA.name, 2: LAYA.node, 4: LAYA.signing_public[0], 6: LAYA.sealing_public[0]})[1:])),
        "key_number_1": ("key number 1 in a request for new keys", ["R8.5-d"], "Z609", request(LAYA, 1)),
        "old_signature_without_number": ("an old signature in a first request", ["R8.5-c"], "Z609", request(LAYA, old=LAYA.signing[0])),
        "old_signature_by_another": ("an old signature by the first key, not by the second that is replaced", ["R8.5-b"], "Z609", request(GASA3, 3, GASA.signing[0])),
        "fifth_element": ("a fifth element", ["R8.5-d"], "Z609", request(GASA3, 3, GASA.signing[1], more=[0])),
    }


# ---- join files, for the request `first` ----
def join(edit=lambda m: m, ranges=None, behind=b"") -> bytes:
    ranges = ranges if ranges is not None else [enrol(roster(), LAYA, 0).range(domain=DOMAIN)]
    head = {0: LAYA.node, 2: HUB.signing_public[0], 4: HUB.incarnation, 6: sha256(request(LAYA))}

    def wire(r):
        w = r["wire"] | {0: [0, *r["wire"][0][1:]]}
        return enc((r["edit"] or (lambda x: x))(w))
    return enc(["zbundle/1 join", edit(head), [Raw(wire(r)) for r in ranges]]) + behind


def good_joins() -> dict:
    log = enrol(roster(), LAYA, 0)
    again = roster().add("zb/rekey", enc({0: GASA.node, 2: 3, 4: LAYA.signing_public[0], 6: LAYA.sealing_public[0], 8: []}))
    return {
        "join": ("the answer to the request `first`: the roster in one range", ["R8.5-e", "R8.5-f"], join()),
        "join_two_ranges": ("the same roster in two ranges", ["R8.5-e"], join(ranges=[log.range(1, 3, domain=DOMAIN), log.range(4, 5, domain=DOMAIN)])),
        "join_as_another": ("the asker becomes gasa-bhu, whose device it replaces: its keys are gasa-bhu's third", ["R8.5-e", "R8.5-i"],
                            join(edit=lambda m: m | {0: GASA.node}, ranges=[again.range(domain=DOMAIN)])),
    }


def bad_joins() -> dict:
    log = enrol(roster(), LAYA, 0)
    other = roster().add("zb/enrol", enc({0: LAYA.node, 2: LAYA.name, 4: LAYA.signing_public[0], 6: NOBODY.sealing_public[0], 8: 0}))
    replaced = enrol(rekey(roster(REHUB), REHUB, 2, []), LAYA, 0)
    changed = b"".join(log.events).replace(b"gasa-bhu", b"gaza-bhu")
    return {
        "join_other_request": ("the answer to another request", ["R8.5-e", "R8.5-f"], "Z606", join(edit=lambda m: m | {6: bytes(32)})),
        "join_event_changed": ("a name in the roster was changed on the way", ["R8.5-f"], "Z609", join(ranges=[log.range(domain=DOMAIN, raw=changed)])),
        "join_by_replaced_key": ("the authority replaced its key, and the outgoing one signs our enrolment", ["R8.3-l", "R8.5-f"], "Z609",
                                 join(ranges=[replaced.range(1, 5, domain=DOMAIN), replaced.range(6, 6, domain=DOMAIN)])),
        "join_gap": ("the roster's third event is missing", ["R8.5-e", "R8.5-f"], "Z609", join(ranges=[log.range(1, 2, domain=DOMAIN), log.range(4, 5, domain=DOMAIN)])),
        "join_not_from_the_beginning": ("the roster begins at event 4", ["R8.5-e"], "Z609", join(ranges=[log.range(4, domain=DOMAIN)])),
        "join_other_node_index": ("a range names node 1", ["R8.5-e"], "Z609", join(ranges=[log.range(domain=DOMAIN, edit=lambda r: r | {0: [1, *r[0][1:]]})])),
        "join_other_member": ("the roster has our keys as another member's than the file says", ["R8.5-e", "R8.5-f"], "Z606", join(edit=lambda m: m | {0: GASA.node})),
        "join_not_enrolled": ("the roster does not have our keys", ["R8.5-f"], "Z606", join(ranges=[roster().range(domain=DOMAIN)])),
        "join_other_sealing_key": ("the roster has our signing key with another sealing key", ["R8.5-f"], "Z606", join(ranges=[other.range(domain=DOMAIN)])),
        "join_without_ranges": ("no roster", ["R8.5-e"], "Z609", join(ranges=[])),
        "join_byte_behind": ("one byte behind the join file", ["R8.5-d"], "Z609", join(behind=b"\0")),
    }


def all_files() -> dict:
    """Path -> bytes, or the rows of a story."""
    files = {}
    for name, (story, rules, raw) in good_events().items():
        files[f"events/accept/{name}.hex"] = raw.hex().encode() + b"\n"
        files[f"events/accept/{name}.toml"] = {"story": story, "rules": rules, "length": len(raw), "digest": digest(raw).hex()}
    for row in fixtures_reject.ALL:
        if hasattr(row["make"], "event"):
            files[f"events/reject/{row['name']}.hex"] = row["make"].event.hex().encode() + b"\n"
            files[f"events/reject/{row['name']}.toml"] = {"why": row["why"], "rules": row["rules"], "expect": row["expect"]}
    for name, (story, rules, raw) in (good_requests() | good_joins()).items():
        files[f"requests/accept/{name}.bin"] = raw
        words = {"words": sha256(b"zbundle/1 join\0", request(LAYA), HUB.signing_public[0])[:9].hex()} if name == "first" else {}
        files[f"requests/accept/{name}.toml"] = {"story": story, "rules": rules} | words
    for name, (why, rules, expect, raw) in (bad_requests() | bad_joins()).items():
        files[f"requests/reject/{name}.bin"] = raw
        files[f"requests/reject/{name}.toml"] = {"why": why, "rules": rules, "expect": expect}
    return files
