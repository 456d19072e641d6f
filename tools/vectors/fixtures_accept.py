"""Files every reader must take. Each function is one file; its name is the file's name, its first line the story."""

from pathlib import Path

import zbmix
from zbcbor import enc
from zbcrypto import digest
from zbworld import DOMAIN, GASA, HUB, LAYA, LUNANA, REHUB, enrol, rekey, roster, visits
from zbwrite import Log, block, bundle, frame, stored_frame

ALL = []


def accept(story, rules, keys="punakha-hub", **facts):
    """`make(label)` -> (bytes, ranges). Facts go into the story file as they are."""
    def register(make):
        ALL.append({"name": make.__name__, "story": story, "rules": rules, "keys": keys, "facts": facts, "make": make})
        return make
    return register


def send(label, ranges, sender=LUNANA, to=(HUB,), **how):
    return bundle(label, sender, list(to), ranges, domain=DOMAIN, **how), ranges


@accept("one event from one clinic to the hub", ["R4.1-b", "R4.3-c", "R3.5-a", "R4.5-b"], sender="lunana-bhu", receipt=1, chunks=1)
def one_event(label):
    return send(label, [visits(count=1).range(domain=DOMAIN)])


@accept("a receipt and nothing else: the hub tells what it holds of two clinics", ["R6.5-a", "R4.6-k"], keys="lunana-bhu", sender="punakha-hub", receipt=41)
def receipt_only(label):
    return send(label, [], HUB, [LUNANA], vector=[(visits(count=7), 7), (visits(GASA, 3), 3), (roster(), 4)], receipt=41)


@accept("a manifest without receipt number and without anything told, no range, no pad", ["R4.2-a", "R4.5-a"], sender="lunana-bhu")
def nothing_inside(label):
    return send(label, [], receipt=None, pad=False)


@accept("the roster from its beginning, then events of a clinic that only this roster enrols, sent by that clinic",
        ["R4.6-g", "R4.6-h", "R4.4-e", "R8.3-c"], sender="laya-bhu")
def newly_enrolled_sender(label):
    return send(label, [enrol(roster(), LAYA, 0).range(domain=DOMAIN), visits(LAYA, 2).range(domain=DOMAIN)], LAYA)


@accept("only the new end of the roster, which enrols the sender", ["R6.1-e", "R4.6-g"], sender="laya-bhu")
def roster_continued(label):
    return send(label, [enrol(roster(), LAYA, 0).range(5, domain=DOMAIN), visits(LAYA, 1).range(domain=DOMAIN)], LAYA)


@accept("the authority rekeys itself: the rekey stands at the end of its range under the outgoing key, the next range is under the new one",
        ["R8.3-g", "R4.4-e"], sender="punakha-hub", keys="gasa-bhu")
def authority_rekeyed(label):
    log = rekey(roster(REHUB), REHUB, 2, [])
    enrol(log, LAYA, 0)
    return send(label, [log.range(5, 5, domain=DOMAIN), log.range(6, 6, domain=DOMAIN, number=2), visits(LAYA, 1).range(domain=DOMAIN)], REHUB, [GASA],
                sender_key=2)


@accept("behind a rekey of the authority the outgoing key signs an enrolment: nobody learns of it, and the file is taken", ["R8.3-l"],
        sender="punakha-hub", keys="gasa-bhu")
def roster_by_replaced_key(label):
    log = enrol(rekey(roster(REHUB), REHUB, 2, []), LAYA, 0)
    return send(label, [log.range(5, 5, domain=DOMAIN), log.range(6, 6, domain=DOMAIN), visits(count=1).range(domain=DOMAIN)], REHUB, [GASA], sender_key=2)


@accept("behind a rekey of the authority an enrolment with a checkpoint of the outgoing key, and one of the new key above it: it counts", ["R8.3-l"],
        sender="punakha-hub", keys="gasa-bhu")
def roster_by_both_keys(label):
    log = enrol(rekey(roster(REHUB), REHUB, 2, []), LAYA, 0).add("zb/alive", enc({}))
    both = log.range(6, 7, checkpoints=[(6, 1), (7, 2)], domain=DOMAIN)
    return send(label, [log.range(5, 5, domain=DOMAIN), both, visits(LAYA, 1).range(domain=DOMAIN)], REHUB, [GASA], sender_key=2)


@accept("behind a rekey of the authority the outgoing key signs a sign of life, the new one an enrolment: the first says nothing, and stops nothing", ["R8.3-l"],
        sender="punakha-hub", keys="gasa-bhu")
def roster_alive_by_replaced_key(label):
    log = enrol(rekey(roster(REHUB), REHUB, 2, []).add("zb/alive", enc({})), LAYA, 0)
    return send(label, [log.range(5, 5, domain=DOMAIN), log.range(6, 6, domain=DOMAIN), log.range(7, 7, domain=DOMAIN, number=2),
                        visits(LAYA, 1).range(domain=DOMAIN)], REHUB, [GASA], sender_key=2)


@accept("the reader's roster parted from this one before its authority was rekeyed: it goes on from the rekey", ["R6.1-e", "R8.3-g"],
        sender="punakha-hub", keys="gasa-bhu")
def authority_rekeyed_on_another_branch(label):
    log = Log(REHUB, 0)
    log.events, log.hashes = roster(REHUB).events[:3], roster(REHUB).hashes[:4]
    log = enrol(rekey(log.add("zb/alive", enc({})), REHUB, 2, []), LAYA, 0)
    return send(label, [log.range(4, 5, domain=DOMAIN), log.range(6, 6, domain=DOMAIN, number=2), visits(LAYA, 1).range(domain=DOMAIN)], REHUB, [GASA],
                sender_key=2)


@accept("one file sealed for two readers", ["R5.2-a", "R5.2-c"], keys=["punakha-hub", "gasa-bhu"])
def two_recipients(label):
    return send(label, [visits(count=2).range(domain=DOMAIN)], to=[GASA, HUB])


@accept("64 recipients, ours the last", ["R4.1-b", "R5.2-c"])
def sixty_four_recipients(label):
    return send(label, [visits(count=1).range(domain=DOMAIN)], to=[LUNANA] * 63 + [HUB])


@accept("control, urgent and routine of one clinic, lane by lane", ["R4.6-g", "R3.1-c"], sender="lunana-bhu")
def three_lanes(label):
    alive = Log(LUNANA, 0).add("zb/alive", enc({}))
    return send(label, [log.range(domain=DOMAIN) for log in (alive, visits(count=2, lane=1), visits(count=4, lane=2))])


@accept("the lanes in an order no writer would choose; a reader does not depend on it", ["R4.6-g"])
def lanes_in_any_order(label):
    return send(label, [log.range(domain=DOMAIN) for log in (visits(count=4, lane=2), visits(count=2, lane=1))])


@accept("a directed history: from the hub for one clinic", ["R3.1-c", "R3.1-f", "R4.3-a"], keys="lunana-bhu", sender="punakha-hub")
def directed(label):
    return send(label, [visits(HUB, 2, 2, LUNANA).range(domain=DOMAIN)], HUB, [LUNANA])


@accept("a payload of 10 000 bytes in three parts, a checkpoint after the second", ["R3.2-e", "R3.2-f", "R3.5-f"])
def parts(label):
    log = Log(LUNANA, 3).add_parts("scan", bytes(i * 7 & 255 for i in range(10_000)), {1: "Patient/BT-1001", 7: "image/tiff"})
    return send(label, [log.range(checkpoints=[2, 3], domain=DOMAIN)])


@accept("parts that never become whole: void, yet in the chain and in the file", ["R3.2-f"])
def void_parts(label):
    log = Log(LUNANA, 3).add("scan", bytes(4096), {2: [0, 3]}).add("scan", b"again", None).add("other", bytes(4096), {2: [1, 3]})
    return send(label, [log.range(domain=DOMAIN)])


@accept("a compressed range, as libzstd wrote it", ["R4.4-a", "R4.4-b"])
def zstd(label):
    return send(label, [visits(count=40).range(domain=DOMAIN, codec=1, data=golden("zstd", b"".join(visits(count=40).events)))])


@accept("a compressed range with an explicit window of 2^20, the largest allowed", ["R4.4-b", "R4.4-h"])
def zstd_largest_window(label):
    log = visits(count=5)
    return send(label, [log.range(domain=DOMAIN, codec=1, data=stored_frame(b"".join(log.events), window_log=20))])


@accept("40 events by context mixing, with the smallest tables", ["R4.8-a", "R4.8-b", "R4.8-n"])
def mixed(label):
    log = visits(count=40)
    return send(label, [log.range(domain=DOMAIN, codec=3, data=zbmix.encode(b"".join(log.events)))])


@accept("a range by context mixing, with the largest tables: CBOR of every kind, JSON with escapes and depth, bytes that are neither",
        ["R4.8-a", "R4.8-g", "R4.8-h"])
def mixed_anything(label):
    log = Log(LUNANA, 2)
    deep = b'{"a":' * 20 + b'[1,-2.5e3,"x\\\"y\\\\",null,true,{}]' + b"}" * 20
    for payload in (deep, b"", bytes(range(256)), deep, b"[]]]}:,", b'{"a', "\u0f40\u0f0b".encode() * 9, bytes(range(255, -1, -1)), b"abc" * 200, deep):
        log.add("anything", payload)
    return send(label, [log.range(domain=DOMAIN, codec=3, data=zbmix.encode(b"".join(log.events), t=18))])


@accept("a frame of several blocks, stored and repeated: 60 events of zeros in a few hundred bytes", ["R4.4-c", "R4.4-l"])
def zstd_blocks(label):
    log = Log(LUNANA, 2)
    for _ in range(60):
        log.add("zeros", bytes(4096))
    blocks = b"".join(block(e[:-4096], False) + block(b"\0", i == 59, 4096) for i, e in enumerate(log.events))
    return send(label, [log.range(domain=DOMAIN, codec=1, data=frame(blocks, sum(map(len, log.events))))])


@accept("a range of 1 MiB, the most there may be, from a frame of 1.5 kB: within 200 times the file and 1 MiB", ["R4.4-l", "R4.3-c", "R3.2-c"])
def one_mebibyte(label):
    from fixtures_reject import zeros
    return send(label, [zeros(2)])


@accept("300 events, checkpoints at 256 and at 300", ["R3.5-f", "R4.3-d", "R3.5-c"])
def three_hundred(label):
    return send(label, [visits(count=300).range(checkpoints=[256, 300], domain=DOMAIN)])


@accept("events 11 to 20, the first ten having travelled before", ["R4.6-a", "R4.3-e"])
def continued(label):
    return send(label, [visits(count=20).range(11, 20, domain=DOMAIN)])


@accept("one history in two ranges, the first compressed", ["R4.3-b", "R4.6-g"])
def two_ranges_of_one_history(label):
    log = visits(count=9)
    return send(label, [log.range(1, 5, domain=DOMAIN, codec=1, data=stored_frame(b"".join(log.events[:5]))), log.range(6, 9, domain=DOMAIN)])


@accept("an inside above 64 KiB: two chunks, a range across their border", ["R4.1-e", "R5.3-a", "R4.1-d"], chunks=2)
def two_chunks(label):
    log = Log(LUNANA, 3)
    for i in range(17):
        log.add("photo", bytes([i]) * 4000)
    return send(label, [log.range(domain=DOMAIN)])


@accept("an inside of exactly 64 KiB: one full chunk, which is the last", ["R4.1-e", "R5.3-a"], chunks=1)
def one_full_chunk(label):
    log = Log(LUNANA, 3)
    for i in range(15):
        log.add("photo", bytes([i]) * 4096)

    def exactly(items):
        plain = b"".join(items)
        return [plain, b"\x59" + (65_536 - len(plain) - 3).to_bytes(2, "big") + bytes(65_536 - len(plain) - 3)]
    return send(label, [log.range(domain=DOMAIN)], pad=False, inner=exactly)


@accept("unknown odd keys in header, manifest, range, ext and a control event: skipped everywhere", ["R2.1-h"], sender="laya-bhu")
def unknown_odd_keys(label):
    more = {15: [1, {3: True, -4: -1}], 17: "later", 65_537: {0: [[[]]]}}
    log = Log(LAYA, 2).add("visit", b"{}", {1: "Patient/BT-1001", **more})
    learned = roster().add("zb/enrol", enc({0: LAYA.node, 2: LAYA.name, 4: LAYA.signing_public[0], 6: LAYA.sealing_public[0], 8: 0, 9: b"more"}))
    return send(label, [learned.range(5, domain=DOMAIN), log.range(domain=DOMAIN, edit=lambda r: r | more)], LAYA,
                header_edit=lambda h: h | more, manifest_edit=lambda m: m | more)


@accept("values under unknown keys at the edges: 8 levels, 64-bit integers, an empty text", ["R2.1-c", "R2.1-f"])
def edges_of_any(label):
    deep = 0
    for _ in range(7):
        deep = [deep]
    edges = {15: deep, 17: (1 << 64) - 1, 19: -(1 << 63), 21: "", 23: b"", 25: {}, 27: "ལུང་ནག"}
    return send(label, [Log(LUNANA, 2).add("visit", b"{}", edges).range(domain=DOMAIN)], manifest_edit=lambda m: m | edges)


@accept("the hub tells of a fork it holds", ["R6.4-f", "R4.2-a"], keys="lunana-bhu", sender="punakha-hub", receipt=7)
def fork_notice(label):
    log, branch = visits(count=7), visits(count=4).add("visit", b"written on a restored card")
    return send(label, [], HUB, [LUNANA], vector=[(log, 7), (branch, 5)], forks=[(log, 5, digest(log.events[4])[:8], digest(branch.events[4])[:8])], receipt=7)


@accept("payloads that are empty, not UTF-8, and as long as one event may hold; types in other scripts", ["R3.2-d", "R3.2-c"])
def any_payload(label):
    log = Log(LUNANA, 2).add("empty").add("bytes", b"\xff\xfe\x00\x80").add("longest", bytes(range(256)) * 16).add("རྟགས", b"\xc3\x28")
    return send(label, [log.range(domain=DOMAIN)])


@accept("every ext key there is", ["R3.2-c", "R3.1-e"])
def every_ext(label):
    seen = visits(count=2)
    log = Log(LUNANA, 2, incarnation=bytes(4))
    log.add("visit", b"{}", {1: "Patient/BT-1001", 3: [seen.event_id(1), visits(HUB, 1, 2, LUNANA).event_id(1)], 5: 2, 7: "application/json",
                             9: "form-17/line-3", 11: "Dr Pema", 13: seen.event_id(2)})
    log.add("visit", b"", {1: "P" * 200, 5: 1}).add("t" * 128, b"", {3: []})
    return send(label, [log.range(domain=DOMAIN)])


@accept("a stamp of 0, one far ahead, the largest there is: no stamp is a reason to refuse", ["R3.3-b"])
def any_stamp(label):
    return send(label, [Log(LUNANA, 2).add("visit", b"", hlc=1 << 63).add("visit", b"", hlc=0).add("visit", b"", hlc=(1 << 64) - 1).range(domain=DOMAIN)])


@accept("an origin that has been rekeyed: signed and checkpointed with key number 2", ["R3.5-b", "R8.3-f"], sender="gasa-bhu", notes=[])
def rekeyed_signer(label):
    return send(label, [visits(GASA, 5).range(4, 5, domain=DOMAIN, number=2)], GASA, sender_key=2)


@accept("one range under both keys of its origin: an old checkpoint by key 1, the end by key 2", ["R3.5-b", "R8.3-i"], sender="gasa-bhu")
def both_keys(label):
    return send(label, [visits(GASA, 5).range(checkpoints=[(3, 1), (5, 2)], domain=DOMAIN)], GASA, sender_key=2)


@accept("sent under a key that is outgoing: taken like a relay's file, its receipt without effect", ["R6.1-f"], sender="gasa-bhu", notes=["Z614"])
def outgoing_sender(label):
    return send(label, [visits(GASA, 3).range(domain=DOMAIN)], GASA, sender_key=1)


@accept("sealed for a key that has been replaced meanwhile", ["R5.2-c", "R8.6-b"], keys="gasa-bhu")
def sealed_for_outgoing_key(label):
    return send(label, [visits(HUB, 1).range(domain=DOMAIN)], HUB, [GASA], key_of={"gasa-bhu": 1})


@accept("the hub relays what a clinic wrote: the sender is not the origin", ["R6.7-a", "R6.7-b"], keys="gasa-bhu", sender="punakha-hub")
def relayed(label):
    return send(label, [visits(count=6).range(3, 6, checkpoints=[4, 6], domain=DOMAIN)], HUB, [GASA])


@accept("without the pad a writer should add: readers do not judge lengths", ["R4.5-a"])
def unpadded(label):
    return send(label, [visits(count=3).range(domain=DOMAIN)], pad=False)


@accept("a pad that is empty", ["R4.5-a"])
def empty_pad(label):
    return send(label, [visits(count=3).range(domain=DOMAIN)], pad=False, inner=lambda items: items + [b"\x40"])


@accept("a pad across a chunk border", ["R4.5-a", "R4.1-d"], chunks=2)
def long_pad(label):
    return send(label, [visits(count=1).range(domain=DOMAIN)], pad=False, inner=lambda items: items + [enc(bytes(70_000))])


@accept("a date far in the past: advice, never a reason", ["R4.1-b"])
def dated(label):
    return send(label, [visits(count=1).range(domain=DOMAIN)], created=0)


@accept("a roster the reader holds already, and a void event at its end: void is skipped, the file is good", ["R8.3-c", "R3.2-h"])
def void_roster_event(label):
    again = enrol(roster(), LUNANA, 2).add("zb/later", enc({0: 1}))
    return send(label, [again.range(domain=DOMAIN), visits(count=1).range(domain=DOMAIN)])


def golden(name: str, raw: bytes) -> bytes:
    """A frame a real compressor once wrote. Kept, because other versions of it write others."""
    return (Path(__file__).parent / "golden" / f"{name}.zst-frame").read_bytes()
