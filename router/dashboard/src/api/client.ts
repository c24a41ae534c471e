// Requests to the router that served this page: addresses relative to it, the token in a header alone, refusals as typed errors.
import { cell, kept } from "../store";

const keptToken = kept("sessionStorage", "shoal-token");

/** The token of whoever has signed in; it ends with the browser's tab. */
export const token = cell<string | null>(keptToken.read());

/** Whether the last refusal was for want of a token. */
export const tokenWanted = cell<string | null>(null);

export function signIn(secret: string | null): void {
  keptToken.write(secret);
  tokenWanted.set(null);
  token.set(secret);
}

/** The router's address: the dashboard is one folder below it. */
export function routerUrl(path: string, base: string = document.baseURI): URL {
  return new URL(`../${path.replace(/^\//, "")}`, base);
}

export type Refusal = "unreachable" | "token" | "permission" | "missing" | "refused" | "unavailable";

export class ApiError extends Error {
  constructor(
    readonly refusal: Refusal,
    readonly status: number,
    detail: string,
  ) {
    super(detail);
  }
}

export function refusalOf(status: number): Refusal {
  if (status === 401) return "token";
  if (status === 403) return "permission";
  if (status === 404) return "missing";
  return status >= 500 || status === 429 ? "unavailable" : "refused";
}

async function detailOf(answer: Response): Promise<string> {
  try {
    const body: unknown = await answer.json();
    if (typeof body === "object" && body !== null && "detail" in body && typeof body.detail === "string") return body.detail;
  } catch {
    // A proxy's own page is no JSON: the status has to do.
  }
  return `${answer.status} ${answer.statusText}`.trim();
}

export interface Ask {
  method?: "GET" | "POST";
  body?: unknown;
  signal?: AbortSignal;
}

/** Asks the router. A promotion may take long: nothing but the caller's signal ends a request. */
export async function ask<T>(path: string, { method = "GET", body, signal }: Ask = {}): Promise<T> {
  const headers = new Headers({ accept: "application/json" });
  const secret = token.get();
  if (secret !== null) headers.set("authorization", `Bearer ${secret}`);
  if (method === "POST") headers.set("content-type", "application/json");
  const init: RequestInit = { method, headers, credentials: "same-origin", cache: "no-store" };
  if (method === "POST") init.body = JSON.stringify(body ?? {});
  if (signal) init.signal = signal;
  let answer: Response;
  try {
    answer = await fetch(routerUrl(path), init);
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError("unreachable", 0, error instanceof Error ? error.message : String(error));
  }
  if (!answer.ok) {
    const detail = await detailOf(answer);
    const refusal = refusalOf(answer.status);
    if (refusal === "token") tokenWanted.set(detail);
    throw new ApiError(refusal, answer.status, detail);
  }
  return (await answer.json()) as T;
}

/** A word for a shell: single quotation marks around it where it needs them. */
export function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

/** The request as a command. The token is named, never shown. */
export function curl(path: string, ask: Ask = {}): string {
  const parts = ["curl"];
  if (token.get() !== null) parts.push('-H "Authorization: Bearer $SHOAL_TOKEN"');
  if (ask.method === "POST") parts.push("-H 'content-type: application/json'", "-d", quoted(JSON.stringify(ask.body ?? {})));
  parts.push(quoted(routerUrl(path).href));
  return parts.join(" ");
}
