"""What several of the system's tests stand on."""
import pytest


@pytest.fixture
def site(request, tmp_path):
    """Makes the module's Site, with what else it takes; its lab is closed when the test ends."""
    sites = []

    def make(*arguments, **options):
        sites.append(request.module.Site(tmp_path, *arguments, **options))
        return sites[0]
    yield make
    for made in sites:
        made.lab.close()
