// What the user lens asks for, and how two lists differ: without any drawing.
import type { Listed } from "../api/types";

export interface Settings {
  a: string;
  b: string;
  categories: string;
  exclude_categories: string;
  year_min: string;
  year_max: string;
  diversity: string;
  rank_by: string;
  seen: boolean;
  /** Whether any of them is not as it is by default. */
  filtered: boolean;
}

const FILTERS = ["categories", "exclude_categories", "year_min", "year_max"] as const;

export function settingsOf(query: URLSearchParams): Settings {
  const of = (name: string, otherwise = "") => query.get(name) ?? otherwise;
  return {
    a: of("a", "als"),
    b: of("b", "hybrid"),
    categories: of("categories"),
    exclude_categories: of("exclude_categories"),
    year_min: of("year_min"),
    year_max: of("year_max"),
    diversity: of("diversity", "0"),
    rank_by: of("rank_by", "ranking"),
    seen: query.has("seen"),
    filtered: [...FILTERS, "diversity", "rank_by", "seen"].some((name) => query.has(name)),
  };
}

/** The ids of a session: one a line, for ids may have commas. */
export function sessionOf(query: URLSearchParams): string[] {
  return (query.get("items") ?? "").split("\n").filter((item) => item !== "");
}

/** The request for a user's list, or without one for a session's. */
export function listRequest(settings: Settings, model: string, user?: string): string {
  const query = new URLSearchParams();
  if (user !== undefined) query.set("user_id", user);
  query.set("model", model);
  query.set("n", "20");
  query.set("explain", "true");
  for (const name of FILTERS) if (settings[name]) query.set(name, settings[name]);
  if (settings.diversity !== "0") query.set("diversity", settings.diversity);
  if (settings.rank_by !== "ranking") query.set("rank_by", settings.rank_by);
  if (settings.seen) query.set("exclude_seen", "false");
  return `v1/recommendations?${query}`;
}

/** Where a title of one list stands in the other; `moved` is above 0 where it stands higher here. */
export type Position = { kind: "unknown" } | { kind: "only" } | { kind: "both"; rank: number; moved: number };

export interface Compared {
  both: number;
  left: Map<string, Position>;
  right: Map<string, Position>;
}

export function compared(left: Listed[] | undefined, right: Listed[] | undefined): Compared {
  const positions = (of: Listed[] | undefined, other: Listed[] | undefined): Map<string, Position> => {
    const ranks = other && new Map(other.map((row) => [String(row.item_id), row.rank]));
    return new Map(
      (of ?? []).map((row): [string, Position] => {
        const id = String(row.item_id);
        if (!ranks) return [id, { kind: "unknown" }];
        const rank = ranks.get(id);
        return [id, rank === undefined ? { kind: "only" } : { kind: "both", rank, moved: rank - row.rank }];
      }),
    );
  };
  const of = { left: positions(left, right), right: positions(right, left) };
  return { ...of, both: [...of.left.values()].filter((position) => position.kind === "both").length };
}
