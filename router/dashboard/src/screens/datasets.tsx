// What was imported: counts, what was understood of the files, what became of their rows, and what was trained on them.
import { useLive } from "../api/live";
import type { Dataset, ImportReport, Page, Version } from "../api/types";
import { href, place } from "../route";
import { useCell } from "../store";
import { Answer, Bar, Figure, Notice, Panel, Scroll } from "../ui/parts";
import { t } from "../words";
import { ago, bytes, fixed, moment, number, percent } from "../words/numbers";
import { modelName } from "./models";
import { Import, Train } from "./starting";

const keyOf = (dataset: Dataset) => `${dataset.name}@${dataset.version}`;

function All({ entries, shown }: { entries: Dataset[]; shown: string }) {
  return (
    <Scroll label={t("All data sets")}>
      <table>
        <thead>
          <tr>
            <th>{t("Data set")}</th>
            <th class="num">{t("Users")}</th>
            <th class="num">{t("Titles")}</th>
            <th class="num">{t("Ratings")}</th>
            <th>{t("Imported")}</th>
          </tr>
        </thead>
        <tbody>
          {entries.map((one) => (
            <tr key={keyOf(one)}>
              <th scope="row">
                <a href={href("datasets", { data: keyOf(one) })} aria-current={keyOf(one) === shown ? "true" : undefined}>
                  {one.name}
                </a>{" "}
                <small>{one.version}</small>
              </th>
              <td class="num">{number(one.users)}</td>
              <td class="num">{number(one.items)}</td>
              <td class="num">{number(one.ratings)}</td>
              <td>{ago(one.created)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </Scroll>
  );
}

function Counts({ of }: { of: Dataset }) {
  const pairs = of.users * of.items;
  return (
    <>
      <dl class="figures">
        <Figure label={t("Users")} value={number(of.users)} help={t("Users with at least one rating.")} />
        <Figure label={t("Titles")} value={number(of.items)} help={t("Titles with a rating or a row in the file of titles.")} />
        <Figure label={t("Ratings")} value={number(of.ratings)} />
        <Figure label={t("Density")} value={pairs > 0 ? percent(of.ratings / pairs, 3) : "–"} help={t("Which share of all pairs of a user and a title is rated.")} />
        <Figure label={t("Mean rating")} value={fixed(of.rating_mean, 2)} />
        <Figure label={t("Scale")} value={`${number(of.rating_min)} – ${number(of.rating_max)}`} help={t("The least and the greatest rating that was read.")} />
        <Figure label={t("Described titles")} value={number(of.catalogue_items)} help={t("Titles with a row in the file of titles: they have names and categories.")} />
        <Figure label={t("Tags")} value={number(of.tags)} help={t("Tags that users gave the titles.")} />
      </dl>
      <p class="quiet">
        {moment(of.created)} · <code>{of.source_uri}</code>
      </p>
    </>
  );
}

function Rows({ report }: { report: ImportReport }) {
  const rejected = report.rejections.reduce((sum, one) => sum + one.count, 0);
  const rules: Record<string, string> = { last: t("the last one counts"), count: t("they were counted"), sum: t("they were added up") };
  return (
    <>
      <dl class="figures">
        <Figure label={t("Rows read")} value={number(report.rows_read)} />
        <Figure label={t("Accepted")} value={number(report.rows_accepted)} />
        <Figure label={t("Rejected")} value={number(rejected)} tone={rejected > 0 ? "warn" : "good"} help={t("Rows that could not be used. Each reason has its first rows below.")} />
        <Figure label={t("Repeated pairs")} value={number(report.duplicates)} help={t("Rows whose user and title had come before: {rule}.", { rule: rules[report.duplicate_rule] ?? report.duplicate_rule })} />
        <Figure label={t("Without a time")} value={number(report.rows_without_time)} help={t("Accepted rows whose time is missing.")} />
        <Figure label={t("Read")} value={bytes(report.bytes_read)} />
      </dl>
      {rejected > 0 && (
        <ul class="rejections" lang="en">
          {report.rejections.map((one) => (
            <li key={one.reason}>
              <details>
                <summary>
                  <span>{one.reason}</span>
                  <Bar value={one.count} max={rejected} series={1} label={`${one.reason}: ${number(one.count)}`} />
                  <span class="num">{number(one.count)}</span>
                </summary>
                <ul>
                  {one.examples.map((row) => (
                    <li key={`${row.file}:${row.line}`}>
                      <code>
                        {row.file}:{row.line}
                      </code>{" "}
                      {row.reason}
                    </li>
                  ))}
                </ul>
              </details>
            </li>
          ))}
        </ul>
      )}
    </>
  );
}

function Understood({ report }: { report: ImportReport }) {
  const left = [...report.not_read.map((file) => t("{file} was not read", { file })), ...report.empty_files.map((file) => t("{file} is empty", { file }))];
  return (
    <>
      {[
        { name: t("Ids of users"), read: report.user_ids },
        { name: t("Ids of titles"), read: report.item_ids },
      ].map(({ name, read }) => (
        <p key={name}>
          {name}: <span lang="en">{[read.kind, read.because].filter(Boolean).join(", ")}</span>
        </p>
      ))}
      <ul class="files">
        {report.understood.map((file) => (
          <li key={file.file}>
            <h3>
              {file.file} <small lang="en">{[file.content, file.format, file.encoding, file.delimiter && `delimiter ${file.delimiter}`].filter(Boolean).join(" · ")}</small>
            </h3>
            <ul class="columns">
              {file.columns.map((column) => (
                <li key={`${column.number} ${column.role}`}>
                  <b>{column.role}</b> ← <code>{column.name || `#${column.number}`}</code>
                  {column.candidates.length > 0 && <small> {t("could also be: {names}", { names: column.candidates.join(", ") })}</small>}
                </li>
              ))}
            </ul>
            {file.times && <p class="quiet" lang="en">{file.times}</p>}
            {file.notes.map((note) => (
              <p key={note} class="quiet" lang="en">
                {note}
              </p>
            ))}
          </li>
        ))}
      </ul>
      {left.map((line) => (
        <p key={line} class="stale">
          {line}
        </p>
      ))}
    </>
  );
}

function Trained({ of }: { of: Dataset }) {
  const live = useLive<Page<Version>>("admin/v1/models", 10_000);
  return (
    <Panel title={t("Trained on it")} request="admin/v1/models">
      <Answer live={live} lines={3}>
        {({ entries }) => {
          const versions = entries.filter((one) => one.dataset === of.name && one.dataset_version === of.version);
          if (versions.length === 0)
            return (
              <Notice kind="empty" title={t("Nothing yet.")}>
                <code>{`shoal train --dataset ${of.name} --promote`}</code>
              </Notice>
            );
          return (
            <ul class="nodes">
              {versions.map((one) => (
                <li key={one.name}>
                  <a href={href("versions", { v: one.name })}>{modelName(one.model)}</a>
                  <small>{`${one.state === "live" ? `${t("live")} · ` : ""}${ago(one.created)}`}</small>
                </li>
              ))}
            </ul>
          );
        }}
      </Answer>
    </Panel>
  );
}

export function Datasets() {
  const { query } = useCell(place);
  const all = useLive<Page<Dataset>>("admin/v1/datasets", 5_000);
  return (
    <>
      <h1>{t("Data sets")}</h1>
      <Answer live={all} lines={8}>
        {({ entries }) => {
          const named = query.get("data");
          const shown = entries.find((one) => keyOf(one) === named) ?? entries[0];
          return (
            <div class="grid two">
              <Panel title={t("All data sets")} request="admin/v1/datasets">
                {shown ? <All entries={entries} shown={keyOf(shown)} /> : <Notice kind="empty" title={t("No data set has been imported yet.")} />}
              </Panel>
              <Import />
              {shown && (
                <>
                  <Panel title={`${shown.name} ${shown.version}`} request={`admin/v1/datasets/${encodeURIComponent(shown.name)}?${new URLSearchParams({ version: shown.version })}`}>
                    <Counts of={shown} />
                  </Panel>
                  <Train key={keyOf(shown)} dataset={shown} />
                  <Trained of={shown} />
                  {shown.report && (
                    <>
                      <Panel title={t("Rows")}>
                        <Rows report={shown.report} />
                      </Panel>
                      <Panel title={t("As understood")} help={t("What the import found out of the files, column by column.")} wide>
                        <Understood report={shown.report} />
                      </Panel>
                    </>
                  )}
                </>
              )}
            </div>
          );
        }}
      </Answer>
    </>
  );
}
