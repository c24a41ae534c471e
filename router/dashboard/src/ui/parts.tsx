// The small parts of every screen: panels, figures, bars, states, and definitions on hover.
import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { type ApiError, type Ask, curl } from "../api/client";
import type { Live } from "../api/live";
import { t } from "../words";

/** A word with its definition, shown on hover and on focus. */
export function Term({ children, help }: { children: ComponentChildren; help: string }) {
  const id = useId();
  return (
    <span class="term" tabIndex={0} aria-describedby={id}>
      {children}
      <span class="tip" role="tooltip" id={id}>
        {help}
      </span>
    </span>
  );
}

/** Puts a text on the clipboard, and says so. */
export function Copy({ text, label, title }: { text: () => string; label: string; title: string }) {
  const [said, setSaid] = useState<string | null>(null);
  useEffect(() => {
    if (said === null) return undefined;
    const timer = setTimeout(() => setSaid(null), 1_500);
    return () => clearTimeout(timer);
  }, [said]);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text());
      setSaid(t("copied"));
    } catch {
      // Browsers let only pages of https and of this machine write: the text is shown to be copied by hand.
      window.prompt(title, text());
    }
  };
  return (
    <button type="button" class="copy" title={title} aria-label={title} onClick={() => void copy()}>
      <span aria-live="polite">{said ?? label}</span>
    </button>
  );
}

interface PanelProps {
  title: string;
  help?: string;
  /** The request behind the panel, to be copied as a command. */
  request?: string | undefined;
  ask?: Ask;
  aside?: ComponentChildren;
  wide?: boolean;
  children: ComponentChildren;
}

export function Panel({ title, help, request, ask, aside, wide, children }: PanelProps) {
  const id = useId();
  return (
    <section class={wide ? "panel wide" : "panel"} aria-labelledby={id}>
      <header>
        <h2 id={id}>{help ? <Term help={help}>{title}</Term> : title}</h2>
        <div class="aside">
          {aside}
          {request && <Copy label="curl" title={t("Copy the request as a curl command")} text={() => curl(request, ask)} />}
        </div>
      </header>
      {children}
    </section>
  );
}

/** What is shown in the place of data that is not there. */
export function Notice({ kind, title, children }: { kind: "error" | "warn" | "empty" | "good"; title: string; children?: ComponentChildren }) {
  return (
    <div class={`notice ${kind}`} role={kind === "error" ? "alert" : undefined}>
      <strong>{title}</strong>
      {children && <div>{children}</div>}
    </div>
  );
}

export function Failure({ error, retry }: { error: ApiError; retry?: () => void }) {
  const titles = {
    unreachable: t("The router does not answer"),
    token: t("A token is needed"),
    permission: t("This token may not do that"),
    missing: t("There is no such thing"),
    refused: t("The request was refused"),
    unavailable: t("The cluster cannot answer now"),
  };
  return (
    <Notice kind="error" title={titles[error.refusal]}>
      <p lang="en">{error.message}</p>
      {retry && (
        <button type="button" onClick={retry}>
          {t("Try again")}
        </button>
      )}
    </Notice>
  );
}

/** Lines that hold the place of what is being loaded. */
export function Loading({ lines = 3 }: { lines?: number }) {
  return (
    <div class="loading" role="status" aria-label={t("Loading")}>
      {Array.from({ length: lines }, (_, line) => (
        <span key={line} />
      ))}
    </div>
  );
}

/** The newest answer; while there is none, why. An answer that has grown old is shown with what went wrong since. */
export function Answer<T>({ live, lines, children }: { live: Live<T>; lines?: number; children: (data: T) => ComponentChildren }) {
  const { data, error, reload } = live;
  if (data === undefined) return error ? <Failure error={error} retry={reload} /> : <Loading lines={lines ?? 3} />;
  return (
    <>
      {error && <p class="stale" role="status">{t("Not up to date: {reason}", { reason: error.message })}</p>}
      {children(data)}
    </>
  );
}

/** What may be wider than its panel: it scrolls by itself, with keys too. */
export function Scroll({ label, children }: { label: string; children: ComponentChildren }) {
  return (
    <div class="scroll" tabIndex={0} role="group" aria-label={label}>
      {children}
    </div>
  );
}

export type Tone = "good" | "warn" | "bad" | "quiet" | "accent";

const SIGNS: Record<Tone, string> = { good: "✓", warn: "!", bad: "✕", quiet: "·", accent: "●" };

/** A state in a word: sign and word say it, colour only helps. */
export function Badge({ tone, children }: { tone: Tone; children: ComponentChildren }) {
  return (
    <span class={`badge ${tone}`}>
      <i aria-hidden="true">{SIGNS[tone]}</i>
      {children}
    </span>
  );
}

export function Figure({ label, value, unit, help, tone }: { label: string; value: string; unit?: string; help?: string; tone?: Tone }) {
  return (
    <div class={`figure ${tone ?? ""}`}>
      <dt>{help ? <Term help={help}>{label}</Term> : label}</dt>
      <dd>
        {value}
        {unit && <small> {unit}</small>}
      </dd>
    </div>
  );
}

/** A share of a whole as a bar, of which below zero points left. `mark` is a second value to compare with. */
export function Bar({ value, max, label, series = 0, mark, min = 0 }: { value: number; max: number; min?: number; label: string; series?: number; mark?: number }) {
  const span = max - min || 1;
  const at = (of: number) => ((Math.min(Math.max(of, min), max) - min) / span) * 100;
  const from = Math.min(at(0), at(value));
  return (
    <span class="bar" role="img" aria-label={label} title={label}>
      <i class={`s${series}`} style={{ left: `${from}%`, width: `${Math.abs(at(value) - at(0))}%` }} />
      {mark !== undefined && <b style={{ left: `${at(mark)}%` }} />}
    </span>
  );
}

export function Progress({ share, label }: { share: number; label: string }) {
  return <progress max={1} value={share} aria-label={label} />;
}

/** A question before something that cannot be taken back by a click. */
export function Confirm({ title, children, action, busy, error, onYes, onNo }: { title: string; children: ComponentChildren; action: string; busy: boolean; error?: ApiError | undefined; onYes: () => void; onNo: () => void }) {
  const box = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    box.current?.showModal();
  }, []);
  return (
    <dialog ref={box} aria-labelledby={id} onCancel={(event) => { event.preventDefault(); if (!busy) onNo(); }}>
      <h2 id={id}>{title}</h2>
      {children}
      {error && <Failure error={error} />}
      <footer>
        <button type="button" onClick={onNo} disabled={busy}>
          {t("Cancel")}
        </button>
        <button type="button" class="primary" onClick={onYes} disabled={busy}>
          {busy ? t("Under way …") : action}
        </button>
      </footer>
    </dialog>
  );
}
