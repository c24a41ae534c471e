// Answers that are asked for again and again while a screen shows them.
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { useCell } from "../store";
import { ApiError, ask, token } from "./client";

export interface Live<T> {
  /** The newest answer; it stays while later requests fail. */
  data: T | undefined;
  /** Why the newest request failed. */
  error: ApiError | undefined;
  loading: boolean;
  reload(): void;
}

/** How long to wait after so many failures in a row, in milliseconds. */
export function pause(everyMs: number, failures: number): number {
  return Math.min(everyMs * 2 ** Math.min(failures, 4), Math.max(everyMs, 30_000));
}

/** Asks for `path` now and, with `everyMs` above 0, again after each answer; never while the page is hidden. `null` asks nothing. */
export function useLive<T>(path: string | null, everyMs = 0): Live<T> {
  const secret = useCell(token);
  const [state, setState] = useState<{ path: string | null; data?: T; error?: ApiError }>({ path });
  const [round, setRound] = useState(0);
  const interval = useRef(everyMs);
  interval.current = everyMs;
  const reload = useCallback(() => setRound((before) => before + 1), []);
  useEffect(() => {
    if (path === null) return undefined;
    const stop = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    let failures = 0;
    const next = () => {
      if (interval.current > 0 && !stop.signal.aborted) timer = setTimeout(look, pause(interval.current, failures));
    };
    const look = async () => {
      if (document.hidden) return next();
      try {
        const data = await ask<T>(path, { signal: stop.signal });
        failures = 0;
        setState({ path, data });
      } catch (error) {
        if (stop.signal.aborted) return undefined;
        failures += 1;
        const refused = error instanceof ApiError ? error : new ApiError("unreachable", 0, String(error));
        setState((before) => ({ path, error: refused, ...(before.path === path && before.data !== undefined ? { data: before.data } : {}) }));
      }
      return next();
    };
    void look();
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
  }, [path, secret, round]);
  const current = state.path === path ? state : { path };
  return { data: current.data, error: current.error, loading: path !== null && current.data === undefined && current.error === undefined, reload };
}
