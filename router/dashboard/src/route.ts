// Where the page is: a screen and its settings, kept in the address after `#` so that every view is a link.
import { cell } from "./store";

export interface Place {
  screen: string;
  query: URLSearchParams;
}

export function placeOf(hash: string): Place {
  const [path = "", query = ""] = hash.replace(/^#\/?/, "").split(/\?(.*)/s);
  return { screen: path, query: new URLSearchParams(query) };
}

/** The address of a screen; settings that are empty are left out. */
export function href(screen: string, settings: Record<string, string | undefined> = {}): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(settings)) if (value) query.set(name, value);
  const text = query.toString();
  return `#/${screen}${text ? `?${text}` : ""}`;
}

export const place = cell<Place>(placeOf(globalThis.location?.hash ?? ""));

globalThis.addEventListener?.("hashchange", () => place.set(placeOf(location.hash)));

/** Changes settings of the screen that is shown, without a step in the browser's history. */
export function adjust(settings: Record<string, string | undefined>): void {
  const { screen, query } = place.get();
  const all = { ...Object.fromEntries(query), ...settings };
  history.replaceState(null, "", href(screen, all));
  place.set(placeOf(location.hash));
}
