// The user lens: two models' lists for one user or session, side by side, with why each title is there.
import { useEffect, useState } from "preact/hooks";
import { type Ask, ApiError, ask as askRouter } from "../api/client";
import { type Live, useLive } from "../api/live";
import type { Listed, Ratings, Recommendations } from "../api/types";
import { adjust, href, place } from "../route";
import { useCell } from "../store";
import { Answer, Badge, Copy, Notice, Panel } from "../ui/parts";
import { TitleSearch, useRested } from "../ui/title_search";
import { t } from "../words";
import { fixed, number } from "../words/numbers";
import { compared, listRequest, type Position, sessionOf, settingsOf } from "./lens";
import { MODELS, modelName } from "./models";
import { Why } from "./why";

function usePosted<T>(path: string, body: unknown): Live<T> {
  const [state, setState] = useState<{ key: string; data?: T; error?: ApiError }>({ key: "" });
  const [round, setRound] = useState(0);
  const text = JSON.stringify(body);
  const key = `${path} ${text} ${round}`;
  useEffect(() => {
    const stop = new AbortController();
    askRouter<T>(path, { method: "POST", body: JSON.parse(text) as unknown, signal: stop.signal }).then(
      (data) => setState({ key, data }),
      (error: unknown) => {
        if (!stop.signal.aborted) setState({ key, error: error instanceof ApiError ? error : new ApiError("unreachable", 0, String(error)) });
      },
    );
    return () => stop.abort();
  }, [key]);
  const current = state.key === key ? state : { data: undefined, error: undefined };
  return { data: current.data, error: current.error, loading: !current.data && !current.error, reload: () => setRound(round + 1) };
}

function Row({ row, position, greatest, other }: { row: Listed; position: Position; greatest: number; other: string }) {
  const [open, setOpen] = useState(false);
  const title = row.title ?? String(row.item_id);
  return (
    <li class={position.kind === "only" ? "only" : ""}>
      <button type="button" class="row" aria-expanded={open} onClick={() => setOpen(!open)}>
        <span class="rank">{row.rank}</span>
        <span class="what">
          <span class="name">{title}</span>
          <small>{row.categories.slice(0, 4).join(" · ")}</small>
        </span>
        <Where position={position} other={other} />
        <span class="num" title={t("Predicted rating")}>
          {row.predicted_rating === null ? "" : `★ ${fixed(row.predicted_rating, 2)}`}
        </span>
        <i class="meter" aria-hidden="true">
          <b style={{ width: `${greatest > 0 ? Math.max((row.score / greatest) * 100, 0) : 0}%` }} />
        </i>
      </button>
      {open && (
        <div class="why">
          <Why row={row} />
          <a href={href("titles", { id: String(row.item_id) })}>{t("More about this title")}</a>
        </div>
      )}
    </li>
  );
}

function Where({ position, other }: { position: Position; other: string }) {
  if (position.kind === "unknown") return <span class="where" />;
  if (position.kind === "only")
    return (
      <span class="where new" title={t("Not in the list of {model}", { model: other })}>
        + {t("only here")}
      </span>
    );
  const sign = position.moved > 0 ? "▲" : position.moved < 0 ? "▼" : "=";
  return (
    <span class="where" title={t("Rank {rank} in the list of {model}", { rank: position.rank, model: other })}>
      {sign} {position.moved === 0 ? "" : Math.abs(position.moved)}
    </span>
  );
}

const SOURCES: Record<string, () => string> = {
  model: () => t("from the model"),
  cache: () => t("from the cache"),
  fallback_popular: () => t("popular titles: the model does not know this user"),
};

function List({ live, positions, other }: { live: Live<Recommendations>; positions: Map<string, Position>; other: string }) {
  return (
    <Answer live={live} lines={10}>
      {(found) => {
        const greatest = Math.max(...found.items.map((row) => row.score), 0);
        return (
          <>
            <p class="quiet source">
              <code>{found.model_version}</code> · {(SOURCES[found.source] ?? (() => found.source))()}
              {found.shards.failed > 0 && <Badge tone="warn">{t("{n} of {total} shards did not answer", { n: found.shards.failed, total: found.shards.total })}</Badge>}
            </p>
            {(found.unknown_categories?.length ?? 0) > 0 && <p class="stale">{t("No title has the category {names}.", { names: (found.unknown_categories ?? []).join(", ") })}</p>}
            {found.items.length === 0 ? (
              <Notice kind="empty" title={t("Nothing passes these filters.")} />
            ) : (
              <ol class="ranked">
                {found.items.map((row) => (
                  <Row key={String(row.item_id)} row={row} position={positions.get(String(row.item_id)) ?? { kind: "unknown" }} greatest={greatest} other={other} />
                ))}
              </ol>
            )}
          </>
        );
      }}
    </Answer>
  );
}

interface Sides {
  left: Live<Recommendations>;
  right: Live<Recommendations>;
  requests: [string, string];
  ask: Ask;
}

function Both({ left, right, requests, ask }: Sides) {
  const settings = settingsOf(useCell(place).query);
  const models: [string, string] = [settings.a, settings.b];
  const differs = compared(left.data?.items, right.data?.items);
  const sides = [
    { live: left, positions: differs.left, setting: "a" as const },
    { live: right, positions: differs.right, setting: "b" as const },
  ];
  return (
    <>
      {left.data && right.data && (
        <p class="summary" role="status">
          {t("{both} titles are in both lists, {left} only in {a}, {right} only in {b}.", { both: differs.both, left: left.data.items.length - differs.both, right: right.data.items.length - differs.both, a: modelName(models[0]), b: modelName(models[1]) })}
        </p>
      )}
      <div class="grid two">
        {sides.map(({ live, positions, setting }, at) => (
          <Panel
            key={setting}
            title={modelName(models[at] ?? "")}
            request={requests[at]}
            ask={ask}
            aside={
              <select aria-label={at === 0 ? t("Model on the left") : t("Model on the right")} value={models[at]} onChange={(event) => adjust({ [setting]: event.currentTarget.value })}>
                {MODELS.map((model) => (
                  <option key={model} value={model}>
                    {modelName(model)}
                  </option>
                ))}
              </select>
            }
          >
            <List live={live} positions={positions} other={modelName(models[1 - at] ?? "")} />
          </Panel>
        ))}
      </div>
    </>
  );
}

function History({ user }: { user: string }) {
  const path = `v1/users/${encodeURIComponent(user)}/ratings?n=100`;
  const live = useLive<Ratings>(path);
  return (
    <Panel title={t("What user {id} has rated", { id: user })} request={path} help={t("The highest ratings first, as the live version of the default model knows them.")} wide>
      <Answer live={live} lines={3}>
        {({ ratings, total }) => (
          <>
            <ul class="rated">
              {ratings.map((one) => (
                <li key={String(one.item_id)}>
                  <a href={href("titles", { id: String(one.item_id) })}>{one.title ?? String(one.item_id)}</a> <span class="num">{one.rating === null ? "" : `★ ${fixed(one.rating, 1)}`}</span>
                </li>
              ))}
            </ul>
            <p class="quiet">{t("{n} of {total} ratings", { n: number(ratings.length), total: number(total) })}</p>
          </>
        )}
      </Answer>
    </Panel>
  );
}

function OfUser({ user }: { user: string }) {
  const settings = settingsOf(useCell(place).query);
  const requests: [string, string] = [listRequest(settings, settings.a, user), listRequest(settings, settings.b, user)];
  const left = useLive<Recommendations>(requests[0]);
  const right = useLive<Recommendations>(requests[1]);
  return (
    <>
      <Both left={left} right={right} requests={requests} ask={{}} />
      <History user={user} />
    </>
  );
}

function OfSession({ items }: { items: string[] }) {
  const settings = settingsOf(useCell(place).query);
  const requests: [string, string] = [listRequest(settings, settings.a), listRequest(settings, settings.b)];
  const body = { items: items.map((item) => ({ item_id: /^-?\d{1,15}$/.test(item) ? Number(item) : item })) };
  const left = usePosted<Recommendations>(requests[0], body);
  const right = usePosted<Recommendations>(requests[1], body);
  return <Both left={left} right={right} requests={requests} ask={{ method: "POST", body }} />;
}

function Filters() {
  const settings = settingsOf(useCell(place).query);
  const [diversity, setDiversity] = useState(settings.diversity);
  const rested = useRested(diversity, 200);
  useEffect(() => adjust({ diversity: rested === "0" ? "" : rested }), [rested]);
  const text = (name: "categories" | "exclude_categories" | "year_min" | "year_max", label: string, placeholder = "") => (
    <label>
      {label}
      <input inputMode={name.startsWith("year") ? "numeric" : "text"} value={settings[name]} placeholder={placeholder} onChange={(event) => adjust({ [name]: event.currentTarget.value.trim() })} />
    </label>
  );
  return (
    <details class="filters" open={settings.filtered}>
      <summary>{t("Filters and diversity")}</summary>
      <div>
        {text("categories", t("Any of these categories"), "Comedy, Drama")}
        {text("exclude_categories", t("None of these categories"))}
        {text("year_min", t("From year"))}
        {text("year_max", t("To year"))}
        <label>
          {t("Diversity")} <output>{fixed(Number(diversity), 2)}</output>
          <input type="range" min="0" max="1" step="0.05" value={diversity} onInput={(event) => setDiversity(event.currentTarget.value)} />
        </label>
        <label>
          {t("Ranked by")}
          <select value={settings.rank_by} onChange={(event) => adjust({ rank_by: event.currentTarget.value === "ranking" ? "" : event.currentTarget.value })}>
            <option value="ranking">{t("the model's own order")}</option>
            <option value="rating">{t("the predicted rating")}</option>
          </select>
        </label>
        <label class="check">
          <input type="checkbox" checked={settings.seen} onChange={(event) => adjust({ seen: event.currentTarget.checked ? "yes" : "" })} />
          {t("List what was rated already, too")}
        </label>
      </div>
    </details>
  );
}

export function User() {
  const { query } = useCell(place);
  const user = query.get("id") ?? "";
  const session = sessionOf(query);
  const [typed, setTyped] = useState(user);
  const names = new Map([...query].filter(([name]) => name.startsWith("t.")).map(([name, title]) => [name.slice(2), title]));
  const drop = (item: string) => adjust({ items: session.filter((other) => other !== item).join("\n"), [`t.${item}`]: "" });
  return (
    <>
      <h1>{t("User lens")}</h1>
      <div class="toolbar">
        <form
          onSubmit={(event) => {
            event.preventDefault();
            adjust({ id: typed.trim(), items: "" });
          }}
        >
          <label>
            {t("User id")}
            <input value={typed} placeholder="1" onInput={(event) => setTyped(event.currentTarget.value)} />
          </label>
          <button type="submit" class="primary">
            {t("Show")}
          </button>
        </form>
        <span class="or">{t("or a session with")}</span>
        <TitleSearch
          label={t("Titles that were liked")}
          onChoose={(found) => {
            const id = String(found.item_id);
            setTyped("");
            if (!session.includes(id)) adjust({ id: "", items: [...session, id].slice(0, 50).join("\n"), [`t.${id}`]: found.title ?? id });
          }}
        />
        <Copy label={t("Copy link")} title={t("Copy link to this view")} text={() => location.href} />
      </div>
      {session.length > 0 && (
        <ul class="chips" aria-label={t("Titles of the session")}>
          {session.map((item) => (
            <li key={item}>
              {names.get(item) ?? item}
              <button type="button" aria-label={t("Remove {title}", { title: names.get(item) ?? item })} onClick={() => drop(item)}>
                ×
              </button>
            </li>
          ))}
        </ul>
      )}
      <Filters />
      {user !== "" ? (
        <OfUser user={user} />
      ) : session.length > 0 ? (
        <OfSession items={session} />
      ) : (
        <Notice kind="empty" title={t("Whose lists?")}>
          {t("Type the id of a user, or choose titles that somebody liked. Two models answer side by side; each title tells why it is listed.")}{" "}
          <a href={href("user", { id: "1" })} onClick={() => setTyped("1")}>
            {t("Show user {id}", { id: number(1) })}
          </a>
        </Notice>
      )}
    </>
  );
}
