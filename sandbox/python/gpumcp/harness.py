"""run_agent: a real agent program works on a prompt here, while what it calls runs on the GPU."""

import asyncio
import json
import os
import signal
import sys
import tempfile
from typing import Any, AsyncIterator, Dict, List, Optional

from .execution import LocalSession
from .program import GpumcpError, find_program


async def run_agent(prompt: str, mcp_config: Optional[Dict[str, Any]] = None, provider: str = "claude",
                    session: Optional[LocalSession] = None, model: Optional[str] = None, price: Optional[float] = None,
                    shell: Optional[bool] = None, verbose: bool = True,
                    arguments: Optional[List[str]] = None) -> AsyncIterator[Dict[str, Any]]:
    """Yields the agent program's messages as they come, and at last {"type": "gpumcp/ledger", …}.

    It runs in the session's folder (the latest one, if none is given) with the session's servers and those of mcp_config.
    `price`: of an hour of the GPU, for the ledger. `shell`: whether it may run commands; by default if something in the
    session is used by running Python. `verbose` prints a line for each message on stderr. Leaving the loop ends the agent.
    """
    session = session or LocalSession.latest
    servers = dict((session.mcp_config if session else {}).get("mcpServers", {}))
    given = mcp_config or {}
    servers.update(given.get("mcpServers", given))
    shell = (session.needs_shell if session else False) if shell is None else shell
    with tempfile.NamedTemporaryFile("w", suffix=".json", prefix="gpumcp-") as file, \
            tempfile.NamedTemporaryFile("w", suffix=".md", prefix="gpumcp-", encoding="utf-8") as told:
        json.dump({"mcpServers": servers}, file)
        file.flush()
        told.write(prompt)
        told.flush()
        command = [find_program(), "run", "--json", "--prompt-file", told.name, "--until-stdin-ends", "--agent", provider,
                   "--mcp-config", file.name, "--workspace", session.folder if session else os.getcwd()]
        command += ["--shell"] if shell else ["--no-shell"]
        command += [] if verbose else ["--quiet"]
        command += ["--price", str(price)] if price is not None else []
        command += ["--agent-model", model] if model else []
        command += ["--", *arguments] if arguments else []
        process = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
                                                       limit=1 << 26)
        try:
            async for line in process.stdout:
                yield json.loads(line)
            code = await process.wait()
            if code not in (0, 5):  # 5: the agent says itself that it failed
                raise GpumcpError(f"gpumcp run ended with exit code {code}; it says why on stderr")
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGINT)
                await process.wait()
            sys.stderr.flush()
