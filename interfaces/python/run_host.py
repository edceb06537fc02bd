"""What gpumcp starts: `run_host.py manifest FILE`, `run_host.py environment`, `run_host.py serve`."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

if __name__ == "__main__":
    command, arguments = sys.argv[1], sys.argv[2:]
    if command == "manifest":
        from gpumcp_host.manifest import main
    elif command == "environment":
        from gpumcp_host.environment import main
    else:
        from gpumcp_host.child import main
    sys.exit(main(arguments))
