// Every version, model by model: compare them, make one live, go back.
import { useState } from "preact/hooks";
import { ApiError, ask } from "../api/client";
import { useLive } from "../api/live";
import type { Page, Status, Version } from "../api/types";
import { adjust, place } from "../route";
import { useCell } from "../store";
import { Answer, Badge, Confirm, Notice, Panel, Scroll, Term, type Tone } from "../ui/parts";
import { t } from "../words";
import { ago, duration, fixed, moment, percent } from "../words/numbers";
import { Compared, metricHelp } from "./compared";
import { modelName, requestName } from "./models";

const COMPARED_MAX = 6;
const TONES: Record<string, Tone> = { live: "good", loading: "accent", promoting: "accent" };

type Change = { kind: "promote"; version: Version } | { kind: "rollback"; model: string; to: string };

interface Changed {
  live_version: string;
  previous_version: string | null;
  late_routers: string[];
}

function Changing({ change, live, onEnd }: { change: Change; live: string | null; onEnd: (said: Changed | null) => void }) {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<ApiError>();
  const go = async () => {
    setBusy(true);
    setError(undefined);
    try {
      const said =
        change.kind === "promote"
          ? await ask<Changed>(`admin/v1/models/${encodeURIComponent(change.version.name)}/promote`, { method: "POST", body: {} })
          : await ask<Changed>("admin/v1/models/rollback", { method: "POST", body: { model: requestName(change.model) } });
      onEnd(said);
    } catch (failed) {
      setBusy(false);
      setError(failed instanceof ApiError ? failed : new ApiError("unreachable", 0, String(failed)));
    }
  };
  const [model, to] = change.kind === "promote" ? [change.version.model, change.version.name] : [change.model, change.to];
  return (
    <Confirm title={change.kind === "promote" ? t("Make this version live?") : t("Go back to the version before?")} action={change.kind === "promote" ? t("Promote") : t("Roll back")} busy={busy} error={error} onYes={() => void go()} onNo={() => onEnd(null)}>
      <p>{t("{model} will answer everybody from this version, once workers have all of its shards ready:", { model: modelName(model) })}</p>
      <p>
        <code>{to}</code>
      </p>
      {live !== null && live !== to && (
        <>
          <p>{t("It takes the place of this version, to which a click leads back:")}</p>
          <p>
            <code>{live}</code>
          </p>
        </>
      )}
      <p class="quiet">{t("No request fails meanwhile, and no answer mixes both. Kept answers are dropped.")}</p>
    </Confirm>
  );
}

export function Versions() {
  const { query } = useCell(place);
  const chosen = (query.get("v") ?? "").split(",").filter(Boolean);
  const versions = useLive<Page<Version>>("admin/v1/models", 5_000);
  const status = useLive<Status>("admin/v1/status", 5_000);
  const [change, setChange] = useState<Change | null>(null);
  const [said, setSaid] = useState<Changed | null>(null);
  const served = (model: string) => status.data?.models.find((one) => one.model === model);
  const choose = (name: string, on: boolean) => adjust({ v: (on ? [...chosen, name] : chosen.filter((other) => other !== name)).join(",") });
  const end = (changed: Changed | null) => {
    setChange(null);
    if (changed) {
      setSaid(changed);
      versions.reload();
      status.reload();
    }
  };
  return (
    <>
      <h1>{t("Versions")}</h1>
      {said && (
        <Notice kind="good" title={t("Live: {version}", { version: said.live_version })}>
          {said.previous_version && <p>{t("Before: {version}", { version: said.previous_version })}</p>}
          {said.late_routers.map((late) => (
            <p key={late} lang="en">
              {late}
            </p>
          ))}
        </Notice>
      )}
      <Answer live={versions} lines={8}>
        {({ entries }) => {
          const models = [...new Set(entries.map((version) => version.model))].sort();
          const compared = chosen.flatMap((name) => entries.filter((version) => version.name === name));
          return (
            <>
              {entries.length === 0 && (
                <Notice kind="empty" title={t("No version has been trained yet.")}>
                  <code>shoal train --promote</code>
                </Notice>
              )}
              {entries.length > 0 && compared.length === 0 && <p class="summary">{t("Tick two to six versions to compare them.")}</p>}
              {compared.length > 0 && <Compared versions={compared.slice(0, COMPARED_MAX)} />}
              {models.map((model) => {
                const of = served(model);
                const previous = of?.previous_version ?? null;
                return (
                  <Panel
                    key={model}
                    title={modelName(model)}
                    request="admin/v1/models"
                    aside={
                      previous !== null && (
                        <button type="button" onClick={() => setChange({ kind: "rollback", model, to: previous })}>
                          {t("Roll back …")}
                        </button>
                      )
                    }
                  >
                    <Scroll label={modelName(model)}>
                      <table>
                        <thead>
                          <tr>
                            <th>{t("Compare")}</th>
                            <th>{t("Version")}</th>
                            <th>{t("State")}</th>
                            {["ndcg@20", "recall@20", "coverage", "rmse"].map((name) => (
                              <th key={name} class="num">
                                <Term help={metricHelp(name)}>{name}</Term>
                              </th>
                            ))}
                            <th>{t("Data set")}</th>
                            <th>{t("Trained")}</th>
                            <th>
                              <span class="unseen">{t("Promote")}</span>
                            </th>
                          </tr>
                        </thead>
                        <tbody>
                          {entries
                            .filter((version) => version.model === model)
                            .map((version) => (
                              <tr key={version.name}>
                                <td>
                                  <input type="checkbox" aria-label={t("Compare {version}", { version: version.name })} checked={chosen.includes(version.name)} disabled={!chosen.includes(version.name) && chosen.length >= COMPARED_MAX} onChange={(event) => choose(version.name, event.currentTarget.checked)} />
                                </td>
                                <th scope="row">
                                  <code>{version.name}</code>
                                  {version.remarks.map((remark) => (
                                    <small key={remark} lang="en">
                                      <br />
                                      {remark}
                                    </small>
                                  ))}
                                </th>
                                <td>
                                  <Badge tone={TONES[version.state] ?? "quiet"}>{version.state === "live" ? t("live") : version.state}</Badge>
                                </td>
                                <td class="num">{fixed(version.evaluation?.lists?.ndcg_at_20, 4)}</td>
                                <td class="num">{fixed(version.evaluation?.lists?.recall_at_20, 4)}</td>
                                <td class="num">{percent(version.evaluation?.coverage)}</td>
                                <td class="num">{fixed(version.evaluation?.rating?.rmse, 4)}</td>
                                <td>{version.dataset}</td>
                                <td title={moment(version.created)}>
                                  {ago(version.created)} <small>({duration(version.training_seconds)})</small>
                                </td>
                                <td class="num">
                                  {version.state !== "live" && (
                                    <button type="button" aria-label={t("Promote {version}", { version: version.name })} onClick={() => setChange({ kind: "promote", version })}>
                                      {t("Promote …")}
                                    </button>
                                  )}
                                </td>
                              </tr>
                            ))}
                        </tbody>
                      </table>
                    </Scroll>
                  </Panel>
                );
              })}
            </>
          );
        }}
      </Answer>
      {change && <Changing change={change} live={served(change.kind === "promote" ? change.version.model : change.model)?.live_version ?? null} onEnd={end} />}
    </>
  );
}
