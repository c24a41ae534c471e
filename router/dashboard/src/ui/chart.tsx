// Curves over numbers or times, drawn by uPlot in the page's colours.
import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { cell, useCell } from "../store";
import { t } from "../words";

export interface Series {
  label: string;
  values: (number | null)[];
  /** Which colour and dash: the same thing has the same one on all charts. */
  series: number;
}

interface ChartProps {
  /** What is drawn, for those who do not see it. */
  label: string;
  x: number[];
  series: Series[];
  height?: number;
  times?: boolean;
  format?: (value: number) => string;
}

const DASHES = [[], [7, 4], [2, 3], [9, 3, 2, 3], [4, 2], [1, 2]];

/** Counts changes of the theme: canvases do not follow style sheets. */
export const themeChanges = cell(0);
globalThis.matchMedia?.("(prefers-color-scheme: dark)").addEventListener("change", () => themeChanges.set(themeChanges.get() + 1));

function colour(place: Element, name: string): string {
  // `light-dark()` is resolved only where it is used as a colour.
  const probe = document.createElement("i");
  probe.style.color = `var(${name})`;
  place.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

export function Chart({ label, x, series, height = 180, times = false, format = String }: ChartProps) {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const theme = useCell(themeChanges);
  const names = series.map((one) => `${one.label} ${one.series}`).join("|");
  const formatted = useRef(format);
  formatted.current = format;
  useEffect(() => {
    const box = place.current;
    if (!box) return undefined;
    const ink = colour(box, "--quiet");
    const grid = { stroke: colour(box, "--line"), width: 1 };
    const axis = { stroke: ink, grid, ticks: { ...grid, size: 4 }, font: "11px system-ui, sans-serif" };
    const options: uPlot.Options = {
      width: Math.max(box.clientWidth, 100),
      height,
      cursor: { y: false, points: { size: 7 } },
      legend: { live: true },
      scales: { x: { time: times } },
      axes: [
        { ...axis, ...(times ? {} : { incrs: [1, 2, 5, 10, 20, 50, 100] }) },
        { ...axis, size: 54, values: (_plot, ticks) => ticks.map((tick) => formatted.current(tick)) },
      ],
      series: [
        times ? { label: t("time") } : { label: t("sweep"), value: (_plot, value: number | null) => (value === null ? "–" : String(value)) },
        ...series.map((one) => ({
          label: one.label,
          stroke: colour(box, `--s${one.series % 6}`),
          dash: DASHES[one.series % 6] ?? [],
          width: 2,
          points: { show: x.length < 40, size: 5 },
          value: (_plot: uPlot, value: number | null) => (value === null ? "–" : formatted.current(value)),
        })),
      ],
    };
    const drawn = new uPlot(options, [x, ...series.map((one) => one.values)], box);
    plot.current = drawn;
    const resized = new ResizeObserver(() => {
      if (box.clientWidth > 0) drawn.setSize({ width: box.clientWidth, height });
    });
    resized.observe(box);
    return () => {
      resized.disconnect();
      drawn.destroy();
      plot.current = null;
    };
    // Other numbers of the same series are handed to the plot that is there.
  }, [names, height, times, theme]);
  useEffect(() => {
    plot.current?.setData([x, ...series.map((one) => one.values)]);
  }, [x, series]);
  return <div class="chart" ref={place} role="img" aria-label={label} />;
}
