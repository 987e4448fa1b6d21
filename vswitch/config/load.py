"""A configuration file as the objects it describes. InvalidError reads "file:line: path.to.key: reason"."""
from __future__ import annotations

from dataclasses import dataclass, field

import yaml

from vswitch.config import schema
from vswitch.errors import InvalidError, VswitchError
from vswitch.model import check
from vswitch.model.objects import Balance, Bridge, Port, Tenant, Vtep
from vswitch.model.store import State
from vswitch.openflow import flow_text
from vswitch.openflow.flow_text_rule import Rule

UNNUMBERED = 1 << 31        # beyond what a bridge's 16384 ports are numbered in practice, and below the reserved numbers
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class FlowLine:
    """One rule of a bridge, and where it stands."""
    text: str
    line: int
    path: str


@dataclass
class Config:
    """The desired state. `flows` has a bridge only where the file has the key: its rules are then exactly those."""
    filename: str
    vtep: Vtep | None = None
    balance: Balance | None = None
    tenants: dict[str, Tenant] = field(default_factory=dict)
    bridges: dict[str, Bridge] = field(default_factory=dict)
    ports: dict[tuple[str, str], Port] = field(default_factory=dict)
    flows: dict[str, list[FlowLine]] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)     # of objects, by path

    def error(self, path: str, reason: str, line: int | None = None) -> InvalidError:
        """The error at `line`, or where the key `path` stands, or what it should stand in."""
        place = path
        while line is None and place and place not in self.lines:
            place = place.rpartition(".")[0]
        return config_error(self.filename, line or self.lines.get(place, 1), path, reason)

    def refusal(self, path: str, error: VswitchError) -> InvalidError:
        """What the model says of the object at `path`, where the file says so. "port.vni" is the key vni of the port."""
        key = error.field.rpartition(".")[2]
        return self.error(".".join(filter(None, (path, "" if key == "name" else key))), error.reason)

    def rules(self, bridge: str, port_numbers: dict[str, int]) -> list[tuple[FlowLine, Rule]]:
        """The bridge's rules, once its ports have their numbers."""
        rules = []
        for entry in self.flows[bridge]:
            try:
                rules.append((entry, flow_text.parse_rule(entry.text, "add", port_numbers.get)))
            except InvalidError as error:
                raise self.error(entry.path, str(error), entry.line) from None
        return rules


def config_error(filename: str, line: int, path: str, reason: str) -> InvalidError:
    error = InvalidError(reason, path)
    error.args = (f"{filename}:{line}: {path}: {reason}" if path else f"{filename}:{line}: {reason}",)
    return error


def load_file(path: str) -> Config:
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidError(f"{path}: {getattr(error, 'strerror', None) or 'is not UTF-8 text'}", "file") from None
    return load_text(text, path)


def load_text(text: str, filename: str = "config") -> Config:
    """Reads and checks all that can be told from the file alone."""
    try:
        root = yaml.compose(text, LOADER)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise config_error(filename, mark.line + 1 if mark else 1, "", error.problem or error.context or "bad YAML") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise config_error(filename, 1, "", " ".join(str(error).split())) from None
    config = Config(filename)
    if root is None:
        raise config_error(filename, 1, "tenants", "is required (tenants: {} removes everything)")
    _Reader(config).root(root)
    _check_whole(config)
    return config


class _Reader:
    def __init__(self, config: Config):
        self.config = config
        self.constructor = LOADER("")

    def fail(self, node: yaml.Node, path: str, reason: str):
        raise config_error(self.config.filename, node.start_mark.line + 1, path, reason)

    def pairs(self, node: yaml.Node, path: str, known=None) -> list[tuple[str, yaml.Node, yaml.Node, str]]:
        """(key, key's node, value's node, value's path) of a mapping; all keys are text, none is there twice."""
        if not isinstance(node, yaml.MappingNode):
            self.fail(node, path, f"must be a mapping (key: value), is {_kind(node)}")
        pairs, seen = [], {}
        for key_node, value_node in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            where = f"{path}.{key}" if path else str(key)
            if key is None:
                self.fail(key_node, path, "a key must be text")
            if key_node.tag == "tag:yaml.org,2002:merge":
                self.fail(key_node, path, "merge keys (<<) are not supported")
            if known is not None and key not in known:
                self.fail(key_node, where, f"unknown key; known are {', '.join(sorted(known))}")
            if key in seen:
                self.fail(key_node, where, f"duplicate key, first on line {seen[key]}")
            seen[key] = key_node.start_mark.line + 1
            self.config.lines[where] = key_node.start_mark.line + 1
            pairs.append((key, key_node, value_node, where))
        return pairs

    def named(self, node: yaml.Node, path: str) -> list[tuple[str, yaml.Node, str]]:
        """(name, value's node, value's path) of a mapping whose keys are names of objects; "name:" alone = {}."""
        named = []
        for key, key_node, value_node, where in self.pairs(node, path):
            try:
                schema.name(key)
            except ValueError as error:
                self.fail(key_node, where, str(error))
            if _is_null(value_node):
                value_node = yaml.MappingNode("tag:yaml.org,2002:map", [], value_node.start_mark, value_node.end_mark)
            named.append((key, value_node, where))
        return named

    def value(self, node: yaml.Node, path: str, check):
        if not isinstance(node, yaml.ScalarNode):
            self.fail(node, path, f"must be one value, is {_kind(node)}")
        try:
            return check(self.constructor.construct_object(node))
        except yaml.YAMLError as error:
            self.fail(node, path, " ".join(str(getattr(error, "problem", None) or error).split()))
        except ValueError as error:
            self.fail(node, path, str(error))

    def items(self, node: yaml.Node, path: str) -> list[tuple[yaml.Node, str]]:
        if _is_null(node):
            return []
        if not isinstance(node, yaml.SequenceNode):
            self.fail(node, path, f"must be a list (- item), is {_kind(node)}")
        return [(item, f"{path}[{index}]") for index, item in enumerate(node.value)]

    def values(self, node: yaml.Node, path: str, check) -> tuple:
        values = []
        for item, where in self.items(node, path):
            value = self.value(item, where, check)
            if value in values:
                self.fail(item, where, f"{value!r} is there twice")
            values.append(value)
        return tuple(values)

    def fields(self, node: yaml.Node, path: str, keys: dict[str, schema.Key], also=(), lists=None) -> dict[str, object]:
        """The checked values of an object's plain keys and lists; those in `also` are left to the caller."""
        lists = lists or {}
        values = {}
        for key, _, value_node, where in self.pairs(node, path, {*keys, *also, *lists}):
            if key in keys:
                values[key] = self.value(value_node, where, keys[key].check)
            elif key in lists:
                values[key] = self.values(value_node, where, lists[key])
        for key, spec in keys.items():
            if spec.required and key not in values:
                raise self.config.error(f"{path}.{key}", "is required")
        return values

    def child(self, node: yaml.Node, key: str) -> yaml.Node | None:
        for key_node, value_node in node.value:
            if key_node.value == key and not _is_null(value_node):
                return value_node
        return None

    # -- objects

    def root(self, node: yaml.Node) -> None:
        for key, _, value_node, where in self.pairs(node, "", ("vtep", "balance", "tenants")):
            if key == "vtep":
                self.config.vtep = Vtep(**self.fields(value_node, where, schema.VTEP))
            elif key == "balance":
                self.config.balance = Balance(**self.fields(value_node, where, schema.BALANCE))
            else:
                for name, tenant_node, path in self.named(value_node, where):
                    self.tenant(name, tenant_node, path)
        if "tenants" not in self.config.lines:
            self.fail(node, "tenants", "is required (tenants: {} removes everything)")

    def tenant(self, name: str, node: yaml.Node, path: str) -> None:
        tenant = Tenant(name, **self.fields(node, path, schema.TENANT, also=("bridges",)))
        if tenant.cpu_max and tenant.cpu_min > tenant.cpu_max:
            raise self.config.error(f"{path}.cpu_min", f"{tenant.cpu_min} is above cpu_max {tenant.cpu_max}")
        self.config.tenants[name] = tenant
        bridges = self.child(node, "bridges")
        if bridges is not None:
            for bridge, bridge_node, where in self.named(bridges, f"{path}.bridges"):
                self.bridge(bridge, name, bridge_node, where)

    def bridge(self, name: str, tenant: str, node: yaml.Node, path: str) -> None:
        if name in self.config.bridges:
            raise self.config.error(path, f"tenant {self.config.bridges[name].tenant} has a bridge of this name")
        values = self.fields(node, path, schema.BRIDGE, ("ports", "flows"), schema.BRIDGE_LISTS)
        self.config.bridges[name] = Bridge(name, tenant, **values)
        ports = self.child(node, "ports")
        if ports is not None:
            for port, port_node, where in self.named(ports, f"{path}.ports"):
                self.port(port, name, port_node, where)
        for key_node, value_node in node.value:
            if key_node.value == "flows":
                self.config.flows[name] = [
                    FlowLine(self.value(item, where, schema.text), item.start_mark.line + 1, where)
                    for item, where in self.items(value_node, f"{path}.flows")]

    def port(self, name: str, bridge: str, node: yaml.Node, path: str) -> None:
        values = self.fields(node, path, schema.PORT, lists=schema.PORT_LISTS)
        kind = values["kind"]
        allowed, needed = schema.PORT_KINDS[kind]
        for key in values:
            if key not in allowed | schema.PORT_ALWAYS:
                raise self.config.error(f"{path}.{key}", f"a {kind} port has no {key}")
        for key in needed:
            if key not in values:
                raise self.config.error(f"{path}.{key}", f"a {kind} port needs it")
        self.config.ports[bridge, name] = Port(name, bridge, **values)


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"


def _kind(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    return "a list" if isinstance(node, yaml.SequenceNode) else f"{node.value!r}"


def bridge_path(config: Config, bridge: str) -> str:
    return f"tenants.{config.bridges[bridge].tenant}.bridges.{bridge}"


def port_path(config: Config, bridge: str, port: str) -> str:
    return f"{bridge_path(config, bridge)}.ports.{port}"


def _check_whole(config: Config) -> None:
    """What is wrong only when objects are seen together."""
    _unique(config, ((f"{bridge_path(config, bridge.name)}.dpid", bridge.dpid) for bridge in config.bridges.values()
                     if bridge.dpid), "datapath id", "{:#x}")
    _unique(config, ((f"{port_path(config, port.bridge, port.name)}.vni", port.vni) for port in config.ports.values()
                     if port.vni is not None), "VNI", "{}")
    for bridge in config.bridges:
        _unique(config, ((f"{port_path(config, port.bridge, port.name)}.port_no", port.port_no)
                         for port in config.ports.values() if port.bridge == bridge and port.port_no), "port number", "{}")
    devices = ((port_path(config, port.bridge, port.name) + (".ifname" if port.ifname else ""), port.ifname or port.name)
               for port in config.ports.values() if port.kind in ("tap", "netdev"))
    _unique(config, devices, "device", "{}")
    for port in config.ports.values():
        path = port_path(config, port.bridge, port.name)
        if port.kind in ("tap", "netdev") and not port.ifname and len(port.name) > 15:
            raise config.error(path, "the name is too long for a device's (15 characters): give ifname")
        if port.kind == "patch":
            _check_patch(config, port, path)
    _check_with_model(config)
    for bridge in config.flows:
        _check_rules(config, bridge)


def _check_with_model(config: Config) -> None:
    """The switch's own checks, as if the file were applied to a switch that has nothing."""
    state = State()
    path = "vtep"
    try:
        check.vtep(config.vtep or Vtep())
        for name, tenant in config.tenants.items():
            path = f"tenants.{name}"
            state.tenants[name] = check.new_tenant(state, tenant, None)
        for name, bridge in config.bridges.items():
            path = bridge_path(config, name)
            state.bridges[name] = check.new_bridge(state, bridge, 0)
        numbered_first = sorted(config.ports.items(), key=lambda item: not item[1].port_no)
        for (bridge, name), port in numbered_first:
            path = port_path(config, bridge, name)
            state.ports[bridge, name] = check.new_port(state, port)
    except VswitchError as error:
        raise config.refusal(path, error) from None


def _unique(config: Config, values, noun: str, form: str) -> None:
    first: dict[object, str] = {}
    for path, value in values:
        if value in first:
            raise config.error(path, f"the {noun} {form.format(value)} is {first[value]}'s already")
        first[value] = path


def _check_patch(config: Config, port: Port, path: str) -> None:
    if port.peer_bridge not in config.bridges:
        raise config.error(f"{path}.peer_bridge", f"there is no bridge {port.peer_bridge!r} in this file")
    peer = config.ports.get((port.peer_bridge, port.peer_port))
    if peer is None or peer.kind != "patch":
        raise config.error(f"{path}.peer_port", f"{port.peer_bridge} has no patch port {port.peer_port!r} in this file")
    if (peer.peer_bridge, peer.peer_port) != (port.bridge, port.name):
        raise config.error(f"{path}.peer_port", f"its peer names {peer.peer_bridge}/{peer.peer_port}, not this port")


def _check_rules(config: Config, bridge: str) -> None:
    first: dict[object, int] = {}
    for entry, rule in config.rules(bridge, port_numbers(config, bridge)):
        if rule.key in first:
            line = first[rule.key]
            raise config.error(entry.path, f"the same table, priority and match as on line {line}", entry.line)
        first[rule.key] = entry.line


def port_numbers(config: Config, bridge: str) -> dict[str, int]:
    """The numbers of a bridge's ports; one that the switch is to pick has a number of its own all the same."""
    ports = [port for port in config.ports.values() if port.bridge == bridge]
    return {port.name: port.port_no or UNNUMBERED + index for index, port in enumerate(ports)}
