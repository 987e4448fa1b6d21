"""A switch on a host of its own, and two containers on taps of it."""
import contextlib
import os

from hosts import Lab, Switch


@contextlib.contextmanager
def two_containers(directory, prefix: str, config: str, *arguments: str):
    """A Lab with `switch` as `config` says, and `one` (10.0.0.1, on its tap c1) and `two` (10.0.0.2, on c2)."""
    lab = Lab(f"{prefix}{os.getpid()}-", directory)
    try:
        host = lab.namespace("host")
        path = directory / "config.yaml"
        path.write_text(config)
        lab.switch = Switch(host, "switch", *arguments)
        lab.switch.apply(path)
        lab.one, lab.two = lab.namespace("one"), lab.namespace("two")
        lab.one.adopt(host, "c1", "10.0.0.1/24")
        lab.two.adopt(host, "c2", "10.0.0.2/24")
        yield lab
    finally:
        lab.close()
