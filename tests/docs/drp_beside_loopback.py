"""`drp`, for which the loopback server of the tests is the provider's own: its list prices hold."""

import os

from drp_plugin.cli import main
from drp_plugin.llm import addresses

if os.environ.get("LOOPBACK"):
    addresses._HOSTS.update(openai="127.0.0.1", gemini="127.0.0.1")
main()
