import { describe, expect, it } from "vitest";
import { curl, quoted, refusalOf, routerUrl } from "../../src/api/client";
import { pause } from "../../src/api/live";
import type { Listed } from "../../src/api/types";
import { href, placeOf } from "../../src/route";
import { compared, listRequest, sessionOf, settingsOf } from "../../src/screens/lens";
import { es } from "../../src/words/es";
import { bytes, duration, shortVersion } from "../../src/words/numbers";

const listed = (...ids: number[]): Listed[] => ids.map((item_id, at) => ({ item_id, title: null, categories: [], predicted_rating: null, score: 1, rank: at + 1, model: "als" }));

describe("two lists", () => {
  it("say where a title of one stands in the other", () => {
    const { both, left, right } = compared(listed(1, 2, 3), listed(3, 2, 9));
    expect(both).toBe(2);
    expect(left.get("1")).toEqual({ kind: "only" });
    expect(left.get("3")).toEqual({ kind: "both", rank: 1, moved: -2 });
    expect(right.get("3")).toEqual({ kind: "both", rank: 3, moved: 2 });
  });
  it("say nothing while the other is not there", () => {
    expect(compared(listed(1), undefined).left.get("1")).toEqual({ kind: "unknown" });
  });
});

describe("addresses", () => {
  it("come back as they were, with any characters", () => {
    const hash = href("user", { id: "a/b?&#é", a: "ease", nothing: "" });
    const { screen, query } = placeOf(hash);
    expect([screen, query.get("id"), query.get("a"), query.has("nothing")]).toEqual(["user", "a/b?&#é", "ease", false]);
  });
  it("are beside the page below any path of a proxy", () => {
    expect(routerUrl("v1/health", "https://x.example/shoal/dashboard/").href).toBe("https://x.example/shoal/v1/health");
  });
  it("of lists have only settings that are not as by default", () => {
    const settings = settingsOf(new URLSearchParams("year_min=1990&diversity=0.5&seen=yes"));
    expect(listRequest(settings, "als", "1")).toBe("v1/recommendations?user_id=1&model=als&n=20&explain=true&year_min=1990&diversity=0.5&exclude_seen=false");
    expect(sessionOf(new URLSearchParams({ items: "1\na,b" }))).toEqual(["1", "a,b"]);
  });
});

describe("commands", () => {
  it("are quoted for a shell", () => {
    expect(quoted("it's $HOME")).toBe(`'it'\\''s $HOME'`);
  });
  it("have the body of what they send", () => {
    Object.defineProperty(globalThis, "document", { value: { baseURI: "http://h/dashboard/" }, configurable: true });
    expect(curl("v1/recommendations?n=2", { method: "POST", body: { items: [] } })).toBe(`curl -H 'content-type: application/json' -d '{"items":[]}' 'http://h/v1/recommendations?n=2'`);
  });
});

describe("numbers", () => {
  it("have units", () => {
    expect([bytes(999), bytes(11_163_784), duration(0.35), duration(250), duration(7500)]).toEqual(["999 B", "11.2 MB", "350 ms", "4 min 10 s", "2 h 5 min"]);
    expect(shortVersion("als_model_v1_20261130_225134")).toBe("20261130_225134");
  });
  it("of failures wait longer, up to half a minute", () => {
    expect([0, 1, 2, 9].map((failures) => pause(2_000, failures))).toEqual([2_000, 4_000, 8_000, 30_000]);
    expect([401, 403, 404, 400, 503].map(refusalOf)).toEqual(["token", "permission", "missing", "refused", "unavailable"]);
  });
});

describe("Spanish", () => {
  it("has the same values as English", () => {
    const values = (text: string) => [...text.matchAll(/\{\w+\}/g)].map(([value]) => value).sort();
    for (const [english, spanish] of Object.entries(es)) expect(values(spanish), english).toEqual(values(english));
  });
});
