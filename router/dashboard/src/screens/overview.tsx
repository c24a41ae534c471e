// Is it well: what needs a person, what is asked and how fast, what is live, what runs.
import { useMemo } from "preact/hooks";
import { type Live, useLive } from "../api/live";
import type { Job, Page, Status, Traffic, Trouble, Troubles, Version } from "../api/types";
import { href } from "../route";
import { Answer, Badge, Bar, Figure, Notice, Panel, Scroll } from "../ui/parts";
import { t } from "../words";
import { ago, duration, fixed, moment, number, percent } from "../words/numbers";
import { JobRow } from "./job_row";
import { modelName } from "./models";
import { TrafficCurves } from "./traffic_curves";

/** Findings of one rule with one remedy together, the worst first. */
function grouped(wrong: Trouble[]): Trouble[][] {
  const groups = new Map<string, Trouble[]>();
  for (const one of wrong) {
    const key = `${one.rule} ${one.remedy}`;
    groups.set(key, [...(groups.get(key) ?? []), one]);
  }
  return [...groups.values()];
}

function Needs({ troubles }: { troubles: Live<Troubles> }) {
  return (
    <Panel title={t("What needs a person")} request="admin/v1/troubles" wide>
      <Answer live={troubles} lines={1}>
        {({ wrong }) =>
          wrong.length === 0 ? (
            <Notice kind="good" title={t("Nothing. Every rule that the cluster can check by itself holds.")} />
          ) : (
            <ul class="troubles">
              {grouped(wrong).map((of) => (
                <li key={of[0]?.rule}>
                  <Notice kind={of[0]?.severity === "critical" ? "error" : "warn"} title={of.length === 1 ? (of[0]?.what ?? "") : t("{n} times the same", { n: of.length })}>
                    <Badge tone={of[0]?.severity === "critical" ? "bad" : "warn"}>{of[0]?.severity === "critical" ? t("critical") : t("warning")}</Badge>
                    <ul lang="en">
                      {of.flatMap((one) => (of.length === 1 ? one.why : [one.what, ...one.why])).map((line) => (
                        <li key={line}>{line}</li>
                      ))}
                    </ul>
                    <p lang="en">
                      <strong>{of[0]?.remedy}</strong>
                    </p>
                  </Notice>
                </li>
              ))}
            </ul>
          )
        }
      </Answer>
    </Panel>
  );
}

const SOURCES = ["model", "cache", "fallback_popular", "baseline"];

function Asked({ traffic }: { traffic: Traffic }) {
  const stretches = traffic.stretches;
  const last = stretches.at(-1);
  const sums = useMemo(() => {
    const add = (of: "statuses" | "sources", name: string) => stretches.reduce((sum, one) => sum + (one[of][name] ?? 0), 0);
    return { requests: stretches.reduce((sum, one) => sum + one.requests, 0), failed: add("statuses", "5xx"), sources: SOURCES.map((name) => add("sources", name)) };
  }, [stretches]);
  const answered = sums.sources.reduce((sum, one) => sum + one, 0);
  const names = [t("model"), t("cache"), t("popular titles"), t("baseline")];
  const newest = [...stretches].reverse().find((one) => one.p99_ms !== null);
  return (
    <>
      <dl class="figures">
        <Figure label={t("Requests")} value={number(last?.per_second ?? 0, 2)} unit="/s" help={t("Requests in a second, over the newest ten seconds that are counted. Only questions count, no probes and no requests of this page.")} />
        <Figure label="p50" value={number(newest?.p50_ms, 2)} unit="ms" help={t("Half of the requests took at most so long inside the router.")} />
        <Figure label="p99" value={number(newest?.p99_ms, 2)} unit="ms" help={t("99 of 100 requests took at most so long inside the router.")} />
        <Figure label={t("Errors")} value={sums.requests > 0 ? percent(sums.failed / sums.requests, 2) : "–"} tone={sums.failed > 0 ? "bad" : "good"} help={t("Requests that ended with a status of 500 or above, of all in the last hour.")} />
      </dl>
      {sums.requests === 0 ? (
        <Notice kind="empty" title={t("Nobody has asked this router anything in the last hour.")}>
          <code>shoal simulate --rate 50 --duration 60</code>
        </Notice>
      ) : (
        <div class="grid two">
          <TrafficCurves stretches={stretches} height={150} />
        </div>
      )}
      {answered > 0 && (
        <ul class="parts">
          {sums.sources.map((count, at) => (
            <li key={names[at]}>
              <span>{t("Answers from: {source}", { source: names[at] ?? "" })}</span>
              <Bar value={count} max={answered} series={at} label={`${names[at]}: ${percent(count / answered)}`} />
              <span class="num">{percent(count / answered)}</span>
            </li>
          ))}
        </ul>
      )}
      <p class="quiet">{t("Counted by this router alone, since {time}.", { time: moment(traffic.since) })}</p>
    </>
  );
}

export function Overview() {
  const status = useLive<Status>("admin/v1/status", 2_000);
  const troubles = useLive<Troubles>("admin/v1/troubles", 2_000);
  const traffic = useLive<Traffic>("admin/v1/traffic?step=10", 5_000);
  const versions = useLive<Page<Version>>("admin/v1/models", 10_000);
  const jobs = useLive<Page<Job>>("admin/v1/jobs?limit=50", 2_000);
  return (
    <>
      <h1>{t("Overview")}</h1>
      <Needs troubles={troubles} />
      <div class="grid">
        <Panel title={t("Questions in the last hour")} request="admin/v1/traffic?step=10" wide>
          <Answer live={traffic} lines={8}>{(found) => <Asked traffic={found} />}</Answer>
        </Panel>
        <Panel title={t("Cluster")} request="admin/v1/status">
          <Answer live={status} lines={4}>
            {(found) => {
              const up = found.nodes.filter((node) => node.health === "up").length;
              return (
                <>
                  <dl class="figures">
                    <Figure label={t("Shards served")} value={`${found.shards.served} / ${found.shards.total}`} tone={found.shards.served < found.shards.total ? "bad" : "good"} help={t("Parts of the users and items of live versions that a worker which is up has ready.")} />
                    <Figure label={t("With all replicas")} value={`${found.shards.fully_replicated} / ${found.shards.total}`} tone={found.shards.fully_replicated < found.shards.total ? "warn" : "good"} help={t("Shards that as many workers serve as the cluster is asked to have: losing one more costs no answer.")} />
                    <Figure label={t("Nodes up")} value={`${up} / ${found.nodes.length}`} tone={up < found.nodes.length ? "bad" : "good"} help={t("Workers and routers whose heartbeats arrive.")} />
                    <Figure label={t("Term")} value={number(found.term)} help={t("How often coordinators have voted for a leader; a number that grows tells of lost leaders.")} />
                  </dl>
                  <ul class="nodes">
                    {found.nodes.map((node) => (
                      <li key={node.name}>
                        <Badge tone={node.health === "up" ? "good" : "bad"}>{node.name}</Badge>
                        <small>{node.health === "up" ? (node.shards ? t("{ready} of {placed} shards ready", node.shards) : node.role) : t("down since {time}", { time: ago(node.down_since) })}</small>
                      </li>
                    ))}
                  </ul>
                </>
              );
            }}
          </Answer>
        </Panel>
        <Panel title={t("Live versions")} request="admin/v1/models">
          <Answer live={versions} lines={5}>
            {({ entries }) => {
              const live = entries.filter((version) => version.state === "live");
              return live.length === 0 ? (
                <Notice kind="empty" title={t("No version is live.")}>
                  <code>shoal train --promote</code>
                </Notice>
              ) : (
                <Scroll label={t("Live versions")}>
                  <table>
                    <thead>
                      <tr>
                        <th>{t("Model")}</th>
                        <th class="num">ndcg@20</th>
                        <th class="num">{t("popular")}</th>
                        <th>{t("Trained")}</th>
                      </tr>
                    </thead>
                    <tbody>
                      {live.map((version) => (
                        <tr key={version.name}>
                          <th scope="row">
                            <a href={href("versions", { v: version.name })}>{modelName(version.model)}</a>
                            {status.data?.default_model === version.model && <small> · {t("default")}</small>}
                          </th>
                          <td class="num">{fixed(version.evaluation?.lists?.ndcg_at_20, 4)}</td>
                          <td class="num">{fixed(version.evaluation?.popularity?.ndcg_at_20, 4)}</td>
                          <td>
                            {ago(version.created)} <small>({duration(version.training_seconds)})</small>
                          </td>
                        </tr>
                      ))}
                    </tbody>
                  </table>
                </Scroll>
              );
            }}
          </Answer>
        </Panel>
        <Panel title={t("What runs now")} request="admin/v1/jobs?limit=50">
          <Answer live={jobs} lines={2}>
            {({ entries }) => {
              const going = entries.filter((job) => job.finished === null);
              return going.length === 0 ? <p class="quiet">{t("No job runs or waits.")}</p> : <ul class="jobs">{going.map((job) => <JobRow key={job.job_id} job={job} />)}</ul>;
            }}
          </Answer>
        </Panel>
      </div>
    </>
  );
}
