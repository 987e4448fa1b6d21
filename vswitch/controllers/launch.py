"""Starts apps on the platform of the interpreter that runs this file: launch.py PLATFORM HOST PORT APPS RYU_ENV LOG APP...

Executed by path, also by the interpreter of Ryu's environment, so it imports nothing of the vswitch package.
"""
import importlib
import importlib.abc
import importlib.util
import logging
import sys
from pathlib import Path


class AliasFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Makes `ryu.x` another name of os-ken's `os_ken.x`; what os-ken doesn't have (ryu's sample apps) is loaded from the files
    of an installed Ryu, where there is one."""

    def __init__(self, ryu_env):
        found = sorted(ryu_env.glob("lib/python*/site-packages/ryu"))
        self.ryu_files = found[0] if found else None

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] != "ryu":
            return None
        real = "os_ken" + name[len("ryu"):]
        try:
            module = importlib.import_module(real)
        except ModuleNotFoundError as error:
            if error.name != real:
                raise
            return self._spec_of_file(name)
        spec = importlib.util.spec_from_loader(name, self, is_package=hasattr(module, "__path__"))
        spec.loader_state = (module, module.__spec__)
        return spec

    def _spec_of_file(self, name):
        if self.ryu_files is None:
            return None
        file = self.ryu_files.joinpath(*name.split(".")[1:])
        if (file / "__init__.py").exists():
            return importlib.util.spec_from_file_location(name, file / "__init__.py", submodule_search_locations=[str(file)])
        return importlib.util.spec_from_file_location(name, f"{file}.py") if file.with_suffix(".py").exists() else None

    def create_module(self, spec):
        return spec.loader_state[0]

    def exec_module(self, module):
        # The import system has just written the alias's spec into os-ken's module: give it its own back.
        module.__spec__ = module.__spec__.loader_state[1]


def prepare_os_ken(ryu_env):
    sys.meta_path.insert(0, AliasFinder(ryu_env))
    from os_ken import cfg, exception
    from os_ken.base import app_manager
    from os_ken.controller import controller  # noqa: F401 - registers the options
    app_manager.RyuApp = app_manager.OSKenApp
    exception.RyuException = exception.OSKenException
    return cfg.CONF, app_manager.AppManager, "os_ken.controller.ofp_handler"


def prepare_ryu():
    import eventlet.wsgi
    eventlet.wsgi.ALREADY_HANDLED = object()    # gone from eventlet, and Ryu's ryu.app.wsgi imports it
    from ryu.lib import hub
    hub.patch(thread=False)
    from ryu import cfg
    from ryu.base import app_manager
    from ryu.controller import controller  # noqa: F401 - registers the options
    return cfg.CONF, app_manager.AppManager, "ryu.controller.ofp_handler"


def module_name(app):
    """What to import for an app: a file by its stem; ours are on the path by their names."""
    if app.endswith(".py"):
        file = Path(app).resolve()
        if not file.is_file():
            sys.exit(f"vswitch-controller: there is no file {app}")
        sys.path.insert(0, str(file.parent))
        return file.stem
    return app


def main():
    platform, host, port, apps_directory, ryu_env, log, *apps = sys.argv[1:]
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s", stream=sys.stderr)
    if log != "verbose":
        for name in ("ryu", "os_ken"):
            logging.getLogger(name).setLevel(logging.WARNING)
    sys.path[0] = apps_directory
    names = [module_name(app) for app in apps]
    conf, manager, handler = prepare_ryu() if platform == "ryu" else prepare_os_ken(Path(ryu_env))
    conf(args=["--ofp-listen-host", host, "--ofp-tcp-listen-port", port], project="ryu" if platform == "ryu" else "os_ken")
    for name in names:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            sys.exit(f"vswitch-controller: {name}: there is no module {error.name}")
    print(f"vswitch-controller: {' '.join(names)} on {platform} at {host}:{port}", file=sys.stderr, flush=True)
    try:
        manager.run_apps([*names, handler])
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
