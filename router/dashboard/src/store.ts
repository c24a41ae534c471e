// State that outlives a screen: a value with listeners, and the hook that draws a component again when it changes.
import { useEffect, useState } from "preact/hooks";

export interface Cell<T> {
  get(): T;
  set(value: T): void;
  listen(listener: () => void): () => void;
}

export function cell<T>(initial: T): Cell<T> {
  let value = initial;
  const listeners = new Set<() => void>();
  return {
    get: () => value,
    set: (next) => {
      if (Object.is(next, value)) return;
      value = next;
      for (const listener of [...listeners]) listener();
    },
    listen: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

export function useCell<T>(of: Cell<T>): T {
  const [value, setValue] = useState(of.get());
  useEffect(() => {
    setValue(of.get());
    return of.listen(() => setValue(of.get()));
  }, [of]);
  return value;
}

/** A text that the browser keeps; browsers that keep nothing start anew each time. */
export function kept(storage: "localStorage" | "sessionStorage", key: string): { read(): string | null; write(value: string | null): void } {
  return {
    read: () => {
      try {
        return window[storage].getItem(key);
      } catch {
        return null;
      }
    },
    write: (value) => {
      try {
        if (value === null) window[storage].removeItem(key);
        else window[storage].setItem(key, value);
      } catch {
        // Nothing is kept where storage is turned off.
      }
    },
  };
}
