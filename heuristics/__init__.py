"""Query strategies: pure functions from evidence to scores or picks. See `registry.py` for how to add one."""

from heuristics.core.registry import get as get
from heuristics.core.registry import names as names
