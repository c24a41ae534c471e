// Forms that start jobs: an import, a training. The screen of jobs shows what becomes of them.
import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { ApiError, ask } from "../api/client";
import type { Dataset } from "../api/types";
import { href } from "../route";
import { Failure, Panel } from "../ui/parts";
import { t } from "../words";
import { modelName, requestName } from "./models";

interface StartedJob {
  job_id: string | null;
  existing_version: string | null;
}

interface StartProps {
  title: string;
  help: string;
  /** Where the job is asked for, and with what. */
  request: string;
  body: Record<string, unknown>;
  action: string;
  ready: boolean;
  children: ComponentChildren;
}

/** A form whose answer is a job, or a version that was there before. */
function Start({ title, help, request, body, action, ready, children }: StartProps) {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<ApiError>();
  const start = async () => {
    setBusy(true);
    setError(undefined);
    try {
      const started = await ask<StartedJob>(request, { method: "POST", body });
      location.hash = started.job_id === null ? href("versions", { v: started.existing_version ?? undefined }) : href("jobs", { job: started.job_id });
    } catch (failed) {
      setBusy(false);
      setError(failed instanceof ApiError ? failed : new ApiError("unreachable", 0, String(failed)));
    }
  };
  return (
    <Panel title={title} help={help} request={request} ask={{ method: "POST", body }}>
      <form
        class="start"
        onSubmit={(event) => {
          event.preventDefault();
          if (!busy && ready) void start();
        }}
      >
        {children}
        <button type="submit" class="primary" disabled={busy || !ready}>
          {busy ? t("Under way …") : action}
        </button>
      </form>
      {error && <Failure error={error} />}
    </Panel>
  );
}

export function Import() {
  const [name, setName] = useState("");
  const [source, setSource] = useState("");
  const body = { name: name.trim(), source: source.trim() };
  return (
    <Start title={t("Import")} help={t("Format, delimiter, columns and the unit of times are found out from the first rows. The command line has a flag for each.")} request="admin/v1/jobs/import" body={body} action={t("Start the import")} ready={body.name !== "" && body.source !== ""}>
      <label>
        {t("A folder or a file that every worker can read")}
        <input value={source} required spellcheck={false} placeholder="/data/ml-latest-small, s3://bucket/ratings/" onInput={(event) => setSource(event.currentTarget.value)} />
      </label>
      <label>
        {t("Name of the data set")}
        <input value={name} required spellcheck={false} placeholder="ml-latest-small" onInput={(event) => setName(event.currentTarget.value)} />
      </label>
    </Start>
  );
}

/** Models that can be trained by name; a blend names versions, which the command line chooses. */
const TRAINED = ["als", "item_cf", "content", "ease"];

export function Train({ dataset }: { dataset: Dataset }) {
  const [model, setModel] = useState("als");
  const [size, setSize] = useState("");
  const [sweeps, setSweeps] = useState("");
  const [promote, setPromote] = useState(false);
  const isAls = model === "als";
  const body: Record<string, unknown> = { dataset: dataset.name, dataset_version: dataset.version, model: requestName(model), promote, reuse: true };
  if (size !== "") body[isAls ? "rank" : "neighbours"] = Number(size);
  if (isAls && sweeps !== "") body["sweeps"] = Number(sweeps);
  return (
    <Start title={t("Train")} help={t("Fields that stay empty have the values of the command line. A version that was trained alike before is shown instead of trained again.")} request="admin/v1/jobs/training" body={body} action={t("Start the training")} ready>
      <label>
        {t("Model")}
        <select value={model} onChange={(event) => setModel(event.currentTarget.value)}>
          {TRAINED.map((one) => (
            <option key={one} value={one}>
              {modelName(one)}
            </option>
          ))}
        </select>
      </label>
      <label>
        {isAls ? t("Rank: elements of a factor row") : t("Neighbours kept for each title")}
        <input type="number" min={1} max={isAls ? 4096 : 10000} placeholder={t("default")} value={size} onInput={(event) => setSize(event.currentTarget.value)} />
      </label>
      {isAls && (
        <label>
          {t("Sweeps over users and titles")}
          <input type="number" min={1} max={10000} placeholder={t("default")} value={sweeps} onInput={(event) => setSweeps(event.currentTarget.value)} />
        </label>
      )}
      <label class="check">
        <input type="checkbox" checked={promote} onChange={(event) => setPromote(event.currentTarget.checked)} /> {t("Make the version live when it is trained")}
      </label>
    </Start>
  );
}
