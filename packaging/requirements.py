"""Prints the requirements of the named groups of pyproject.toml, and of the package itself, for pip."""
import sys
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8"))
wanted = list(project["project"]["dependencies"]) + list(project["build-system"]["requires"])
for group in sys.argv[1:]:
    wanted += project["project"]["optional-dependencies"][group]
print(" ".join(requirement.replace(" ", "") for requirement in dict.fromkeys(wanted)))
