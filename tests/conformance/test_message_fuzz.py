"""Mutated messages of every version at a real switch, and rules and malformations whose answers are known (a million of each with
`make fuzz-openflow`)."""
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("program", ["message_fuzz.py", "rule_fuzz.py"])
def test_the_switch_answers_as_it_should_and_goes_on(program):
    done = subprocess.run([sys.executable, "-P", str(Path(__file__).with_name(program)), "--messages", "4000", "--seed", "3"],
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("messages in") == 5
