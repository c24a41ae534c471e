// A field that finds titles as one types, and lets one be chosen with keys or the mouse.
import { useEffect, useId, useState } from "preact/hooks";
import { useLive } from "../api/live";
import type { Found, FoundItems } from "../api/types";
import { number } from "../words/numbers";
import { t } from "../words";

/** The value once it has rested for `ms`. */
export function useRested<T>(value: T, ms: number): T {
  const [rested, setRested] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setRested(value), ms);
    return () => clearTimeout(timer);
  }, [value, ms]);
  return rested;
}

export function TitleSearch({ label, onChoose }: { label: string; onChoose: (found: Found) => void }) {
  const id = useId();
  const [typed, setTyped] = useState("");
  const [at, setAt] = useState(0);
  const [open, setOpen] = useState(false);
  const asked = useRested(typed.trim(), 120);
  const path = /[\p{L}\p{N}]/u.test(asked) ? `v1/items?${new URLSearchParams({ query: asked.slice(0, 200), n: "8" })}` : null;
  const live = useLive<FoundItems>(path);
  const items = path === null ? [] : (live.data?.items ?? []);
  const choose = (found: Found | undefined) => {
    if (!found) return;
    onChoose(found);
    setTyped("");
    setOpen(false);
  };
  const key = (event: KeyboardEvent) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      const step = event.key === "ArrowDown" ? 1 : -1;
      if (items.length > 0) setAt((at + step + items.length) % items.length);
    } else if (event.key === "Enter") {
      event.preventDefault();
      choose(items[at]);
    } else if (event.key === "Escape") setOpen(false);
  };
  const shown = open && path !== null;
  return (
    <div class="search">
      <label for={id}>{label}</label>
      <input
        id={id}
        role="combobox"
        autocomplete="off"
        aria-expanded={shown && items.length > 0}
        aria-controls={`${id}-list`}
        aria-activedescendant={shown && items[at] ? `${id}-${at}` : undefined}
        aria-autocomplete="list"
        placeholder={t("A word of the title")}
        value={typed}
        onInput={(event) => {
          setTyped(event.currentTarget.value);
          setAt(0);
          setOpen(true);
        }}
        onFocus={() => setOpen(true)}
        onBlur={() => setOpen(false)}
        onKeyDown={key}
      />
      <ul id={`${id}-list`} role="listbox" aria-label={label} hidden={!shown || items.length === 0}>
        {items.map((found, row) => (
          <li
            key={String(found.item_id)}
            id={`${id}-${row}`}
            role="option"
            aria-selected={row === at}
            onMouseDown={(event) => {
              event.preventDefault();
              choose(found);
            }}
          >
            <span>{found.title ?? String(found.item_id)}</span>
            <small>{t("{n} ratings", { n: number(found.ratings) })}</small>
          </li>
        ))}
      </ul>
      {shown && live.data && items.length === 0 && <p class="hint" role="status">{t("No title has these words.")}</p>}
      {shown && live.error && <p class="hint bad" role="alert" lang="en">{live.error.message}</p>}
    </div>
  );
}
