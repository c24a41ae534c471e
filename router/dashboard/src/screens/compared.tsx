// Versions side by side: what differs, what was measured, and how it came about sweep by sweep.
import { useMemo } from "preact/hooks";
import { useLive } from "../api/live";
import type { Version } from "../api/types";
import { Chart } from "../ui/chart";
import { Bar, Notice, Panel, Scroll, Term } from "../ui/parts";
import { t } from "../words";
import { fixed } from "../words/numbers";
import { best, differing, metrics } from "./compare";
import { modelName } from "./models";

export function metricHelp(name: string): string {
  const helps: Record<string, string> = {
    "ndcg@20": t("How high the held-out titles that were liked stand in lists of 20: 1 is the best order there is."),
    "recall@20": t("Which share of the held-out titles that were liked is in lists of 20."),
    "map@20": t("The mean precision at each held-out title of a list of 20."),
    "mrr@20": t("One over the rank of the first held-out title, on average."),
    "precision@20": t("Which share of a list of 20 was held out and liked."),
    novelty: t("How rarely the listed titles are rated, in bits: more is less known."),
    diversity: t("How unlike each other the titles of a list are, 0 to 1."),
    coverage: t("Which share of all titles is in at least one list."),
    rmse: t("Root of the mean squared error of predicted ratings: less is better."),
    mae: t("Mean error of predicted ratings, in stars: less is better."),
  };
  return helps[name] ?? name;
}

const LETTERS = "ABCDEF";

function Sweeps({ version }: { version: Version }) {
  const path = `admin/v1/models/${encodeURIComponent(version.name)}`;
  const { data } = useLive<Version>(path);
  const sweeps = data?.sweeps ?? [];
  const x = useMemo(() => sweeps.map((sweep) => sweep.sweep), [data]);
  const series = useMemo(() => {
    const all = [
      { label: "ndcg@20", series: 0, values: sweeps.map((sweep) => sweep.ranking?.ndcg_at_20 ?? null) },
      { label: "recall@20", series: 2, values: sweeps.map((sweep) => sweep.ranking?.recall_at_20 ?? null) },
      { label: "RMSE", series: 1, values: sweeps.map((sweep) => sweep.rating?.rmse ?? null) },
    ];
    return all.filter(({ values }) => values.some((value) => value !== null));
  }, [data]);
  if (sweeps.length < 2 || series.length === 0) return null;
  return (
    <Panel title={t("{version}, sweep by sweep", { version: version.name })} request={path}>
      <Chart label={t("{version}, sweep by sweep", { version: version.name })} x={x} series={series} format={(value) => fixed(value, 3)} height={200} />
    </Panel>
  );
}

export function Compared({ versions }: { versions: Version[] }) {
  const rows = differing(versions);
  const measured = metrics(versions);
  const grounds = new Set(versions.map((version) => `${version.dataset} ${version.dataset_version} ${version.protocol}`));
  return (
    <>
      <ul class="key">
        {versions.map((version, at) => (
          <li key={version.name}>
            <i class={`s${at}`}>{LETTERS[at]}</i> <code>{version.name}</code>
          </li>
        ))}
      </ul>
      {grounds.size > 1 && (
        <Notice kind="error" title={t("These versions were not measured on the same ratings.")}>
          {t("Figures of different data sets, or of ratings that were held out in another way, say nothing about which version is better.")}
        </Notice>
      )}
      <div class="grid two">
        <Panel title={t("Measured on held-out ratings")} help={t("The line in a bar is what the most rated titles reach for everybody; of errors, what means and biases alone reach.")}>
          <ul class="metrics">
            {measured.map((metric) => {
              const known = [...metric.values, ...metric.baselines].filter((value) => value !== null);
              const winner = best(metric);
              return (
                <li key={metric.name}>
                  <Term help={metricHelp(metric.name)}>{metric.name}</Term>
                  <ul>
                    {metric.values.map((value, at) => (
                      <li key={versions[at]?.name}>
                        <i class={`s${at}`}>{LETTERS[at]}</i>
                        {value === null ? <span /> : <Bar value={value} max={Math.max(...known)} series={at} {...(metric.baselines[at] === null ? {} : { mark: metric.baselines[at] as number })} label={`${LETTERS[at]}: ${fixed(value, 4)}`} />}
                        <span class="num">
                          {fixed(value, 4)} {winner === at ? <b title={t("the best")}>★</b> : <b />}
                        </span>
                      </li>
                    ))}
                  </ul>
                </li>
              );
            })}
          </ul>
        </Panel>
        <Panel title={t("Parameters that differ")}>
          {rows.length === 0 ? (
            <p class="quiet">{t("All parameters are the same.")}</p>
          ) : (
            <Scroll label={t("Parameters that differ")}>
              <table>
                <thead>
                  <tr>
                    <th>{t("Parameter")}</th>
                    {versions.map((version, at) => (
                      <th key={version.name} class="num" title={version.name}>
                        {LETTERS[at]} · {modelName(version.model)}
                      </th>
                    ))}
                  </tr>
                </thead>
                <tbody>
                  {rows.map(({ name, values }) => (
                    <tr key={name}>
                      <th scope="row">
                        <code>{name}</code>
                      </th>
                      {values.map((value, at) => (
                        <td key={versions[at]?.name} class="num">
                          {value}
                        </td>
                      ))}
                    </tr>
                  ))}
                </tbody>
              </table>
            </Scroll>
          )}
        </Panel>
        {versions.map((version) => (
          <Sweeps key={version.name} version={version} />
        ))}
      </div>
    </>
  );
}
