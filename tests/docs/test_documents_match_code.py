"""The documents' tables, lists and drawings say what the code says."""
from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from fenced_blocks import DOCUMENTS, ROOT, of_language
from generated_tables import SECTION, TABLES, renewed

from vswitch.config import schema
from vswitch.config.load import load_text
from vswitch.openflow import experimenter as experimenter_module, handlers
from vswitch.openflow.flow_text_actions import INSTRUCTIONS, PARSERS
from vswitch.openflow.flow_text_fields import FLAGS, PROTOCOLS
from vswitch.openflow.versions import ONF

DOCS = ROOT / "docs"
assert handlers.EXTENSIONS        # they have registered what they handle


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_generated_tables(document):
    text = document.read_text(encoding="utf-8")
    assert text == renewed(text), "python tests/docs/generated_tables.py writes them anew"


def test_every_table_is_somewhere():
    texts = "".join(document.read_text(encoding="utf-8") for document in DOCUMENTS)
    assert {found[2] for found in SECTION.finditer(texts)} == set(TABLES)


# ---- configuration.md: | `key` | range | meaning |

def documented_keys(heading: str) -> dict[str, str]:
    text = (DOCS / "configuration.md").read_text(encoding="utf-8")
    section = re.search(rf"^## {heading}\n(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL)
    assert section, f"configuration.md has no section {heading}"
    return dict(re.findall(r"^\| `(\w+)` \| ([^|]*) \|", section[1], re.MULTILINE))


SECTIONS = {
    "vtep": {**schema.VTEP},
    "tenant": {**schema.TENANT, "bridges": None},
    "bridge": {**schema.BRIDGE, **dict.fromkeys(schema.BRIDGE_LISTS), "ports": None, "flows": None},
    "port": {**schema.PORT, **dict.fromkeys(schema.PORT_LISTS)},
}


@pytest.mark.parametrize("section", SECTIONS)
def test_configuration_keys(section):
    assert set(documented_keys(section)) == set(SECTIONS[section])


def ranges():
    for section, keys in SECTIONS.items():
        for key, entry in keys.items():
            if entry is not None and (found := re.search(r"(\d+)\.\.(\d+)", documented_keys(section).get(key, ""))):
                yield pytest.param(entry.check, int(found[1]), int(found[2]), id=f"{section}.{key}")


@pytest.mark.parametrize("check, low, high", list(ranges()))
def test_configuration_ranges(check, low, high):
    assert check(low) == low and check(high) == high
    for outside in (low - 1, high + 1):
        with pytest.raises(ValueError):
            check(outside)


def test_every_number_has_its_range():
    for section, keys in SECTIONS.items():
        for key, entry in keys.items():
            try:
                entry is not None and entry.check("?")
            except ValueError as error:
                if re.search(r"is not a (whole )?number", str(error)):
                    assert re.search(r"\d+\.\.\d+", documented_keys(section)[key]), f"{section}.{key}"
                if "is none of" in str(error):
                    words = str(error).partition("is none of ")[2].split(", ")
                    assert re.findall(r"`([\w-]+)`", documented_keys(section)[key]) == words, f"{section}.{key}"


def test_kinds_of_ports():
    """| `kind` | keys besides those of all ports | what it must have |"""
    text = (DOCS / "configuration.md").read_text(encoding="utf-8").partition("### Kinds")[2]
    rows = {kind: (set(re.findall(r"`(\w+)`", may)), tuple(re.findall(r"`(\w+)`", must)))
            for kind, may, must in re.findall(r"^\| `([\w-]+)` \| ([^|]*) \| ([^|]*) \|", text, re.MULTILINE)}
    assert rows == schema.PORT_KINDS


@pytest.mark.parametrize("document, block", [pytest.param(d, b, id=f"{d.name}:{b.line}") for d, b in of_language("yaml")])
def test_yaml_is_a_configuration(document, block):
    load_text(block.text, f"{document.name}:{block.line}")


# ---- cli.md, openflow.md

def test_flow_words():
    text = (DOCS / "cli.md").read_text(encoding="utf-8")
    words = {*PARSERS, *INSTRUCTIONS, *FLAGS, *PROTOCOLS, "drop"}
    assert not [word for word in sorted(words) if not re.search(rf"[`\s]{word}[`:=(\s]", text)]


def test_daemon_options():
    helped = subprocess.run([Path(sys.executable).parent / "vswitchd", "--help"], capture_output=True, text=True, check=True)
    options = set(re.findall(r"--[\w-]+", helped.stdout)) - {"--help"}
    text = (DOCS / "cli.md").read_text(encoding="utf-8").partition("## vswitchd")[2]
    assert set(re.findall(r"^\| `(--[\w-]+)", text, re.MULTILINE)) == options


def test_extensions():
    """| `NXT_…` (number) | versions | meaning |, of messages and multiparts"""
    text = (DOCS / "openflow.md").read_text(encoding="utf-8").partition("### Extensions")[2].partition("\n### ")[0]
    documented = {(prefix.startswith("ONF"), kind == "ST", int(number))
                  for prefix, kind, number in re.findall(r"`(NX|ONF)(ST|T)_\w+` \((\d+)\)", text)}
    handled = {(experimenter == ONF, multipart, number) for multipart, registered in ((False, experimenter_module.MESSAGES),
               (True, experimenter_module.MULTIPARTS)) for experimenter, number in registered}
    assert documented >= handled


# ---- datapath_c/path/README.md

def test_path_drawing():
    folder = ROOT / "datapath_c" / "path"
    text = (folder / "README.md").read_text(encoding="utf-8")
    files = {path.name for path in folder.glob("*.[ch]")} | {path.name for path in folder.glob("*.def")}
    named = set(re.findall(r"\b\w+\.(?:c|h|def)\b", text))
    elsewhere = {name for name in named - files if any((ROOT / "datapath_c").glob(f"*/{name}"))}
    assert named - files - elsewhere == set(), "named, but not there"
    assert {name for name in files if name.endswith(".c")} - named == set(), "there, but not named"


def test_path_drawing_calls():
    """An arrow "a.c --> b.c" says that a.c calls b.c: it includes b's header."""
    folder = ROOT / "datapath_c" / "path"
    arrows = re.findall(r"^\s*(\w+)\.c\s*-->\s*(\w+)\.c", (folder / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert arrows
    for caller, called in arrows:
        assert f'#include "path/{called}.h"' in (folder / f"{caller}.c").read_text(), f"{caller}.c does not call {called}.c"


# ---- links and paths

@pytest.mark.parametrize("document", [*DOCUMENTS, ROOT / "datapath_c" / "path" / "README.md"],
                         ids=lambda path: str(path.relative_to(ROOT)))
def test_links(document):
    text = document.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        if not target.startswith("http"):
            assert (document.parent / target).exists(), target
    for path in re.findall(r"`((?:datapath_c|vswitch|docs|tests|examples|controllers|proto|packaging|demo|benchmarks)/[\w./-]*)`",
                           text):
        assert (ROOT / path).exists(), path
