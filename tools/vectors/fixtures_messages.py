"""Fixtures of a link: what one end says, from its first message on (SPEC §7.2, §7.3), right and wrong."""

import zbmix
from zbcbor import Raw, enc, head
from zbcrypto import digest, sha256
from zbworld import DOMAIN, HUB, LUNANA, roster, visits
from zbwrite import Log, seed, stored_frame

SALT = seed("salt", "link")
WINDOW = 65_536


# ---- a writer ----
def framed(body: bytes) -> bytes:
    return enc(bytes(body))


def say(*parts) -> bytes:
    return framed(enc(list(parts)))


def page(told=(), receipt=None, forks=None) -> dict:
    """A manifest of (log, seq) as the sender of a link tells it (§4.2, R7.3-a)."""
    nodes = {id_ for log, *_ in (*told, *(forks or ())) for id_ in (log.origin[0], log.origin[3])} - {None}
    table = sorted(nodes)

    def indexed(origin):
        return [table.index(origin[0]), origin[1], origin[2], None if origin[3] is None else table.index(origin[3])]

    def place(row):
        log, seq = row
        return log.origin[0], log.origin[1], log.origin[2], log.origin[3] or b"", seq, sha256(SALT, log.hashes[seq])[:4]

    m = {0: table, 1: [[*indexed(log.origin), seq, sha256(SALT, log.hashes[seq])[:4]] for log, seq in sorted(told, key=place)]}
    if receipt:
        m[3] = list(receipt)
    if forks:
        m[5] = [[indexed(log.origin), seq, *sorted((a, b))] for log, seq, a, b in forks]
    return m


def hello(manifest=None, more=False, window=WINDOW, take=None) -> bytes:
    return say(0, 1, more, window, take, page([(LOG, 3)], (LUNANA.incarnation, 7)) if manifest is None else manifest)


def told_range(log, name, first=1, last=None, base=False, edit=None, **how) -> bytes:
    """A range message; `name`: its number, or None for in full."""
    wire = log.range(first, last, domain=DOMAIN, **how)["wire"] | {0: log.origin if name is None else name}
    if not base:
        del wire[12]
    return say(1, edit(wire) if edit else wire)


LOG = visits(count=6)                                       # lunana-bhu/routine
TO_HUB = visits(count=2, audience=HUB)                      # lunana-bhu/routine>punakha-hub
URGENT = visits(count=2, lane=1)
ROSTER = roster()


def fork(count=5, at=3):
    """The same history with another event at `at`."""
    log = visits(count=at - 1)
    for i in range(at - 1, count):
        log.add("visit", b'{"bp":"%d/90"}' % i, {1: f"Patient/BT-{2001 + i}"})
    return log


def many(count):
    """One short history each of `count` incarnations, so that the vector needs several pages."""
    return [Log(LUNANA, 2, incarnation=i.to_bytes(4, "big")).add("visit", b"%d" % i) for i in range(1, count + 1)]


def told(log, first=None, last=None):
    """The story of a range."""
    first, last = first or 1, last or len(log.events)
    return {"origin": log.text, "first": first, "last": last, "h": log.hashes[last].hex()}


# ---- right ----
def good() -> dict:
    """Name -> (story, rules, kinds, bytes, ranges)."""
    forked, other = fork(), LOG
    crowd = many(45)
    primed = primed_frame()
    receipt = (LUNANA.incarnation, 7)
    rows = {
        "hello": ("three events held, receipt 7, a window of 64 KiB", ["R7.3-a", "R7.2-a"], ["hello"], hello(), []),
        "hello_empty": ("a node that holds nothing and has told no receipt", ["R7.3-a"], ["hello"], hello(page()), []),
        "hello_take": ("a small window, and no more than 10 000 bytes in all", ["R7.3-d", "R7.3-e"], ["hello"], hello(window=4096, take=10_000), []),
        "hello_take_nothing": ("a node that only sends", ["R7.3-e"], ["hello"], hello(take=0), []),
        "hello_largest_numbers": ("window and take as large as they may be written", ["R7.3-d"], ["hello"], hello(window=(1 << 64) - 1, take=(1 << 64) - 1), []),
        "hello_directed": ("a directed history and an undirected one", ["R7.3-a", "R3.1-c"], ["hello"], hello(page([(TO_HUB, 2), (LOG, 3)], receipt)), []),
        "hello_pages": ("45 histories in three pages, the receipt on the first; then a range of the last, number 44", ["R7.3-b", "R7.3-c"],
                        ["hello"] * 3 + ["range"],
                        hello(page([(log, 1) for log in crowd[:21]], receipt), more=True) + hello(page([(log, 1) for log in crowd[21:42]]), more=True)
                        + hello(page([(log, 1) for log in crowd[42:]])) + told_range(crowd[44], 44), [told(crowd[44])]),
        "hello_last_page_empty": ("a page that tells one history before the last, which tells nothing", ["R7.3-c"], ["hello", "hello"], hello(more=True) + hello(page()), []),
        "hello_forked": ("a forked history stands twice and has the first of its two numbers; the next history is number 2", ["R7.3-b", "R3.6-d", "R6.4-f"],
                         ["hello", "range", "range"],
                         hello(page([(forked, 5), (other, 4), (TO_HUB, 2)], receipt, [(LOG, 3, digest(LOG.events[2])[:8], digest(forked.events[2])[:8])]))
                         + told_range(forked, 0, base=True) + told_range(TO_HUB, 2), [told(forked), told(TO_HUB)]),
        "hello_unknown_odd_key": ("an unknown odd key in the manifest is skipped", ["R2.1-h"], ["hello"], hello(page([(LOG, 3)], receipt) | {7: [1]}), []),
        "range_by_number": ("two ranges of the history that the vector told first, without base", ["R7.3-b", "R7.3-f"], ["hello", "range", "range"],
                            hello() + told_range(LOG, 0, 1, 4, checkpoints=[2, 4]) + told_range(LOG, 0, 5), [told(LOG, 1, 4), told(LOG, 5)]),
        "range_in_full": ("a history that the vector did not tell is named in full once, then by the next number", ["R7.3-b"], ["hello", "range", "range", "range"],
                          hello() + told_range(URGENT, None, 1, 1) + told_range(URGENT, 1, 2) + told_range(LOG, 0), [told(URGENT, 1, 1), told(URGENT, 2), told(LOG)]),
        "range_in_full_directed": ("a directed history named in full", ["R7.3-b"], ["hello", "range"], hello(page()) + told_range(TO_HUB, None), [told(TO_HUB)]),
        "range_with_base": ("a range with base, not from the first event", ["R7.3-f", "R7.3-h"], ["hello", "range"], hello() + told_range(LOG, 0, 3, base=True), [told(LOG, 3)]),
        "range_overlaps": ("the second range begins before the end of the first", ["R7.3-f"], ["hello", "range", "range"],
                           hello() + told_range(LOG, 0, 1, 4) + told_range(LOG, 0, 3), [told(LOG, 1, 4), told(LOG, 3)]),
        "range_compressed": ("a range in codec 1", ["R4.4-a"], ["hello", "range"],
                             hello() + told_range(LOG, 0, codec=1, data=stored_frame(b"".join(LOG.events))), [told(LOG)]),
        "range_primed": ("the second range is compressed against the events of the first", ["R7.3-g", "R4.4-a"], ["hello", "range", "range"],
                         hello() + told_range(PRIMED, 0, 1, 20) + told_range(PRIMED, 0, 21, codec=2, data=primed, edit=lambda r: r | {14: [11, 10]}),
                         [told(PRIMED, 1, 20), told(PRIMED, 21)]),
        "range_primed_in_full": ("a primed range that names its history in full and has its base", ["R7.3-b", "R7.3-g"], ["hello", "range", "range", "range"],
                                 hello(page()) + told_range(LOG, None, base=True) + told_range(PRIMED_URGENT, None, 1, 20)
                                 + told_range(PRIMED_URGENT, 1, 21, base=True, codec=2, data=primed, edit=lambda r: r | {14: [11, 10]}),
                                 [told(LOG), told(PRIMED_URGENT, 1, 20), told(PRIMED_URGENT, 21)]),
        "range_mixed": ("a range by context mixing that has read the events of the range before it first", ["R7.3-g", "R4.8-n"], ["hello", "range", "range"],
                        hello() + told_range(PRIMED, 0, 1, 20) + told_range(PRIMED, 0, 21, codec=3, edit=lambda r: r | {14: [11, 10]},
                                                                            data=zbmix.encode(b"".join(PRIMED.events[20:]), b"".join(PRIMED.events[10:20]))),
                        [told(PRIMED, 1, 20), told(PRIMED, 21)]),
        "range_unknown_odd_key": ("an unknown odd key in a range is skipped", ["R2.1-h"], ["hello", "range"], hello() + told_range(LOG, 0, edit=lambda r: r | {9: "later"}), [told(LOG)]),
        "ack": ("one history, up to 7", ["R7.4-d"], ["ack"], say(2, 0, 7), []),
        "ack_many": ("three histories in one message, the highest position there is", ["R7.4-d"], ["ack"], say(2, 0, 7, 1, 1 << 40, 300, (1 << 63) - 1), []),
        "again": ("each reason once, one of them with nothing held", ["R7.4-e"], ["again"] * 3,
                  say(3, 0, 3, sha256(SALT, LOG.hashes[3])[:4], 0) + say(3, 1, 0, sha256(SALT, LOG.hashes[0])[:4], 1) + say(3, 2, 9, b"\xff" * 4, 2), []),
        "done": ("nothing more for now", ["R7.4-h"], ["done"], say(4), []),
        "done_after_again": ("nothing more after one again, and after many", ["R7.4-h"], ["done", "done"], say(4, 1) + say(4, (1 << 64) - 1), []),
        "who": ("the peer's key is not known", ["R7.5-a"], ["who"], say(5), []),
        "introduction": ("the roster in two ranges, each named in full; then the hello", ["R7.5-c", "R7.5-e"], ["introduction", "hello"],
                         say(6, [Raw(roster_range(1, 2)), Raw(roster_range(3, 4))]) + hello(), [told(ROSTER, 1, 2), told(ROSTER, 3)]),
        "introduction_empty": ("an introduction by a node without a roster", ["R7.5-c"], ["introduction"], say(6, []), []),
        "bye": ("nothing is wrong", ["R7.7-b"], ["bye"], say(7, None), []),
        "bye_code": ("the disk is full", ["R7.7-b"], ["bye"], say(7, "Z203"), []),
        "bye_unknown_code": ("a code of a later version", ["R7.2-e"], ["bye"], say(7, "Z599"), []),
        "busy": ("alive, and not able to go on yet", ["R7.4-i"], ["busy"], say(8), []),
        "lost": ("a receipt with this number was told before", ["R7.4-f"], ["lost"], say(9, 77), []),
        "lost_life": ("the incarnation was replaced before", ["R7.4-f"], ["lost"], say(9, (1 << 64) - 1), []),
        "session": ("one end of a whole session", ["R7.2-a", "R7.4-h"], ["hello", "range", "done", "busy", "ack", "range", "done", "bye"],
                    hello() + told_range(LOG, 0, 1, 5) + say(4) + say(8) + say(2, 3, 17) + told_range(LOG, 0, 6) + say(4) + say(7, None),
                    [told(LOG, 1, 5), told(LOG, 6)]),
        "nothing": ("a message that has not arrived whole is no fault", ["R7.2-a"], ["done"], say(4) + say(2, 0, 7)[:-1], []),
    }
    return rows


IGNORABLE = ("hello_unknown_odd_key", "range_unknown_odd_key", "bye_unknown_code", "nothing")       # not spelled again as they were


def roster_range(first, last) -> bytes:
    return enc(ROSTER.range(first, last, domain=DOMAIN)["wire"])


PRIMED, PRIMED_URGENT = visits(count=30), visits(count=30, lane=1)


def primed_frame() -> bytes:
    """Events 21..30, compressed by libzstd once with the raw bytes of 11..20 as prefix; both histories have the same events."""
    from fixtures_accept import golden
    assert PRIMED.events == PRIMED_URGENT.events
    return golden("primed", b"".join(PRIMED.events[20:]))


# ---- wrong ----
def bad() -> dict:
    """Name -> (why, rules, kind of fault, place of the message, bytes)."""
    in_file = [0, LUNANA.incarnation, 2, None]
    manifest = page([(LOG, 3)], (LUNANA.incarnation, 7))
    entry = manifest[1][0]
    first = hello()

    def hello_with(edit):
        return hello(edit(dict(manifest)))

    def ranged(edit=None, **how):
        return first + told_range(LOG, how.pop("name", 0), edit=edit, **how)

    rows = {
        # the byte string around a message
        "frame_long_head": (["R7.2-a", "R2.1-a"], "format", 0, b"\x58\x02" + enc([4])),
        "frame_array": (["R7.2-a"], "format", 0, enc([4])),
        "frame_text": (["R7.2-a"], "format", 0, b"\x62" + enc([4])),
        "frame_indefinite": (["R7.2-a", "R2.1-b"], "format", 1, say(4) + b"\x5f\x42\x81\x04\xff"),
        "frame_too_long": (["R7.2-b"], "length", 1, say(4) + head(2, 98_305)),
        "frame_far_too_long": (["R7.2-b"], "length", 0, head(2, (1 << 64) - 1)),
        "frame_empty": (["R7.2-a"], "format", 0, b"\x40"),
        # the message
        "no_array": (["R7.2-a"], "format", 0, framed(enc(4))),
        "no_kind": (["R7.2-a"], "format", 0, framed(b"\x80")),
        "kind_text": (["R7.2-c"], "format", 0, say("done")),
        "kind_negative": (["R7.2-c"], "format", 0, say(-1)),
        "kind_unknown": (["R7.2-c"], "kind", 0, say(10)),
        "kind_unknown_with_more": (["R7.2-c"], "kind", 1, say(8) + say(24, 1, None)),
        "kind_long_head": (["R2.1-a"], "format", 0, framed(b"\x81\x18\x04")),
        "array_long_head": (["R2.1-a"], "format", 0, framed(b"\x98\x01\x04")),
        "array_indefinite": (["R2.1-b"], "format", 0, framed(b"\x9f\x04\xff")),
        "array_cut": (["R2.1-i"], "format", 0, framed(b"\x82\x07")),
        "bytes_behind": (["R2.1-g"], "format", 0, framed(enc([4]) + b"\x00")),
        # hello
        "hello_version_2": (["R7.2-d"], "version", 0, say(0, 2, False, WINDOW, None, manifest)),
        "hello_version_2_of_another_shape": (["R7.2-c", "R7.2-d"], "version", 0, say(0, 2)),
        "hello_version_0": (["R7.2-d"], "version", 0, say(0, 0, False, WINDOW, None, manifest)),
        "hello_version_text": (["R7.2-c"], "format", 0, say(0, "1", False, WINDOW, None, manifest)),
        "hello_five": (["R7.2-c"], "format", 0, say(0, 1, False, WINDOW, manifest)),
        "hello_seven": (["R7.2-c"], "format", 0, say(0, 1, False, WINDOW, None, manifest, 0)),
        "hello_more_number": (["R7.2-c"], "format", 0, say(0, 1, 0, WINDOW, None, manifest)),
        "hello_window_null": (["R7.2-c", "R2.1-c"], "format", 0, hello(window=None)),
        "hello_window_negative": (["R7.2-c"], "format", 0, hello(window=-1)),
        "hello_take_false": (["R7.2-c"], "format", 0, hello(take=False)),
        "hello_manifest_null": (["R7.2-c", "R2.1-c"], "format", 0, say(0, 1, False, WINDOW, None, None)),
        "hello_manifest_in_bytes": (["R7.2-c"], "format", 0, say(0, 1, False, WINDOW, None, enc(manifest))),
        "hello_unknown_even_key": (["R2.1-h"], "format", 0, hello_with(lambda m: m | {8: 0})),
        "hello_without_vector": (["R4.2-a"], "format", 0, hello_with(lambda m: {0: m[0]})),
        "hello_vector_descends": (["R4.2-a"], "format", 0, hello_with(lambda m: m | {1: [entry, [*entry[:4], 2, entry[5]]]})),
        "hello_vector_repeats": (["R4.2-a"], "format", 0, hello_with(lambda m: m | {1: [entry, entry]})),
        "hello_seq_0": (["R4.2-a", "R3.6-a"], "format", 0, hello_with(lambda m: m | {1: [[*entry[:4], 0, entry[5]]]})),
        "hello_lane_4": (["R4.2-a"], "format", 0, hello_with(lambda m: m | {1: [[*entry[:2], 4, *entry[3:]]]})),
        "hello_node_beyond_table": (["R4.2-a"], "format", 0, hello_with(lambda m: m | {1: [[1, *entry[1:]]]})),
        "hello_tag_of_5": (["R4.2-a"], "format", 0, hello_with(lambda m: m | {1: [[*entry[:5], bytes(5)]]})),
        "hello_receipt_null": (["R2.1-c"], "format", 0, hello_with(lambda m: m | {3: None})),
        "hello_second_page_of_version_2": (["R7.2-d"], "version", 1, hello(more=True) + say(0, 2, False, WINDOW, None, page())),
        # ranges
        "range_number_beyond": (["R7.3-b"], "format", 1, ranged(name=1)),
        "range_number_without_hello": (["R7.3-b"], "format", 0, told_range(LOG, 0)),
        "range_number_negative": (["R7.3-b"], "format", 1, ranged(name=-1)),
        "range_number_long_head": (["R2.1-a"], "format", 1, ranged(name=Raw(b"\x18\x00"))),
        "range_in_full_with_number": (["R7.3-b"], "format", 1, ranged(name=None)),
        "range_in_full_twice": (["R7.3-b"], "format", 2, first + told_range(URGENT, None, 1, 1) + told_range(URGENT, None, 2)),
        "range_by_index": (["R7.3-b"], "format", 1, ranged(name=in_file)),
        "range_node_of_7": (["R3.1-c"], "format", 1, ranged(name=[bytes(7), bytes(4), 2, None])),
        "range_lane_4": (["R3.1-c"], "format", 1, ranged(name=[bytes(8), bytes(4), 4, None])),
        "range_history_of_3": (["R3.1-c"], "format", 1, ranged(name=[bytes(8), bytes(4), 2])),
        "range_history_null": (["R2.1-c"], "format", 1, ranged(name=None, edit=lambda r: r | {0: None})),
        "range_and_more": (["R7.2-c"], "format", 1, first + say(1, LOG.range(domain=DOMAIN)["wire"] | {0: 0}, 0)),
        "range_of_none": (["R7.2-c"], "format", 1, first + say(1)),
        "range_without_checkpoint": (["R4.3-d"], "format", 1, ranged(lambda r: r | {10: []})),
        "range_checkpoint_not_at_end": (["R4.3-d"], "format", 1, ranged(lambda r: r | {10: [[2, r[10][0][1]]]})),
        "range_first_0": (["R4.3-b"], "format", 1, ranged(lambda r: r | {2: 0})),
        "range_count_0": (["R4.3-b"], "format", 1, ranged(lambda r: r | {4: 0})),
        "range_count_4097": (["R4.3-b"], "format", 1, ranged(lambda r: r | {4: 4097, 10: [[4097, r[10][0][1]]]})),
        "range_last_beyond": (["R4.3-b"], "format", 1, ranged(lambda r: r | {2: (1 << 63) - 5})),
        "range_raw_0": (["R4.3-c"], "format", 1, ranged(lambda r: r | {6: [0, 0]})),
        "range_raw_above": (["R4.3-c"], "format", 1, ranged(lambda r: r | {6: [1, (1 << 20) + 1]})),
        "range_codec_4": (["R4.4-a"], "format", 1, ranged(lambda r: r | {6: [4, r[6][1]]})),
        "range_prefix_with_codec_1": (["R4.4-a"], "format", 1, ranged(lambda r: r | {6: [1, r[6][1]], 14: [1, 2]}, first=4)),
        "range_primed_without_prefix": (["R4.4-a"], "format", 1, ranged(lambda r: r | {6: [2, r[6][1]]}, first=4)),
        "range_prefix_overlaps": (["R4.4-d"], "format", 1, ranged(lambda r: r | {6: [2, r[6][1]], 14: [2, 3]}, first=4)),
        "range_base_null": (["R2.1-c", "R7.3-f"], "format", 1, ranged(lambda r: r | {12: None})),
        "range_base_of_31": (["R4.3-e"], "format", 1, ranged(lambda r: r | {12: bytes(31)})),
        "range_unknown_even_key": (["R2.1-h"], "format", 1, ranged(lambda r: r | {16: 0})),
        # the others
        "ack_of_nothing": (["R7.4-d"], "format", 0, say(2)),
        "ack_half_a_pair": (["R7.4-d"], "format", 0, say(2, 0, 7, 1)),
        "ack_in_an_array": (["R7.4-d"], "format", 0, say(2, [0, 7])),
        "ack_up_to_0": (["R7.4-d", "R3.2-a"], "format", 0, say(2, 0, 0)),
        "ack_up_to_null": (["R2.1-c"], "format", 0, say(2, 0, None)),
        "ack_beyond_any_position": (["R3.2-a"], "format", 0, say(2, 0, 1 << 63)),
        "again_of_four": (["R7.4-e"], "format", 0, say(3, 0, 3, bytes(4))),
        "again_reason_3": (["R7.4-e"], "format", 0, say(3, 0, 3, bytes(4), 3)),
        "again_tag_of_3": (["R7.4-e"], "format", 0, say(3, 0, 3, bytes(3), 0)),
        "again_seq_null": (["R2.1-c"], "format", 0, say(3, 0, None, bytes(4), 0)),
        "again_seq_beyond_any_position": (["R3.2-a"], "format", 0, say(3, 0, 1 << 63, bytes(4), 0)),
        "done_with_more": (["R7.2-c"], "format", 0, say(4, 1, 1)),
        "done_after_null": (["R2.1-c"], "format", 0, say(4, None)),
        "done_after_0": (["R7.4-h"], "format", 0, say(4, 0)),
        "who_with_more": (["R7.2-c"], "format", 0, say(5, LUNANA.node)),
        "busy_with_more": (["R7.2-c"], "format", 0, say(8, 3000)),
        "introduction_no_list": (["R7.5-c"], "format", 0, say(6, 0)),
        "introduction_of_ranges_unwrapped": (["R7.5-c"], "format", 0, say(6, Raw(roster_range(1, 2)), Raw(roster_range(3, 4)))),
        "introduction_by_number": (["R7.5-c", "R7.3-b"], "format", 1,
                                   hello(page([(ROSTER, 4)])) + say(6, [ROSTER.range(domain=DOMAIN)["wire"] | {0: 0}])),
        "introduction_by_index": (["R7.5-c"], "format", 0, say(6, [ROSTER.range(domain=DOMAIN)["wire"] | {0: [0, HUB.incarnation, 0, None]}])),
        "bye_of_nothing": (["R7.2-c"], "format", 0, say(7)),
        "bye_number": (["R7.2-e"], "format", 0, say(7, 203)),
        "bye_false": (["R7.2-e"], "format", 0, say(7, False)),
        "bye_no_utf8": (["R2.1-e"], "format", 0, framed(b"\x82\x07\x61\xff")),
        "lost_null": (["R2.1-c"], "format", 0, say(9, None)),
        "lost_negative": (["R7.4-f"], "format", 0, say(9, -1)),
        "lost_of_nothing": (["R7.2-c"], "format", 0, say(9)),
    }
    assert set(rows) == set(WHY), set(rows) ^ set(WHY)
    return {name: (WHY[name], *row) for name, row in rows.items()}


WHY = {
    "frame_long_head": "the head of the byte string is longer than it needs to be",
    "frame_array": "an array stands there without the byte string around it",
    "frame_text": "a text is around the message",
    "frame_indefinite": "the byte string comes in pieces",
    "frame_too_long": "the head of a message of 98 305 bytes: refused before it has arrived",
    "frame_far_too_long": "the head of a message of 2^64 - 1 bytes",
    "frame_empty": "a byte string with nothing in it",
    "no_array": "a number instead of an array",
    "no_kind": "an array of nothing",
    "kind_text": "the kind is a text",
    "kind_negative": "the kind is below 0",
    "kind_unknown": "kind 10",
    "kind_unknown_with_more": "kind 24, with things that a later version may know",
    "kind_long_head": "the kind is not in its shortest form",
    "array_long_head": "the head of the array is longer than it needs to be",
    "array_indefinite": "an array without a count",
    "array_cut": "the array ends before its second item",
    "bytes_behind": "a byte behind the message, inside its byte string",
    "hello_version_2": "version 2",
    "hello_version_2_of_another_shape": "version 2 with fewer items: the version is judged first",
    "hello_version_0": "version 0",
    "hello_version_text": "the version is a text",
    "hello_five": "a hello of five items",
    "hello_seven": "a hello of seven items",
    "hello_more_number": "0 where false belongs",
    "hello_window_null": "no window",
    "hello_window_negative": "a window below 0",
    "hello_take_false": "false where null belongs",
    "hello_manifest_null": "no manifest",
    "hello_manifest_in_bytes": "the manifest is wrapped in a byte string",
    "hello_unknown_even_key": "an unknown even key in the manifest",
    "hello_without_vector": "a manifest without vector",
    "hello_vector_descends": "the vector descends",
    "hello_vector_repeats": "the vector tells the same position twice",
    "hello_seq_0": "a history held up to 0",
    "hello_lane_4": "lane 4",
    "hello_node_beyond_table": "the vector names node 1 of a table of one",
    "hello_tag_of_5": "a tag of five bytes",
    "hello_receipt_null": "null where a receipt belongs",
    "hello_second_page_of_version_2": "the second page is of version 2",
    "range_number_beyond": "number 1, and only number 0 was given",
    "range_number_without_hello": "number 0 before any history has a number",
    "range_number_negative": "a number below 0",
    "range_number_long_head": "the number is not in its shortest form",
    "range_in_full_with_number": "a history named in full that the vector gave number 0",
    "range_in_full_twice": "a history named in full a second time",
    "range_by_index": "a history by its place in a node table, as in a file",
    "range_node_of_7": "a node id of seven bytes",
    "range_lane_4": "lane 4",
    "range_history_of_3": "a history without audience",
    "range_history_null": "no history",
    "range_and_more": "an item behind the range",
    "range_of_none": "no range",
    "range_without_checkpoint": "no checkpoint",
    "range_checkpoint_not_at_end": "the last checkpoint is not at the end",
    "range_first_0": "first is 0",
    "range_count_0": "no events",
    "range_count_4097": "4 097 events",
    "range_last_beyond": "the last event is beyond any position",
    "range_raw_0": "a raw length of 0",
    "range_raw_above": "a raw length above 1 MiB",
    "range_codec_4": "codec 4",
    "range_prefix_with_codec_1": "a prefix with codec 1",
    "range_primed_without_prefix": "codec 2 without a prefix",
    "range_prefix_overlaps": "a prefix that does not end before the range",
    "range_base_null": "null as base: a base that is not there is left out",
    "range_base_of_31": "a base of 31 bytes",
    "range_unknown_even_key": "an unknown even key in a range",
    "ack_of_nothing": "an ack without a pair",
    "ack_half_a_pair": "a number without its seq",
    "ack_in_an_array": "the pair is wrapped in an array",
    "ack_up_to_0": "an ack up to 0",
    "ack_up_to_null": "null as seq",
    "ack_beyond_any_position": "an ack up to 2^63",
    "again_of_four": "no reason",
    "again_reason_3": "reason 3",
    "again_tag_of_3": "a tag of three bytes",
    "again_seq_null": "null as seq: nothing held is 0",
    "again_seq_beyond_any_position": "held up to 2^63",
    "done_with_more": "an item behind done and its number",
    "done_after_null": "null as the number of agains",
    "done_after_0": "no again heard, spelled out",
    "who_with_more": "an item behind who",
    "busy_with_more": "an item behind busy",
    "introduction_no_list": "a number instead of ranges",
    "introduction_of_ranges_unwrapped": "ranges that are not in an array of their own",
    "introduction_by_number": "a roster named by a number: an introduction names it in full, whatever was said before",
    "introduction_by_index": "a roster named by its place in a node table",
    "bye_of_nothing": "neither code nor null",
    "bye_number": "a code that is a number",
    "bye_false": "false where null belongs",
    "bye_no_utf8": "a code that is not UTF-8",
    "lost_null": "no number",
    "lost_negative": "a number below 0",
    "lost_of_nothing": "no number at all",
}


def all_files() -> dict:
    """Path -> bytes, or (the rows of a story, its ranges)."""
    files = {}
    for name, (story, rules, kinds, raw, ranges) in good().items():
        files[f"messages/accept/{name}.bin"] = raw
        rows = {"story": story, "rules": rules, "messages": kinds} | ({"respelled": True} if name in IGNORABLE else {})
        files[f"messages/accept/{name}.toml"] = (rows, ranges)
    for name, (why, rules, fault, at, raw) in bad().items():
        files[f"messages/reject/{name}.bin"] = raw
        files[f"messages/reject/{name}.toml"] = ({"why": why, "rules": rules, "expect": "Z505", "fault": fault, "at": at}, [])
    return files
