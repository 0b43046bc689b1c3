"""The figures of a bench: collected, judged, printed as a table, written as JSON."""
import json
import operator
import re
import statistics

COMPARE = {">=": operator.ge, "<=": operator.le, "<": operator.lt}


def spread(values):
    """The median of the rounds, and how far they lie apart."""
    return {"median": statistics.median(values), "least": min(values), "most": max(values), "rounds": list(values)}


def short_number(value):
    """Four significant digits, without an exponent."""
    if value is None:
        return "-"
    if abs(value) >= 1000:
        return f"{value:.0f}"
    return re.sub(r"\.?0+$", "", f"{value:.4f}") if abs(value) < 1 else f"{value:.4g}"


class Figures:
    def __init__(self):
        self.rows = []

    def add(self, name, ours, theirs=None, target=None, unit="", note="", **details):
        """`target` is ">=3x" for the ratio ours / theirs, or "<200" for ours itself."""
        ratio = ours / theirs if theirs else None
        row = {"name": name, "ours": ours, "theirs": theirs, "ratio": ratio, "target": target,
               "verdict": self._judge(ours, ratio, target), "unit": unit, "note": note, **details}
        self.rows.append(row)
        print(self.line(row), flush=True)

    @staticmethod
    def _judge(ours, ratio, target):
        if not target:
            return "-"
        sign, number, of_ratio = re.fullmatch(r"([<>]=?)([\d.]+)(x?)", target).groups()
        value = ratio if of_ratio else ours
        return "ok" if value is not None and COMPARE[sign](value, float(number)) else "short"

    @staticmethod
    def line(row):
        cells = [row["name"], *(short_number(row[key]) for key in ("ours", "theirs", "ratio")), row["target"] or "-",
                 row["verdict"]]
        return "{:<34} {:>10} {:>10} {:>7} {:>7} {}".format(*cells)

    @staticmethod
    def print_head():
        print("# {:<32} {:>10} {:>10} {:>7} {:>7} {}".format("name", "ours", "theirs", "ratio", "target", "ok|short"),
              flush=True)

    def write(self, path, **about):
        path.write_text(json.dumps({**about, "figures": self.rows}, indent=2) + "\n")
