from graphops.cli import main

main()
