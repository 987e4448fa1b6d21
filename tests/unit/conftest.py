import asyncio
import threading

import pytest

from vswitch.rpc.server import serve

from switch_double import SwitchDouble


@pytest.fixture
def double():
    return SwitchDouble()


@pytest.fixture
def server(double, tmp_path):
    """The API in a thread of its own, as a client in another process sees it: its address."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    address = f"unix:{tmp_path}/api.sock"
    api = asyncio.run_coroutine_threadsafe(serve(double, [address]), loop).result(10)
    yield address
    asyncio.run_coroutine_threadsafe(api.stop(0), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
