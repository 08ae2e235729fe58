"""Hard trials that anyone can repeat: kills, bad inputs, full disks, little memory, servers that die.

python -m tests.trials kills --seed 0     # see `python -m tests.trials --help`; counts stand in docs/reliability.md
"""
