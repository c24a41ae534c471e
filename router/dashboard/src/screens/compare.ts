// How versions differ: parameters and metrics, without any drawing.
import type { Version } from "../api/types";

/** Names with dots for what is nested. */
export function flat(parameters: unknown, before = ""): [string, string][] {
  if (typeof parameters !== "object" || parameters === null || Array.isArray(parameters)) return [[before, parameters === null || parameters === undefined || parameters === "" ? "–" : String(parameters)]];
  return Object.entries(parameters).flatMap(([name, value]) => flat(value, before === "" ? name : `${before}.${name}`));
}

/** Parameters that are not the same in all versions, in the order in which they come. */
export function differing(versions: Version[]): { name: string; values: string[] }[] {
  const maps = versions.map((version) => new Map(flat(version.parameters ?? {})));
  const names = new Set(maps.flatMap((of) => [...of.keys()]));
  return [...names]
    .map((name) => ({ name, values: maps.map((of) => of.get(name) ?? "") }))
    .filter(({ values }) => new Set(values).size > 1);
}

export interface Metric {
  name: string;
  /** Whether less is better. */
  less: boolean;
  values: (number | null)[];
  /** What the most rated items, or means and biases alone, reach. */
  baselines: (number | null)[];
}

const LISTS = ["ndcg_at_20", "recall_at_20", "map_at_20", "mrr_at_20", "precision_at_20", "novelty", "diversity"];

export function metrics(versions: Version[]): Metric[] {
  const ofLists = LISTS.map((name): Metric => ({
    name: name.replace("_at_", "@"),
    less: false,
    values: versions.map((version) => version.evaluation?.lists?.[name] ?? null),
    baselines: versions.map((version) => version.evaluation?.popularity?.[name] ?? null),
  }));
  const coverage: Metric = { name: "coverage", less: false, values: versions.map((version) => version.evaluation?.coverage ?? null), baselines: versions.map(() => null) };
  const rating = (["rmse", "mae"] as const).map((name): Metric => ({
    name,
    less: true,
    values: versions.map((version) => version.evaluation?.rating?.[name] ?? null),
    baselines: versions.map((version) => version.evaluation?.rating_baseline?.[name] ?? null),
  }));
  return [...ofLists, coverage, ...rating].filter(({ values }) => values.some((value) => value !== null));
}

/** Which value is the best, if one is. */
export function best({ values, less }: Metric): number | null {
  const known = values.filter((value) => value !== null);
  if (known.length < 2) return null;
  const found = less ? Math.min(...known) : Math.max(...known);
  return values.filter((value) => value === found).length === 1 ? values.indexOf(found) : null;
}
