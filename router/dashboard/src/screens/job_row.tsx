// A job in two lines: what it is, how far it has come.
import type { Job } from "../api/types";
import { href } from "../route";
import { Badge, Progress, type Tone } from "../ui/parts";
import { t } from "../words";
import { ago, duration, percent } from "../words/numbers";

const TONES: Record<string, Tone> = { succeeded: "good", failed: "bad", cancelled: "warn", running: "accent" };

export function jobState(state: string): string {
  const names: Record<string, string> = { succeeded: t("succeeded"), failed: t("failed"), cancelled: t("cancelled"), running: t("running"), queued: t("waits") };
  return names[state] ?? state;
}

export function JobRow({ job }: { job: Job }) {
  const kinds: Record<string, string> = { import: t("Import"), training: t("Training"), lists: t("Lists") };
  const going = job.finished === null;
  return (
    <li>
      <span>
        <a href={href("jobs", { job: job.job_id })}>{kinds[job.kind] ?? job.kind}</a> <small>{[job.dataset_name, job.job_id].filter(Boolean).join(" · ")}</small>
      </span>
      <Badge tone={TONES[job.state] ?? "quiet"}>{jobState(job.state)}</Badge>
      {going ? (
        <>
          <Progress share={job.progress} label={`${job.job_id}: ${percent(job.progress)}`} />
          <small>
            <span lang="en">{job.phase}</span> · {percent(job.progress, 0)}
            {job.remaining_seconds !== null && ` · ${t("about {time} left", { time: duration(job.remaining_seconds) })}`}
          </small>
        </>
      ) : (
        <small>{t("took {time}, {ago}", { time: duration(job.seconds), ago: ago(job.finished) })}</small>
      )}
    </li>
  );
}
