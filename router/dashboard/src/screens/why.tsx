// Why a title is listed: what each rated title, or each model of a blend, adds to its score.
import type { Listed } from "../api/types";
import { Bar, Term } from "../ui/parts";
import { t } from "../words";
import { fixed } from "../words/numbers";
import { modelName } from "./models";

interface Part {
  name: string;
  value: number;
  more?: string;
}

export function Why({ row }: { row: Listed }) {
  const explanation = row.explanation;
  if (!explanation) return <p>{t("This title is listed because it is popular; the model says nothing of it.")}</p>;
  const sources = explanation.sources ?? [];
  const ofSources = sources.map((source): Part => ({ name: modelName(source.model), value: source.contribution, more: t("level {level} × weight {weight}", { level: fixed(source.level, 2), weight: fixed(source.weight, 2) }) }));
  const ofItems = explanation.items.map((item): Part => ({ name: item.title ?? String(item.item_id), value: item.contribution }));
  const parts = sources.length > 0 ? ofSources : ofItems;
  const rest = explanation.score - parts.reduce((sum, part) => sum + part.value, 0);
  if (sources.length === 0 && parts.length > 0) parts.push({ name: t("everything else that was rated"), value: rest });
  const max = Math.max(...parts.map((part) => part.value), 0);
  const min = Math.min(...parts.map((part) => part.value), 0);
  return (
    <>
      <p>
        <Term help={sources.length > 0 ? t("A blend adds up levels of its models, 0 to 1, each times its weight.") : t("The score is split exactly over all that the user has rated; the five greatest parts are named.")}>
          {sources.length > 0 ? t("What each model adds to the score {score}", { score: fixed(explanation.score, 3) }) : t("What rated titles add to the score {score}", { score: fixed(explanation.score, 3) })}
        </Term>
      </p>
      {parts.length === 0 ? (
        <p class="quiet">{t("Nothing that was rated speaks for this title.")}</p>
      ) : (
        <ul class="parts">
          {parts.map((part) => (
            <li key={part.name}>
              <span title={part.more}>{part.name}</span>
              <Bar value={part.value} min={min} max={max} series={part.value < 0 ? 1 : 0} label={`${part.name}: ${fixed(part.value, 4)}`} />
              <span class="num">{fixed(part.value, 4)}</span>
            </li>
          ))}
        </ul>
      )}
    </>
  );
}
