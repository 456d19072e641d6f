"""The roster as a reader needs it (SPEC §8.3): who is a member, under which keys; learned from events of the roster origin."""

import copy
import re

import zbcbor
from zbcrypto import h_0, h_next, node_id, usable_point, usable_sealing
from zbgrammar import Fault, Shape

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
VOID = Shape("void")
KINDS = {"zb/enrol", "zb/rekey", "zb/revoke", "zb/policy", "zb/accept", "zb/heal"}


def covered(raws, checkpoints):
    """Each event with the numbers of the keys that sign it: those of the range's checkpoints at or above."""
    return [(raw, [number for offset, number, *_ in checkpoints if offset > i]) for i, raw in enumerate(raws)]


class Roster:
    """Members by node id: {name, keys: {number: (signing, sealing)}, policy, current}. `current` is None after a revoke."""

    def __init__(self, authority: bytes, incarnation: bytes):
        self.authority, self.origin = authority, (authority, incarnation, 0, None)
        self.members, self.names, self.signing, self.sealing = {}, set(), set(), {}   # sealing: key -> its node
        self.parts = []                       # of a control event whose payload came in pieces, so far
        self.hashes = [h_0(self.origin)]      # h_0 .. h_seq of what is held
        self.history_known = True             # False: only the members were told, as by another implementation's key list
        self.forked = False

    @classmethod
    def from_context(cls, context: dict) -> "Roster":
        told = context["authority"]
        roster = cls(bytes.fromhex(told["node"]), bytes.fromhex(told["incarnation"]))
        if "roster_events" in context:
            roster.take([bytes.fromhex(e) for e in context["roster_events"]])
            return roster
        roster.history_known = False
        for row in context["roster"]:
            keys = {k["number"]: (bytes.fromhex(k["signing"]), bytes.fromhex(k["sealing"])) for k in row["keys"]}
            roster.members[bytes.fromhex(row["node"])] = {"name": row["name"], "keys": keys, "policy": row.get("policy"), "current": max(keys)}
            roster.names.add(row["name"])
            roster.signing |= {signing for signing, _ in keys.values()}
            roster.sealing |= {sealing: bytes.fromhex(row["node"]) for _, sealing in keys.values()}
        return roster

    def key(self, node: bytes, number: int):
        """The signing key of (node, key number) among all ever enrolled (R8.3-f), or None."""
        keys = self.members.get(node, {}).get("keys", {})
        return keys[number][0] if number in keys else None

    def knows_sender(self, node: bytes, key: bytes) -> bool:
        return any(key == signing for signing, _ in self.members.get(node, {}).get("keys", {}).values())

    def sender_is_current(self, node: bytes, key: bytes) -> bool:
        member = self.members[node]
        return member["current"] is not None and member["keys"][member["current"]][0] == key

    def name(self, node: bytes) -> str:
        return self.members[node]["name"] if node in self.members else "@" + node.hex()

    def learn(self, first: int, base: bytes, raws: list[bytes], checkpoints) -> str:
        """A verified roster range, by the table of §6.2 -> what became of it. `checkpoints`: (events from the start, key number, …)."""
        if not self.history_known:
            for raw, numbers in covered(raws, checkpoints):
                if self._waits(raw, numbers):
                    return "waits"
                self._fold([raw])
            return "learned"
        held = len(self.hashes) - 1
        if first > held + 1:
            return "gap"                                                  # R6.1-e
        h = base
        if base != self.hashes[first - 1]:
            return self._other_branch(first, base, raws, checkpoints)
        for i, raw in enumerate(raws):
            h = h_next(h, first + i, raw)
            if first + i <= held and h != self.hashes[first + i]:
                return self._other_branch(first, base, raws, checkpoints)
        return self._take_covered(covered(raws, checkpoints)[held - first + 1:])

    def _take_covered(self, new) -> str:
        for raw, numbers in new:
            if self._waits(raw, numbers):
                return "waits"
            self.take([raw])
        return "learned" if new else "known"

    def _other_branch(self, first, base, raws, checkpoints) -> str:
        """It teaches nothing but a rekey of the authority, and what stands before that on it (R6.1-e)."""
        other = copy.deepcopy(self)
        other.hashes, other.parts = self.hashes[:first - 1] + [base], []
        other._take_covered(covered(raws, checkpoints))
        if other._authority_key() > self._authority_key():
            self.__dict__.update(other.__dict__)
            return "learned"
        self.forked = True
        return "fork"

    def take(self, raws: list[bytes]):
        for raw in raws:
            self.hashes.append(h_next(self.hashes[-1], len(self.hashes), raw))
        self._fold(raws)

    def _waits(self, raw: bytes, numbers) -> bool:
        """What would take effect, and no key signs it that may say so (R8.3-l)."""
        return zbcbor.whole(raw)[1] in KINDS and max(numbers) < self._authority_key()

    def _authority_key(self) -> int:
        """The number of its newest key so far."""
        return max(self.members[self.authority]["keys"]) if self.authority in self.members else 1

    def _fold(self, raws):
        for raw in raws:
            try:
                self._piece(zbcbor.whole(raw))
            except (Fault, zbcbor.Bad, zbcbor.Cut):
                pass                                                      # void: skipped by everyone alike

    def _piece(self, event):
        """An event, or a part of one: a run of parts counts when its last has come (R3.2-f)."""
        index, count = event[3].get(2, (0, 1)) if len(event) == 4 else (0, 1)
        if index == 0 or not self.parts or self.parts[-1][0:2] != (index - 1, count) or self.parts[0][2] != event[1]:
            self.parts = []
        if index == len(self.parts):
            self.parts.append((index, count, event[1], event[2]))
        if len(self.parts) == count:
            parts, self.parts = self.parts, []
            self._apply(event[1], zbcbor.whole(b"".join(p[3] for p in parts)))

    def _apply(self, kind, payload):
        if kind == "zb/enrol":
            p = VOID.map(payload, kind, (0, 2, 4, 6, 8))
            name = VOID.text(p[2], "name", 1, 32)
            VOID.need(bool(NAME.fullmatch(name)) and name not in self.names, "name")
            self._new_keys(p[0], p[4], p[6])
            VOID.need(p[0] == node_id(p[4]) and p[0] not in self.members, "node")
            policy = self._policy(p[8])
            if not self.members:
                VOID.need(p[0] == self.authority and policy == 2, "first enrolment")           # R8.3-a
            self.members[p[0]] = {"name": name, "keys": {1: (p[4], p[6])}, "policy": policy, "current": 1}
            self.names.add(name)
            self.signing.add(p[4])
            self.sealing[p[6]] = p[0]
            return
        if kind not in ("zb/rekey", "zb/revoke", "zb/policy"):
            return
        required = {"zb/rekey": (0, 2, 4, 6, 8), "zb/revoke": (0, 2, 8), "zb/policy": (0, 8)}[kind]
        p = VOID.map(payload, kind, required)
        VOID.need(type(p[0]) is bytes and p[0] in self.members, "not enrolled")
        member = self.members[p[0]]
        if kind == "zb/policy":
            VOID.need(p[0] != self.authority, "the authority's policy")
            member["policy"] = self._policy(p[8])
            return
        self._keep(p[8])
        newest = max(member["keys"])
        if kind == "zb/revoke":
            VOID.need(p[2] in member["keys"] and (p[0] != self.authority or p[2] != newest), "key number")
            if member["current"] == p[2]:
                member["current"] = None
            return
        VOID.need(p[2] == newest + 1, "key number")
        self._new_keys(p[0], p[4], p[6])
        member["keys"][p[2]] = (p[4], p[6])
        member["current"] = p[2]
        self.signing.add(p[4])
        self.sealing[p[6]] = p[0]

    def _new_keys(self, node, signing, sealing):
        """R8.3-e."""
        VOID.bytes(node, "node", 8)
        VOID.need(usable_point(VOID.bytes(signing, "signing key", 32)) and signing not in self.signing, "signing key")
        VOID.need(usable_sealing(VOID.bytes(sealing, "sealing key", 32)) and self.sealing.get(sealing, node) == node, "sealing key")

    @staticmethod
    def _policy(v):
        if type(v) is list:
            VOID.need(len(v) > 0, "policy")
            for node in v:
                VOID.bytes(node, "policy", 8)
            VOID.need(all(a < b for a, b in zip(v, v[1:])), "policy does not ascend")
            return v
        return VOID.uint(v, "policy", 0, 2)

    @staticmethod
    def _keep(v):
        rows = []
        for row in VOID.array(v, "keep"):
            VOID.array(row, "keep", 5)
            VOID.bytes(row[0], "incarnation", 4)
            VOID.uint(row[1], "lane", 0, 3)
            if row[2] is not None:
                VOID.bytes(row[2], "audience", 8)
            VOID.uint(row[3], "seq")
            VOID.bytes(row[4], "h", 32)
            rows.append((row[0], row[1], row[2] or b""))
        VOID.need(all(a < b for a, b in zip(rows, rows[1:])), "keep does not ascend")
