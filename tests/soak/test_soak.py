#!/usr/bin/python3
"""The short soak (tests/soak/soak.py): under load, with everything going wrong around the server, nothing is lost."""
import unittest

from lib.fleet import SANITIZED
from soak import Soak

SECONDS = 10 if SANITIZED else 20


class Short(unittest.TestCase):
    def test_nothing_is_lost(self):
        soak = Soak(SECONDS, seed=1)
        self.addCleanup(soak.close)
        soak.run()
        self.assertEqual(soak.problems, [], soak.report)
        self.assertGreater(soak.report["load"]["answered"], 0)
        for what in () if SANITIZED else ("frozen", "killed 1 at once", "cut in the middle"):
            self.assertGreater(soak.report["chaos"].get(what, 0), 0, what)


if __name__ == "__main__":
    unittest.main()
