"""Mutated messages of every version at a real switch (message_fuzz.py; a million of each with `make fuzz-openflow`)."""
import subprocess
import sys
from pathlib import Path


def test_the_switch_answers_mutated_messages_and_goes_on():
    done = subprocess.run([sys.executable, "-P", str(Path(__file__).with_name("message_fuzz.py")), "--messages", "4000", "--seed",
                           "3"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("messages in") == 5
