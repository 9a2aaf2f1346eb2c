"""Draws the figure of docs/performance.md. Runs in an environment of its own, with matplotlib.

Usage: plot.py RESULTS_FILE FIGURE_FILE
"""

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

# Not in the environment in which types are checked.
pyplot: Any = import_module("matplotlib.pyplot")

# Measured on two cores: an operator for the same job in Go (controller-runtime 0.24).
GO = {"200x1": (11, 24, 69), "1000x5": (89, 166, 221)}
FLEETS = ("200x1", "1000x5", "1000x10")
LIMIT_MIB = 128
OURS, THEIRS = "this operator", "an operator in Go"
COLORS = {OURS: "#2f6db5", THEIRS: "#b0b7c3"}


def main() -> None:
    results, figure = json.loads(Path(sys.argv[1]).read_text()), sys.argv[2]
    # The same figures make the same file.
    pyplot.rcParams["svg.hashsalt"] = "kagenti-operator"
    pyplot.rcParams["svg.fonttype"] = "none"
    drawing, (reaction, memory, soak) = pyplot.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    measured = {name: results[name] for name in FLEETS if name in results}
    ours = {
        name: (f["reaction"]["p50_ms"], f["reaction"]["p99_ms"], f["memory"]["peak_mib"])
        for name, f in measured.items()
    }
    reaction.set_title("reaction, p50 and p99 (ms)")
    memory.set_title("memory (MiB)")
    for axes, columns in ((reaction, (0, 1)), (memory, (2,))):
        _draw_bars(axes, OURS, ours, columns, -0.2)
        _draw_bars(axes, THEIRS, GO, columns, 0.2)
        axes.set_xticks(range(len(FLEETS)), ("200x1", "1,000x5", "1,000x10"))
        axes.legend(frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
    memory.axhline(LIMIT_MIB, color="#c0392b", linewidth=1)
    memory.annotate("the chart's limit", (-0.4, LIMIT_MIB + 4), color="#c0392b")
    if "soak" in results:
        _draw_soak(soak, results["soak"])
    drawing.savefig(figure, metadata={"Date": None})


def _draw_bars(axes: Any, who: str, figures: Any, columns: tuple[int, ...], shift: float) -> None:
    at = [FLEETS.index(name) + shift for name in figures]
    for column in reversed(columns):
        heights = [found[column] for found in figures.values()]
        # The p99 stands behind its p50.
        front = column == columns[0]
        bars = axes.bar(at, heights, 0.38, color=COLORS[who], alpha=1 if front else 0.45)
        axes.bar_label(bars, fmt="%.0f", fontsize=8)
        if front:
            bars.set_label(who)


def _draw_soak(axes: Any, found: Any) -> None:
    rounds = found["resident_mib"]
    events = [found["events"] * (number + 1) / len(rounds) for number in range(len(rounds))]
    axes.set_title("soak: memory (MiB)")
    axes.set_xlabel("agents made or deleted")
    axes.plot(events, rounds, color=COLORS[OURS])
    axes.set_ylim(0, 128)
    axes.spines[["top", "right"]].set_visible(False)


main()
