"""The zipapp's `__main__`: finds the agent's modules in one member of the file, and starts it.

Together they deflate to three quarters of what they take member by member. In the member each
module is a line with its name, and a slash where it is a package, and its source; NUL is between.
"""

import importlib.machinery
import runpy
import sys
import zipimport
from typing import Any, Dict, Optional, Tuple

MEMBER = "modules"
PACKAGE = "edgepack_agent"


class Modules:
    """A finder and loader of the modules of one archive."""

    def __init__(self, archive: str) -> None:
        self._archive = archive
        self._sources: Dict[str, Tuple[bool, str]] = {}
        for module in zipimport.zipimporter(archive).get_data(MEMBER).decode().split("\0"):
            name, _, source = module.partition("\n")
            self._sources[name.rstrip("/")] = name.endswith("/"), source

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Optional[Any]:
        """The spec of one of the agent's modules; None for any other."""
        if name not in self._sources:
            return None
        loader: Any = self  # has a loader's methods, and is none by birth
        spec = importlib.machinery.ModuleSpec(
            name, loader, origin=self.get_filename(name), is_package=self.is_package(name)
        )
        spec.has_location = True
        return spec

    def create_module(self, spec: Any) -> None:
        """A plain module will do."""

    def exec_module(self, module: Any) -> None:
        """Run the module's code in it."""
        exec(self.get_code(module.__name__), module.__dict__)  # noqa: S102  (as any loader does)

    def get_code(self, name: str) -> Any:
        """The compiled module, as runpy wants it."""
        return compile(self.get_source(name), self.get_filename(name), "exec", dont_inherit=True)

    def get_source(self, name: str) -> str:
        """The module's text, for tracebacks."""
        return self._sources[name][1]

    def is_package(self, name: str) -> bool:
        """Whether it holds other modules."""
        return self._sources[name][0]

    def get_filename(self, name: str) -> str:
        """Where the module would be, were the archive a folder."""
        place = name.replace(".", "/") + ("/__init__" if self.is_package(name) else "")
        return "%s/%s.py" % (self._archive, place)


if __name__ == "__main__":
    sys.meta_path.insert(0, Modules(sys.argv[0]))
    runpy.run_module(PACKAGE, run_name="__main__", alter_sys=True)
