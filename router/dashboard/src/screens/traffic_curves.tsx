// Requests in a second and how long they took, stretch by stretch over the last hour.
import { useMemo } from "preact/hooks";
import type { Stretch } from "../api/types";
import { Chart } from "../ui/chart";
import { t } from "../words";
import { number } from "../words/numbers";

/** When each stretch began, in seconds since 1970. */
export function beginnings(stretches: Stretch[]): number[] {
  return stretches.map((one) => Date.parse(one.began) / 1000);
}

export function TrafficCurves({ stretches, height }: { stretches: Stretch[]; height?: number }) {
  const x = useMemo(() => beginnings(stretches), [stretches]);
  const rate = useMemo(() => [{ label: t("requests/s"), series: 0, values: stretches.map((one) => one.per_second) }], [stretches]);
  const times = useMemo(
    () => [
      { label: "p50", series: 0, values: stretches.map((one) => one.p50_ms) },
      { label: "p99", series: 1, values: stretches.map((one) => one.p99_ms) },
    ],
    [stretches],
  );
  const size = height === undefined ? {} : { height };
  return (
    <>
      <Chart label={t("Requests in a second, over the last hour")} x={x} series={rate} times format={(value) => number(value, 3)} {...size} />
      <Chart label={t("Milliseconds that half and 99 of 100 requests took at most, over the last hour")} x={x} series={times} times format={(value) => `${number(value, 3)} ms`} {...size} />
    </>
  );
}
