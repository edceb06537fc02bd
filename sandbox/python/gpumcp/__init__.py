"""The scoped sandbox of gpumcp: an agent runs here, and the GPU only while its functions do.

    from gpumcp.environment import ScopedSandbox, SandboxConfig, ModelConfig
    from gpumcp.workspace import Workspace, Library
    from gpumcp.execution import create_local_session
    from gpumcp.harness import run_agent

Everything is done by the program `gpumcp`, which this package starts. It is looked for in $GPUMCP_PROGRAM, beside this
package, and on PATH.
"""

from .environment import ModelConfig, SandboxConfig, ScopedSandbox
from .execution import LocalSession, create_local_session
from .harness import run_agent
from .program import GpumcpError
from .workspace import Library, Workspace

__all__ = ["GpumcpError", "Library", "LocalSession", "ModelConfig", "SandboxConfig", "ScopedSandbox", "Workspace",
           "create_local_session", "run_agent"]
