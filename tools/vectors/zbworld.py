"""The fixtures' world: who lives in it, what its roster says, and what a reader of the fixtures knows beforehand."""

from zbcbor import enc
from zbcrypto import domain_id
from zbwrite import Log, Node

HUB = Node("punakha-hub")                 # the authority
LUNANA = Node("lunana-bhu")               # a clinic: policy own
GASA = Node("gasa-bhu", 2)                # a clinic: policy own,hub; has been rekeyed once
LAYA = Node("laya-bhu")                   # a clinic no reader knows yet
NOBODY = Node("nobody")                   # a stranger
OTHER = Node("other-hub")                 # the authority of another domain
REHUB = Node("punakha-hub", 2)            # the authority after a rekey that only some files tell of

DOMAIN, OTHER_DOMAIN = domain_id(HUB.signing_public[0]), domain_id(OTHER.signing_public[0])


def enrol(roster: Log, node: Node, policy) -> Log:
    return roster.add("zb/enrol", enc({0: node.node, 2: node.name, 4: node.signing_public[0], 6: node.sealing_public[0], 8: policy}))


def rekey(roster: Log, node: Node, number: int, keep) -> Log:
    return roster.add("zb/rekey", enc({0: node.node, 2: number, 4: node.signing_public[number - 1], 6: node.sealing_public[number - 1], 8: keep}))


def visits(node=LUNANA, count=3, lane=2, audience=None) -> Log:
    """A plain history: always the same events for the same origin, so a longer one continues a shorter one."""
    log = Log(node, lane, audience)
    for i in range(count):
        log.add("visit", b'{"bp":"%d/80"}' % (110 + i % 40), {1: f"Patient/BT-{1001 + i}"})
    return log


def roster(writer=HUB) -> Log:
    """What every reader holds: four events."""
    log = Log(writer, 0)
    enrol(log, HUB, 2)
    enrol(log, LUNANA, 0)
    enrol(log, GASA, 1)
    before = visits(GASA, 3)
    return rekey(log, GASA, 2, [[GASA.incarnation, 2, None, 3, before.hashes[3]]])


def _keys(node: Node):
    return [{"number": i + 1, "signing": s.hex(), "sealing": x.hex()} for i, (s, x) in enumerate(zip(node.signing_public, node.sealing_public))]


def context() -> dict:
    held = roster()
    return {
        "domain": DOMAIN.hex(),
        "authority": {"node": HUB.node.hex(), "incarnation": HUB.incarnation.hex(), "signing": HUB.signing_public[0].hex()},
        "roster": [{"node": n.node.hex(), "name": n.name, "policy": p, "keys": _keys(n)} for n, p in ((HUB, 2), (LUNANA, 0), (GASA, 1))],
        "roster_head": {"seq": len(held.events), "h": held.hashes[-1].hex()},
        "roster_events": [e.hex() for e in held.events],
        "secret_sealing_keys": {n.node.hex(): [s.hex() for s in n.sealing] for n in (HUB, LUNANA, GASA)},
    }


def key_file(node: Node, who: str) -> str:
    lines = [f"# {who}", f'name = "{node.name}"', f'node = "{node.node.hex()}"', f'incarnation = "{node.incarnation.hex()}"']
    for i, row in enumerate(_keys(node)):
        lines += ["", "[[key]]", f"number = {i + 1}", f'signing_seed = "{node.signing[i].hex()}"', f'signing = "{row["signing"]}"',
                  f'sealing_secret = "{node.sealing[i].hex()}"', f'sealing = "{row["sealing"]}"']
    return "\n".join(lines) + "\n"


def key_files() -> dict:
    return {f"{node.name}.toml": key_file(node, who) for node, who in (
        (REHUB, "The authority. Key 2 occurs only where a file itself rekeys the authority."), (LUNANA, "A clinic, policy own."),
        (GASA, "A clinic, policy own,hub, rekeyed: key 1 is outgoing, key 2 current."), (LAYA, "A clinic that no reader knows beforehand."),
        (NOBODY, "A stranger: enrolled nowhere."), (OTHER, "The authority of another domain."))}
