// One title: what it is, and what each model finds like it.
import { useLive } from "../api/live";
import type { Found, Similar } from "../api/types";
import { adjust, place } from "../route";
import { useCell } from "../store";
import { Answer, Bar, Figure, Notice, Panel } from "../ui/parts";
import { TitleSearch } from "../ui/title_search";
import { t } from "../words";
import { fixed, number } from "../words/numbers";
import { MODELS, modelName } from "./models";

function SimilarBy({ item, model, series }: { item: string; model: string; series: number }) {
  const path = `v1/similar?${new URLSearchParams({ item_id: item, n: "10", model })}`;
  const live = useLive<Similar>(path);
  return (
    <Panel title={modelName(model)} request={path}>
      <Answer live={live} lines={8}>
        {(found) =>
          found.items.length === 0 ? (
            <Notice kind="empty" title={t("This model finds nothing like it.")} />
          ) : (
            <ol class="similar">
              {found.items.map((one) => (
                <li key={String(one.item_id)}>
                  <a href={`#/titles?id=${encodeURIComponent(String(one.item_id))}`}>{one.title ?? String(one.item_id)}</a>
                  <Bar value={one.similarity ?? 0} min={0} max={Math.max(...found.items.map((other) => other.similarity ?? 0), 0)} series={series} label={`${t("Likeness")} ${fixed(one.similarity, 3)}`} />
                  <span class="num">{fixed(one.similarity, 3)}</span>
                </li>
              ))}
            </ol>
          )
        }
      </Answer>
    </Panel>
  );
}

function About({ item }: { item: string }) {
  const path = `v1/item?${new URLSearchParams({ item_id: item })}`;
  const live = useLive<Found>(path);
  return (
    <Panel title={t("Title")} request={path} wide>
      <Answer live={live} lines={2}>
        {(found) => (
          <>
            <p class="headline">{found.title ?? String(found.item_id)}</p>
            <p class="quiet">{found.categories.join(" · ")}</p>
            <dl class="figures">
              <Figure label={t("Id")} value={String(found.item_id)} />
              <Figure label={t("Year")} value={found.year === null ? "–" : String(found.year)} />
              <Figure label={t("Ratings")} value={number(found.ratings)} help={t("Ratings of this title in the data set of the live version.")} />
              <Figure label={t("Popularity")} value={fixed(found.popularity, 2)} help={t("The damped mean rating: 25 ratings of the overall mean are added, so that few ratings say little.")} />
            </dl>
          </>
        )}
      </Answer>
    </Panel>
  );
}

export function Titles() {
  const { query } = useCell(place);
  const item = query.get("id");
  return (
    <>
      <h1>{t("Titles")}</h1>
      <div class="toolbar">
        <TitleSearch label={t("Find a title")} onChoose={(found) => adjust({ id: String(found.item_id) })} />
      </div>
      {item === null ? (
        <Notice kind="empty" title={t("Type a word of a title")}>
          {t("The screen then shows what the title is, and what each model finds like it.")}
        </Notice>
      ) : (
        <div class="grid" key={item}>
          <About item={item} />
          {MODELS.map((model, at) => (
            <SimilarBy key={model} item={item} model={model} series={at} />
          ))}
        </div>
      )}
    </>
  );
}
