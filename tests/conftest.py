"""With VSWITCH_SKIP_NOTHING set, as `make test` does, a test that would be skipped fails and says why."""
import os

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes says nothing on a machine that others use too.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.skipped and os.environ.get("VSWITCH_SKIP_NOTHING") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} would be skipped: {report.longrepr[-1] if isinstance(report.longrepr, tuple) else report.longrepr}"
