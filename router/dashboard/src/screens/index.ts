// The screens, in the order of the navigation.
import type { ComponentType } from "preact";
import { t } from "../words";
import { Cluster } from "./cluster";
import { Datasets } from "./datasets";
import { Jobs } from "./jobs";
import { Overview } from "./overview";
import { Titles } from "./titles";
import { Traffic } from "./traffic";
import { User } from "./user";
import { Versions } from "./versions";

export interface ScreenEntry {
  /** After `#/` in the address. */
  path: string;
  /** The screen that it belongs to, where it stands in no navigation of its own. */
  within?: string;
  name: () => string;
  view: ComponentType;
}

export const screens: ScreenEntry[] = [
  { path: "", name: () => t("Overview"), view: Overview },
  { path: "cluster", name: () => t("Cluster"), view: Cluster },
  { path: "versions", name: () => t("Versions"), view: Versions },
  { path: "user", name: () => t("User lens"), view: User },
  { path: "titles", name: () => t("Titles"), view: Titles },
  { path: "jobs", name: () => t("Jobs"), view: Jobs },
  { path: "datasets", name: () => t("Data sets"), view: Datasets },
  { path: "traffic", name: () => t("Traffic"), view: Traffic },
];
