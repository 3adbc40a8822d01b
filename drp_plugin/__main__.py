from drp_plugin.cli import main

main()
