// What runs, what waits and what is over; curves of a training grow sweep by sweep.
import { useMemo, useState } from "preact/hooks";
import { ApiError, ask } from "../api/client";
import { useLive } from "../api/live";
import type { Job, Page } from "../api/types";
import { place } from "../route";
import { useCell } from "../store";
import { Chart } from "../ui/chart";
import { Answer, Bar, Confirm, Notice, Panel } from "../ui/parts";
import { t } from "../words";
import { duration, fixed, moment } from "../words/numbers";
import { JobRow } from "./job_row";

function Curves({ job }: { job: Job }) {
  const x = useMemo(() => job.sweeps.map((sweep) => sweep.sweep), [job]);
  const series = useMemo(() => {
    const all = [
      { label: "ndcg@20", series: 0, values: job.sweeps.map((sweep) => sweep.ranking?.ndcg_at_20 ?? null) },
      { label: "RMSE", series: 1, values: job.sweeps.map((sweep) => sweep.rating?.rmse ?? null) },
    ];
    return all.filter(({ values }) => values.some((value) => value !== null));
  }, [job]);
  if (x.length === 0 || series.length === 0) return null;
  return <Chart label={t("Measured after each sweep")} x={x} series={series} format={(value) => fixed(value, 3)} height={200} />;
}

function Details({ job, reload }: { job: Job; reload: () => void }) {
  const [asked, setAsked] = useState(false);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<ApiError>();
  const cancel = async () => {
    setBusy(true);
    try {
      await ask(`admin/v1/jobs/${encodeURIComponent(job.job_id)}/cancel`, { method: "POST" });
      setAsked(false);
      reload();
    } catch (failed) {
      setError(failed instanceof ApiError ? failed : new ApiError("unreachable", 0, String(failed)));
    }
    setBusy(false);
  };
  const phases = Object.entries(job.phase_seconds);
  const longest = Math.max(...phases.map(([, seconds]) => seconds), 0);
  return (
    <>
      <ul class="jobs">
        <JobRow job={job} />
      </ul>
      <p class="quiet">{[moment(job.created), job.submitter, job.model_version].filter(Boolean).join(" · ")}</p>
      {job.error && (
        <Notice kind="error" title={t("It failed")}>
          <p lang="en">{job.error}</p>
        </Notice>
      )}
      {job.left_out.map((one) => (
        <p key={`${one.attempt} ${one.worker}`} class="stale">
          {t("Attempt {attempt} went on without {worker}:", { attempt: one.attempt, worker: one.worker })} <span lang="en">{one.reason}</span>
        </p>
      ))}
      <Curves job={job} />
      <ul class="parts">
        {phases.map(([phase, seconds]) => (
          <li key={phase}>
            <span lang="en">{phase}</span>
            <Bar value={seconds} max={longest} label={`${phase}: ${duration(seconds)}`} />
            <span class="num">{duration(seconds)}</span>
          </li>
        ))}
      </ul>
      {job.finished === null && (
        <p>
          <button type="button" onClick={() => setAsked(true)}>
            {t("Cancel this job …")}
          </button>
        </p>
      )}
      {asked && (
        <Confirm title={t("Cancel {job}?", { job: job.job_id })} action={t("Cancel the job")} busy={busy} error={error} onYes={() => void cancel()} onNo={() => setAsked(false)}>
          <p>{t("Nothing of the job is left: neither a version nor a part of a data set. It can be started anew.")}</p>
        </Confirm>
      )}
    </>
  );
}

export function Jobs() {
  const { query } = useCell(place);
  const jobs = useLive<Page<Job>>("admin/v1/jobs", 1_500);
  const named = query.get("job") ?? jobs.data?.entries[0]?.job_id ?? null;
  const path = named === null ? null : `admin/v1/jobs/${encodeURIComponent(named)}`;
  const job = useLive<Job>(path, 1_500);
  return (
    <>
      <h1>{t("Jobs")}</h1>
      <div class="grid two">
        <Panel title={t("All jobs")} help={t("Jobs that go on or wait, and the last 1,000 that are over; the newest first.")} request="admin/v1/jobs">
          <Answer live={jobs} lines={6}>
            {({ entries }) =>
              entries.length === 0 ? (
                <Notice kind="empty" title={t("No job has run yet.")} />
              ) : (
                <ul class="jobs list">
                  {entries.map((one) => (
                    <JobRow key={one.job_id} job={one} />
                  ))}
                </ul>
              )
            }
          </Answer>
        </Panel>
        {path !== null && named !== null && (
          <Panel title={named} request={path}>
            <Answer live={job} lines={6}>{(found) => <Details key={found.job_id} job={found} reload={job.reload} />}</Answer>
          </Panel>
        )}
      </div>
    </>
  );
}
