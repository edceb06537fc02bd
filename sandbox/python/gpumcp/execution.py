"""create_local_session: a folder with what the agent gets, where it then runs and executes its code."""

import dataclasses
import os
from typing import Any, Dict, Optional, Union

from .program import Control
from .workspace import Workspace


@dataclasses.dataclass
class LocalSession:
    name: str
    folder: str
    mcp_config: Dict[str, Any]
    docs: str  # what there is, as it stands in the folder's AGENTS.md
    needs_shell: bool = True

    # Where run_agent() runs if it is told nothing else.
    latest = None  # type: Optional[LocalSession]


def create_local_session(workspace: Workspace, workspace_dir: Union[str, "os.PathLike[str]"], name: str = "session") -> LocalSession:
    """Lays the workspace out in a folder. The agent that runs next runs there."""
    control = Control()
    try:
        session = LocalSession(**control.ask("session", folder=os.path.abspath(workspace_dir), name=name, **workspace.to_json()))
    finally:
        control.close()
    LocalSession.latest = session
    return session
