// What this router is asked, route by route, and how long its answers take.
import { useMemo } from "preact/hooks";
import { useLive } from "../api/live";
import type { RouteTraffic, Stretch, Traffic as TrafficAnswer } from "../api/types";
import { adjust, place } from "../route";
import { useCell } from "../store";
import { Chart } from "../ui/chart";
import { Answer, Bar, Notice, Panel, Scroll, Term } from "../ui/parts";
import { t } from "../words";
import { moment, number, percent } from "../words/numbers";
import { beginnings, TrafficCurves } from "./traffic_curves";

const CLASSES = ["2xx", "3xx", "4xx", "5xx"];

function Curves({ stretches }: { stretches: Stretch[] }) {
  const x = useMemo(() => beginnings(stretches), [stretches]);
  const failed = useMemo(
    () => ["4xx", "5xx"].map((name, at) => ({ label: name, series: at, values: stretches.map((one) => (one.seconds > 0 ? (one.statuses[name] ?? 0) / one.seconds : 0)) })),
    [stretches],
  );
  return (
    <div class="grid two">
      <TrafficCurves stretches={stretches} />
      <Chart label={t("Refused and failed requests in a second, over the last hour")} x={x} series={failed} times format={(value) => number(value, 3)} />
    </div>
  );
}

function Routes({ routes, shown }: { routes: RouteTraffic[]; shown: string }) {
  const slowest = Math.max(...routes.map((one) => one.p99_ms ?? 0), 0);
  const requests = routes.reduce((sum, one) => sum + one.requests, 0);
  return (
    <Scroll label={t("By route, over the last hour")}>
      <table>
        <thead>
          <tr>
            <th>{t("Route")}</th>
            <th class="num">{t("Requests")}</th>
            <th class="num">{t("Share")}</th>
            <th class="num">p50</th>
            <th class="num">p99</th>
            <th>
              <Term help={t("The line is the time of half of the requests, the bar that of 99 of 100.")}>{t("Time")}</Term>
            </th>
            {CLASSES.map((name) => (
              <th key={name} class="num">
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {routes.map((one) => (
            <tr key={one.route}>
              <th scope="row">
                <button type="button" class="plain" aria-pressed={one.route === shown} onClick={() => adjust({ route: one.route === shown ? undefined : one.route })}>
                  {one.route}
                </button>
              </th>
              <td class="num">{number(one.requests)}</td>
              <td class="num">{percent(one.requests / requests)}</td>
              <td class="num">{number(one.p50_ms, 2)} ms</td>
              <td class="num">{number(one.p99_ms, 2)} ms</td>
              <td class="wide">
                <Bar value={one.p99_ms ?? 0} max={slowest} mark={one.p50_ms ?? 0} label={`${one.route}: p50 ${number(one.p50_ms, 2)} ms, p99 ${number(one.p99_ms, 2)} ms`} />
              </td>
              {CLASSES.map((name) => (
                <td key={name} class={name === "5xx" && (one.statuses[name] ?? 0) > 0 ? "num bad" : "num"}>
                  {number(one.statuses[name] ?? 0)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </Scroll>
  );
}

export function Traffic() {
  const { query } = useCell(place);
  const route = query.get("route") ?? "";
  const path = `admin/v1/traffic?${new URLSearchParams({ step: "10", ...(route ? { route } : {}) })}`;
  const live = useLive<TrafficAnswer>(path, 5_000);
  return (
    <>
      <h1>{t("Traffic")}</h1>
      <Answer live={live} lines={12}>
        {(found) =>
          found.routes.length === 0 ? (
            <Notice kind="empty" title={t("Nobody has asked this router anything in the last hour.")}>
              <code>shoal simulate --rate 50 --duration 60</code>
            </Notice>
          ) : (
            <div class="grid">
              <Panel
                title={route || t("All routes that answer queries")}
                request={path}
                wide
                aside={
                  route && (
                    <button type="button" onClick={() => adjust({ route: undefined })}>
                      {t("Show all")}
                    </button>
                  )
                }
              >
                <Curves stretches={found.stretches} />
              </Panel>
              <Panel title={t("By route, over the last hour")} help={t("A click on a route shows its curves. Names are those of the metrics.")} request={path} wide>
                <Routes routes={found.routes} shown={route} />
                <p class="quiet">{t("Counted by this router alone, since {time}.", { time: moment(found.since) })}</p>
              </Panel>
            </div>
          )
        }
      </Answer>
    </>
  );
}
