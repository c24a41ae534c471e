// Light, dark, or as the machine has it.
import { cell, kept } from "./store";
import { themeChanges } from "./ui/chart";

export type Theme = "auto" | "light" | "dark";

const keptTheme = kept("localStorage", "shoal-theme");
const found = keptTheme.read();

export const theme = cell<Theme>(found === "light" || found === "dark" ? found : "auto");

function show(chosen: Theme): void {
  document.documentElement.dataset.theme = chosen;
}

show(theme.get());

export function choose(chosen: Theme): void {
  keptTheme.write(chosen === "auto" ? null : chosen);
  show(chosen);
  theme.set(chosen);
  themeChanges.set(themeChanges.get() + 1);
}
