"""ScopedSandbox: interfaces served from a GPU, here or elsewhere, by the program gpumcp."""

import dataclasses
import os
import pathlib
import weakref
from typing import Any, Dict, List, Optional, Union

from .program import Control, GpumcpError
from .workspace import Library

Path = Union[str, "os.PathLike[str]"]


@dataclasses.dataclass
class ModelConfig:
    """A model that interfaces find by name. `path`: where it lies; else it is looked up by its name."""

    name: str
    path: Optional[Path] = None
    dtype: Optional[str] = None
    hidden: bool = False
    adapter: Optional[Path] = None
    base: Optional[str] = None


@dataclasses.dataclass
class SandboxConfig:
    """What a sandbox runs with. `secrets` are names of variables of this environment."""

    gpu: Optional[str] = None
    gpu_count: int = 1
    models: List[ModelConfig] = dataclasses.field(default_factory=list)
    python_packages: List[str] = dataclasses.field(default_factory=list)
    system_packages: List[str] = dataclasses.field(default_factory=list)
    python_version: Optional[str] = None
    env: Dict[str, str] = dataclasses.field(default_factory=dict)
    secrets: List[str] = dataclasses.field(default_factory=list)
    provider: str = "local"  # ssh:HOST, slurm[:OPTIONS], command:TEMPLATE
    device: str = "auto"
    idle: Union[float, str] = 60  # seconds after the last call until the GPU is let go, or "never"
    call_timeout_s: Optional[float] = None
    load_timeout_s: Optional[float] = None
    start_timeout_s: Optional[float] = None
    threads: int = 0
    isolate: Optional[str] = None  # auto, bubblewrap or landlock: interface code reaches only what the next ones say
    network: bool = False
    read: List[Path] = dataclasses.field(default_factory=list)
    write: List[Path] = dataclasses.field(default_factory=list)

    def to_json(self) -> Dict[str, Any]:
        config = dataclasses.asdict(self)
        for key in ("read", "write"):
            config[key] = [os.path.abspath(path) for path in config[key]]
        for model in config["models"]:
            for key in ("path", "adapter"):
                model[key] = os.path.abspath(model[key]) if model[key] else ""
            for key in ("dtype", "base"):
                model[key] = model[key] or ""
        return config


class ScopedSandbox:
    """A sandbox of this program's own. It goes with terminate(), with a `with` block, or with this process."""

    def __init__(self, config: Optional[SandboxConfig] = None, name: Optional[str] = None):
        self.config, self.name = config or SandboxConfig(), name
        self._control = self._finalizer = None

    @classmethod
    def from_id(cls, name: str) -> "ScopedSandbox":
        """A sandbox that another program started."""
        sandbox = cls(name=name)
        sandbox._begin("attach", name=name)
        return sandbox

    def _begin(self, op, **request):
        if self._control is None:
            control = Control()
            try:
                self.name = control.ask(op, **request)["name"]
            except BaseException:
                control.close()
                raise
            self._control, self._finalizer = control, weakref.finalize(self, control.close)

    def _ask(self, op, **request):
        if self._control is None:
            raise GpumcpError("start() the sandbox first")
        return self._control.ask(op, **request)

    def start(self, workspace: Any = None) -> "ScopedSandbox":
        """Checks the configuration. No GPU is held before something is loaded or called."""
        self._begin("start", config=self.config.to_json(), name=self.name)
        return self

    def serve(self, file: Path, expose_as: str = "library", name: Optional[str] = None, load: bool = True):
        """Serves an interface. As "library", "prompt" or "skill": a Library for a Workspace; as "mcp": entries for run_agent's
        mcp_config. With `load` its own code runs now, so that what is wrong with it is told here."""
        self.start()
        path = os.path.abspath(file) if os.path.exists(file) else str(file)
        served = self._ask("serve", file=path, name=name or pathlib.Path(path).stem, load=load)
        if expose_as == "mcp":
            return {served["name"].replace("_", "-"): {"command": served["serve_command"][0],
                                                       "args": served["serve_command"][1:]}}
        return Library(served["name"], sandbox=self.name, expose_as=expose_as)

    def call(self, tool: str, **arguments: Any) -> Dict[str, Any]:
        """Calls a function itself: the tool's result, as MCP has it."""
        return self._ask("call", tool=tool, arguments=arguments)["result"]

    def status(self) -> Optional[Dict[str, Any]]:
        """What the worker says of itself; None: none runs, and no GPU is held."""
        return self._ask("status")["status"]

    def stop(self) -> None:
        """Lets the worker go; the next call starts another."""
        self._ask("stop")

    def terminate(self, save_snapshot: bool = False) -> None:
        """Ends the sandbox and everything that it left."""
        if self._control is not None:
            control, self._control = self._control, None
            try:
                control.ask("terminate")
            finally:
                self._finalizer()

    def __enter__(self) -> "ScopedSandbox":
        return self.start()

    def __exit__(self, *_error: Any) -> None:
        self.terminate()
