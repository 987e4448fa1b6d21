"""The durable desired state: one JSON file, replaced as a whole and synced to disk before a change is reported done."""
from __future__ import annotations

import json
import os
import secrets
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from vswitch.errors import InvalidError
from vswitch.model.objects import Balance, Bridge, Port, Tenant, Vtep

FORMAT = 1


@dataclass
class State:
    """What is wanted. Dicts are in order of creation."""
    tenants: dict[str, Tenant] = field(default_factory=dict)
    bridges: dict[str, Bridge] = field(default_factory=dict)
    ports: dict[tuple[str, str], Port] = field(default_factory=dict)      # (bridge, name)
    vtep: Vtep = Vtep()
    last_tenant_id: int = 0     # of the tenant created last: an id is not given out again at once
    last_bridge_id: int = 0
    balance: Balance = Balance()
    host_id: int = 0            # 48 bits that tell this switch from others, in datapath ids that nobody chose

    def copy(self) -> State:
        return State(dict(self.tenants), dict(self.bridges), dict(self.ports), self.vtep, self.last_tenant_id,
                     self.last_bridge_id, self.balance, self.host_id)

    def ports_of(self, bridge: str) -> list[Port]:
        return [port for port in self.ports.values() if port.bridge == bridge]

    def to_json(self) -> dict:
        return {"format": FORMAT, "last_tenant_id": self.last_tenant_id, "last_bridge_id": self.last_bridge_id,
                "host_id": self.host_id,
                "vtep": asdict(self.vtep), "balance": asdict(self.balance), "tenants": [asdict(t) for t in self.tenants.values()],
                "bridges": [asdict(b) for b in self.bridges.values()], "ports": [asdict(p) for p in self.ports.values()]}

    @classmethod
    def from_json(cls, data: dict) -> State:
        if data.get("format") != FORMAT:
            raise InvalidError(f"is of format {data.get('format')}, not {FORMAT}", "state")
        tenants = [_object(Tenant, item) for item in data["tenants"]]
        bridges = [_object(Bridge, item) for item in data["bridges"]]
        ports = [_object(Port, item) for item in data["ports"]]
        return cls({t.name: t for t in tenants}, {b.name: b for b in bridges}, {(p.bridge, p.name): p for p in ports},
                   _object(Vtep, data["vtep"]), data["last_tenant_id"], data["last_bridge_id"],
                   _object(Balance, data.get("balance", {})), data["host_id"])


def _object(cls, item: dict):
    known = {f.name for f in fields(cls)}
    return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in item.items() if k in known})


class Store:
    def __init__(self, directory: str | Path):
        self._path = Path(directory) / "state.json"

    def load(self) -> State:
        """The stored state, an empty one where there is none. InvalidError when the file can't be read: what is wanted is
        then unknown, and starting with nothing would remove everything."""
        try:
            return State.from_json(json.loads(self._path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return State(host_id=secrets.randbits(48) & ~(1 << 40) | 2 << 40)
        except (ValueError, KeyError, TypeError) as e:
            raise InvalidError(f"{self._path} can't be read: {e}", "state") from e

    def save(self, state: State) -> None:
        new = self._path.with_suffix(".json.new")
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640)
        with open(fd, "w", encoding="utf-8") as f:
            json.dump(state.to_json(), f, indent=1)
            f.flush()
            os.fsync(f.fileno())
        os.replace(new, self._path)
        directory = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
