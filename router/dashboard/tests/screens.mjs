// Opens every screen of a running router's dashboard as a person would: node screens.mjs http://HOST:PORT
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const [router] = process.argv.slice(2);
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const flags = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: flags });
const faults = [];

/** A page whose errors and failed requests are faults. */
async function page(width, colorScheme, bypassCSP = false) {
  const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme, bypassCSP });
  const opened = await context.newPage();
  opened.on("console", (message) => message.type() === "error" && faults.push(`console: ${message.text()}`));
  opened.on("pageerror", (error) => faults.push(`error: ${error.message}`));
  opened.on("response", (answer) => answer.status() >= 400 && faults.push(`${answer.status()}: ${answer.url()}`));
  return opened;
}

try {
  // Under its own policy, from the router's front door.
  const visitor = await page(1440, "light");
  await visitor.goto(`${router}/`);
  assert.equal(new URL(visitor.url()).pathname, "/dashboard/");
  const screens = await visitor.locator("nav a[href^='#/']").evaluateAll((links) => links.map((link) => link.getAttribute("href")));
  assert.ok(screens.length >= 2, "there are screens");

  await visitor.goto(`${router}/dashboard/#/user?id=1&a=als&b=ease`);
  await visitor.locator(".ranked").nth(1).waitFor();
  await visitor.locator(".ranked .row").first().click();
  await visitor.locator(".why .parts li").nth(4).waitFor();
  assert.match(await visitor.locator(".summary").innerText(), /^\d+ titles are in both lists/);
  await visitor.getByRole("combobox", { name: "Titles that were liked" }).pressSequentially("toy sto");
  await visitor.locator(".search [role=option]").first().waitFor();
  await visitor.keyboard.press("Enter");
  await visitor.locator(".chips li").first().waitFor();
  await visitor.locator(".ranked .row").first().waitFor();

  // A version is trained, made live and taken back as a person would.
  const asked = (path) => visitor.evaluate(async (path) => (await fetch(`../${path}`)).json(), path);
  const answering = async () => (await asked("v1/users/1/recommendations?model=als")).model_version;
  const before = await answering();
  await visitor.goto(`${router}/dashboard/#/datasets`);
  await visitor.getByLabel("Rank: elements of a factor row").fill("8");
  await visitor.getByLabel("Sweeps over users and titles").fill("4");
  await visitor.getByRole("button", { name: "Start the training" }).click();
  await visitor.waitForURL(/job=/);
  const job_id = new URLSearchParams(new URL(visitor.url()).hash.split("?")[1]).get("job");
  const job = visitor.getByRole("region", { name: job_id });
  await job.locator(".badge.good").waitFor();
  await job.locator(".chart canvas").waitFor();
  const after = (await asked(`admin/v1/jobs/${job_id}`)).model_version;
  await visitor.goto(`${router}/dashboard/#/versions`);
  for (const version of [before, after]) await visitor.getByLabel(`Compare ${version}`).check();
  await visitor.getByRole("region", { name: "Parameters that differ" }).getByText("rank", { exact: true }).waitFor();
  const switched = async (opener, action, from, to) => {
    await opener.click();
    const question = visitor.getByRole("dialog");
    assert.match(await question.innerText(), new RegExp(`${to}[^]*${from}`));
    await question.getByRole("button", { name: action, exact: true }).click();
    await visitor.locator(".notice.good").getByText(`Live: ${to}`).waitFor();
    assert.equal(await answering(), to);
  };
  await switched(visitor.getByRole("button", { name: `Promote ${after}` }), "Promote", before, after);
  await switched(visitor.getByRole("region", { name: "ALS", exact: true }).getByRole("button", { name: "Roll back …" }), "Roll back", after, before);

  for (const [width, scheme] of [[1440, "light"], [1440, "dark"], [360, "light"], [360, "dark"]]) {
    const looked = await page(width, scheme, true);
    for (const hash of [...screens, "#/user?id=1", "#/titles?id=1"]) {
      await looked.goto(`${router}/dashboard/${hash}`);
      await looked.waitForLoadState("networkidle");
      await looked.locator("div.loading").first().waitFor({ state: "detached" });
      const over = await looked.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      if (over > 0) faults.push(`${hash} is ${over} pixels wider than ${width}`);
      await looked.evaluate(axe);
      const { violations } = await looked.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
      for (const { impact, id, nodes } of violations)
        if (impact === "serious" || impact === "critical") faults.push(`${hash} at ${width}, ${scheme}: ${id} at ${nodes.map(({ target }) => target).join(", ")}`);
    }
    await looked.context().close();
  }
  assert.deepEqual(faults, []);
  console.log(`${screens.length} screens are well`);
} finally {
  await browser.close();
}
