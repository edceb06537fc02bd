"""Workspace and Library: what an agent gets to work with."""

import dataclasses
import os
from typing import Any, Dict, List, Optional, Union

Path = Union[str, "os.PathLike[str]"]


@dataclasses.dataclass
class Library:
    """A module or package that runs here, or an interface that a sandbox serves (ScopedSandbox.serve)."""

    name: str
    file: Optional[str] = None
    directory: Optional[str] = None
    sandbox: Optional[str] = None
    expose_as: str = "library"

    @classmethod
    def from_file(cls, path: Path) -> "Library":
        path = os.path.abspath(path)
        return cls(os.path.splitext(os.path.basename(path))[0], file=path)

    @classmethod
    def from_directory(cls, path: Path) -> "Library":
        path = os.path.abspath(path)
        return cls(os.path.basename(path), directory=path)

    def to_json(self) -> Dict[str, Any]:
        return {key: value for key, value in dataclasses.asdict(self).items() if value is not None}


@dataclasses.dataclass
class Workspace:
    """`files` are copied into the workspace as they are; `instructions` go before the libraries' docs."""

    libraries: List[Library] = dataclasses.field(default_factory=list)
    files: List[Path] = dataclasses.field(default_factory=list)
    instructions: str = ""

    def to_json(self) -> Dict[str, Any]:
        return {"libraries": [library.to_json() for library in self.libraries],
                "files": [os.path.abspath(file) for file in self.files], "instructions": self.instructions}
