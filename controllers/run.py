"""Runs a controller from the source tree: python controllers/run.py --on os-ken learning_switch (as vswitch-controller)."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "vswitch" / "controllers"))

from runner import main  # noqa: E402 - by path: works without an installed package

main()
