"""Draws the pictures of the README from what programs have measured.

    target/release/shoal quickstart --data ./ml-latest-small --exit --json >models.json
    python3 docs/images/draw.py models models.json                       # docs/images/models.svg
    python3 docs/images/draw.py speed                                    # docs/images/speed.svg, from benches/results
    python3 docs/images/draw.py losses logs/traffic_simulation_….jsonl worker-2=10 coordinator-1=20    # docs/images/losses.svg

Behind each picture is a card of its own, so that it reads on a light page and on a dark one.
"""

import json
import math
import os
import sys
from datetime import datetime
from xml.sax.saxutils import escape

FOLDER = os.path.dirname(os.path.abspath(__file__))
RESULTS = os.path.join(FOLDER, "../../benches/results")
CARD, INK, QUIET, GRID = "#fbfcfd", "#1f2933", "#62707c", "#dde3e8"
OURS, OTHER, BAD = "#1f7a99", "#b8c2cb", "#c8553d"


class Picture:
    def __init__(self, width, height, title):
        self.width, self.height = width, height
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
            f'font-family="system-ui, sans-serif" font-size="13" fill="{INK}">',
            f"<title>{escape(title)}</title>",
            f'<rect width="{width}" height="{height}" rx="8" fill="{CARD}" stroke="{GRID}"/>',
        ]

    def text(self, x, y, words, anchor="start", **style):
        style = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in style.items())
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{style}>{escape(words)}</text>')

    def box(self, x, y, width, height, fill):
        self.parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="2" fill="{fill}"/>')

    def line(self, x1, y1, x2, y2, colour=GRID, **style):
        style = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in style.items())
        self.parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"{style}/>')

    def write(self, name):
        path = os.path.join(FOLDER, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write("\n".join(self.parts) + "\n</svg>\n")
        print(path)


def models(path):
    """The lists of each model beside the most rated items, on the same held-out ratings."""
    with open(path, encoding="utf-8") as file:
        answer = json.load(file)
    rows = []
    for model in answer["models"]:
        rows.append((model["model"], model["evaluation"]["lists"]["ndcg_at_20"]))
    most_rated = answer["models"][0]["evaluation"]["popularity"]["ndcg_at_20"]
    rows.sort(key=lambda row: -row[1])
    rows.append(("most rated", most_rated))
    picture = Picture(760, 76 + 30 * len(rows), "ndcg@20 of five models")
    picture.text(20, 30, "How good are the lists?", font_weight=600, font_size=15)
    picture.text(20, 50, "ndcg@20 on a fifth of ml-latest-small's ratings that no model saw, whole catalogue, 610 users", fill=QUIET)
    widest = max(value for _, value in rows)
    for at, (name, value) in enumerate(rows):
        y = 66 + 30 * at
        picture.text(120, y + 15, name, "end")
        picture.box(130, y, 540 * value / widest, 20, OTHER if name == "most rated" else OURS)
        picture.text(138 + 540 * value / widest, y + 15, f"{value:.3f}")
    picture.write("models.svg")


def measure(name, words):
    with open(os.path.join(RESULTS, name), encoding="utf-8") as file:
        found = [one for one in json.load(file)["measures"] if words in one["measure"]]
    return found[0]


def speed(*_):
    """Seconds beside Spark's, on a logarithmic axis."""
    fit = measure("train.json", "times Spark's speed")["detail"]
    lists = measure("lists.json", "times the speed of Spark")["detail"]
    pairs = [
        ("explicit training", "rank 20, 10 sweeps", sorted(fit["shoal_seconds"])[1], sorted(fit["spark_seconds"])[1]),
        ("lists of 100", "for all 138,493 users", lists["seconds"], lists["spark_seconds"]),
    ]
    picture = Picture(760, 220, "Seconds beside Spark's")
    picture.text(20, 30, "How fast, beside Spark 4.3?", font_weight=600, font_size=15)
    picture.text(20, 50, "seconds for 20 million ratings of MovieLens 20M's shape, two cores for each, logarithmic axis", fill=QUIET)
    x = lambda seconds: 170 + 480 * math.log10(max(seconds, 1)) / math.log10(200)
    for second in (1, 3, 10, 30, 100):
        picture.line(x(second), 64, x(second), 196)
        picture.text(x(second), 211, f"{second} s", "middle", fill=QUIET, font_size=11)
    for at, (name, detail, ours, theirs) in enumerate(pairs):
        y = 70 + 66 * at
        picture.text(160, y + 20, name, "end")
        picture.text(160, y + 38, detail, "end", fill=QUIET, font_size=11)
        for row, (seconds, colour, who) in enumerate(((ours, OURS, "Shoal"), (theirs, OTHER, "Spark"))):
            picture.box(x(1), y + 24 * row, max(x(seconds) - x(1), 2), 20, colour)
            picture.text(x(seconds) + 8, y + 15 + 24 * row, f"{who} {seconds:.1f} s" if seconds < 10 else f"{who} {seconds:.0f} s")
    picture.write("speed.svg")


def losses(file, *killed):
    """Latency of every answer while nodes are killed."""
    with open(file, encoding="utf-8") as lines:
        requests = [json.loads(line) for line in lines]
    moment = lambda one: datetime.fromisoformat(one["timestamp"].replace("Z", "+00:00")).timestamp()
    begun = min(map(moment, requests))
    points = [(moment(one) - begun, one["response"]["latency"] * 1000, one["response"]["success"]) for one in requests]
    span = math.ceil(max(at for at, _, _ in points))
    failed = sum(not success for _, _, success in points)
    picture = Picture(760, 270, "Answers while nodes are killed")
    picture.text(20, 30, "And when a node is killed?", font_weight=600, font_size=15)
    picture.text(
        20, 50, f"each of {len(points):,} requests: {len(points) - failed:,} answered, {failed} failed; "
        f"milliseconds to the answer", fill=QUIET,
    )
    x = lambda at: 60 + 670 * at / span
    y = lambda ms: 235 - 165 * (math.log10(min(max(ms, 0.1), 1000)) + 1) / 4
    for ms in (0.1, 1, 10, 100, 1000):
        picture.line(60, y(ms), 730, y(ms))
        picture.text(54, y(ms) + 4, f"{ms:,}", "end", fill=QUIET, font_size=11)
    for second in range(0, span + 1, 5):
        picture.text(x(second), 255, f"{second} s", "middle", fill=QUIET, font_size=11)
    # Each answer is a dot: a line of no length with round ends.
    for colour, width, wanted in ((OURS, 2.6, True), (BAD, 6, False)):
        dots = "".join(f"M{x(at):.1f} {y(ms):.0f}h0" for at, ms, success in points if success == wanted)
        path = f'<path d="{dots}" stroke="{colour}" stroke-width="{width}" stroke-linecap="round" stroke-opacity="0.6"/>'
        picture.parts.append(path)
    for name, second in (word.split("=") for word in killed):
        picture.line(x(float(second)), 72, x(float(second)), 235, BAD, stroke_width=1.5, stroke_dasharray="5 3")
        picture.text(x(float(second)), 68, f"kill -9 {name}", "middle", fill=BAD, font_size=12)
    picture.write("losses.svg")


if len(sys.argv) < 2 or sys.argv[1] not in ("models", "speed", "losses"):
    sys.exit(__doc__)
{"models": models, "speed": speed, "losses": losses}[sys.argv[1]](*sys.argv[2:])
