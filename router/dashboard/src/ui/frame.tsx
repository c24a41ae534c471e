// The frame around every screen: navigation, language, theme, and signing in where tokens are taken.
import { useEffect, useRef, useState } from "preact/hooks";
import { signIn, token, tokenWanted } from "../api/client";
import { href, place } from "../route";
import { screens } from "../screens";
import { useCell } from "../store";
import { choose, theme, type Theme } from "../theme";
import { language, speak, t } from "../words";

const THEMES: Theme[] = ["auto", "light", "dark"];

function SignIn({ reason }: { reason: string }) {
  const [typed, setTyped] = useState("");
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => field.current?.focus(), []);
  return (
    <form
      class="sign-in panel"
      onSubmit={(event) => {
        event.preventDefault();
        if (typed.trim()) signIn(typed.trim());
      }}
    >
      <h1>{t("Sign in")}</h1>
      <p>{t("This router takes tokens. The token stays in this tab, and is forgotten when the tab is closed.")}</p>
      <label>
        {t("Token")}
        <input ref={field} type="password" autocomplete="off" spellcheck={false} placeholder="shoal_…" value={typed} onInput={(event) => setTyped(event.currentTarget.value)} />
      </label>
      <p class="quiet" lang="en">
        {reason}
      </p>
      <button type="submit" class="primary" disabled={!typed.trim()}>
        {t("Sign in")}
      </button>
    </form>
  );
}

function Controls() {
  const chosen = useCell(theme);
  const spoken = useCell(language);
  const secret = useCell(token);
  const names: Record<Theme, string> = { auto: t("As the machine"), light: t("Light"), dark: t("Dark") };
  return (
    <div class="controls">
      <select aria-label={t("Theme")} value={chosen} onChange={(event) => choose(event.currentTarget.value as Theme)}>
        {THEMES.map((one) => (
          <option key={one} value={one}>
            {names[one]}
          </option>
        ))}
      </select>
      <select aria-label={t("Language")} value={spoken} onChange={(event) => speak(event.currentTarget.value === "es" ? "es" : "en")}>
        <option value="en">English</option>
        <option value="es">Español</option>
      </select>
      {secret !== null && (
        <button type="button" onClick={() => signIn(null)}>
          {t("Sign out")}
        </button>
      )}
    </div>
  );
}

export function Frame() {
  const { screen } = useCell(place);
  const spoken = useCell(language);
  const wanted = useCell(tokenWanted);
  const shown = screens.find((one) => one.path === screen) ?? screens[0];
  const main = useRef<HTMLElement>(null);
  const first = useRef(true);
  useEffect(() => {
    document.documentElement.lang = spoken;
    document.title = shown ? `${shown.name()} · Shoal` : "Shoal";
  }, [spoken, shown]);
  useEffect(() => {
    // A new screen is read from its beginning.
    if (!first.current) main.current?.focus({ preventScroll: true });
    first.current = false;
    scrollTo(0, 0);
  }, [screen]);
  if (!shown) return null;
  const Screen = shown.view;
  return (
    <div class="frame">
      <a class="skip" href="#main" onClick={(event) => { event.preventDefault(); main.current?.focus(); }}>
        {t("To the content")}
      </a>
      <header class="side">
        <a class="brand" href={href("")}>
          <img src="./icon.svg" alt="" width="22" height="22" /> Shoal
        </a>
        <nav aria-label={t("Screens")}>
          {screens.filter((one) => !one.within).map((one) => (
            <a key={one.path} href={href(one.path)} aria-current={one === shown || shown.within === one.path ? "page" : undefined}>
              {one.name()}
            </a>
          ))}
          <a href="../docs" class="outside">
            {t("HTTP API")}
          </a>
        </nav>
        <Controls />
      </header>
      <main id="main" ref={main} tabIndex={-1}>
        {wanted === null ? <Screen key={shown.path} /> : <SignIn reason={wanted} />}
      </main>
    </div>
  );
}
