"""What a stage may take on a Raspberry Pi 5 with a Hailo-8, and where that comes from.

The table of `make bench` divides what a stage takes on the machine at hand by these. The budget is the Pi's, the time
is not: a ratio of 0.5 on another machine says that a Pi may be half as fast at this stage and still keep its budget.
Nothing here was measured on a Pi.

`TOTAL`, 15.2 ms, is what the encoder alone took in the system that this one replaces. `HOST`, 3 ms of it, is for all
but the network. The rest is that, shared out:

- Detection, two thirds of the host's work, has 2 ms; all else has 1 ms together, which is also the goal for the
  machine that this was developed on (`HOST_GOAL_MS` in `test_latency_budget.py`; it is not reached there).
- Of this 1 ms the search has 0.4: 0.2 to read the prefixes of 17,592 rows at the 9 to 10 GB/s that one core of a Pi 5
  is estimated to read from DRAM, and as much for the vectors of the best rows and their metadata. A catalog in which
  nothing can be pruned reads 13.5 MB of codes instead, 1.4 ms there: it can't keep this budget, as the table shows.
- Rectification has 0.5, what is left but for the two below.
- The decision has 0.02: a few hundred operations of Python. 0.08 are left, to hand the card over and make the result.
- The network has what the host leaves: 12.2 ms.
"""

from __future__ import annotations

TOTAL = 15.2
HOST = 3.0
NETWORK = TOTAL - HOST

DETECT = 2.0
RECTIFY = 0.5
SEARCH = 0.4
DECIDE = 0.02
HAND_OVER = 0.08
NOT_DETECT = RECTIFY + SEARCH + DECIDE + HAND_OVER
"""All but detection and the network."""
