// The page's texts in both languages. English stands where it is used and is the key: a text without Spanish does not compile.
import { cell, kept } from "../store";
import { es } from "./es";

export type Language = "en" | "es";
export type Text = keyof typeof es;

const keptLanguage = kept("localStorage", "shoal-language");

function preferred(): Language {
  const chosen = keptLanguage.read();
  if (chosen === "en" || chosen === "es") return chosen;
  return globalThis.navigator?.language?.toLowerCase().startsWith("es") ? "es" : "en";
}

export const language = cell<Language>(preferred());

export function speak(chosen: Language): void {
  keptLanguage.write(chosen);
  language.set(chosen);
}

/** The text in the page's language, with `{name}` replaced by the values. */
export function t(text: Text, values: Record<string, string | number> = {}): string {
  const said: string = language.get() === "es" ? es[text] : text;
  return said.replace(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole));
}
