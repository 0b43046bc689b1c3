#!/usr/bin/python3
"""Measures Fewbit beside PyTorch: prints a line a figure, writes results.json beside this file. See README.md.

The programs come from the folder FEWBIT_BIN_DIR (default build/bin). FEWBIT_BENCH_QUICK=1 makes a short run that only
shows that everything works: its figures mean nothing, and no file is written.
"""
import os
import pathlib
import platform
import re
import sys
import time

from abuse import Abuse
from coding import measure_coding
from figures import Figures
from portions import Portions
from programs import Workshop
from serving import Serving
from tls import Tls
from training import measure_memory, measure_speed

HERE = pathlib.Path(__file__).resolve().parent


def busy_share(seconds=1.0):
    """The share of all cores' time that others use now."""
    def times():
        fields = [int(n) for n in pathlib.Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
        return sum(fields), fields[3] + fields[4]
    total, idle = times()
    time.sleep(seconds)
    later, idle_later = times()
    return 1 - (idle_later - idle) / max(later - total, 1)


def machine():
    model = re.search(r"model name\s*:\s*(.*)", pathlib.Path("/proc/cpuinfo").read_text())
    return {"processor": model.group(1) if model else platform.machine(), "cores": os.cpu_count(),
            "kernel": platform.release()}


def measure(figures, quick):
    shop = Workshop()
    try:
        figures.print_head()
        measure_speed(figures, shop, quick)
        measure_coding(figures, quick)
        run = measure_memory(figures, shop)
        serving = Serving(figures, shop, run, quick)
        serving.measure_wire()
        serving.measure_speed()
        Portions(figures, shop, serving.images, quick).measure()
        Tls(figures, shop, run, quick).measure()
        Abuse(figures, shop.fleet, shop.full, run, serving.a_sample(), quick).measure()
        return shop.set_name
    finally:
        shop.close()


def main():
    quick = os.environ.get("FEWBIT_BENCH_QUICK", "") not in ("", "0")
    start, busy = time.monotonic(), busy_share()
    about = machine()
    print(f"# {about['processor']}, {about['cores']} cores" + (", quick: the figures mean nothing" if quick else ""))
    if busy > 0.05:
        print(f"# others use {100 * busy:.0f} % of this machine: the figures will suffer")
    figures = Figures()
    data_set = measure(figures, quick)
    seconds = time.monotonic() - start
    if quick:
        print(f"# {len(figures.rows)} figures, {seconds:.0f} s")
        return
    figures.write(HERE / "results.json", machine=about, busy_before=round(busy, 3), data_set=data_set,
                  seconds=round(seconds, 1))
    short = sum(row["verdict"] == "short" for row in figures.rows)
    print(f"# {len(figures.rows)} figures, {short} short, {seconds:.0f} s; more in bench/results.json")


if __name__ == "__main__":
    sys.exit(main())
